"""docs/encoders.md is made of the rows."""

import re

from encoder_table import PAGE, SECONDS, rows, with_tables

from sammil_cli.storage.guarded_json import read_json


def test_the_tables_of_the_encoders_are_those_of_the_rows() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert with_tables(page) == page, "run: make project-files"
    assert len(re.findall(r"^\| `\w+` \| \[", page, re.MULTILINE)) == len(rows())


def test_seconds_are_of_encoders_that_are_there_and_of_a_processor_that_is_named() -> None:
    measured = read_json(SECONDS)
    assert set(measured) == {"processor", "seconds"}
    assert set(measured["seconds"]) <= {row.word for row in rows()} | {"resnet50", "texture"}
    assert bool(measured["seconds"]) == bool(measured["processor"])
