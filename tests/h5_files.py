"""Small whole files of every HDF5 kind, and ways to write what sammil would not."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from sammil_cli.features.bag import EncoderFacts, FeatureBag, read_bag, write_bag
from sammil_cli.patches.file import read_patches, write_patches
from sammil_cli.patches.patch_grid import SCORES, PatchGrid
from sammil_cli.regions.file import read_regions, write_regions
from sammil_cli.regions.membership import Membership
from sammil_cli.regions.region_map import Canvas, Proposal, build
from sammil_cli.regions.region_mask import RegionMask
from sammil_cli.tissue.artefact_maps import ArtefactMaps, read_artefacts, write_artefacts

RECORD = {"stage": "test", "key": {"a": 1}, "libraries": {}}


def grid(slide: str) -> PatchGrid:
    return PatchGrid(
        slide_id=slide,
        xy=np.array([[10, 6], [138, 6], [10, 134]], np.int32),
        patch_px=64,
        patch_mpp=0.5,
        patch_px_level0=128,
        slide_mpp=0.25,
        slide_size_px=(640, 448),
        bounds_px=(10, 6, 600, 400),
        step_px_level0=128,
        scores={name: np.array([0.5, 0.25, 1], np.float16) for name in SCORES},
        waterfall={"grid": 12, "tissue": 3, "kept": 3},
        uncovered=0.125,
    )


def bag(slide: str, dtype: str = "float16", patches: int = 60) -> FeatureBag:
    rng = np.random.default_rng(0)
    return FeatureBag(
        slide_id=slide,
        features=rng.standard_normal((patches, 5)).astype(dtype),
        xy=np.arange(2 * patches, dtype=np.int32).reshape(patches, 2),
        region=np.resize(np.array([-1, 0, 1, 2], np.int32), patches),
        region_area=np.array([50, 40, 30], np.int64),
        region_area_um2=np.array([5.0, 4.0, 3.0]),
        group_features=rng.standard_normal((2, 5)).astype(dtype),
        group_region=np.array([0, 2], np.int32),
        members=Membership(start=np.array([0, 2, 2, 4], np.int64), patch=np.array([0, 1, 1, 3], np.int32)),
        encoder=EncoderFacts(
            name="texture", weights_sha256=None, dim=5, patch_px=64, patch_mpp=0.5, patch_px_level0=128, mpp=0.5
        ),
        made_with={"patch": {"patch_px": 64}},
    )


def _write_regions(path: Path) -> None:
    masks = [RegionMask.of(np.ones((20, 30), bool), (3, 5)), RegionMask.of(np.eye(9, dtype=bool), (40, 11))]
    canvas = Canvas(origin_px=(8, 16), downsample=8.0, size_px=(60, 50), mpp=2.0)
    write_regions(path, build(path.stem, canvas, [Proposal(mask=mask) for mask in masks]), RECORD)


def _write_artefacts(path: Path) -> None:
    maps = {name: np.arange(60, dtype=np.uint8).reshape(6, 10) + at for at, name in enumerate(("pen", "dark", "blur"))}
    whole = ArtefactMaps(blank=np.zeros((6, 10), np.uint8), **maps, cell_px0=(64.0, 64.5), mpp=2.0)
    write_artefacts(path, whole, RECORD)


WRITE: Mapping[str, Callable[[Path], None]] = {
    "patches": lambda path: write_patches(path, grid(path.stem), RECORD),
    "regions": _write_regions,
    "bag": lambda path: write_bag(path, bag(path.stem), RECORD),
    "artefacts": _write_artefacts,
}
READ: Mapping[str, Callable[[Path], Any]] = {
    "patches": read_patches,
    "regions": read_regions,
    "bag": read_bag,
    "artefacts": read_artefacts,
}


def flat(value: object) -> list[object]:
    """All that a file's dataclass holds, as what compares with ==."""
    if isinstance(value, np.ndarray):
        return [value.dtype.str, value.shape, value.tobytes()]
    if isinstance(value, Mapping):
        return [flat(part) for part in value.items()]
    if isinstance(value, tuple):
        return [flat(part) for part in value]
    return [flat(part) for part in vars(value).values()] if hasattr(value, "__dict__") else [value]


def as_first_version(path: Path) -> None:
    """Makes a file one of the first version, without sums: what is changed in it is then found by its schema only."""
    with h5py.File(path, "r+") as file:
        del file.attrs["sums"]
        file.attrs["schema"] = 1
        file.attrs.pop("slide_id", None) if file.attrs["kind"] == "artefacts" else None


def set_array(path: Path, name: str, value: Any, **options: Any) -> None:
    """Puts another array, link or group in the place of one."""
    with h5py.File(path, "r+") as file:
        del file[name]
        if options:
            file.create_dataset(name, data=value, **options)
        elif value is not None:
            file[name] = value


def set_fact(path: Path, name: str, value: Any) -> None:
    """Sets an attribute, or takes it off."""
    with h5py.File(path, "r+") as file:
        del file.attrs[name]
        if value is not None:
            file.attrs[name] = value
