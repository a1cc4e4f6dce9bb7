"""`sammil train` looks at labels as `sammil check` does: it stops at check's errors and says check's warnings."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from encoded_project import SLIDES, make_project

Sammil = Callable[..., Any]


@pytest.fixture(scope="module")
def encoded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    settings = {"model": "mean", "folds": 3, "epochs": 1, "min_epochs": 0, "repeats": 1}
    return make_project(tmp_path_factory.mktemp("labels") / "project", settings)


@pytest.fixture
def labels(encoded: Path, monkeypatch: pytest.MonkeyPatch, inline_training: None) -> Path:
    monkeypatch.chdir(encoded)
    return Path("data/labels.csv")


def table(label: Callable[[int], str], head: str = "slide_id,label") -> str:
    return "\n".join([head, *(f"{slide},{label(number)}" for number, slide in enumerate(SLIDES)), ""])


WRONG = {
    "missing-label": table(lambda i: ("w", "x", "N/A")[i % 3]),
    "label-slip": table(lambda i: ("luad", "LUAD", "lusc")[i % 3]),
    "label-slip ": table(lambda i: ("0", "1", "0", "1.0")[i % 4]),
    "numbers": table(lambda i: f"{0.7 * i:.1f}"),
    "several-labels": table(lambda i: ("A", "B", "A|B")[i % 3]),
    "survival": table(lambda i: f"{3 * i},{i % 2}", "slide_id,OS_months,OS_status"),
    "columns": table(lambda i: "wx"[i % 2], "Sample,Group"),
    "second-header": "slide_id,label\n" + table(lambda i: "wx"[i % 2], "Sample,Group"),
    "look-alike": table(lambda i: "wx"[i % 2]) + "Slide_00,w\n",
    "near-id": table(lambda i: "wx"[i % 2]).replace("slide_03,", "slide_3,"),
    "nothing-fits": table(lambda i: "wx"[i % 2]).replace("\nslide_", "\ncase_a_"),
    "split-gap": table(lambda i: f"{'wx'[i % 2]},{'train' if i else ''}", "slide_id,label,split"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_training_ends_with_the_first_error_of_check_in_the_same_words(labels: Path, sammil: Sammil, kind: str) -> None:
    labels.write_text(WRONG[kind], encoding="utf-8")
    found = json.loads(sammil("check", "--json").out)["findings"]
    first = next(finding for finding in found if finding["severity"] == "error" and finding["kind"] != "small-class")
    assert first["kind"] == kind.strip()
    place = first["file"] if first["row"] is None else f"{first['file']}, row {first['row']}"
    answer = sammil("train")
    assert (answer.code, answer.out) == (2, "")
    assert answer.err == f"error: {place}: {first['message']}\n  fix: {first['fix']}\n"


def test_what_check_foresees_of_folds_training_says_too(labels: Path, sammil: Sammil) -> None:
    parts = ("train", "train", "train", "train", "val", "test")
    head = "slide_id,label,patient_id,split"
    labels.write_text(
        table(lambda i: f"{'wx'[i % 2] if i < 8 else 'w'},{'NA' if i < 2 else f'P{i}'},{parts[i // 2]}", head), "utf-8"
    )
    checked = json.loads(sammil("check", "--json").out)
    assert checked["errors"] == 0
    assert [finding["kind"] for finding in checked["findings"]] == ["no-patient", "no-class-in-val", "no-class-in-test"]
    answer = sammil("train")
    assert answer.code == 0
    said = " ".join(answer.err.split())
    for finding in checked["findings"]:
        assert f"{finding['message']} ({finding['fix']})" in said


def test_a_slide_that_was_set_aside_is_no_slip_of_another_one(labels: Path, sammil: Sammil) -> None:
    labels.write_text(WRONG["near-id"], encoding="utf-8")
    listed = Path("artifacts/process_lists/segment.csv")
    listed.parent.mkdir(parents=True)
    rows = [f"{slide},done" for slide in SLIDES] + ["slide_3,set-aside"]
    listed.write_text("\n".join(["slide_id,status", *rows, ""]), encoding="utf-8")
    answer = sammil("train", "-S", "folds=6")  # too many, said after the slides
    listed.unlink()
    said = " ".join(answer.err.split())
    assert "1 labelled slides have no bag and are left out: slide_3" in said
    assert "class 'x' has 5 patients; 6 folds need 6" in said
