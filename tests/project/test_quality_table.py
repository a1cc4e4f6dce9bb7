"""The quality of a cohort: one row per slide, what is printed, and what stands out."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from csv_rows import by_slide

from sammil_cli import console
from sammil_cli.project.quality_table import report

Sammil = Callable[..., Any]


def fill(folder: Path, **changes: dict[str, Any]) -> Path:
    """Ten slides a..j much alike, but for the changes."""
    folder.mkdir(parents=True, exist_ok=True)
    for index, slide in enumerate("abcdefghij"):
        record = {
            "regions": 40 + index,
            "coverage": 0.95 + 0.001 * index,
            "contrast": 0.3,
            "contrast_of_squares": 0.2,
            "flags": [],
        }
        text = json.dumps({**record, **changes.get(slide, {})})
        (folder / f"{slide}.json").write_text(text, encoding="utf-8")
    return folder


def test_a_row_per_slide_with_numbers_and_flags(tmp_path: Path) -> None:
    flags = ["uncovered: 38% of the tissue; do this", "flat: as much; do that"]
    report("sam", fill(tmp_path / "regions", b={"flags": flags, "contrast": None}), tmp_path / "lists")
    rows = by_slide(tmp_path / "lists/sam_quality.csv")
    assert list(rows) == list("abcdefghij")
    assert rows["a"] == {
        "slide_id": "a",
        "regions": "40",
        "coverage": "0.95",
        "contrast": "0.3",
        "contrast_of_squares": "0.2",
        "flags": "",
    }
    assert (rows["b"]["flags"], rows["b"]["contrast"]) == ("uncovered;flat", "")


def test_it_prints_median_and_range_and_counts_flags(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flat = {"flags": ["flat: as much; do that"], "contrast": 0.1}
    report("sam", fill(tmp_path / "regions", **dict.fromkeys("cdefg", flat)), tmp_path / "lists")
    out = capsys.readouterr().out
    assert "44.5" in out  # the median of 40..49 regions
    assert "40.5 - 48.5" in out  # 40.45 and 48.55, between slides
    assert "0.1 - 0.3" in out
    assert "flat: 5 of 10 slide(s) (c, d, e and 2 more)" in out
    assert "regions follow the picture better than as many squares on 5 of 10 slide(s)" in out
    assert "outliers" not in out


def test_slides_far_from_the_cohort_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    changes = {"d": {"regions": 4}, "e": {"coverage": 0.2}, "f": {"regions": 90}}
    report("sam", fill(tmp_path / "regions", **changes), tmp_path / "lists")
    lines = [line.strip() for line in capsys.readouterr().out.splitlines() if "outliers" in line]
    assert lines == [
        "outliers in share of the tissue in any region (median 0.954): e 0.2",
        "outliers in regions (median 45): d 4, f 90",
    ]


def test_of_few_slides_none_is_an_outlier(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = fill(tmp_path / "regions", e={"coverage": 0.2})
    for slide in "fghij":
        (folder / f"{slide}.json").unlink()
    report("sam", folder, tmp_path / "lists")
    assert "outliers" not in capsys.readouterr().out


def test_it_says_nothing_where_stdout_is_for_programs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    console.set_up(as_json=True)
    try:
        report("sam", fill(tmp_path / "regions"), tmp_path / "lists")
    finally:
        console.set_up()
    assert capsys.readouterr() == ("", "")
    assert (tmp_path / "lists/sam_quality.csv").exists()


def test_without_records_there_is_no_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lists = tmp_path / "lists"
    report("sam", tmp_path / "nowhere", lists)
    report("sam", fill(tmp_path / "regions"), lists)
    for path in (tmp_path / "regions").iterdir():
        path.write_text('{"something": "else"}' if path.stem > "d" else "{cut off", encoding="utf-8")
    capsys.readouterr()
    report("sam", tmp_path / "regions", lists)
    said = capsys.readouterr().out.splitlines()
    assert len(said) == sum(path.stem <= "d" for path in (tmp_path / "regions").iterdir())
    assert all(line.startswith("left out of the table: ") and "is damaged" in line for line in said)
    assert list(lists.iterdir()) == []


def test_extract_writes_and_shows_the_quality_of_its_bags(done: Path, sammil: Sammil) -> None:
    answer = sammil("extract", "--workers", 1)
    assert answer.code == 0
    assert "extract: 6 reused" in answer.out
    assert "extract: quality of 6 slide(s)" in answer.out
    rows = by_slide(done / "artifacts/process_lists/extract_quality.csv")
    records = {path.stem: json.loads(path.read_text()) for path in (done / "artifacts/bags").glob("*.json")}
    assert set(rows) == set(records) == {f"slide_{index}" for index in range(6)}
    assert [int(rows[slide]["patches"]) for slide in rows] == [records[slide]["patches"] for slide in rows]
    assert all(record["patches"] > 0 and record["no_region"] == 0 for record in records.values())


def test_the_membership_rule_is_part_of_the_recipe_and_changes_bags(done: Path, sammil: Sammil) -> None:
    path = done / "artifacts/bags/slide_1.json"
    before = json.loads(path.read_text(encoding="utf-8"))
    answer = sammil("extract", "--only", "slide_1", "--workers", 1, "-S", "membership_rule=released")
    assert "extract: 1 done" in answer.out, answer
    after = json.loads(path.read_text(encoding="utf-8"))
    assert after["regions"] == before["regions"]
    assert after["regions_per_patch"] < before["regions_per_patch"]
    assert after["no_region"] > before["no_region"]
