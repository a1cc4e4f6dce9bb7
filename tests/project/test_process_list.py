"""What a per-slide command says in the end."""

from pathlib import Path

import pytest

from sammil_cli.project.process_list import Row, summarise


def refused(slide: str, code: str) -> Row:
    return Row(slide_id=slide, status="failed", code=code, message="why", remedy="how")


def test_what_ends_a_command_with_1_is_said_first_and_the_rest_is_counted_by_code(
    capsys: pytest.CaptureFixture[str],
) -> None:
    rows = [refused(f"s{number:03}", "E_OPEN" if number % 3 else "E_EMPTY") for number in range(60)]
    rows += [Row(slide_id="s900", status="done"), refused("s901", "E_CHANGED")]
    summarise("segment", rows, Path("out"), Path("list.csv"))
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "failed: s901  E_CHANGED  why"
    shown = [line.split()[1] for line in said if line.startswith("failed: ")]
    assert shown[1:] == [f"s{number:03}" for number in range(len(shown) - 1)]
    rest = 61 - len(shown)
    open_ones = sum(number % 3 > 0 for number in range(len(shown) - 1, 60))
    assert f"… and {rest} more: {open_ones} E_OPEN, {rest - open_ones} E_EMPTY" in said
    assert said[-1] == "segment: 1 done, 61 failed → out (list: list.csv)"
