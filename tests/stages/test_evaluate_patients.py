"""sammil evaluate per patient, on the made-up project of `judged_study`: two slides each, P0 to P5."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from csv_rows import rows_of
from judged_study import Study, make_study

from sammil_cli.cohort.cohort import Member
from sammil_cli.config import EvaluateSettings
from sammil_cli.errors import InputError
from sammil_cli.project.project import RunOptions
from sammil_cli.stages import evaluate
from sammil_cli.stages.patients import commonest_of_patients
from sammil_cli.storage.files import write_csv

pytestmark = pytest.mark.usefixtures("no_pictures")

PAIRS = [0, 0, 1, 1] * 3  # P0 normal, P1 tumour, P2 normal, …
#         P0        P1        P2        P3        P4        P5
SCORES = (0.1, 0.5, 0.4, 0.8, 0.2, 0.2, 0.1, 0.9, 0.6, 0.4, 0.3, 0.9)


def judged(
    folder: Path, monkeypatch: pytest.MonkeyPatch, *, labels: Sequence[int] = PAIRS, protocol: str = "honest"
) -> Study:
    """Fold 0 tests P0 and P1 and is validated by P2 and P3, folds 1 (P2, P3) and 2 (P4, P5) by P0 and P1."""
    study = make_study(folder, monkeypatch, labels=labels, temperature=1.0, protocol=protocol)
    for slide, score in zip(study.said, SCORES, strict=True):
        study.said[slide] = np.array([1 - score, score])
    return study


def patients(study: Study) -> list[dict[str, str]]:
    return rows_of(study.project.patient_predictions)


def test_means_are_judged_at_thresholds_of_validation_patients(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = judged(tmp_path, monkeypatch)
    summary = study.run()
    found, rows = summary["per_patient"], patients(study)
    assert json.loads(study.project.metrics.read_text(encoding="utf-8")) == summary
    # Means: P0 0.3, P1 0.6, P2 0.2, P3 0.5, P4 0.5, P5 0.6.
    assert [row["patient_id"] for row in rows] == [f"P{i}" for i in range(6)]
    assert [float(row["probability_tumour"]) for row in rows] == [0.3, 0.6, 0.2, 0.5, 0.5, 0.6]
    # Fold 0: midway between P2 and P3; folds 1 and 2: between P0 and P1.
    assert [float(row["threshold"]) for row in rows] == [0.35, 0.35, 0.45, 0.45, 0.45, 0.45]
    assert [row["predicted"] for row in rows] == ["normal", "tumour", "normal", "tumour", "tumour", "tumour"]
    assert {(row["slides"], row["role"], row["patient_rule"], row["protocol"]) for row in rows} == {
        ("2", "test", "mean", "honest")
    }
    assert found["accuracy"]["pooled"] == pytest.approx(5 / 6, abs=1e-6)
    assert found["auc"]["pooled"] == pytest.approx(8.5 / 9, abs=1e-6)  # P3 and P4 tie
    assert found["brier_calibrated"]["pooled"] == pytest.approx(
        2 * np.mean(np.square([0.3, 0.4, 0.2, 0.5, 0.5, 0.4])), abs=1e-6
    )
    assert [found[name] for name in ("patient_rule", "patients", "several_slides", "mixed_labels", "left_out")] == [
        *("mean", 6, 6, 0),
        0,
    ]
    others = {"patient_rule", "patients", "several_slides", "mixed_labels", "left_out", "folds", "folds_with_auc"}
    assert found.keys() - others <= summary.keys()  # the same names for the same numbers
    assert {"auc", "accuracy", "f1", "auc_delong", "brier", "ece_calibrated", "test_threshold", "baselines"} <= set(
        found
    )


def test_the_slide_most_probably_positive_speaks_for_the_patient(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = judged(tmp_path, monkeypatch)
    summary = study.run(patient_rule="max")
    rows = patients(study)
    assert [float(row["probability_tumour"]) for row in rows] == [0.5, 0.8, 0.2, 0.9, 0.6, 0.9]
    assert [float(row["threshold"]) for row in rows] == [0.55, 0.55, 0.65, 0.65, 0.65, 0.65]
    assert [row["predicted"] for row in rows] == ["normal", "tumour"] * 3
    assert summary["patient_rule"] == summary["per_patient"]["patient_rule"] == "max"
    assert (summary["per_patient"]["accuracy"]["pooled"], summary["per_patient"]["auc"]["pooled"]) == (1.0, 1.0)


def test_terminal_and_page_show_patients_beside_slides(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    study = judged(tmp_path, monkeypatch)
    study.run()
    said = " ".join(capsys.readouterr().out.split())
    page = study.project.page.read_text(encoding="utf-8")
    title = "Per patient (the mean of the slides): Out of fold, positive class: tumour"
    for text in (said, page):
        assert title in text
        assert "on the test patients (a published habit)" in text
        assert "per patient: n too small" in text
    assert "ROC per patient, positive class: tumour" in page
    assert "chosen on its validation patients" in page
    assert ">test patients</th>" in page
    assert ">threshold of patients</th>" in page
    assert "runs/predictions_patients.csv" in page


def test_the_published_protocol_stamps_patients_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = judged(tmp_path, monkeypatch, protocol="paper")
    summary = study.run()
    assert "test_threshold" not in summary["per_patient"]
    assert all("selected on test" in row["protocol"] for row in patients(study))
    page = study.project.page.read_text(encoding="utf-8")
    assert "chosen on its test patients" in page
    assert page.count("<table>") == 0  # each table is a stamped one


def test_baselines_are_judged_per_patient(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = judged(tmp_path, monkeypatch)
    found = study.run()["per_patient"]["baselines"]
    assert found["mean-pool"]["auc"]["pooled"] == 1.0  # the mean feature shows the class here
    assert found["majority"]["auc"]["pooled"] == 0.5
    assert found["majority"]["accuracy"]["pooled"] == 0.5


def test_majority_is_the_commonest_class_of_patients_and_not_of_slides() -> None:
    members = [
        Member(slide_id=f"s{place}", label=label, patient_id=name)
        for place, (name, label) in enumerate([("A", 1), ("A", 1), ("A", 1), ("B", 0), ("C", 0), ("D", 1), ("D", 0)])
    ]
    assert commonest_of_patients(members, 2, "mean") == 0  # A, B, C; four of seven slides are of 1
    assert commonest_of_patients(members[:5], 2, "max") == 0
    assert commonest_of_patients(members[-2:], 2, "mean") == 0  # nobody is left: a tie of slides


@pytest.mark.parametrize("rule", ["mean", "max"])
def test_patients_of_slides_with_different_labels_are_never_judged_in_silence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], rule: str
) -> None:
    study = judged(tmp_path, monkeypatch, labels=[0, 1, *PAIRS[2:]])
    found = study.run(patient_rule=rule)["per_patient"]
    said = {
        "mean": "per patient: 1 of 6 patients have slides of different labels and are left out, since a mean has no "
        "label for them (P0); patient_rule: max counts them as positive",
        "max": "per patient: 1 of 6 patients have slides of different labels and count as positive (P0)",
    }[rule]
    assert found["notice"].startswith(said)
    assert said in " ".join(capsys.readouterr().out.split())
    assert said in study.project.page.read_text(encoding="utf-8")
    assert (found["mixed_labels"], found["left_out"], found["patients"]) == ((1, 1, 5) if rule == "mean" else (1, 0, 6))
    rows = {row["patient_id"]: row["label"] for row in patients(study)}
    assert rows.get("P0") == (None if rule == "mean" else "tumour")


def test_where_no_patient_is_left_the_table_is_empty_and_a_note_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = make_study(tmp_path, monkeypatch)
    found = study.run()["per_patient"]
    assert (found["patients"], found["mixed_labels"]) == (0, 6)
    assert "no patient is left to be judged" in found["notice"]
    assert patients(study) == []
    assert "Per patient (" not in study.project.page.read_text(encoding="utf-8")


def test_one_slide_per_patient_has_the_numbers_of_the_slides(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    study = make_study(tmp_path, monkeypatch, repeats=2)  # there every slide is its own patient
    summary = study.run()
    assert summary["per_patient"] is None
    line = "every patient has one slide: per patient the numbers are those of the slides"
    assert line in " ".join(capsys.readouterr().out.split())
    page = study.project.page.read_text(encoding="utf-8")
    assert line in page
    assert "Per patient (" not in page
    slides = study.predictions()
    same = ("repeat", "fold", "label", "predicted", "threshold", "probability_tumour", "uncalibrated_tumour")
    for one, other in zip(patients(study), slides, strict=True):
        assert (one["patient_id"], *(one[name] for name in same)) == (
            other["patient_id"],
            *(other[name] for name in same),
        )


def test_three_classes_have_a_mean_and_no_max(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = make_study(tmp_path, monkeypatch, classes=("A", "B", "C"), labels=[0, 0, 1, 1, 2, 2] * 2)
    found = study.run()["per_patient"]
    assert {name: one["patients"] for name, one in found["per_class"].items()} == {"A": 2, "B": 2, "C": 2}
    assert ">patients</th>" in study.project.page.read_text(encoding="utf-8")
    assert {row["threshold"] for row in patients(study)} == {""}
    before = study.project.metrics.read_bytes()
    with pytest.raises(InputError, match="patient_rule: max is defined for two classes, and there are 3"):
        study.run(patient_rule="max")
    assert study.project.metrics.read_bytes() == before


def test_patients_whose_slides_lie_in_several_folds_are_left_out_and_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = judged(tmp_path, monkeypatch)
    rows = [tuple(row.values()) for row in rows_of(study.project.labels)]
    rows[4] = (rows[4][0], rows[4][1], "P0")  # a slide of fold 1 is found to be of a patient of fold 0
    write_csv(study.project.labels, ("slide_id", "label", "patient_id"), rows)
    settings = EvaluateSettings(bootstrap_draws=100)
    found = evaluate.run(study.project, settings, RunOptions(), changed_labels=True)["per_patient"]
    assert "1 of 6 patients have slides in several folds and are left out" in found["notice"]
    assert "(P0); train again: sammil train" in found["notice"]
    assert [row["patient_id"] for row in patients(study)] == ["P1", "P2", "P3", "P4", "P5"]


def test_out_of_fold_patients_are_those_of_the_table_and_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = judged(tmp_path, monkeypatch)
    slides, found = evaluate.out_of_fold_with_patients(study.project, "cpu", "mean")
    assert not study.project.patient_predictions.exists()
    study.run()
    rows = patients(study)
    assert found.patients == tuple(row["patient_id"] for row in rows)
    assert [study.classes[label] for label in found.predicted] == [row["predicted"] for row in rows]
    assert slides.slides == tuple(row["slide_id"] for row in study.predictions())
