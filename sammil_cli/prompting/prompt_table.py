"""A table of prompts on many slides."""

from pathlib import Path

from shapely import MultiPoint

from sammil_cli.choices import one_of
from sammil_cli.errors import InputError
from sammil_cli.prompting.asked import (
    CODE,
    Prompt,
    UnclearError,
    points_prompt,
    read_box,
    read_points,
    read_polygon,
    together,
)
from sammil_cli.storage.files import read_csv_lines

REQUIRED = ("slide_id", "kind", "coordinates")
OPTIONAL = ("negative", "name", "class")
KINDS = ("box", "points", "polygon")


def read_table(path: Path) -> dict[str, list[Prompt]]:
    """The prompts of a table by slide id, in its order; one row is one prompt.

    Columns `slide_id`, `kind` and `coordinates`, and any of `negative`, `name` and `class`. By kind the coordinates are
    `box`: `x y width height`; `points`: `x y; x y; …`, with `negative` for those outside; `polygon`: `x y; x y; …`.
    Numbers have a point before their decimals and blanks between them.

    Raises:
        InputError: `E_PROMPT`, a row is unclear, or a column unknown; see `storage.files.read_csv`.
    """
    rows = read_csv_lines(path, REQUIRED)
    known = (*REQUIRED, *OPTIONAL)
    if unknown := [name for name in (rows[0][1] if rows else ()) if name not in known]:
        what = f"the column {unknown[0]!r}" if unknown[0] else "a column without a name"
        raise InputError(f"{path} has {what}", remedy=f"a table of prompts has {', '.join(known)}", code=CODE)
    prompts: dict[str, list[Prompt]] = {}
    unclear = []
    for line, row in rows:
        where = f"{path}, line {line}"
        try:
            if not row["slide_id"]:
                raise UnclearError("it has no slide_id", "give the slide's file name without its suffix")
            prompts.setdefault(row["slide_id"], []).append(_prompt(row, where))
        except UnclearError as error:
            unclear.append((where, error))
    if unclear:
        message, remedy = together(unclear)
        raise InputError(message, remedy=remedy, code=CODE)
    if not prompts:
        raise InputError(f"{path} holds no prompts", remedy=f"write rows: {','.join(known)}", code=CODE)
    return prompts


def _prompt(row: dict[str, str], where: str) -> Prompt:
    kind, text, negative = row["kind"], row["coordinates"], row.get("negative", "")
    if kind not in KINDS:
        raise UnclearError(f"the kind {kind!r} is unknown", f"{one_of(kind, KINDS)}; one row has one kind")
    if "," in text + negative:
        raise UnclearError(
            f"{text if ',' in text else negative!r} has commas", "write blanks between numbers, points before decimals"
        )
    if negative and kind != "points":
        raise UnclearError(
            f"a {kind} with negative points is two kinds in one prompt", "leave negative empty, or use the kind points"
        )
    names = {"name": row.get("name", ""), "class_name": row.get("class", ""), "where": where}
    if kind == "box":
        return Prompt(shape=read_box(text, " "), **names)
    if kind == "polygon":
        return Prompt(shape=read_polygon(_points(text), " "), **names)
    outside = read_points(_points(negative), " ") if negative else MultiPoint()
    return points_prompt(read_points(_points(text), " ") if text else MultiPoint(), outside, **names)


def _points(text: str) -> list[str]:
    """Texts between semicolons; one behind the last point is no point more."""
    return text.strip().removesuffix(";").split(";")
