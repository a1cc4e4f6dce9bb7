"""SAM-MIL's `sam_info/<slide>.h5` and `seg_files/<slide>.h5`: areas and members without the masks.

`sam_info`: `coords`, `is_group_feat` (1 for appended rows) and `relative_area` of every row: 0 for group rows, 1 for
patches in no segment, else the area of the smallest segment in pixels of SAM's picture (docs/methods.md §10.1, 6).
Equal areas are one region there. `sammil export` adds data sets of its own, which the published loaders do not read.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sammil_cli.errors import SlideError
from sammil_cli.features.bag import mean_group_features
from sammil_cli.legacy.h5_file import damaged, layout_of_legacy, read_h5
from sammil_cli.legacy.rows import Floats, Rows, mismatch, rounding
from sammil_cli.regions.members import smallest_region
from sammil_cli.regions.membership import Membership
from sammil_cli.regions.region_map import RegionMap

OWN = "sammil_"  # before the names of the data sets that only sammil writes
OWN_ARRAYS = ("region", "region_area", "region_area_um2", "group_region", "member_start", "member_patch")

_NAMES = ("is_group_feat", "relative_area")


@dataclass(frozen=True, kw_only=True)
class SamInfo:
    """What a sam_info file says of its rows, and the arrays of `OWN_ARRAYS` where sammil wrote it."""

    is_group: NDArray[np.bool_]
    relative_area: NDArray[np.float64]
    own: dict[str, NDArray[Any]]


@dataclass(frozen=True, kw_only=True)
class Grouping:
    """What joins a slide's patches to its regions, however the older run kept it: the region parts of a `FeatureBag`.

    n patches, m regions, g group features; `regions` where masks are there.
    """

    region: NDArray[np.int32]  # (n,)
    area: NDArray[np.int64]  # (m,)
    area_um2: NDArray[np.float64]  # (m,)
    features: Floats  # (g, d)
    group_region: NDArray[np.int32]  # (g,)
    members: Membership
    regions: RegionMap | None


def read_sam_info(path: Path) -> SamInfo:
    """Reads a sam_info file.

    Raises:
        SlideError: `E_LEGACY_MISSING`, `E_LEGACY_DAMAGED`.
    """
    _, _, shapes = read_h5(path, ())
    own = tuple(OWN + name for name in OWN_ARRAYS if OWN + name in shapes)
    arrays, _, _ = read_h5(path, (*_NAMES, *own))
    flat = [arrays[name].ravel() for name in _NAMES]
    if any(not np.issubdtype(array.dtype, np.number) and array.dtype != bool for array in flat):
        raise damaged(path, "its is_group_feat or relative_area are no numbers")
    if len(flat[0]) != len(flat[1]):
        raise damaged(path, f"it has {len(flat[0])} is_group_feat for {len(flat[1])} relative_area")
    return SamInfo(
        is_group=flat[0] != 0,
        relative_area=flat[1].astype(np.float64),
        own={name.removeprefix(OWN): arrays[name] for name in own},
    )


def read_seg_file(path: Path) -> dict[int, NDArray[np.int64]]:
    """The member coordinates (k, 2) of each segment that had any, by the segment's number.

    Raises:
        SlideError: `E_LEGACY_MISSING`, `E_LEGACY_DAMAGED`.
    """
    if odd := layout_of_legacy(path).odd:
        raise damaged(path, f"its {min(odd)} is {odd[min(odd)]}")
    _, _, shapes = read_h5(path, ())
    numbers = {name: name.removeprefix("seg_") for name in shapes}
    if any(not number.isdigit() or len(shapes[name]) != 2 for name, number in numbers.items()):
        raise damaged(path, f"its data sets are not seg_0, seg_1, …: {', '.join(sorted(shapes))[:80]}")
    arrays, _, _ = read_h5(path, tuple(shapes))
    if wrong := [name for name, array in arrays.items() if not np.issubdtype(array.dtype, np.integer)]:
        raise damaged(path, f"its {wrong[0]} has the type {arrays[wrong[0]].dtype}, not whole numbers")
    return {int(number): np.asarray(arrays[name], np.int64) for name, number in numbers.items()}


def grouping_of(info: SamInfo, rows: Rows, slide_mpp: float | None, slide_id: str, remarks: list[str]) -> Grouping:
    """Regions from sam_info alone: those that sammil wrote into it, else one for each area; group rows are kept.

    Raises:
        SlideError: `E_LEGACY_MISMATCH`, it is of other rows than the features.
    """
    if (len(info.is_group), int(info.is_group.sum())) != (len(rows.features) + len(rows.groups), len(rows.groups)):
        raise mismatch(
            f"{slide_id} has {len(rows.features)} patches and {len(rows.groups)} group rows, its sam_info "
            f"{int((~info.is_group).sum())} and {int(info.is_group.sum())}"
        )
    if set(info.own) == set(OWN_ARRAYS):
        return _own(info, rows, slide_id, remarks)
    area = info.relative_area[~info.is_group]
    areas = np.unique(area[area > 1])
    index = np.searchsorted(areas, area)
    inside = area > 1
    region = np.where(inside, index, -1).astype(np.int32)
    order = np.argsort(region, kind="stable")[(~inside).sum() :]
    size = np.bincount(region[inside], minlength=len(areas))
    members = Membership(start=np.concatenate([[0], np.cumsum(size)]).astype(np.int64), patch=order.astype(np.int32))
    means, _ = mean_group_features(rows.features, members)
    group_region = _nearest(rows.groups.astype(np.float32), means)
    remarks.append(
        f"no segments: {len(areas)} regions from the areas in sam_info, equal areas being one; the {len(rows.groups)} "
        f"stored group rows are kept, {int((group_region >= 0).sum())} of them are the mean of such a region"
    )
    return Grouping(
        region=region,
        area=areas.astype(np.int64),
        area_um2=np.full(len(areas), np.nan),  # the canvas that counts these pixels is not known
        features=rows.groups,
        group_region=group_region,
        members=members,
        regions=None,
    )


def _own(info: SamInfo, rows: Rows, slide_id: str, remarks: list[str]) -> Grouping:
    own = info.own
    members = Membership(start=own["member_start"], patch=own["member_patch"])
    sound = (
        own["region"].shape == (len(rows.features),)
        and own["group_region"].shape == (len(rows.groups),)
        and own["region_area"].shape == own["region_area_um2"].shape == (len(members.start) - 1,)
        and len(members.patch) == members.start[-1]
        and all(_within(own[name], -1, len(own["region_area"])) for name in ("region", "group_region"))
        and _within(members.patch, 0, len(rows.features))
        and (np.diff(members.start) >= 0).all()
        and np.array_equal(smallest_region(members, own["region_area"], len(rows.features)) >= 0, own["region"] >= 0)
    )
    if not sound:
        raise SlideError(
            "E_LEGACY_MISMATCH",
            f"the regions in the sam_info of {slide_id} do not fit its rows",
            remedy="export this slide again: sammil export --to sam-mil",
        )
    remarks.append(f"{len(own['region_area'])} regions as sammil exported them; masks are not in these files")
    return Grouping(
        region=own["region"].astype(np.int32),
        area=own["region_area"].astype(np.int64),
        area_um2=own["region_area_um2"].astype(np.float64),
        features=rows.groups,
        group_region=own["group_region"].astype(np.int32),
        members=members,
        regions=None,
    )


def _within(numbers: NDArray[Any], low: int, high: int) -> bool:
    return not numbers.size or bool(numbers.min() >= low and numbers.max() < high)


def _nearest(groups: NDArray[np.float32], means: NDArray[np.float32]) -> NDArray[np.int32]:
    """The region whose mean each group row is, up to rounding; -1 = none."""
    found = np.full(len(groups), -1, np.int32)
    if not len(means):
        return found
    limit = rounding(means)
    for number, row in enumerate(groups):
        distance = np.abs(means - row).max(axis=1)
        nearest = int(distance.argmin())
        found[number] = nearest if distance[nearest] <= limit else -1
    return found
