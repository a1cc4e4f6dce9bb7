"""What the commands wrote, as numpy arrays again. All is read within limits, and checked against its sums."""

from pathlib import Path
from typing import TYPE_CHECKING

from sammil_cli.features import bag
from sammil_cli.features.bag import FeatureBag
from sammil_cli.patches import file as patches_file
from sammil_cli.patches.patch_grid import PatchGrid
from sammil_cli.regions import file as regions_file
from sammil_cli.regions.region_map import RegionMap
from sammil_cli.storage.paths import BagPath, PatchesPath, RegionsPath, TissuePath
from sammil_cli.tissue import mask
from sammil_cli.tissue.mask import TissueMask

if TYPE_CHECKING:
    from sammil_cli.report.metrics import Predictions


def read_tissue(path: str | Path) -> TissueMask:
    """Reads `artifacts/tissue/<slide>.geojson`.

    Raises:
        InputError: it is no such file; `E_DAMAGED`.
    """
    return mask.read_tissue(TissuePath(Path(path)))


def read_patches(path: str | Path) -> PatchGrid:
    """Reads `artifacts/patches/<slide>.h5`; raises as `read_tissue`."""
    return patches_file.read_patches(PatchesPath(Path(path)))


def read_regions(path: str | Path) -> RegionMap:
    """Reads `artifacts/regions/<slide>.h5`; raises as `read_tissue`."""
    return regions_file.read_regions(RegionsPath(Path(path)))


def read_bag(path: str | Path) -> FeatureBag:
    """Reads `artifacts/bags/<slide>.h5`; its arrays are mapped from the file. Raises as `read_tissue`."""
    return bag.read_bag(BagPath(Path(path)))


def read_predictions(runs: str | Path = "runs") -> "Predictions":
    """Reads the out-of-fold predictions of a folder that `train` and `evaluate` wrote, or its `predictions.csv`.

    Raises:
        InputError: nothing was judged there; `E_DAMAGED`.
    """
    from sammil_cli.figures import predictions

    return predictions.read_predictions(Path(runs))
