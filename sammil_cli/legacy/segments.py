"""SAM-MIL's `segments/<slide>.pkl`: a stream of documents, each the masks of one piece of tissue."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sammil_cli.errors import InputError
from sammil_cli.legacy.unpickler import read_pickles

_SAM_SIDE_PX = 1024  # the script halves the picture until no side is longer
_REMEDY = "segment the slide again with the published script, or with sammil sam"


@dataclass(frozen=True, kw_only=True)
class LegacyMask:
    """One SAM record: mask (h, w), area and box (x, y, width, height) in pixels of the picture that SAM saw."""

    mask: NDArray[np.bool_]
    area_px: int
    box: tuple[float, float, float, float]
    predicted_iou: float
    stability: float


@dataclass(frozen=True, kw_only=True)
class Document:
    """The masks of one picture that SAM saw.

    `number`: its place in the stream, the first is 0; `origin_px`: its level-0 corner x, y;
    `downsample`: level-0 pixels per pixel of the picture; `merged`: picture pixels per mask pixel, above 1 where an
    older version of the script shrank its masks; `patch_px`: patch side at the patch level, None where not said.
    """

    number: int
    origin_px: tuple[int, int]
    downsample: int
    merged: int
    patch_px: int | None
    masks: list[LegacyMask]
    remarks: list[str]


def read_segments(path: Path) -> list[Document]:
    """Reads every document of a segments pickle; documents without masks are left out.

    Raises:
        UnsafePickleError: the pickle asks for more than data; nothing was run.
        InputError: damaged, or not what the published script writes.
    """
    documents = []
    for number, content in enumerate(read_pickles(path)):
        try:
            if not isinstance(content, list) or not all(isinstance(part, dict) for part in content):
                raise ValueError("it is no list of an info record and masks")
            if len(content) > 1:
                documents.append(_document(number, content[0], content[1:]))
        except (KeyError, ValueError, TypeError, OverflowError) as error:
            reason = f"the key {error} is missing" if isinstance(error, KeyError) else str(error)
            raise InputError(f"{path}, document {number}: {reason}", remedy=_REMEDY) from None
    return documents


def _document(number: int, info: Mapping[str, Any], records: list[dict[str, Any]]) -> Document:
    masks = [_mask(record) for record in records]
    shapes = {mask.mask.shape for mask in masks}
    if len(shapes) > 1:
        raise ValueError(f"its masks have different sizes: {sorted(shapes)}")
    merged = int(info.get("patch_merge_scale", 1))
    ratio, vis_level = int(info["downsample_ratio"]), int(info["vis_level"])
    start = (int(info["start_x"]), int(info["start_y"]))
    stop = (int(info["stop_x"]), int(info["stop_y"]))
    if merged < 1 or ratio < 1 or vis_level < 0 or start[0] >= stop[0] or start[1] >= stop[1]:
        raise ValueError("its box or scale makes no sense")
    height, width = masks[0].mask.shape
    if not all(0 <= mask.area_px <= width * height * merged**2 for mask in masks):
        raise ValueError("a mask's area is larger than the picture")
    level = _level_downsample(vis_level, ratio, start, stop, (width, height), merged)
    remarks = []
    if vis_level > 0:
        remarks.append(
            f"the segments name pyramid level {vis_level} without its downsample; {level} fits the masks' size"
        )
        if level & (level - 1):
            remarks.append(
                f"a level downsample of {level} is unusual: the script cuts 3.99 down to 3, which shifts its masks; "
                "compare a heatmap of this slide with the slide"
            )
    if merged > 1:
        remarks.append(f"an older script stored its masks {merged} times smaller; areas are those before that")
    else:
        differ = sum(mask.area_px != mask.mask.sum() for mask in masks)
        if differ:
            remarks.append(f"{differ} masks have another area than their record says; the record's is kept")
    patch_px = info.get("patch_size")
    return Document(
        number=number,
        origin_px=start,
        downsample=level * ratio,
        merged=merged,
        patch_px=None if patch_px is None else int(patch_px),
        masks=masks,
        remarks=remarks,
    )


def _mask(record: Mapping[str, Any]) -> LegacyMask:
    mask = record["segmentation"]
    if not isinstance(mask, np.ndarray) or mask.ndim != 2 or mask.dtype != np.bool_ or not mask.size:
        raise ValueError("a segmentation is no picture of True and False")
    x, y, width, height = (float(value) for value in record["bbox"])
    return LegacyMask(
        mask=mask,
        area_px=int(record["area"]),
        box=(x, y, width, height),
        predicted_iou=float(record.get("predicted_iou", 1.0)),
        stability=float(record.get("stability_score", 1.0)),
    )


def _level_downsample(
    vis_level: int, ratio: int, start: tuple[int, int], stop: tuple[int, int], mask_size: tuple[int, int], merged: int
) -> int:
    """The whole-number downsample of the pyramid level, which the file does not hold: the one that fits its masks.

    The script shrinks the box by r = 2 ** ceil(log2(longer side / 1024)), as `ratio` = int(r / level downsample) of
    a pyramid level; so the level's downsample lies in (r / (ratio + 1), r / ratio], and the masks' size tells which.
    """
    if vis_level == 0:
        candidates = [1]
    else:
        side = max(high - low for low, high in zip(start, stop, strict=True))
        total = 2 ** math.ceil(max(math.log2(side / _SAM_SIDE_PX), 0))
        measured = round(side / (max(mask_size) * ratio * merged))
        candidates = [*range(total // ratio, total // (ratio + 1), -1), max(measured, 1)]

    def misfit(level: int) -> int:
        size = [(high // level - low // level) // ratio for low, high in zip(start, stop, strict=True)]
        return max(abs(-(-side // merged) - given) for side, given in zip(size, mask_size, strict=True))

    best = min(candidates, key=misfit)  # of equals the first, the one that divides r
    if misfit(best) > 1:
        raise ValueError(
            f"its masks have {mask_size[0]} x {mask_size[1]} pixels, which does not fit its box from {start} to {stop} "
            f"shrunk by {best * ratio * merged}"
        )
    return best
