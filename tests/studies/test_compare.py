"""`sammil compare`: what it writes, what it says sets runs apart, and what it refuses."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from csv_rows import rows_of
from judged_cohorts import two_runs
from judged_files import write_patient_thresholds, write_run

from sammil_cli.report.comparison import METRICS
from sammil_cli.report.metrics import Predictions

Sammil = Callable[..., Any]
FIRST, SECOND = two_runs(60, seed=1, areas=(0.7, 0.95), repeats=3, most_slides=3)
ROOT = Path(__file__).parents[2]
QUICK = ("--draws", "100")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_run(tmp_path / "abmil", FIRST)
    return tmp_path


def record(folder: Path = Path("report/comparison")) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "comparison.json").read_text(encoding="utf-8"))
    return found


def test_it_writes_what_it_shows_per_slide_and_per_patient(here: Path, sammil: Sammil) -> None:
    write_run(here / "sam-mil", SECOND)
    answer = sammil("compare", "abmil", "sam-mil/runs", "--out", "both", *QUICK)
    assert answer.code == 0, answer
    assert "Minus abmil, per slide, positive class: tumour" in answer.out
    assert "Minus abmil, per patient" in answer.out
    found = record(Path("both"))
    assert (found["schema"], found["kind"], found["reference"], found["stamp"]) == (1, "comparison", "abmil", None)
    assert [(one["run"], one["unit"]) for one in found["comparisons"]] == [("sam-mil", "slide"), ("sam-mil", "patient")]
    slide, patient = found["comparisons"]
    assert set(slide["metrics"]) == set(METRICS)
    area = slide["metrics"]["auc"]
    assert area["difference"]["value"] == pytest.approx(area["run"]["value"] - area["reference"]["value"], abs=2e-6)
    assert (area["shown"], slide["metrics"]["brier"]["shown"]) == ("higher", "lower")
    assert (slide["retraining_known"], slide["repeats"], slide["other_seed"]) == (True, [3, 3], None)
    assert slide["delong"]["p"] < 0.05
    assert patient["patients"] == slide["patients"] == 60
    page = Path("both/comparison.md").read_text(encoding="utf-8")
    assert "| AUC | sam-mil |" in page
    ((name, *counts),) = (tuple(one.values()) for one in found["disagreements"])
    rows = rows_of(Path("both/slides.csv"))
    assert (name, len(rows)) == ("sam-mil", slide["slides"])
    assert sum(counts) == sum(row["called_reference"] != row["called_run"] for row in rows) > 0
    assert f"Where abmil and sam-mil disagree: {counts[0]} made wrong" in answer.out


def test_patients_are_called_at_the_thresholds_that_were_chosen_for_them(here: Path, sammil: Sammil) -> None:
    def accuracy(*words: str) -> tuple[float, list[str]]:
        answer = sammil("compare", "abmil", "sam-mil", "--draws", "100", *words)
        assert answer.code == 0, answer
        patient = next(one for one in record()["comparisons"] if one["unit"] == "patient")
        return patient["metrics"]["accuracy"]["run"]["value"], record()["notes"]

    project = write_run(here / "sam-mil", SECOND)
    at_slides, said = accuracy()
    assert sum("called at the thresholds of slides" in note for note in said) == 2
    for folder, rows in ((here / "abmil", FIRST), (project, SECOND)):
        write_patient_thresholds(folder, rows, threshold=0.999999)
    at_patients, said = accuracy()
    assert at_patients == pytest.approx(0.5) != at_slides  # nobody is called tumour, and half are
    assert not [note for note in said if "thresholds" in note]
    assert accuracy("--patient-rule", "max")[0] != pytest.approx(0.5)  # the thresholds are of another rule


def test_holm_counts_the_runs_and_the_other_seed_stands_beside_them(here: Path, sammil: Sammil) -> None:
    write_run(here / "sam-mil", SECOND)
    write_run(here / "third", two_runs(60, seed=1, areas=(0.7, 0.7), repeats=3, most_slides=3)[1])
    write_run(here / "again", SECOND)
    answer = sammil("compare", "abmil", "sam-mil", "third", "--other-seed", "again", *QUICK)
    assert answer.code == 0, answer
    first, second = (one for one in record()["comparisons"] if one["unit"] == "slide")
    ps = [one["metrics"]["auc"]["p"] for one in (first, second)]
    assert first["metrics"]["auc"]["p_holm"] == pytest.approx(2 * ps[0], abs=2e-6)
    assert first["other_seed"]["auc"]["value"] == first["metrics"]["auc"]["difference"]["value"]
    assert first["metrics"]["auc"]["shown"] == "no more than a seed"  # the same predictions as the other seed's


def changed(kind: str) -> Predictions:
    """The second run with something else than the first."""
    if kind == "cohort":
        return SECOND.rows(np.array([slide not in ("s0", "s1") for slide in SECOND.slides]))
    if kind == "labels":
        flipped = np.array([slide == "s3" for slide in SECOND.slides])
        return replace(SECOND, labels=np.where(flipped, 1 - SECOND.labels, SECOND.labels))
    if kind == "patients":
        joined = tuple("p1" if patient == "p0" else patient for patient in SECOND.patients)
        return replace(SECOND, patients=joined)
    if kind == "folds":
        return replace(SECOND, fold=(SECOND.fold + 1) % 5)
    if kind == "torn":
        return replace(SECOND, fold=np.where([slide == "s0" for slide in SECOND.slides], 4, SECOND.fold))
    if kind == "repeats":
        return SECOND.rows(SECOND.repeat == 0)
    if kind == "slides":
        return replace(SECOND, slides=tuple(f"t{name}" for name in SECOND.slides))
    return replace(SECOND, positive_class="normal")


@pytest.mark.parametrize(
    ("kind", "said", "units"),
    [
        ("cohort", "2 of 117 slides of abmil are left out: the other run does not judge them", 2),
        ("labels", "1 of 117 shared slides are left out: they have another label in other, such as 's3'", 2),
        ("patients", "other gives slides to other patients", 1),
        ("folds", "other has other folds", 2),
        ("repeats", "other has 1 repeats, the reference 3", 2),
        ("torn", "patient 'p0' has slides in several folds", 1),
        ("slides", "other and abmil share no slide", 2),
        ("positive", "the positive class of other is 'normal'", 2),
    ],
)
def test_it_says_what_sets_runs_apart_and_compares_what_is_left(
    here: Path, sammil: Sammil, kind: str, said: str, units: int
) -> None:
    assert len(set(FIRST.slides)) == 117
    write_run(here / "other", changed(kind))
    answer = sammil("compare", "abmil", "other", *QUICK)
    assert answer.code == 0, answer
    found = record()
    assert any(note.startswith(said) for note in found["notes"]), found["notes"]
    assert f"note: {said}" in answer.out
    assert said in Path("report/comparison/comparison.md").read_text(encoding="utf-8")
    assert len(found["comparisons"]) == units
    assert found["comparisons"][0]["paired"] == (kind != "slides")
    if kind == "repeats":
        assert found["comparisons"][0]["metrics"]["auc"]["shown"] == "open: needs repeats"


def test_classes_in_another_order_are_the_same_classes(here: Path, sammil: Sammil) -> None:
    turned = replace(
        FIRST, labels=1 - FIRST.labels, predicted=1 - FIRST.predicted, probabilities=FIRST.probabilities[:, ::-1]
    )
    write_run(here / "turned", turned, classes=("tumour", "normal"))
    assert sammil("compare", "abmil", "turned", *QUICK).code == 0
    metrics = record()["comparisons"][0]["metrics"]
    assert [one["difference"]["value"] for one in metrics.values()] == [0.0] * 5


def test_the_same_run_twice_is_said_to_be_that(here: Path, sammil: Sammil) -> None:
    answer = sammil("compare", "abmil", "abmil/runs", *QUICK)
    assert answer.code == 0, answer
    assert "hold the same run" in answer.out
    assert record()["comparisons"][0]["metrics"]["auc"]["shown"] == "the same run"


def test_the_published_protocol_keeps_its_stamp_and_is_not_ranked_with_an_honest_run(
    here: Path, sammil: Sammil
) -> None:
    write_run(here / "published", SECOND, protocol="paper: selected on test")
    answer = sammil("compare", "abmil", "published", *QUICK)
    assert answer.code == 0, answer
    found = record()
    assert found["stamp"] == "selected on test - not an estimate of generalisation"
    assert found["stamp"] in Path("report/comparison/comparison.md").read_text(encoding="utf-8")
    assert {one["shown"] for one in found["comparisons"][0]["metrics"].values()} == {"protocols differ"}


def test_three_classes_are_compared_without_delong(here: Path, sammil: Sammil) -> None:
    classes, labels = (
        ("a", "b", "c"),
        FIRST.labels + 2 * (np.arange(len(FIRST.labels)) % len(set(FIRST.slides)) % 3 == 2),
    )
    for name, run in (("one", FIRST), ("two", SECOND)):
        three = replace(
            run,
            labels=np.minimum(labels, 2),
            probabilities=np.column_stack([run.probabilities / 2, np.full(len(labels), 0.5)]),
            positive_class=None,
        )
        write_run(here / name, three, classes=classes)
    answer = sammil("compare", "one", "two", *QUICK)
    assert answer.code == 0, answer
    found = record()["comparisons"][0]
    assert found["delong"] is None
    assert found["metrics"]["auc"]["difference"]["low"] is not None


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("abmil",), "needs two runs or more"),
        (("abmil", "nowhere"), "nowhere does not exist"),
        (("abmil", "empty"), "holds no predictions.csv and no runs/predictions.csv"),
        (("abmil", "classes"), "classes judges the classes normal, cancer, abmil normal, tumour"),
        (("abmil", "flipped"), "has another label in one of them"),
        (("abmil", "damaged"), "do not add up to 1"),
        (("abmil", "twice"), "stands twice in repeat 0"),
        (("abmil", "lacking"), "repeat 1 does not judge 's0'"),
    ],
)
def test_what_cannot_be_compared_is_refused_with_the_fix(
    here: Path, sammil: Sammil, words: tuple[str, ...], said: str
) -> None:
    (here / "empty").mkdir()
    write_run(here / "classes", replace(SECOND, positive_class="cancer"), classes=("normal", "cancer"))
    write_run(here / "flipped", replace(SECOND, labels=1 - SECOND.labels))
    write_run(here / "damaged", replace(SECOND, probabilities=SECOND.probabilities / 2))
    first = SECOND.rows(SECOND.repeat == 0)
    write_run(here / "twice", replace(first, slides=("s1", *first.slides[1:])))
    gone = (SECOND.repeat == 1) & np.array([slide == "s0" for slide in SECOND.slides])
    write_run(here / "lacking", SECOND.rows(~gone))
    answer = sammil("compare", *words, *QUICK)
    assert answer.code == 2
    assert said in answer.err
    assert "fix: " in answer.err
    assert not (here / "report").exists()


def test_the_example_of_the_docs_is_what_the_command_prints(
    tmp_path: Path, sammil: Sammil, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (ROOT / "docs/compare.md").read_text(encoding="utf-8")
    example = page.split("## An example", 1)[1].split("```")[1].strip().splitlines()
    monkeypatch.chdir(Path(__file__).parent / "demo_runs")
    monkeypatch.setenv("COLUMNS", "80")
    answer = sammil("compare", "abmil", "sam-mil", "--other-seed", "abmil-other-seed", "--out", tmp_path)
    assert answer.code == 0, answer
    assert len(example) > 20
    assert [line.rstrip() for line in answer.out.splitlines()][: len(example)] == example
