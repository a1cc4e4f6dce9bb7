"""How coarse a level is: level-0 pixels per pixel, from its sides, its resolution tags or, in doubt, its pixels.

Some converters pad levels to whole tiles, so that the ratio of the sides says too little; and a label, a macro picture
or a thumbnail may have the shape of a level. A level is taken without a look at its pixels where its sides allow one
power of two only, or its tags agree with its sides. Else its pixels are compared with those of the next finer level.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sammil_cli.slides.likeness import Likeness, ReadPage, Size

_APART = 1.1  # a level is coarser than the one before it by more
_SLIP = 0.002  # by which resolution tags are rounded, and a shape may differ from a square, 4:3, …
_MOST_PADDED = 16.0  # a level that is padded to more times its size is of no use
_SIDES = (*((p, q) for p in range(1, 6) for q in range(1, 6)), (16, 9), (9, 16))  # shapes that pictures share by chance
_LARGEST_UNIT_PX = 1024  # to which sides are filled up
_ALIKE = 0.6  # of the variance that the finer level explains: smaller copies have 0.9 and more, other pictures 0
_TIE = 0.02


@dataclass(frozen=True, kw_only=True)
class Page:
    """What a file says of a picture in it that may be a level."""

    size_px: Size
    tile_px: Size | None = None  # None = in strips, which nobody pads
    tagged: float | None = None  # the downsample by the resolution tags of both
    stated: float | None = None  # the downsample as another library has it
    known: bool = False  # that library does not guess it from the sides
    sure: bool = False  # nothing but a level can stand there
    marked: bool = False  # the file calls it a smaller copy, or stores it like one


@dataclass(frozen=True)
class Levels:
    """The pages that are levels, finest first, by their numbers; their downsamples; what the user should know."""

    numbers: tuple[int, ...]
    downsamples: tuple[float, ...]
    remarks: tuple[str, ...]


def settle(pages: Sequence[Page], read: ReadPage) -> Levels:
    """Chooses the levels among `pages`: level 0 first, then from large to small."""
    kept, padded, dropped = [(0, 1.0)], [], []
    for number, page in enumerate(pages[1:], 1):
        finer, finest = kept[-1], pages[0].size_px
        guesses, likely, certain = _guesses(finest, page)
        guesses = [guess for guess in guesses if guess > _APART * finer[1]]
        best = likely if likely in guesses else None
        if guesses and not certain:
            scores = Likeness(read, finest, (number, page.size_px), finer).scores(guesses)
            best = _most_alike(scores, guesses) if scores else best
        if best is not None:
            kept.append((number, best))
            if not page.known and not _contains(_plain(finest, page), best):
                padded.append((len(kept) - 1, best, ratio(finest, page.size_px)))
        elif (guesses or page.marked) and page.size_px != finest:  # a plane of a stack has the size of level 0
            dropped.append(page.size_px)
    remarks = [*_padded_remark(padded), *left_out(dropped)]
    return Levels(tuple(number for number, _ in kept), tuple(downsample for _, downsample in kept), tuple(remarks))


def _most_alike(scores: Mapping[float, float], guesses: Sequence[float]) -> float | None:
    """The downsample at which a page is most like the finer level, of equals the first; None where at none it is."""
    enough = max(_ALIKE, max(scores.values()) - _TIE)
    return next((guess for guess in guesses if scores.get(guess, 0.0) >= enough), None)


def left_out(sizes_px: Sequence[Size]) -> list[str]:
    """The remark on pages that are called levels, or have the shape of one, and are not used."""
    listed = ", ".join(f"{width} x {height}" for width, height in sizes_px)
    return [f"levels: left out, as no smaller copy of the slide: {listed} px"] if sizes_px else []


def _padded_remark(padded: Sequence[tuple[int, float, float]]) -> list[str]:
    if not padded:
        return []
    numbers = ", ".join(str(number) for number, _, _ in padded)
    found = ", ".join(f"1/{downsample:g}" for _, downsample, _ in padded)
    sides = ", ".join(f"1/{ratio:.3g}" for _, _, ratio in padded)
    return [f"levels: {numbers} padded to whole tiles, so read as {found} of level 0; their sides say {sides}"]


def fits(finest: Size, page: Page) -> bool:
    """Whether the sides allow a page to be a level below level 0, padded or not."""
    return any(guess > _APART for guess in _guesses(finest, page)[0])


def _guesses(finest: Size, page: Page) -> tuple[list[float], float | None, bool]:
    """What the downsample of a page may be, likely ones first; what to take where pixels show nothing; if that is sure.

    Where nothing but glass is seen no harm is done by a power of two that the sides agree with, or that is alone.
    """
    if page.known and page.stated is not None:
        return [page.stated], page.stated, True
    plain, padded = _plain(finest, page), _padded(finest, page)
    even = _even(finest, page, plain)
    if even is None and padded[0] >= padded[1]:
        return [], None, True
    tagged = None if page.tagged is None else _snapped(page.tagged)
    powers = [power for power in _powers(padded) if not _contains(plain, power)]
    if tagged is not None and _contains(padded, tagged) and not _contains(plain, tagged):
        return _distinct([tagged, *powers, even]), tagged, padded[1] < 2 * padded[0]
    if tagged is not None and even is not None and plain[0] * (1 - _SLIP) < tagged < plain[1] * (1 + _SLIP):
        return [even], even, True
    if even is not None and _contains(plain, _power(plain)):
        sure = not powers and tagged is None and (page.sure or not _common(finest))
        return _distinct([even, *powers, tagged]), even, sure
    guesses = _distinct([tagged, *powers, even])
    return guesses, powers[0] if guesses == powers and len(powers) == 1 else None, False


def _distinct(guesses: Sequence[float | None]) -> list[float]:
    return list(dict.fromkeys(guess for guess in guesses if guess is not None))


def ratio(finest: Size, size: Size) -> float:
    """As OpenSlide has it: the mean of both axes."""
    return (finest[0] / size[0] + finest[1] / size[1]) / 2


def _contains(interval: tuple[float, float], value: float) -> bool:
    return interval[0] < value < interval[1]


def _plain(finest: Size, page: Page) -> tuple[float, float]:
    """Between which the downsample lies, if sides are only rounded, up or down."""
    low = max(full / (side + 1) for full, side in zip(finest, page.size_px, strict=True))
    high = min(full / (side - 1) if side > 1 else math.inf for full, side in zip(finest, page.size_px, strict=True))
    return low, high


def _padded(finest: Size, page: Page) -> tuple[float, float]:
    """The same, if sides are filled up to whole tiles, or to 2, 4, … of them; an empty interval where they are not."""
    low = _plain(finest, page)[0]
    if page.tile_px is None or any(side % tile for side, tile in zip(page.size_px, page.tile_px, strict=True)):
        return low, low
    (width, height), (wide, high) = page.size_px, page.tile_px
    while max(wide, high) < _LARGEST_UNIT_PX and width % (2 * wide) == 0 and height % (2 * high) == 0:
        wide, high = 2 * wide, 2 * high
    sides = zip(finest, page.size_px, (wide, high), strict=True)
    return low, min(full / (side - unit) if side > unit else math.inf for full, side, unit in sides)


def _power(interval: tuple[float, float]) -> float:
    """The smallest power of two above the lower end."""
    return 2.0 ** (math.floor(math.log2(interval[0])) + 1)


def _powers(interval: tuple[float, float]) -> list[float]:
    first = _power(interval)
    several = (first * 2.0**more for more in range(int(math.log2(_MOST_PADDED)) + 1))
    return [power for power in several if _contains(interval, power) and power <= _MOST_PADDED * interval[0]]


def _even(finest: Size, page: Page, plain: tuple[float, float]) -> float | None:
    """The downsample of a page that is not padded; None where its sides have different ratios."""
    if plain[0] >= plain[1]:
        return None
    if page.stated is not None and _contains(plain, page.stated):
        return page.stated
    if _contains(plain, _power(plain)):
        return _power(plain)
    longer = finest.index(max(finest))
    return min(max(finest[longer] / page.size_px[longer], plain[0]), plain[1])


def _snapped(tagged: float) -> float:
    """A whole number where the tags mean one."""
    whole = max(1.0, float(round(tagged)))
    return whole if abs(tagged - whole) <= _SLIP * whole else tagged


def _common(finest: Size) -> bool:
    """Whether the shape is one that labels and cameras have, too: a square, 4:3, …"""
    return any(abs(finest[0] * q / (finest[1] * p) - 1) <= _SLIP for p, q in _SIDES)
