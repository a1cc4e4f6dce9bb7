"""Broken and hostile files of every kind: what is said of each, by the table in `damage_table.py`.

Each is read in a process with limits. It ends with one of sammil's errors and a remedy, never a traceback, a hang or a
crash, and never by running what the file asks for.
"""

import ast
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, FrameType

import pytest
from damage_rows import Row
from damage_table import ROWS
from file_kinds import KINDS
from limited_reader import ANEW, DIFFERENT, REFUSED, LimitedReader, is_sound, make_anew

import sammil_cli

ENDS = {"anew": ANEW, "different": DIFFERENT}
ROOMS = ("storage", "slides", "tissue", "patches", "regions", "features", "legacy", "cohort", "training", "project")
# Reads a word of the command line; a part of a slide that is open; these open no file themselves: `load_state`, which
# is met, reads their weights.
PASSED_OVER = {"read_share", "read_field", "load_network", "load_encoder"}


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LimitedReader]:
    with LimitedReader(tmp_path_factory.mktemp("limited")) as reader:
        yield reader


def rows() -> list[object]:
    return [pytest.param(row, id=f"{row.kind}: {row.what}") for row in ROWS]


@pytest.mark.parametrize("row", rows())
def test_a_damaged_file_is_refused_with_a_remedy(row: Row, reader: LimitedReader) -> None:
    kind = KINDS[row.kind]
    row.damage(make_anew(kind, reader.file_of(kind)))
    first, *others = reader.read(kind)
    if row.code in ENDS:
        assert (first.end, first.message) == (ENDS[row.code], "")
    else:
        assert first.end == REFUSED, first
        assert first.code == row.code, first
        assert row.message in first.message
        assert first.remedy
    for answer in others:  # some see a part of the file only
        assert is_sound(kind, answer) or (row.is_sealed and answer.end == DIFFERENT), answer
    assert not (reader.file_of(kind).parent / "was-run").exists()
    assert not (reader.folder / "was-run").exists()


def test_every_kind_has_rows_and_a_good_file_of_each_reads(reader: LimitedReader) -> None:
    assert {row.kind for row in ROWS} | {"slide", "OME-TIFF", "picture"} == set(KINDS)
    for kind in KINDS.values():
        make_anew(kind, reader.file_of(kind))
        assert [(answer.end, answer.message) for answer in reader.read(kind)] == [("equal", "")] * len(kind.readers)


def public_readers() -> set[str]:
    """`room.module.function` of each public function that reads something, in the rooms that know files."""
    package = Path(sammil_cli.__file__).parent
    found = set()
    for path in (path for room in ROOMS for path in (package / room).rglob("*.py")):
        for part in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(part, ast.FunctionDef) and part.name.startswith(("read_", "load_", "parse_")):
                module = ".".join(path.relative_to(package.parent).with_suffix("").parts)
                found.add(f"{module}:{part.name}")
    return {name for name in found if name.partition(":")[2] not in PASSED_OVER}


def test_every_public_reader_is_met(tmp_path: Path) -> None:
    met: set[CodeType] = set()

    def profile(frame: FrameType, event: str, _: object) -> None:
        if event == "call":
            met.add(frame.f_code)

    for number, kind in enumerate(KINDS.values()):
        path = make_anew(kind, tmp_path / str(number) / kind.file)
        sys.setprofile(profile)
        try:
            for read in kind.readers:
                read(path)
        finally:
            sys.setprofile(None)
    wanted = public_readers()
    assert len(wanted) > 40
    missed = set()
    for name in wanted:
        module, _, function = name.partition(":")
        if getattr(importlib.import_module(module), function).__code__ not in met:
            missed.add(name)
    assert not missed, "a kind in file_kinds.py has to be read by these"
