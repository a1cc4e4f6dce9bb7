"""Remarks at the end of a command: which come first, what is counted, what is not said."""

from pathlib import Path

import pytest

from sammil_cli.project.process_list import Row, summarise
from sammil_cli.project.remark_summary import flags_in, remark_lines, worst_first

LISTING = Path("list.csv")


def border(*shares: int) -> dict[str, list[str]]:
    return {f"s{n}": [f"touches-border: {share}% of the outline"] for n, share in enumerate(shares)}


def test_what_is_lost_comes_first_then_doubts_then_notes() -> None:
    remarks = {
        "a": ["pen: 2% of the slide", "a plain sentence"],
        "b": ["pen: 1% of the slide"],
        "c": ["pen: 3% of the slide", "much-tissue: 95% of the scanned area"],
        "d": ["damaged: level 1 in places", "methods-disagree: 0.31 of both"],
        "e": ["methods-disagree: 0.11 of both"],
        "f": [],
    }
    assert remark_lines(remarks, 6, LISTING) == [
        "5 slide(s) with remarks (column remarks of list.csv)",
        "    d: damaged: level 1 in places",
        "    2 slides: methods-disagree (d: 0.31 of both; e: 0.11 of both)",
        "    c: much-tissue: 95% of the scanned area",
        "    3 slides: pen (a: 2% of the slide; b: 1% of the slide; …)",
    ]
    assert remark_lines({"a": ["a plain sentence"]}, 1, LISTING) == []


def test_many_kinds_are_named_in_the_end() -> None:
    kinds = ["pen", "grey", "levels", "pages", "fragmented", "damaged", "roi", "scenes"]
    *_, last = remark_lines({"a": [f"{kind}: x" for kind in kinds]}, 1, LISTING)
    assert last == "    … and roi, scenes"


@pytest.mark.parametrize(
    ("remarks", "slides", "said"),
    [
        (border(3, 4, 6), 8, False),  # as they were scanned
        (border(3, 4, 12), 8, True),  # a good part of a section may be missing
        (border(3), 8, True),  # one of many: unlike the others
        (border(3), 3, True),  # too few to say what is usual
    ],
)
def test_the_border_of_the_scan_is_said_where_it_matters(
    remarks: dict[str, list[str]], slides: int, said: bool
) -> None:
    assert any("touches-border" in line for line in remark_lines(remarks, slides, LISTING)) is said


def test_pages_show_flags_of_a_slide_and_the_worst_first() -> None:
    said = ["grid 1710 → tissue 868", "pen: 1% of the slide", "fragments: half of the regions", "damaged: level 1"]
    assert flags_in(said) == said[1:]
    doubt = "differs in which patches it has: no overlap"  # of predict itself
    (shown,) = worst_first({"a": [*flags_in(said), doubt, said[1]]}).values()
    assert shown == [said[3], said[2], doubt, said[1]]


@pytest.mark.parametrize(("remarks", "slides", "said"), [(border(3, 4, 6), 8, False), (border(3, 4, 12), 8, True)])
def test_pages_pass_over_the_border_of_the_scan_where_the_end_of_a_command_does(
    remarks: dict[str, list[str]], slides: int, said: bool
) -> None:
    others = {f"other {n}": ["pen: 1%"] for n in range(slides - len(remarks))}
    shown = worst_first({**remarks, **others})
    assert shown == {**(remarks if said else {slide: [] for slide in remarks}), **others}


def test_failures_come_before_slides_set_aside(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [
        Row(slide_id=name, status=status, code="E_X", message="why", remedy="how", remarks=())
        for name, status in (("a", "set-aside"), ("b", "failed"), ("c", "set-aside"))
    ]
    summarise("segment", rows, Path("out"), LISTING)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in lines if "E_X" in line] == ["b", "a", "c"]
