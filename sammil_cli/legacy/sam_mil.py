"""SAM-MIL's segments as the regions of a bag, and its group rows, sam_info and seg_files compared with them."""

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sammil_cli.errors import InputError, SlideError
from sammil_cli.features.bag import mean_group_features
from sammil_cli.legacy.canvas import build_regions, common_canvas
from sammil_cli.legacy.published import count_equal, published_groups
from sammil_cli.legacy.rows import Rows, mismatch
from sammil_cli.legacy.sam_info import Grouping, SamInfo, read_seg_file
from sammil_cli.legacy.segments import Document, read_segments
from sammil_cli.legacy.unpickler import UnsafePickleError
from sammil_cli.regions.members import find_members, smallest_region
from sammil_cli.regions.region_map import RegionMap


def read_documents(path: Path) -> list[Document]:
    """The documents of a segments file; what is wrong with it is this slide's trouble.

    Raises:
        SlideError: `E_LEGACY_MISSING`, `E_LEGACY_UNSAFE`, `E_LEGACY_DAMAGED`.
    """
    if not path.is_file():
        # The published script skips a slide whose patches it finds, even if it died before the segments.
        raise SlideError(
            "E_LEGACY_MISSING",
            f"{path} does not exist",
            remedy="segment this slide again, with the published script or with sammil sam",
        )
    try:
        return read_segments(path)
    except UnsafePickleError as error:
        raise SlideError("E_LEGACY_UNSAFE", error.message, remedy=error.remedy) from None
    except InputError as error:
        raise SlideError("E_LEGACY_DAMAGED", error.message, remedy=error.remedy) from None


@dataclass(frozen=True, kw_only=True)
class PatchScale:
    """The patches' side, the slide's mpp if known, and the share of a patch that a region must cover."""

    side_px0: int
    slide_mpp: float | None
    min_share: float


def grouping(
    slide_id: str,
    rows: Rows,
    xy: NDArray[np.int32],
    by_count: bool,
    documents: list[Document],
    scale: PatchScale,
    remarks: list[str],
) -> Grouping | None:
    """Regions of all documents, their members and group features; None where the segments hold no mask.

    Raises:
        SlideError: `E_LEGACY_MISMATCH`, the segments or the group rows are another slide's.
    """
    remarks += [note for document in documents for note in document.remarks]
    _check_groups(slide_id, rows, xy, by_count, documents, scale.side_px0, remarks)
    regions = _regions(slide_id, documents, scale.slide_mpp, remarks)
    if regions is None:
        return None
    _check_place(slide_id, regions, xy, scale.side_px0)
    members = find_members(regions, xy, scale.side_px0, scale.min_share)
    features, group_region = mean_group_features(rows.features, members)
    return Grouping(
        region=smallest_region(members, regions.area_px, len(xy)),
        area=_areas(documents),
        area_um2=regions.area_um2,
        features=features,
        group_region=group_region,
        members=members,
        regions=regions,
    )


def compare_sam_info(info: SamInfo, rows: Rows, groups: Grouping, remarks: list[str]) -> None:
    """Says how many patches have, in sam_info, the area of the region that sammil finds for them."""
    stored = info.relative_area[~info.is_group]
    if len(stored) != len(rows.features):
        remarks.append(f"sam_info is of {len(stored)} patches, the features of {len(rows.features)}: it was not used")
        return
    ours = np.append(groups.area, 1)[groups.region]  # region -1 is the last, the area of no region
    remarks.append(f"sam_info gives {int((stored == ours).sum())} of {len(ours)} patches the area that sammil does")


def compare_seg_file(path: Path, xy: NDArray[np.int32], groups: Grouping, remarks: list[str]) -> None:
    """Says how many of the published member lists are, patch for patch, those of a region here."""
    place = {(int(x), int(y)): number for number, (x, y) in enumerate(xy)}
    start, patch = groups.members.start, groups.members.patch
    ours = {frozenset(patch[low:high].tolist()) for low, high in pairwise(start)}
    lists = [frozenset(place.get((int(x), int(y)), -1) for x, y in coords) for coords in read_seg_file(path).values()]
    equal = sum(members in ours for members in lists)
    remarks.append(f"seg_files has {len(lists)} member lists; {equal} are those of a region by sammil's overlap rule")


def _check_groups(
    slide_id: str,
    rows: Rows,
    xy: NDArray[np.int32],
    by_count: bool,
    documents: list[Document],
    side_px0: int,
    remarks: list[str],
) -> None:
    """Compares stored group rows with the published rule, which read the first document only."""
    masks = sum(len(document.masks) for document in documents)
    first = documents[0] if documents and documents[0].number == 0 else None
    ignored = masks - (len(first.masks) if first else 0)
    if ignored:
        remarks.append(
            f"the segments hold {documents[-1].number + 1} documents; the published steps read the first only and "
            f"would have ignored {ignored} of {masks} masks"
        )
    if not len(rows.groups):
        return
    expected = np.empty((0, rows.features.shape[1]), np.float32)
    if first:
        expected = published_groups(first, rows.features, xy, first.patch_px or side_px0)
    equal = count_equal(rows.groups, expected)
    remarks.append(
        f"{equal} of {len(rows.groups)} stored group rows are what the published rule gives ({len(expected)} rows); "
        "group features were computed anew"
    )
    # Where coordinates do not mark them, only this tells group rows from patches of another run.
    if by_count and (not equal or len(rows.groups) > masks):
        raise mismatch(
            f"{slide_id} has {len(rows.groups)} rows more than patches, and {equal} of them are its group rows"
        )


def _regions(slide_id: str, documents: list[Document], slide_mpp: float | None, remarks: list[str]) -> RegionMap | None:
    if not documents:
        remarks.append("the segments hold no masks: a bag without regions")
        return None
    canvas, canvas_remarks = common_canvas(documents, slide_mpp)
    regions = build_regions(slide_id, documents, canvas)
    remarks += canvas_remarks
    empty = sum(len(document.masks) for document in documents) - len(regions)
    if empty:
        remarks.append(f"{empty} empty masks were left out")
    merged = len(regions) - len(np.unique(_areas(documents)))
    if merged:
        remarks.append(
            f"{len(regions)} regions have {len(regions) - merged} different areas; the published code, which groups by "
            "area, takes those of equal area for one"
        )
    return regions


def _areas(documents: list[Document]) -> NDArray[np.int64]:
    """(m,) areas A of eq. 7: as SAM's records count them, in the picture that SAM saw.

    That picture is the paper's canvas, so nothing is converted; empty masks are no regions (`canvas.build_regions`).
    """
    areas = [legacy.area_px for document in documents for legacy in document.masks if legacy.mask.any()]
    return np.maximum(np.array(areas, np.int64), 1)


def _check_place(slide_id: str, regions: RegionMap, xy: NDArray[np.int32], side_px0: int) -> None:
    """Segments that lie beside all patches are another slide's, or the coordinates are not level-0 pixels."""
    canvas = regions.canvas
    low = np.array(canvas.origin_px)
    high = low + np.array(canvas.size_px) * canvas.downsample
    if not ((xy < high) & (xy + side_px0 > low)).all(axis=1).any():
        raise mismatch(f"the segments of {slide_id} lie beside all of its patches")
