"""One slide in memory: what the commands do with it, step by step. Nothing is written."""

from collections.abc import Mapping
from pathlib import Path

import openslide  # noqa: F401 - before torch, see slides/formats/openslide.py

from sammil_cli.config import ExtractSettings, PatchSettings, SamSettings, SegmentSettings, Settings
from sammil_cli.features.bag import FeatureBag
from sammil_cli.jobs.patch import spec_of as grid_spec_of
from sammil_cli.jobs.segment import spec_of as tissue_spec_of
from sammil_cli.patches.grid import make_grid
from sammil_cli.patches.patch_grid import PatchGrid
from sammil_cli.regions.region_map import RegionMap
from sammil_cli.slides import files
from sammil_cli.slides.slide import Slide
from sammil_cli.storage.paths import SlidePath
from sammil_cli.tissue import segment
from sammil_cli.tissue.mask import TissueMask


def find_slides(folder: str | Path) -> Mapping[str, Path]:
    """The slides in a folder and below, by id.

    Raises:
        InputError: no folder, no slides in it, or two slides with one id.
    """
    return dict(files.find_slides(Path(folder)).paths)


def open_slide(path: str | Path, *, mpp: float | None = None, scene: int | None = None) -> Slide:
    """Opens a slide; use it in a `with` block, or call its `close`.

    Args:
        mpp: µm per level-0 pixel; None = what the file says, which is never guessed.
        scene: which of the file's pictures, from 1; None = the largest.

    Raises:
        SlideError: `E_EMPTY`, `E_OPEN`, `E_FORMAT`, `E_SCENE` or `E_MPP`.
    """
    return files.open_slide(SlidePath(Path(path)), mpp, scene)


def find_tissue(slide: Slide, settings: Settings | None = None) -> TissueMask:
    """The tissue of a slide: polygons in level-0 pixels, and masks of any size (`TissueMask.raster`).

    Raises:
        SlideError: `E_NO_TISSUE`, nothing is left after the filters; `E_READ`.
    """
    spec = tissue_spec_of((settings or Settings()).stage(SegmentSettings))
    return segment.find_tissue(segment.look(slide, spec.mpp), spec)


def lay_patches(tissue: TissueMask, settings: Settings | None = None) -> PatchGrid:
    """The grid of patches in the tissue: `xy` (n, 2), level-0 corners. No patch is scored for artefacts here.

    Raises:
        SlideError: `E_COARSE`, `E_SMALL` or `E_NO_PATCH`.
    """
    return make_grid(tissue, grid_spec_of((settings or Settings()).stage(PatchSettings)))


def propose_regions(
    slide: Slide, tissue: TissueMask, settings: Settings | None = None, *, device: str = "cpu"
) -> RegionMap:
    """The regions of a slide by the proposer of the settings, which is kept for the next slide.

    Args:
        device: `auto`, `cpu`, `cuda`, `cuda:1` or `mps`.

    Raises:
        MissingError: the proposer's weights are not here. SlideError: `E_COARSE`, `E_READ`.
    """
    from sammil_cli.jobs import sam
    from sammil_cli.runner.machine import choose_device

    chosen = (settings or Settings()).stage(SamSettings)
    return sam.regions_of(slide, tissue, sam.make_proposer(chosen, choose_device(device, mps=True)), chosen)[0]


def make_bag(
    slide: Slide, patches: PatchGrid, regions: RegionMap, settings: Settings | None = None, *, device: str = "cpu"
) -> FeatureBag:
    """The feature bag of a slide by the encoder of the settings, which is kept for the next slide.

    Args:
        device: `auto`, `cpu`, `cuda`, `cuda:1` or `mps`.

    Returns:
        features (n, d) of the patches, group features (g, d) of the regions, and which patch lies in which region.

    Raises:
        MissingError: the encoder's weights are not here. SlideError: `E_READ`, `E_NAN`.
    """
    from sammil_cli.jobs import extract
    from sammil_cli.runner.machine import choose_device

    chosen = (settings or Settings()).stage(ExtractSettings)
    return extract.bag_of(
        slide, patches, regions, extract.build_encoder(chosen, choose_device(device, mps=True)), chosen
    )[0]
