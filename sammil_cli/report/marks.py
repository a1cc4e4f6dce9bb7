"""Marks on a slide's panels: scale bars, numbers and rings of patches, outlines of lesions and fields."""

from collections.abc import Sequence

import cv2
import numpy as np

from sammil_cli.report.scales import Values, round_length
from sammil_cli.report.sheet import INK, WHITE, Sheet, cased_line, width_of
from sammil_cli.report.slide_view import SlideView
from sammil_cli.slides.pixels import RGB

FOCUS_TIMES = 10.0  # patches from this times the mean on are ringed where they are small
LETTERS = "ABCDEFGHI"

_SMALL_PX, _RING_PX, _LOW_PX = 9, 11, 50
_BAR_SHARE = 0.28  # of a panel's width that a scale bar takes at most


def scale_bar(sheet: Sheet, place: RGB, corner: tuple[int, int], um_per_px: float) -> None:
    """A bar of a round length at the lower left of a panel, in µm, or mm from 1 mm on."""
    rows, columns = place.shape[:2]
    length_um = round_length(_BAR_SHARE * columns * um_per_px)
    end = 14 + round(length_um / um_per_px)
    for rim, colour in ((2, WHITE), (0, INK)):
        place[rows - 18 - rim : rows - 13 + rim, 14 - rim : end + rim] = colour
    text = f"{length_um / 1000:g} mm" if length_um >= 1000 else f"{length_um:g} µm"
    sheet.write(text, (corner[0] + (14 + end) / 2, corner[1] + rows - 23), 16, anchor="ms", halo=3)


def outline_lesions(place: RGB, rings: Sequence[Values], width: int = 1) -> None:
    """Known lesions: a dark line with a white rim."""
    for ring in rings:
        cased_line(place, ring, width=width)


def number_patches(sheet: Sheet, place: RGB, corner: tuple[int, int], view: SlideView) -> None:
    """The top patches, numbered: those that lie together with one label. Small ones are ringed, large ones squared."""
    if not view.top:
        return
    middles = view.xy[[one.index for one in view.top]] + view.side / 2
    for members in _together(middles, view.side):
        around = middles[members]
        low, high = around.min(axis=0) - view.side / 2, around.max(axis=0) + view.side / 2
        if view.side < _SMALL_PX:
            radius = max(_RING_PX, float(np.hypot(*(high - low)) / 2 + 4))
            low, high = (low + high) / 2 - radius, (low + high) / 2 + radius
            _ring(place, (low + high) / 2, radius)
        else:
            for middle in around:
                cased_line(place, middle + view.side / 2 * np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]))
        text = _numbers([number + 1 for number in members])
        fits = high[0] + 8 + width_of(text, 16, "-Bold") < place.shape[1]
        at = (corner[0] + float(high[0] + 5 if fits else low[0] - 5), corner[1] + float(low[1] + high[1]) / 2)
        sheet.write(text, at, 16, weight="-Bold", anchor="lm" if fits else "rm", halo=3)


def ring_foci(place: RGB, view: SlideView) -> None:
    """Rings around small patches of at least ten times the mean attention, so that the eye finds them."""
    if view.side >= _SMALL_PX:
        return
    most = [index for index in np.argsort(-view.attention)[:9].tolist() if view.times[index] >= FOCUS_TIMES]
    if not most:
        return
    middles = view.xy[most] + view.side / 2
    for members in _together(middles, view.side):
        low, high = middles[members].min(axis=0), middles[members].max(axis=0)
        _ring(place, (low + high) / 2, max(_RING_PX, float(np.hypot(*(high - low)) / 2 + view.side + 3)))


def letter_fields(sheet: Sheet, place: RGB, corner: tuple[int, int], view: SlideView) -> None:
    """The fields that are shown in detail, with their letters."""
    for letter, detail in zip(LETTERS, view.details, strict=False):
        left, top, width, height = detail.box
        box = np.array([[left, top], [left + width, top], [left + width, top + height], [left, top + height]])
        cased_line(place, np.clip(box, 1, np.array(place.shape[1::-1]) - 2), width=1)
        above = height < _LOW_PX and top > _LOW_PX / 2  # small fields are full of marks
        at = (corner[0] + max(left, 2) + 3, corner[1] + (top - 3 if above else max(top, 2) + 1))
        sheet.write(letter, at, 16, weight="-Bold", halo=3, anchor="ls" if above else "la")


def _ring(place: RGB, centre: Values, radius: float) -> None:
    middle = tuple(np.round(16 * centre).astype(int).tolist())
    for colour, wide in ((WHITE, 5), (INK, 2)):
        cv2.circle(place, middle, round(16 * radius), colour, wide, cv2.LINE_AA, 4)


def _together(middles: Values, side: float) -> list[list[int]]:
    """Places in groups: small ones whose rings would overlap, large ones that are neighbours."""
    reach = 3.0 * _RING_PX if side < _SMALL_PX else 1.6 * side
    groups: list[list[int]] = []
    for number, middle in enumerate(middles):
        near = [group for group in groups if np.hypot(*(middles[group] - middle).T).min() < reach]
        merged = [member for group in near for member in group] + [number]
        groups = [group for group in groups if group not in near] + [merged]
    return [sorted(group) for group in groups]


def _numbers(numbers: list[int]) -> str:
    """`1–3, 5`: numbers as ranges."""
    parts: list[list[int]] = []
    for number in numbers:
        if parts and number == parts[-1][-1] + 1:
            parts[-1].append(number)
        else:
            parts.append([number])
    return ", ".join(
        str(part[0]) if len(part) == 1 else f"{part[0]}{', ' if len(part) == 2 else '–'}{part[-1]}" for part in parts
    )
