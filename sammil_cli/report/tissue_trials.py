"""One slide's tissue under many settings: masks, how far they agree, and the settings ranked over slides."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import mean, median, stdev

import cv2
import numpy as np
from numpy.typing import NDArray

from sammil_cli.errors import SlideError
from sammil_cli.slides.pixels import RGB
from sammil_cli.tissue.flags import MUCH, flags, iou, is_flagged, mask_iou, tissue_share
from sammil_cli.tissue.mask import TissueMask
from sammil_cli.tissue.overlay import draw_outlines
from sammil_cli.tissue.segment import Picture, find_tissue
from sammil_cli.tissue.spec import TissueSpec

_CELL_PX = 260  # longest side of a slide on the sheet
_VEIL = (110, 130, 165)  # laid over what is no tissue
_CANVAS_PX = 512  # longest side of the canvas on which the settings vote
_DEGENERATE = 0.25  # of the slides all tissue or none: such a setting tells nothing apart
_MEANT_IOU = 0.5  # with a drawing: from here on all tissue, or little, is what the person saw, too


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One slide under one setting.

    `agreement` is the intersection over union with what most settings call tissue; `edit_iou` that with the polygons
    that a person drew, None without any.
    """

    slide_id: str
    setting: str
    picture: RGB  # (h, w, 3), outlined
    tissue_share: float
    pieces: int
    area_um2: float
    agreement: float
    edit_iou: float | None
    remarks: tuple[str, ...]

    @property
    def doubtful(self) -> bool:
        """Whether nothing was found, or the mask is flagged."""
        return self.pieces == 0 or is_flagged(self.remarks)

    @property
    def all_or_none(self) -> bool:
        """Whether everything is called tissue, or nothing, and no drawing agrees."""
        return (self.pieces == 0 or self.tissue_share > MUCH) and (self.edit_iou or 0.0) < _MEANT_IOU


def try_specs(
    pictures: Mapping[float, Picture], specs: Mapping[str, TissueSpec], drawn: TissueMask | None
) -> list[Trial]:
    """Finds the tissue of one slide under each setting.

    Args:
        pictures: the slide's thumbnails by their µm per pixel, one for each `mpp` of the specs.
        specs: by the setting's name.
        drawn: what a person drew, to compare with.
    """
    masks: dict[str, TissueMask | None] = {}
    for name, spec in specs.items():
        try:
            masks[name] = find_tissue(pictures[spec.mpp], spec)
        except SlideError:
            masks[name] = None
    votes = _painted(masks)
    most = np.mean(list(votes.values()), axis=0) > 0.5
    return [
        _trial(pictures[spec.mpp], name, masks[name], spec, drawn, iou(votes[name], most))
        for name, spec in specs.items()
    ]


def _painted(masks: Mapping[str, TissueMask | None]) -> dict[str, NDArray[np.bool_]]:
    known = next((mask for mask in masks.values() if mask is not None), None)
    if known is None:
        return {name: np.zeros((1, 1), np.bool_) for name in masks}
    width, height = known.slide_size_px
    downsample = max(1.0, max(width, height) / _CANVAS_PX)
    shape = (max(1, round(height / downsample)), max(1, round(width / downsample)))
    empty = np.zeros(shape, np.bool_)
    return {name: empty if mask is None else mask.raster((0, 0), downsample, shape) for name, mask in masks.items()}


def _trial(
    picture: Picture, name: str, mask: TissueMask | None, spec: TissueSpec, drawn: TissueMask | None, agreement: float
) -> Trial:
    nothing = Trial(
        slide_id=picture.slide_id,
        setting=name,
        picture=_shown(picture, mask),
        tissue_share=0.0,
        pieces=0,
        area_um2=0.0,
        agreement=agreement,
        edit_iou=None if drawn is None else 0.0,
        remarks=("no tissue",),
    )
    if mask is None:
        return nothing
    return replace(
        nothing,
        tissue_share=tissue_share(mask),
        pieces=len(mask.polygons.geoms),
        area_um2=mask.area_um2,
        edit_iou=None if drawn is None else mask_iou(mask, drawn),
        remarks=tuple(flags(picture, mask, spec)),
    )


def _shown(picture: Picture, mask: TissueMask | None) -> RGB:
    """The scanned area, small, with the outline."""
    x, y, width, height = picture.bounds_px
    width_px = picture.slide_size_px[0]
    scale = min(1.0, _CELL_PX / max(width, height))
    whole = [max(1, round(side * scale)) for side in picture.slide_size_px]
    small = np.asarray(cv2.resize(picture.thumbnail, whole, interpolation=cv2.INTER_AREA), np.uint8)
    if mask is not None:
        tissue = mask.raster((0, 0), width_px / small.shape[1], small.shape[:2])
        veiled = small * 0.5 + np.array(_VEIL) * 0.5
        small = draw_outlines(np.where(tissue[..., None], small, veiled).astype(np.uint8), mask, 1)
    left, top = round(x * scale), round(y * scale)
    return small[top : top + max(1, round(height * scale)), left : left + max(1, round(width * scale))]


@dataclass(frozen=True, kw_only=True)
class Rank:
    """A setting over all slides."""

    setting: str
    slides: int
    edits: int  # slides with a drawing
    edit_iou: float | None  # mean over those
    edit_iou_sd: float | None  # their standard deviation, from two on
    all_or_none: int  # slides that are called all tissue or none
    degenerate: bool
    doubtful: int  # slides where nothing was found or the mask is flagged
    agreement: float  # mean
    tissue_share: float  # mean
    least_share: float
    largest_share: float
    pieces: float  # median


def rank(trials: Sequence[Trial]) -> list[Rank]:
    """The settings, the best first: by the drawings where there are any, then by doubtful slides, then by agreement.

    Settings that call a quarter of the slides or more all tissue or none, and more of them than another setting does,
    are degenerate and come last, however well they fit a drawing. Agreement is what the settings have in common, no
    truth: look at the sheet.
    """
    by_setting: dict[str, list[Trial]] = {}
    for trial in trials:
        by_setting.setdefault(trial.setting, []).append(trial)
    least = min((sum(trial.all_or_none for trial in group) for group in by_setting.values()), default=0)
    ranks = []
    for setting, group in by_setting.items():
        drawn = [trial.edit_iou for trial in group if trial.edit_iou is not None]
        shares = [trial.tissue_share for trial in group]
        extreme = sum(trial.all_or_none for trial in group)
        ranks.append(
            Rank(
                setting=setting,
                slides=len(group),
                edits=len(drawn),
                edit_iou=mean(drawn) if drawn else None,
                edit_iou_sd=stdev(drawn) if len(drawn) > 1 else None,
                all_or_none=extreme,
                degenerate=extreme > least and extreme >= _DEGENERATE * len(group),
                doubtful=sum(trial.doubtful for trial in group),
                agreement=mean(trial.agreement for trial in group),
                tissue_share=mean(shares),
                least_share=min(shares),
                largest_share=max(shares),
                pieces=median(trial.pieces for trial in group),
            )
        )
    return sorted(ranks, key=lambda one: (one.degenerate, -(one.edit_iou or 0.0), one.doubtful, -one.agreement))
