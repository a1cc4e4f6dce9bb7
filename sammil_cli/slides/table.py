"""`data/slides.csv`: what the user says about single slides, which wins over the file and over params.yaml."""

import difflib
import math
import os
import re
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

from sammil_cli.errors import InputError
from sammil_cli.storage.files import read_csv_lines

SCENE_FIX = "give the number that sammil inspect names, or leave the cell empty"
_LOOKS_ALIKE = 0.85  # difflib's ratio from which on a column is taken for a misspelt one


@dataclass(frozen=True)
class SlideEntry:
    """A slide's row: µm per level-0 pixel (None = the file's own), which of several scenes (None = the largest), and
    settings of this slide as text, by column."""

    mpp: float | None = None
    scene: int | None = None
    overrides: dict[str, str] = field(default_factory=dict)


def read_slides_table(table: Path, columns: Collection[str] = ()) -> dict[str, SlideEntry]:
    """The rows of `data/slides.csv` by slide id; empty where there is no such file.

    The table has `slide_id` and any of `mpp`, `scene` and `columns`; an empty cell overrides nothing. Other columns
    are the user's own and passed over.

    Raises:
        InputError: a column that is nearly one of the known ones, a slide listed twice, an mpp that is no positive
            number, a scene that is no whole one; the message names the place.
    """
    if not os.path.lexists(table):  # a link in a circle is no missing table
        return {}
    rows = read_csv_lines(table, ("slide_id",))
    known = ["slide_id", "mpp", "scene", *columns]
    for name in rows[0][1] if rows else ():
        _refuse_misspelt(name, known, table)
    entries: dict[str, SlideEntry] = {}
    lines: dict[str, int] = {}
    for line, row in rows:
        slide_id = row["slide_id"]
        if not slide_id:
            raise InputError(f"{table}, line {line} has no slide_id", remedy="give the file's name without its suffix")
        if slide_id in lines:
            raise InputError(
                f"{table} lists the slide {slide_id!r} twice: lines {lines[slide_id]} and {line}",
                remedy="keep one of the lines",
            )
        lines[slide_id] = line
        mpp = _read_mpp(row["mpp"], table, line) if row.get("mpp") else None
        scene = _read_scene(row["scene"], table, line) if row.get("scene") else None
        overrides = {name: row[name] for name in columns if row.get(name)}
        entries[slide_id] = SlideEntry(mpp=mpp, scene=scene, overrides=overrides)
    return entries


def _refuse_misspelt(name: str, known: list[str], table: Path) -> None:
    if name in known or not name:
        return
    # One wrong letter is enough of a difference in a short name: mmp for mpp.
    cutoff = min(_LOOKS_ALIKE, 1 - 1.01 / max(2, len(name)))
    if near := difflib.get_close_matches(name.lower(), known, 1, cutoff):
        raise InputError(
            f"{table} has the column {name!r}",
            remedy=f"did you mean {near[0]}? If it is a column of your own, give it a name less alike",
        )


def _read_mpp(text: str, table: Path, line: int) -> float:
    try:
        mpp = float(text)
    except ValueError:
        mpp = 0.0
    if not 0 < mpp < math.inf:
        raise InputError(f"{table}, line {line}: mpp {text!r} is no positive number", remedy="give µm per pixel")
    return mpp


def _read_scene(text: str, table: Path, line: int) -> int:
    if not is_scene(text):
        raise InputError(f"{table}, line {line}: scene {text!r} is no whole number from 1 on", remedy=SCENE_FIX)
    return int(text)


def is_scene(text: str) -> bool:
    """Whether a cell gives a scene: 1, 2, …"""
    return re.fullmatch(r"0*[1-9][0-9]{0,8}", text) is not None
