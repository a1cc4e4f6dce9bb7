"""The slides that a user names: files, folders and a table, as one folder of links that the stages work on."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sammil_cli import console
from sammil_cli.errors import InputError, SlideError
from sammil_cli.project.process_list import Row, refusal
from sammil_cli.slides.conversion import UNSUPPORTED
from sammil_cli.slides.files import find_slides, formats_of, other_files, slide_id_of
from sammil_cli.slides.table import read_slides_table
from sammil_cli.stages.segment import OWN_SETTINGS
from sammil_cli.storage.files import read_csv_lines
from sammil_cli.storage.nearest_ids import did_you_mean
from sammil_cli.storage.paths import SlidePath, check_id

_NAMED_FOR = (".mrxs",)  # a folder beside the slide is called like it


@dataclass(frozen=True, kw_only=True)
class GivenSlides:
    """`paths`: by slide id. `patients`: of slides for which the table names one. `table`: None = none was given.

    `refused`: slides of the table whose file is not there.
    """

    paths: Mapping[str, SlidePath]
    patients: Mapping[str, str]
    table: Path | None
    refused: Sequence[Row] = ()


def gather(sources: Sequence[Path], out: Path) -> GivenSlides:
    """Lists the slides of files, folders (and below), and of at most one table (`.csv`).

    The table has `slide_id` and any of `path` (counted from the table's folder), `patient_id`, `mpp`, `scene` and the
    settings of segment, as data/slides.csv; a row without a path says something of a slide that is given besides.

    Args:
        out: where results will lie; no folder of slides may hold it.

    Raises:
        InputError: a source is not there, a folder without slides, or one that holds `out`; two slides with one id; a
            table that cannot be read.
    """
    tables = [source for source in sources if source.suffix.lower() == ".csv"]
    if len(tables) > 1:
        raise InputError(f"two tables are given: {tables[0]} and {tables[1]}", remedy="give one that lists all slides")
    paths: dict[str, SlidePath] = {}
    for source in sources:
        if source not in tables:
            for slide_id, path in _in_source(source, out):
                _add(paths, slide_id, path)
    table = tables[0] if tables else None
    patients, refused = _in_table(table, paths) if table else ({}, [])
    return GivenSlides(paths=paths, patients=patients, table=table, refused=refused)


def _in_source(source: Path, out: Path) -> Iterator[tuple[str, SlidePath]]:
    if not source.exists():
        raise InputError(
            f"{source} does not exist", remedy="give slides, a folder of slides, or a table: slide_id,path[,mpp]"
        )
    if not source.is_dir():
        yield slide_id_of(source), SlidePath(source)
        return
    if out.resolve().is_relative_to(source.resolve()):
        raise InputError(
            f"the results would lie among the slides: {out} is in {source}", remedy="give another folder: --out DIR"
        )
    found = find_slides(source)
    if found.ignored or found.unnameable:
        console.say(f"{source}: {found.inventory()}")
    yield from found.paths.items()


def _add(paths: dict[str, SlidePath], slide_id: str, path: SlidePath) -> None:
    known = paths.setdefault(slide_id, path)
    if known == path:
        return
    if known.resolve() == path.resolve():
        console.say(f"{path} is given twice, and judged once")
        return
    raise InputError(
        f"two slides have the id {slide_id!r}: {known} and {path}",
        remedy="rename one, or give a table with an id for each: slide_id,path",
    )


def _in_table(table: Path, paths: dict[str, SlidePath]) -> tuple[dict[str, str], list[Row]]:
    """Adds the slides of a table; returns patients, and rows of slides that are not there."""
    read_slides_table(table, OWN_SETTINGS)  # refuses what the stages would refuse
    patients, refused, others = dict[str, str](), list[Row](), set[str]()
    for line, row in read_csv_lines(table, ("slide_id",)):
        slide_id = row["slide_id"]
        check_id(slide_id, table)
        if row.get("patient_id"):
            patients[slide_id] = row["patient_id"]
        if not row.get("path"):
            others.add(slide_id)
        elif not (path := table.parent / row["path"]).is_file():
            fix = f"correct {table}, line {line}: paths count from the folder of the table"
            refused.append(refusal(slide_id, SlideError("E_OPEN", f"{path} is no file", remedy=fix)))
        else:
            _add(paths, slide_id, SlidePath(path))
    for slide_id in sorted(others - paths.keys()) if paths else ():
        console.say(f"{table}: slide {slide_id!r} has no path and is not given; {did_you_mean(slide_id, paths)}")
    return patients, refused


def link(given: GivenSlides, folder: Path) -> list[Row]:
    """Makes `folder` a folder of links to the slides, each in a folder of its own, called by its id.

    Returns:
        The rows of files that are no slides.
    """
    wanted = {link: target for slide_id, path in given.paths.items() for link, target in _links(folder, slide_id, path)}
    for there in [path for path in folder.rglob("*") if path.is_symlink()]:
        if wanted.get(there) != there.readlink():
            there.unlink()
    for emptied in sorted((path for path in folder.rglob("*") if path.is_dir()), reverse=True):
        with contextlib.suppress(OSError):  # it still holds links
            emptied.rmdir()
    for place, target in wanted.items():
        if not place.is_symlink():
            place.parent.mkdir(parents=True, exist_ok=True)
            place.symlink_to(target)
    try:
        found = find_slides(folder).ids
    except InputError:  # not one of them is a slide; each says so
        found = set()
    return [refusal(slide_id, _no_slide(path)) for slide_id, path in given.paths.items() if slide_id not in found]


def _links(folder: Path, slide_id: str, path: SlidePath) -> Iterator[tuple[Path, Path]]:
    """The links of a slide and of the files that belong to it, with what each leads to."""
    others, own = other_files(path), folder / slide_id
    named = others and path.suffix.lower() == ".dcm"  # a series is called like its folder
    yield own / (path.name if named else f"{slide_id}{path.suffix}"), path.absolute()
    for file in others:
        place = file.relative_to(path.parent)
        if path.suffix.lower() in _NAMED_FOR:
            place = Path(slide_id, *place.parts[1:])
        yield own / place, file.absolute()


def _no_slide(path: Path) -> SlideError:
    suffix = path.suffix.lower()
    if not formats_of(path):
        fix = UNSUPPORTED.get(suffix, "convert it to a pyramidal tiled TIFF")
        return SlideError("E_OPEN", f"no format reads a {suffix or 'file without a suffix'}: {path}", remedy=fix)
    return SlideError(
        "E_OPEN",
        f"{path} is taken for a picture of another slide, whose name it begins with, or for a part of one",
        remedy="give it another id in a table: slide_id,path",
    )
