"""SAM-MIL's two documented inputs as bags: `h5` (features with coordinates) and `pt` (a tensor, coordinates apart)."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sammil_cli.errors import InputError, SlideError
from sammil_cli.features.bag import EncoderFacts, FeatureBag, check_finite, mean_group_features
from sammil_cli.legacy.canvas import build_regions, common_canvas
from sammil_cli.legacy.layout import Layout, find_layout
from sammil_cli.legacy.published import count_equal, published_groups
from sammil_cli.legacy.rows import PatchFile, Rows, read_feature_h5, read_feature_pt, read_patch_file, split
from sammil_cli.legacy.segments import Document, read_segments
from sammil_cli.legacy.unpickler import UnsafePickleError
from sammil_cli.regions.membership import Membership, find_members, smallest_region
from sammil_cli.regions.region_map import RegionMap

__all__ = ["Converted", "Layout", "convert_slide", "find_layout"]


@dataclass(frozen=True, kw_only=True)
class Converted:
    """A converted slide: its bag, its regions (None where the run has no segments), and what was assumed or changed."""

    bag: FeatureBag
    regions: RegionMap | None
    notes: list[str]


@dataclass(frozen=True, kw_only=True)
class _Side:
    """The patches' side in pixels of their level and in level-0 pixels."""

    patch_px: int
    level0_px: int


def convert_slide(
    layout: Layout,
    slide_id: str,
    *,
    slide_mpp: float | None,
    patch_px_level0: int | None,
    min_share: float,
) -> Converted:
    """Reads one slide's files and builds its bag; writes nothing.

    Group features are the means over each region's members (eq. 3) as sammil finds them, from all documents of the
    segments file. Stored group rows are taken off and only compared with what the published rule gives.

    Args:
        layout: see `find_layout`.
        slide_id: one of its slides.
        slide_mpp: µm per level-0 pixel, None = unknown: areas in µm² and the patches' resolution are NaN then.
        patch_px_level0: patch side in level-0 pixels; None = what the files say.
        min_share: see `regions.membership.find_members`.

    Raises:
        SlideError: `E_LEGACY_MISSING` a file of this slide is not there · `E_LEGACY_MISMATCH` its files do not belong
            together · `E_LEGACY_UNSAFE` a file asks to run code, which was not done · `E_LEGACY_DAMAGED` a file is
            cut, or laid out otherwise · `E_NAN` its features are not finite.
    """
    rows, by_count, patches = _read_rows(layout, slide_id)
    check_finite(rows.features)
    documents = _read_documents(layout, slide_id)
    notes: list[str] = []
    side = _side(rows, patches, documents, patch_px_level0, notes)
    if len(rows.groups):
        notes.append(f"{len(rows.groups)} group rows were taken off the {len(rows.features)} patches")
    regions: RegionMap | None = None
    members = Membership(start=np.zeros(1, np.int64), patch=np.empty(0, np.int32))
    if documents is not None:
        notes += [note for document in documents for note in document.notes]
        _check_groups(slide_id, rows, by_count, documents, side, notes)
        regions = _regions(slide_id, documents, slide_mpp, notes)
    elif by_count:
        raise _mismatch(
            f"{slide_id} has {len(rows.groups)} rows more than patches, and without segments nothing proves that "
            "these are its group rows"
        )
    else:
        notes.append("no segments: a bag without regions")
    if regions is not None:
        _check_place(slide_id, regions, rows.xy, side)
        members = find_members(regions, rows.xy, side.level0_px, min_share)
    bag = _bag(slide_id, rows, regions, _areas(documents or []), members, side, slide_mpp)
    return Converted(bag=bag, regions=regions, notes=notes)


def _read_rows(layout: Layout, slide_id: str) -> tuple[Rows, bool, PatchFile | None]:
    """The rows, whether group rows were told by their count alone, and the coordinate file if there is one."""
    path = layout.features / f"{slide_id}.{layout.kind}"
    patch_path = None if layout.coords is None else layout.coords / f"{slide_id}.h5"
    if layout.kind == "pt":
        if patch_path is None:
            raise InputError("pt files need a folder of coordinates", remedy="give it with --coords")
        patches = read_patch_file(patch_path)
        rows, by_count = split(read_feature_pt(path), patches.coords, slide_id)
        return rows, by_count, patches
    features, coords = read_feature_h5(path)
    rows, by_count = split(features, coords, slide_id)
    if patch_path is None or not patch_path.exists():
        return rows, by_count, None
    patches = read_patch_file(patch_path)
    if not np.array_equal(patches.coords[(patches.coords != -1).any(axis=1)], rows.xy):
        raise _mismatch(f"{patch_path} has other patches than {path}")
    return rows, by_count, patches


def _read_documents(layout: Layout, slide_id: str) -> list[Document] | None:
    if layout.segments is None:
        return None
    path = layout.segments / f"{slide_id}.pkl"
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


def _side(
    rows: Rows,
    patches: PatchFile | None,
    documents: list[Document] | None,
    given: int | None,
    notes: list[str],
) -> _Side:
    """The patches' side: as given, else from the coordinate file, the segments, or the coordinates' smallest step."""
    stated = patches.patch_px_level0 if patches else None
    if patches and patches.level > 0:
        notes.append(f"patches were cut at pyramid level {patches.level}")
    if given is not None:
        if stated not in (None, given):
            notes.append(f"patches are {given} level-0 pixels wide as given; their file says {stated}")
        return _Side(patch_px=(patches and patches.patch_px) or given, level0_px=given)
    if patches and stated:
        return _Side(patch_px=patches.patch_px or stated, level0_px=stated)
    named = next((document.patch_px for document in documents or [] if document.patch_px), None)
    step = _smallest_step(rows.xy)
    if named:
        doubt = f"; the smallest step between patches is {step}" if step not in (None, named) else ""
        notes.append(f"patches are taken as {named} level-0 pixels wide, from the segments file{doubt}")
        return _Side(patch_px=named, level0_px=named)
    if step is None:
        raise SlideError(
            "E_LEGACY_MISSING",
            "nothing says how large the patches are",
            remedy="give the patch side in level-0 pixels, or the patches folder",
        )
    notes.append(f"patches are taken as {step} level-0 pixels wide, the smallest step between them")
    return _Side(patch_px=step, level0_px=step)


def _smallest_step(xy: NDArray[np.int32]) -> int | None:
    """The smallest distance between neighbours in a row or a column of patches; None where no two share one.

    Only in a row or column: pieces of tissue have grids of their own, whose columns may lie a pixel apart.
    """
    steps = []
    for along, across in ((0, 1), (1, 0)):
        order = np.lexsort((xy[:, along], xy[:, across]))
        line = xy[order]
        gap = np.diff(line[:, along])[np.diff(line[:, across]) == 0]
        steps += gap[gap > 0].tolist()
    return int(min(steps)) if steps else None


def _check_groups(
    slide_id: str, rows: Rows, by_count: bool, documents: list[Document], side: _Side, notes: list[str]
) -> None:
    """Compares stored group rows with the published rule, which read the first document only."""
    masks = sum(len(document.masks) for document in documents)
    first = documents[0] if documents and documents[0].number == 0 else None
    ignored = masks - (len(first.masks) if first else 0)
    if ignored:
        notes.append(
            f"the segments hold {documents[-1].number + 1} documents; the published steps read the first only and "
            f"would have ignored {ignored} of {masks} masks"
        )
    if not len(rows.groups):
        return
    expected = np.empty((0, rows.features.shape[1]), np.float32)
    if first:
        expected = published_groups(first, rows.features, rows.xy, first.patch_px or side.patch_px)
    equal = count_equal(rows.groups, expected)
    notes.append(
        f"{equal} of {len(rows.groups)} stored group rows are what the published rule gives ({len(expected)} rows); "
        "group features were computed anew"
    )
    # Where coordinates do not mark them, only this tells group rows from patches of another run.
    if by_count and (not equal or len(rows.groups) > masks):
        raise _mismatch(
            f"{slide_id} has {len(rows.groups)} rows more than patches, and {equal} of them are its group rows"
        )


def _regions(slide_id: str, documents: list[Document], slide_mpp: float | None, notes: list[str]) -> RegionMap | None:
    if not documents:
        notes.append("the segments hold no masks: a bag without regions")
        return None
    canvas, canvas_notes = common_canvas(documents, slide_mpp)
    regions = build_regions(slide_id, documents, canvas)
    notes += canvas_notes
    empty = sum(len(document.masks) for document in documents) - len(regions)
    if empty:
        notes.append(f"{empty} empty masks were left out")
    merged = len(regions) - len(np.unique(_areas(documents)))
    if merged:
        notes.append(
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


def _check_place(slide_id: str, regions: RegionMap, xy: NDArray[np.int32], side: _Side) -> None:
    """Segments that lie beside all patches are another slide's, or the coordinates are not level-0 pixels."""
    canvas = regions.canvas
    low = np.array(canvas.origin_px)
    high = low + np.array(canvas.size_px) * canvas.downsample
    if not ((xy < high) & (xy + side.level0_px > low)).all(axis=1).any():
        raise _mismatch(f"the segments of {slide_id} lie beside all of its patches")


def _bag(
    slide_id: str,
    rows: Rows,
    regions: RegionMap | None,
    region_area: NDArray[np.int64],
    members: Membership,
    side: _Side,
    slide_mpp: float | None,
) -> FeatureBag:
    dim, dtype = rows.features.shape[1], rows.features.dtype
    groups, group_region = np.empty((0, dim), np.float32), np.empty(0, np.int32)
    canvas_area = np.empty(0, np.int64)
    if regions is not None:
        canvas_area = regions.area_px
        groups, group_region = mean_group_features(rows.features, members)
    return FeatureBag(
        slide_id=slide_id,
        features=rows.features,
        xy=rows.xy,
        region=smallest_region(members, canvas_area, len(rows.xy)),
        region_area=region_area,
        region_area_um2=np.empty(0) if regions is None else regions.area_um2,
        group_features=groups.astype(dtype),
        group_region=group_region,
        members=members,
        encoder=EncoderFacts(
            name="legacy",
            weights_sha256=None,
            dim=dim,
            patch_px=side.patch_px,
            patch_mpp=float("nan") if slide_mpp is None else slide_mpp * side.level0_px / side.patch_px,
            patch_px_level0=side.level0_px,
        ),
    )


def _mismatch(message: str) -> SlideError:
    return SlideError(
        "E_LEGACY_MISMATCH",
        message,
        remedy="the files are of different runs: bring those of one run together, or extract again",
    )
