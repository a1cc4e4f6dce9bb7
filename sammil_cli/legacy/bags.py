"""One slide's old files as a bag: CLAM, SAM-MIL, TRIDENT and STAMP, features with or without coordinates."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sammil_cli.errors import SlideError
from sammil_cli.features.bag import EncoderFacts, FeatureBag, check_finite
from sammil_cli.features.grouping import without_regions
from sammil_cli.legacy.layout import Source
from sammil_cli.legacy.patch_file import PatchFile, read_patch_file, smallest_step
from sammil_cli.legacy.patch_lists import PatchList
from sammil_cli.legacy.rows import H5_SUFFIXES, Floats, Rows, mismatch, read_features, split, tidy
from sammil_cli.legacy.sam_info import Grouping, grouping_of, read_sam_info
from sammil_cli.legacy.sam_mil import PatchScale, compare_sam_info, compare_seg_file, grouping, read_documents
from sammil_cli.legacy.segments import Document
from sammil_cli.regions.region_map import RegionMap


@dataclass(frozen=True, kw_only=True)
class Converted:
    """A converted slide: its bag, its regions (None where the run has no segments), and what was assumed or changed."""

    bag: FeatureBag
    regions: RegionMap | None
    remarks: list[str]


@dataclass(frozen=True, kw_only=True)
class Side:
    """The patches' side in pixels of their own resolution and in level-0 pixels; 0 = not known."""

    patch_px: int
    level0_px: int


def convert_slide(
    source: Source,
    *,
    slide_mpp: float | None,
    patch_px_level0: int | None,
    min_share: float,
    with_coords: bool = True,
    encoder: str | None = None,
) -> Converted:
    """Reads one slide's files and builds its bag; writes nothing.

    Group features are the means over each region's members (eq. 3) as sammil finds them, from all documents of the
    segments file; stored group rows are taken off and only compared with what the published rule gives. Without
    segments, a sam_info file gives regions and keeps the stored group rows.

    Args:
        source: see `layout.find_layout`.
        slide_mpp: µm per level-0 pixel, None = unknown: areas in µm² and the patches' resolution are NaN then.
        patch_px_level0: patch side in level-0 pixels; None = what the files say.
        min_share: see `regions.membership.find_members`.
        with_coords: False takes features without coordinates; the bag's are (-1, -1) then.
        encoder: its name, None = what the run says, or `legacy`.

    Raises:
        SlideError: `E_LEGACY_MISSING` a file of this slide is not there, or its resolution is needed and unknown ·
            `E_LEGACY_MISMATCH` its files do not belong together · `E_LEGACY_UNSAFE` a file asks to run code, which was
            not done · `E_LEGACY_DAMAGED` a file is cut, or laid out otherwise · `E_NAN` its features are not finite.
    """
    if source.features is None:
        raise SlideError("E_LEGACY_MISSING", f"{source.slide_id} has no features", remedy="convert its grid: --grids")
    remarks: list[str] = []
    if not with_coords:
        features, _ = read_features(source.features, remarks, encoder)
        return without_coords(source.slide_id, features, encoder or source.encoder, remarks)
    rows, by_count, patches = _read_rows(source, source.features, encoder, remarks)
    check_finite(rows.features)
    rows = tidy(rows, source.slide_id, remarks)
    documents = None if source.segments is None else read_documents(source.segments)
    info = None if source.sam_info is None else read_sam_info(source.sam_info)
    xy = level0_corners(rows.xy, patches, slide_mpp, source.slide_id, remarks)
    side = patch_side(xy, patches, documents, patch_px_level0, slide_mpp, remarks)
    groups: Grouping | None = None
    if len(rows.groups):
        remarks.append(f"{len(rows.groups)} group rows were taken off the {len(rows.features)} patches")
    if documents is not None:
        scale = PatchScale(side_px0=side.level0_px, slide_mpp=slide_mpp, min_share=min_share)
        groups = grouping(source.slide_id, rows, xy, by_count, documents, scale, remarks)
        if groups is not None and info is not None:
            compare_sam_info(info, rows, groups, remarks)
        if groups is not None and source.seg_file is not None:
            compare_seg_file(source.seg_file, xy, groups, remarks)
    elif info is not None:
        groups = grouping_of(info, rows, slide_mpp, source.slide_id, remarks)
    elif by_count:
        raise SlideError(
            "E_LEGACY_MISMATCH",
            f"{source.slide_id} has {len(rows.groups)} rows more than patches, and without segments nothing proves "
            "that these are its group rows",
            remedy="give the folder of its SAM segments with --segments, or bring the files of one run together",
        )
    else:
        remarks.append("no segments: a bag without regions")
    name = encoder or (patches.encoder if patches else None) or source.encoder or "legacy"
    return _converted(source.slide_id, rows.features, xy, groups, side, slide_mpp, name, remarks)


def without_coords(slide_id: str, features: Floats, encoder: str | None, remarks: list[str]) -> Converted:
    """A bag of features whose places nobody kept: coordinates (-1, -1), patch side 0, no regions.

    Equal rows are kept, since bare glass has many; how many there are is a remark.
    """
    check_finite(features)
    if zero := int((~features.any(axis=1)).sum()):
        remarks.append(f"{zero} of {len(features)} rows are all zero; they are kept")
    if again := len(features) - len({row.tobytes() for row in features}):
        remarks.append(f"{again} of {len(features)} rows are copies of others; they are kept")
    xy = np.full((len(features), 2), -1, np.int32)
    note = "no coordinates: (-1, -1) for every patch, so no heatmap; group rows, if any, count as patches"
    side = Side(patch_px=0, level0_px=0)
    return _converted(slide_id, features, xy, None, side, None, encoder or "legacy", [*remarks, note])


def from_patch_list(
    slide_id: str,
    patches: PatchList,
    slide_mpp: float | None,
    patch_px_level0: int | None,
    encoder: str | None,
    with_coords: bool,
) -> Converted:
    """A slide of a DTFD-style pickle as a bag; arguments and errors as `convert_slide`."""
    if patches.xy is None or not with_coords:
        return without_coords(slide_id, patches.features, encoder, [])
    check_finite(patches.features)
    remarks = ["coordinates come from the patches' file names"]
    stored = Rows(features=patches.features, xy=patches.xy.astype(np.float64), groups=patches.features[:0])
    rows = tidy(stored, slide_id, remarks)
    xy = rows.xy.astype(np.int32)
    side = patch_side(xy, None, None, patch_px_level0 or patches.side_px0, slide_mpp, remarks)
    return _converted(slide_id, rows.features, xy, None, side, slide_mpp, encoder or "legacy", remarks)


def level0_corners(
    coords: NDArray[np.float64], patches: PatchFile | None, slide_mpp: float | None, slide_id: str, remarks: list[str]
) -> NDArray[np.int32]:
    """Patch corners in level-0 pixels (n, 2); STAMP's µm need the slide's resolution."""
    if patches is not None:
        remarks += patches.remarks
    if patches is not None and patches.overlap_px:
        remarks.append(f"patches overlap by {patches.overlap_px} of {patches.patch_px} px")
    if patches is not None and patches.magnification:
        remarks.append(f"cut at {patches.magnification:g}x as its file says; that is a name, no resolution")
    if patches is None or patches.um_per_unit is None:
        return np.asarray(coords, np.int32)
    if slide_mpp is None:
        raise SlideError(
            "E_LEGACY_MISSING",
            "its coordinates are in µm, and the slide's resolution is not known",
            remedy=f"add to data/slides.csv (first line slide_id,mpp): {slide_id},<µm per pixel of level 0>",
        )
    remarks.append(f"coordinates in µm were divided by {slide_mpp:g} µm per pixel and rounded")
    return np.asarray(np.rint(coords * patches.um_per_unit / slide_mpp), np.int32)


def patch_side(
    xy: NDArray[np.int32],
    patches: PatchFile | None,
    documents: Sequence[Document] | None,
    given: int | None,
    slide_mpp: float | None,
    remarks: list[str],
) -> Side:
    """The patches' side: as given, else from the coordinate file, the segments, or the coordinates' smallest step."""
    stated = patches.patch_px_level0 if patches else None
    if patches and patches.side_um and slide_mpp:
        stated = round(patches.side_um / slide_mpp)
    if patches and patches.level > 0:
        remarks.append(f"patches were cut at pyramid level {patches.level}")
    if given is not None:
        if stated not in (None, given):
            remarks.append(f"patches are {given} level-0 pixels wide as given; their file says {stated}")
        return _side((patches and patches.patch_px) or given, given, remarks)
    if patches and stated:
        return _side(patches.patch_px or stated, stated, remarks)
    named = next((document.patch_px for document in documents or [] if document.patch_px), None)
    step = smallest_step(xy)
    if named:
        doubt = f"; the smallest step between patches is {step}" if step not in (None, named) else ""
        remarks.append(f"patches are taken as {named} level-0 pixels wide, from the segments file{doubt}")
        return Side(patch_px=named, level0_px=named)
    if step is None:
        raise SlideError(
            "E_LEGACY_MISSING",
            "nothing says how large the patches are",
            remedy="give the patch side (features_patch_px_level0 in params.yaml, or --patch-px-level0), or the "
            "folder of the coordinate files with --coords",
        )
    remarks.append(f"patches are taken as {step} level-0 pixels wide, the smallest step between them")
    return Side(patch_px=step, level0_px=step)


def _side(patch_px: int, level0_px: int, remarks: list[str]) -> Side:
    if patch_px > level0_px:
        remarks.append(
            f"finer than the slide: patches of {patch_px} px cover {level0_px} level-0 pixels, so the old run enlarged "
            "them; sammil extract refuses to (E_COARSE)"
        )
    return Side(patch_px=patch_px, level0_px=level0_px)


def _read_rows(
    source: Source, path: Path, encoder: str | None, remarks: list[str]
) -> tuple[Rows, bool, PatchFile | None]:
    """The rows, whether group rows were told by their count alone, and what the files say of the patches."""
    features, coords = read_features(path, remarks, encoder)
    if coords is None:
        if source.coords is None:
            raise SlideError(
                "E_LEGACY_MISSING",
                f"{path} holds features and no coordinates",
                remedy="name the folder of the coordinate files with --coords, or convert without them: --no-coords",
            )
        patches = read_patch_file(source.coords)
        rows, by_count = split(features, patches.coords, source.slide_id)
        return rows, by_count, patches
    rows, by_count = split(features, coords, source.slide_id)
    if source.coords is None or not source.coords.exists():
        return rows, by_count, read_patch_file(path) if path.suffix.lower() in H5_SUFFIXES else None
    patches = read_patch_file(source.coords)
    if not np.array_equal(patches.coords[(patches.coords != -1).any(axis=1)], rows.xy):
        raise mismatch(f"{source.coords} has other patches than {path}")
    return rows, by_count, patches


def _converted(
    slide_id: str,
    features: Floats,
    xy: NDArray[np.int32],
    groups: Grouping | None,
    side: Side,
    slide_mpp: float | None,
    encoder: str,
    remarks: list[str],
) -> Converted:
    if side.level0_px and (xy < 0).any():
        raise mismatch(f"{(xy < 0).any(axis=1).sum()} of {len(xy)} patches begin outside of {slide_id}, below 0")
    facts = EncoderFacts(
        name=encoder,
        weights_sha256=None,
        dim=features.shape[1],
        patch_px=side.patch_px,
        patch_mpp=slide_mpp * side.level0_px / side.patch_px if slide_mpp and side.patch_px > 0 else float("nan"),
        patch_px_level0=side.level0_px,
    )
    bag = without_regions(slide_id, features, xy, facts)
    if groups is not None:
        bag = replace(
            bag,
            region=groups.region,
            region_area=groups.area,
            region_area_um2=groups.area_um2,
            group_features=groups.features.astype(features.dtype),
            group_region=groups.group_region,
            members=groups.members,
        )
    return Converted(bag=bag, regions=None if groups is None else groups.regions, remarks=remarks)
