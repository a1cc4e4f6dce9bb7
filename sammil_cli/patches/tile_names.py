"""Where pre-cut tiles lie, by their names: read only where all names of a cohort say it in one and the same way.

Names are those of files without their suffix. Numbers of a name are level-0 pixels, or count the tiles of a grid. Which
of the two follows from all of them together: tiles hardly ever begin within a few pixels of one another, and counted
places always do; pixels of a grid have its step in common, and counted places have no such step.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from sammil_cli.errors import InputError, SlideError

Unit = Literal["pixels", "counted"]

NONE = "none"  # as `tiles_names`: the names say no places
_X, _Y = "(?P<x>[0-9]+)", "(?P<y>[0-9]+)"
_NO_LETTER = "(?<![A-Za-z])"
_PARTED = r"[_,;\- ]*"
_COLUMN, _ROW = rf"{_NO_LETTER}(?:column|col|c)[_= ]?{_X}", rf"{_NO_LETTER}(?:row|r)[_= ]?{_Y}"
_WORDS = {
    "x…, y…": rf"{_NO_LETTER}x[_= ]?{_X}{_PARTED}y[_= ]?{_Y}(?![0-9.])",
    "y…, x…": rf"{_NO_LETTER}y[_= ]?{_Y}{_PARTED}x[_= ]?{_X}(?![0-9.])",
    "row…, column…": rf"{_ROW}{_PARTED}{_COLUMN.replace(_NO_LETTER, '')}(?![0-9.])",
    "column…, row…": rf"{_COLUMN}{_PARTED}{_ROW.replace(_NO_LETTER, '')}(?![0-9.])",
    "(x,y)": rf"\({_X} ?[,_;] ?{_Y}\)",
}
_BARE = "two numbers at the end"  # after a sign that parts them from what is before, so never below 0 or with a point
_FORMS = {
    **{name: re.compile(form, re.IGNORECASE) for name, form in _WORDS.items()},
    _BARE: re.compile(rf"(?:^|(?<=[0-9A-Za-z)\]])[_ \-]){_X}[_, \-]{_Y}$"),
}
_BEFORE = re.compile(r"([0-9]+)[_, \-][0-9]+[_, \-][0-9]+$")
_MOST = 2**31 - 1
_NEAR_PX = 16  # two tiles never begin so near to one another; nor has a grid of counted places such a step
_MOST_COUNTED = 16_384  # tiles in a row: more than any slide has
_FIX = (
    "say it by tiles_names in params.yaml: a regular expression with the groups x and y (level-0 pixels), or column "
    "and row (counted); or none"
)


@dataclass(frozen=True, kw_only=True)
class Naming:
    """How the names of a cohort say where tiles lie.

    `form`: finds the groups `x` and `y`; None = they say no places. `unit`: what the numbers are. `said`: that, in a
    line for the user.
    """

    form: re.Pattern[str] | None
    unit: Unit
    said: str

    def places(self, names: Sequence[str]) -> NDArray[np.int64] | None:
        """Column and row (n, 2) as a slide's names say them, None where names say no places.

        Raises:
            SlideError: `E_TILES`, a name says none, or more than one, or a place beyond any slide; or two tiles have
                the same place.
        """
        if self.form is None:
            return None
        found = [_place(self.form, name) for name in names]
        for name, place in zip(names, found, strict=True):
            if place is None:
                raise SlideError("E_TILES", f"the name {name!r} does not say where the tile lies", remedy=_ONE_OUT)
            if max(place) > _MOST:
                raise SlideError("E_TILES", f"the tile {name!r} lies beyond any slide", remedy=_ONE_OUT)
        taken: dict[tuple[int, int], str] = {}
        for name, place in zip(names, found, strict=True):
            if place is not None and (other := taken.setdefault(place, name)) is not name:
                raise SlideError(
                    "E_TILES",
                    f"the tiles {other!r} and {name!r} have the same place, {place[0]}, {place[1]}",
                    remedy="keep one of the two; where they are of two slides, make a folder for each",
                )
        return np.array(found, np.int64)


_ONE_OUT = "take the file out of the folder, or rename it like the others; tiles_names in params.yaml reads other forms"


def naming_of(slides: Mapping[str, Sequence[str]], given: str | None) -> Naming:
    """How names say where tiles lie, settled by all tiles of all slides.

    Args:
        slides: names by slide id. given: the setting `tiles_names`.

    Raises:
        InputError: names can be read in two ways, or what is given is no regular expression with these groups.
    """
    if given is not None:
        return _given(given)
    names = [name for of_slide in slides.values() for name in of_slide]
    if not names:
        return _without("no slide has tiles that count")
    shares = {word: sum(1 for _ in _matching(form, names)) / len(names) for word, form in _FORMS.items()}
    usual = [word for word, share in shares.items() if share >= 0.5]  # a few are names that look alike by chance
    if not usual:
        some = ", ".join(f"{share:.0%} have {word}" for word, share in shares.items() if share)
        reason = f"{some}, the others do not" if some else "no two numbers in one form"
        return _without(f"names such as {names[0]!r} say no places ({reason})")
    if len(usual) > 1:
        example = next(name for name in _matching(_FORMS[usual[0]], names))
        raise _doubt(f"tiles such as {example!r} have two places in their names: {' and '.join(usual)}")
    form, places = _FORMS[usual[0]], _raw(slides, _FORMS[usual[0]])
    if usual[0] == _BARE:
        if any(_varies(_BEFORE, of_slide) for of_slide in slides.values()):
            raise _doubt(f"tiles such as {names[0]!r} end with three numbers, all of which vary")
        columns, rows = (any(len(np.unique(xy[:, axis])) > 1 for xy in places) for axis in (0, 1))
        if not (columns and rows):
            return _without(f"of the {_BARE} of names such as {names[0]!r} one is the same in all tiles of a slide")
    unit = _unit(places)
    if unit is None:
        raise _doubt(f"numbers of names such as {names[0]!r} may be level-0 pixels or may count the tiles of a grid")
    what = "level-0 pixels" if unit == "pixels" else "places counted on a grid"
    order = ", taken as column and row" if usual[0] == _BARE and unit == "counted" else ""
    return Naming(form=form, unit=unit, said=f"places come from the names ({usual[0]}{order}): {what}")


def _given(text: str) -> Naming:
    if text.strip().lower() == NONE:
        return _without("tiles_names: none")
    try:
        form = re.compile(text)
    except (re.error, RecursionError, OverflowError) as error:
        raise InputError(f"tiles_names {text!r} is no regular expression: {error}", remedy=_FIX) from None
    groups = frozenset(form.groupindex)
    if groups == {"x", "y"}:
        return Naming(form=form, unit="pixels", said="places come from the names by tiles_names: level-0 pixels")
    if groups == {"column", "row"}:
        said = "places come from the names by tiles_names: counted on a grid"
        return Naming(form=form, unit="counted", said=said)
    raise InputError(f"tiles_names {text!r} has not the groups x and y, nor column and row", remedy=_FIX)


def _without(reason: str) -> Naming:
    said = f"no places: {reason}; tiles_names in params.yaml says how to read them"
    return Naming(form=None, unit="pixels", said=said)


def _doubt(message: str) -> InputError:
    return InputError(message, remedy=_FIX)


def _matching(form: re.Pattern[str], names: Sequence[str]) -> Iterator[str]:
    return (name for name in names if form.search(name))


def _place(form: re.Pattern[str], name: str) -> tuple[int, int] | None:
    found = list(form.finditer(name))
    if len(found) != 1:
        return None
    words = found[0].groupdict()
    try:
        x, y = (words.get(one) if one in words else words[other] for one, other in (("x", "column"), ("y", "row")))
        return (_number(x), _number(y))
    except ValueError:
        return None


def _number(text: str | None) -> int:
    """A whole number from 0 on.

    Raises:
        ValueError: it is none.
    """
    if text is None or not re.fullmatch("[0-9]{1,18}", text):
        raise ValueError("no number")
    return int(text)


def _raw(slides: Mapping[str, Sequence[str]], form: re.Pattern[str]) -> list[NDArray[np.int64]]:
    """The places of each slide that has any, (n, 2)."""
    found = ([place for name in names if (place := _place(form, name))] for names in slides.values())
    return [np.array(places, np.int64) for places in found if places]


def _varies(form: re.Pattern[str], names: Sequence[str]) -> bool:
    return len({match[1] for name in names if (match := form.search(name))}) > 1


def _unit(places: Sequence[NDArray[np.int64]]) -> Unit | None:
    """What the numbers are; None where they may be either."""
    steps = [int(np.gcd.reduce((xy - xy[0]).ravel())) for xy in places]
    near = any(len(np.unique(xy // _NEAR_PX, axis=0)) < len(np.unique(xy, axis=0)) for xy in places)
    far = any(int(xy.max()) >= _MOST_COUNTED for xy in places)
    large_step = int(np.gcd.reduce(steps)) >= _NEAR_PX
    if near != (far or large_step):
        return "counted" if near else "pixels"
    return None
