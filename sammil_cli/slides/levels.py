"""How coarse a level is: level-0 pixels per pixel, from its sides, its resolution tags or, in doubt, its pixels.

Some converters pad levels to whole tiles, so that the ratio of the sides says too little; and a label, a macro picture
or a thumbnail may have the shape of a level. A level is taken without a look at its pixels where its sides allow one
power of two only, or its tags agree with its sides. Else its pixels are compared with those of the next finer level.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from sammil_cli.errors import SlideError
from sammil_cli.slides.pixels import RGB

Size = tuple[int, int]
# Pixels of a page: its number, x and y of the corner and width and height in its own pixels.
ReadPage = Callable[[int, Size, Size], RGB]

_APART = 1.1  # a level is coarser than the one before it by more
_SLIP = 0.002  # by which resolution tags are rounded
_MOST_PADDED = 16.0  # a level that is padded to more times its size is of no use
_SIDES = (*((p, q) for p in range(1, 6) for q in range(1, 6)), (16, 9), (9, 16))  # shapes that pictures share by chance
_CELL_PX = 4  # pixels are compared as means of cells: levels differ in sharpness, and by half a pixel
_WINDOW_PX, _LARGEST_READ_PX = 128, 2048
_GRID, _ENOUGH_WINDOWS = 8, 8
_CONTRAST = 4.0  # grey values; glass and padding have less
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
    marked: bool = False  # the file calls it a smaller copy


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
        guesses, certain = _guesses(finest, page)
        guesses = [guess for guess in guesses if guess > _APART * finer[1]]
        best = guesses[0] if certain and guesses else None
        if guesses and best is None:
            best = _Comparison(read, finest, (number, page.size_px), finer).best(guesses, page)
        if best is not None:
            kept.append((number, best))
            if not page.known and not _contains(_plain(finest, page), best):
                padded.append((len(kept) - 1, best, ratio(finest, page.size_px)))
        elif guesses or page.marked:
            dropped.append(page.size_px)
    remarks = [*_padded_remark(padded), *left_out(dropped)]
    return Levels(tuple(number for number, _ in kept), tuple(downsample for _, downsample in kept), tuple(remarks))


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
    """Whether the sides allow a page to be a level, padded or not."""
    return bool(_guesses(finest, page)[0])


def _guesses(finest: Size, page: Page) -> tuple[list[float], bool]:
    """The downsamples that a page may have, the likely ones first, and whether the first is certain."""
    if page.known and page.stated is not None:
        return [page.stated], True
    plain, padded = _plain(finest, page), _padded(finest, page)
    powers = [power for power in _powers(padded) if not _contains(plain, power)]
    even = _even(finest, page, plain)
    tagged = None if page.tagged is None else _snapped(page.tagged)
    if tagged is not None:
        near = (plain[0] * (1 - _SLIP), plain[1] * (1 + _SLIP))
        if _contains(padded, tagged) and not _contains(plain, tagged):
            return [tagged], True
        if even is not None and _contains(near, tagged):
            return [even], True
    if even is not None and not powers and _contains(plain, _power(plain)) and (page.sure or not _common(finest, page)):
        return [even], True
    whole = [float(n) for n in range(math.ceil(padded[0]), math.ceil(min(padded[1], padded[0] + _GRID)))]
    likely = [tagged if tagged is not None and tagged > padded[0] else None, *powers, even, *whole]
    return list(dict.fromkeys(guess for guess in likely if guess is not None)), False


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
    """The same, if sides are filled up to whole tiles; an empty interval, if they are no whole tiles."""
    low = _plain(finest, page)[0]
    if page.tile_px is None or any(side % tile for side, tile in zip(page.size_px, page.tile_px, strict=True)):
        return low, low
    sides = zip(finest, page.size_px, page.tile_px, strict=True)
    return low, min(full / (side - tile) if side > tile else math.inf for full, side, tile in sides)


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


def _common(finest: Size, page: Page) -> bool:
    """Whether the shape is one that labels and cameras have, too: a square, 4:3, …"""
    width, height = finest
    rounding = sum(1 / side for side in page.size_px)
    return any(abs(width * q / (height * p) - 1) <= rounding for p, q in _SIDES)


@dataclass(frozen=True)
class _Comparison:
    """The pixels of a page beside those of a level that is known: number and size, number and downsample."""

    read: ReadPage
    finest: Size
    page: tuple[int, Size]
    finer: tuple[int, float]

    def best(self, guesses: Sequence[float], page: Page) -> float | None:
        """The downsample at which the page shows what the finer level shows; None where it does at none of them.

        Where there is nothing but glass to see, the only guess is taken, or a power of two that the sides agree with.
        """
        reach = int(_LARGEST_READ_PX * self.finer[1] / max(guesses)) // _CELL_PX * _CELL_PX
        windows = self._windows(min(_WINDOW_PX, max(_CELL_PX * 4, reach)))
        scores = {guess: score for guess in guesses if (score := self._explained(windows, guess)) is not None}
        if scores:
            highest = max(scores.values())
            return next((g for g, s in scores.items() if s >= max(_ALIKE, highest - _TIE)), None)
        plain = _plain(self.finest, page)
        harmless = [guess for guess in guesses if _contains(plain, guess) and _contains(plain, _power(plain))]
        return guesses[0] if len(guesses) == 1 else next(iter(harmless), None)

    def _windows(self, side: int) -> list[tuple[int, int, NDArray[np.float32]]]:
        """Places all over the page that show something, in cells."""
        number, (width, height) = self.page
        size = (min(side, width // _CELL_PX * _CELL_PX), min(side, height // _CELL_PX * _CELL_PX))
        xs, ys = (
            np.linspace(0, full - part, _GRID).astype(int) for full, part in zip((width, height), size, strict=True)
        )
        places = sorted({(int(x), int(y)) for x in xs for y in ys})
        found: list[tuple[int, int, NDArray[np.float32]]] = []
        for index in np.random.default_rng(0).permutation(len(places)):
            x, y = places[index]
            cells = self._cells(number, (x, y), size, (size[0] // _CELL_PX, size[1] // _CELL_PX))
            if cells is not None and cells.std(axis=(0, 1)).max() >= _CONTRAST:
                found.append((x, y, cells))
            if len(found) == _ENOUGH_WINDOWS:
                break
        return found

    def _explained(self, windows: Sequence[tuple[int, int, NDArray[np.float32]]], downsample: float) -> float | None:
        """Share of the variance in the windows that the finer level explains, if the page is 1/`downsample`."""
        number, finer = self.finer
        scale = downsample / finer
        error = variance = 0.0
        for x, y, cells in windows:
            # Cells that lie on the slide; those that its edge cuts are left out, those beyond it are padding.
            ends = [(full / downsample - start) / _CELL_PX for full, start in zip(self.finest, (x, y), strict=True)]
            across, down = (
                max(0, min(int(end), n)) for end, n in zip(ends, (cells.shape[1], cells.shape[0]), strict=True)
            )
            if across and down:
                size = (max(1, round(across * _CELL_PX * scale)), max(1, round(down * _CELL_PX * scale)))
                seen = self._cells(number, (round(x * scale), round(y * scale)), size, (across, down))
                if seen is None:
                    continue
                error += float(np.square(cells[:down, :across] - seen).sum())
            beyond = np.ones(cells.shape[:2], bool)
            beyond[: math.ceil(max(0.0, ends[1])), : math.ceil(max(0.0, ends[0]))] = False
            if beyond.any():
                error += float(np.square(cells[beyond] - cells[beyond].mean(axis=0)).sum())
            variance += float(np.square(cells - cells.mean(axis=(0, 1))).sum())
        return 1 - error / variance if variance else None

    def _cells(self, number: int, xy: Size, size: Size, cells: Size) -> NDArray[np.float32] | None:
        if min(cells) < 1:
            return None
        try:
            image = self.read(number, xy, size)
        except SlideError:  # damaged there; whoever reads it will hear of it
            return None
        return np.asarray(cv2.resize(image, cells, interpolation=cv2.INTER_AREA), np.float32)
