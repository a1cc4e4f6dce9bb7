"""Masks that lie on different pictures, put on one canvas: a `RegionMap` of them all."""

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from sammil_cli.legacy.segments import Document
from sammil_cli.regions.region_map import Canvas, Proposal, RegionMap, build
from sammil_cli.regions.region_mask import RegionMask, bounding_box

_LARGEST_PX = 1 << 24  # 4096 x 4096: a mask of 16 MiB, of which one at a time is unpacked


def common_canvas(documents: list[Document], slide_mpp: float | None) -> tuple[Canvas, list[str]]:
    """The canvas that holds all documents, as fine as the finest of them.

    Small tissue far apart would make it huge; then it is halved until it fits, and a note says so.
    """
    finest = downsample = min(document.downsample for document in documents)
    corners = np.array([document.origin_px for document in documents])
    low = (int(corners[:, 0].min()), int(corners[:, 1].min()))
    while math.prod(_size_px(documents, low, downsample)) > _LARGEST_PX:
        downsample *= 2
    remarks = []
    if len({document.downsample for document in documents}) > 1:
        remarks.append(
            f"the {len(documents)} documents have different downsamples; masks are brought to one canvas at "
            f"{downsample} by nearest neighbour; eq. 7 keeps the areas of SAM's records"
        )
    if downsample > finest:
        remarks.append(f"a canvas for all documents at downsample {finest}, the finest, would be too large")
    if ((corners - low) % downsample).any():
        remarks.append("documents that start between canvas pixels are moved, by half a canvas pixel at most")
    canvas = Canvas(
        origin_px=low,
        downsample=float(downsample),
        size_px=_size_px(documents, low, downsample),
        mpp=float("nan") if slide_mpp is None else slide_mpp * downsample,
    )
    return canvas, remarks


def _size_px(documents: list[Document], low: tuple[int, int], downsample: int) -> tuple[int, int]:
    """Width and height of a canvas that begins at level-0 `low` and holds every document where it is placed."""
    width = height = 0
    for document in documents:
        x, y = _placed(document, low, downsample)
        rows, columns = document.masks[0].mask.shape
        zoom = document.downsample * document.merged / downsample
        width, height = max(width, x + math.ceil(columns * zoom)), max(height, y + math.ceil(rows * zoom))
    return width, height


def _placed(document: Document, low: tuple[int, int], downsample: float) -> tuple[int, int]:
    """Canvas position x, y of a document's corner, to the nearest pixel."""
    x, y = (round((start - begin) / downsample) for start, begin in zip(document.origin_px, low, strict=True))
    return x, y


def build_regions(slide_id: str, documents: list[Document], canvas: Canvas) -> RegionMap:
    """Packs the masks of all documents, in their order; empty masks are left out.

    Areas are those of SAM's records, in canvas pixels: shrunken masks have lost theirs.
    """
    proposals: list[Proposal] = []
    areas: list[int] = []
    for document in documents:
        x, y = _placed(document, canvas.origin_px, canvas.downsample)
        zoom = document.downsample * document.merged / canvas.downsample
        for legacy in document.masks:
            if not legacy.mask.any():
                continue
            # Only the part around the mask is unpacked: a canvas of several pieces of tissue is mostly empty.
            left, top, width, height = bounding_box(legacy.mask)
            part, dx, dy = _zoomed(legacy.mask[top : top + height, left : left + width], left, top, zoom)
            mask = RegionMask.of(part, (x + dx, y + dy))
            proposals.append(Proposal(mask=mask, predicted_iou=legacy.predicted_iou, stability=legacy.stability))
            areas.append(max(round(legacy.area_px * (document.downsample / canvas.downsample) ** 2), 1))
    return replace(build(slide_id, canvas, proposals), area_px=np.array(areas, np.int64))


def _zoomed(part: NDArray[np.bool_], left: int, top: int, zoom: float) -> tuple[NDArray[np.bool_], int, int]:
    """A mask's part at `left`, `top` of its picture, scaled by `zoom`: the part and its new corner.

    Enlarging takes the nearest pixel; shrinking keeps a canvas pixel that any of its pixels sets, so that none is lost.
    """
    height, width = part.shape
    if zoom == 1:
        return part, left, top
    if zoom < 1:
        rows, columns = np.nonzero(part)
        x = np.floor((columns + left + 0.5) * zoom).astype(int)
        y = np.floor((rows + top + 0.5) * zoom).astype(int)
        left, top = int(x.min()), int(y.min())
        small = np.zeros((y.max() - top + 1, x.max() - left + 1), bool)
        small[y - top, x - left] = True
        return small, left, top
    columns, new_left = _nearest(left, width, zoom)
    rows, new_top = _nearest(top, height, zoom)
    return part[np.ix_(rows, columns)], new_left, new_top


def _nearest(start: int, count: int, zoom: float) -> tuple[NDArray[np.int64], int]:
    """Which of `count` pixels from `start` on each enlarged pixel takes, by its centre; the first enlarged pixel."""
    pixels = np.arange(math.floor(start * zoom), math.ceil((start + count) * zoom))
    source = np.floor((pixels + 0.5) / zoom).astype(np.int64)
    inside = (source >= start) & (source < start + count)
    return source[inside] - start, int(pixels[inside][0])
