"""Our bags and grids in the layouts of CLAM, SAM-MIL and TRIDENT: h5, and one tensor a slide for SAM-MIL (`pt`).

What each format cannot carry: CLAM and TRIDENT know no regions and no group features; CLAM no resolution, and its
`patch_size` is the side in level-0 pixels here, since it has only one; none of them knows the encoder's weights.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sammil_cli.errors import InputError
from sammil_cli.features.bag import FeatureBag
from sammil_cli.legacy.sam_info import OWN
from sammil_cli.legacy.torch_file import write_torch
from sammil_cli.storage.files import atomic_path
from sammil_cli.storage.hdf5_to_disk import new_hdf5

# TRIDENT's magnification of a slide, by the largest µm per pixel that still has it.
_MAGNIFICATIONS = ((0.16, 80), (0.2, 60), (0.3, 40), (0.6, 20), (1.2, 10), (2.4, 5))


@dataclass(frozen=True, kw_only=True)
class Places:
    """Where a slide's patches are, and how large: from its grid, or, without a grid, from its bag."""

    slide_id: str
    xy: NDArray[np.int32]
    patch_px: int
    patch_px_level0: int
    slide_mpp: float
    slide_size_px: tuple[int, int] | None
    overlap_px: int  # at the patches' own resolution

    @property
    def trident_folder(self) -> str:
        """TRIDENT's name of the folder for patches of this kind, such as `20x_256px_0px_overlap`."""
        return f"{self.target_magnification:g}x_{self.patch_px}px_{self.overlap_px}px_overlap"

    @property
    def magnification(self) -> int:
        """What TRIDENT takes the slide's level 0 for, by its resolution.

        Raises:
            InputError: the resolution is not known, or coarser than TRIDENT takes.
        """
        for limit, magnification in _MAGNIFICATIONS:
            if self.slide_mpp < limit:
                return magnification
        raise InputError(
            f"TRIDENT's folders are named by magnification, and {self.slide_id} has {self.slide_mpp:g} µm per pixel",
            remedy="give the resolution in data/slides.csv and convert or extract again, or export --to clam",
        )

    @property
    def target_magnification(self) -> float:
        """The magnification that patches of this side have."""
        return self.magnification * self.patch_px / self.patch_px_level0


def write_clam_patches(path: Path, places: Places) -> None:
    """`coords` with the attributes of CLAM's fast pipeline; the side is given at level 0."""
    size = np.array(places.slide_size_px or (0, 0), np.int64)
    facts: dict[str, Any] = {
        "patch_size": places.patch_px_level0,
        "patch_level": 0,
        "downsample": np.array([1.0, 1.0]),
        "name": places.slide_id,
        "save_path": "patches",
    }
    if places.slide_size_px:
        facts |= {"level_dim": size, "downsampled_level_dim": size}
    _write(path, {"coords": places.xy.astype(np.int64)}, {"coords": facts})


def write_trident_patches(path: Path, places: Places) -> None:
    """`coords` with TRIDENT's attributes."""
    _write(path, {"coords": places.xy.astype(np.int64)}, {"coords": _trident_facts(places)})


def write_trident_features(path: Path, bag: FeatureBag, places: Places) -> None:
    """`features` and `coords`, each with TRIDENT's attributes; group features are left out."""
    arrays = {"features": bag.features, "coords": bag.xy.astype(np.int64)}
    facts = {"features": {"encoder": bag.encoder.name, "name": bag.slide_id}, "coords": _trident_facts(places)}
    _write(path, arrays, facts)


def write_features(path: Path, bag: FeatureBag, *, groups: bool) -> None:
    """`features` and `coords`; with `groups`, group features are appended at (-1, -1) as SAM-MIL does."""
    features, coords = bag.features, bag.xy.astype(np.int64)
    if groups:
        features = _with_groups(bag)
        coords = np.concatenate([coords, np.full((len(bag.group_features), 2), -1, np.int64)])
    _write(path, {"features": features, "coords": coords}, {})


def write_tensor(path: Path, bag: FeatureBag) -> None:
    """The rows of `write_features` with groups as SAM-MIL's loader reads them: a float32 tensor, its layers' type."""
    write_torch(path, _with_groups(bag))


def _with_groups(bag: FeatureBag) -> NDArray[np.floating[Any]]:
    return np.concatenate([bag.features, bag.group_features.astype(bag.features.dtype)])


def write_sam_info(path: Path, bag: FeatureBag) -> None:
    """SAM-MIL's sam_info of every row, and what it lacks in data sets of our own (see `sam_info.OWN_ARRAYS`)."""
    groups = len(bag.group_features)
    area = np.append(bag.region_area, 1)[bag.region]  # region -1 is the last: the area of no region
    arrays = {
        "coords": np.concatenate([bag.xy.astype(np.int64), np.full((groups, 2), -1, np.int64)]),
        "is_group_feat": np.concatenate([np.zeros(len(bag.xy), np.int64), np.ones(groups, np.int64)]),
        "relative_area": np.concatenate([area.astype(np.int64), np.zeros(groups, np.int64)]),
        OWN + "region": bag.region,
        OWN + "region_area": bag.region_area,
        OWN + "region_area_um2": bag.region_area_um2,
        OWN + "group_region": bag.group_region,
        OWN + "member_start": bag.members.start,
        OWN + "member_patch": bag.members.patch,
    }
    _write(path, arrays, {})


def _trident_facts(places: Places) -> dict[str, Any]:
    facts = {
        "patch_size": places.patch_px,
        "patch_size_level0": places.patch_px_level0,
        "level0_magnification": places.magnification,
        "target_magnification": places.target_magnification,
        "overlap": places.overlap_px,
        "name": places.slide_id,
        "savetodir": places.trident_folder,
    }
    if places.slide_size_px:
        facts |= {"level0_width": places.slide_size_px[0], "level0_height": places.slide_size_px[1]}
    return facts


def _write(path: Path, arrays: Mapping[str, NDArray[Any]], facts: Mapping[str, Mapping[str, Any]]) -> None:
    with atomic_path(path) as temporary, new_hdf5(temporary) as file:
        for name, array in arrays.items():
            data = file.create_dataset(name, data=array, track_times=False)
            for key, value in facts.get(name, {}).items():
                data.attrs[key] = value
