"""The thresholds of models for patients are those of `sammil evaluate`, in a run, a bundle and in `predict`."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from csv_rows import rows_of
from judged_study import Study, make_study

from sammil_cli.bundles import ensemble
from sammil_cli.bundles.ensemble import read_trained
from sammil_cli.bundles.models import open_models
from sammil_cli.bundles.patient_thresholds import together
from sammil_cli.bundles.screen import screen
from sammil_cli.project.project import RunOptions
from sammil_cli.report.per_patient import PatientRule
from sammil_cli.runner.inputs import Unchanged
from sammil_cli.stages import bundle, predict_slides
from sammil_cli.stages.judged_folds import judge, thresholds_of
from sammil_cli.training.manifest import write_manifest

PAIRS = [0, 0, 1, 1] * 3  # two slides for each of P0 to P5


@pytest.fixture(autouse=True)
def _own_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


def made(folder: Path, monkeypatch: pytest.MonkeyPatch, **how: Any) -> Study:
    study = make_study(folder, monkeypatch, labels=PAIRS, **{"keeps_validation": True, **how})
    monkeypatch.setattr(ensemble, "predict", lambda model, load, wanted: np.stack([study.said[one] for one in wanted]))
    return study


def predicted(study: Study, model: Path, rule: PatientRule) -> list[dict[str, str]]:
    """The table of patients that `sammil predict` writes of the study's own slides."""
    out = study.project.labels.parent / "out"
    asked = predict_slides.Asked(model=model, slides=[study.project.labels], bags=study.project.bags)
    wanted = predict_slides.Wanted(out=out, pictures=False, rule=rule)
    predict_slides.run(asked, wanted, dict.fromkeys(("predict", "visualize"), RunOptions()), lambda _: {})
    return rows_of(out / "predictions_patients.csv")


@pytest.mark.parametrize(
    ("rule", "how"),
    [
        ("mean", {}),
        ("max", {}),
        ("mean", {"decision": "sensitivity", "decision_target": 0.9}),
        ("mean", {"protocol": "paper"}),
        ("max", {"decision": "fixed", "decision_target": 0.45, "keeps_validation": False}),
    ],
)
def test_predict_and_evaluate_decide_a_patient_of_a_fold_by_the_same_threshold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rule: PatientRule, how: dict[str, Any]
) -> None:
    study = made(tmp_path / "run", monkeypatch, **how)
    judged = judge(study.project, "cpu", Unchanged(lambda: []), changed_labels=False, rule=rule)  # of evaluate
    thresholds = thresholds_of(judged.results)
    for fold in read_trained(study.project.models, "cpu"):
        assert fold.patient_thresholds is not None
        own = thresholds[0, fold.facts.fold]
        assert fold.patient_thresholds[rule] == pytest.approx(own)
        assert (own == pytest.approx(fold.facts.calibrated_threshold)) is (how.get("decision") == "fixed")
    rows = {row["patient_id"]: row for row in predicted(study, study.project.models, rule)}
    assert {row["threshold_of"] for row in rows.values()} == {"patients"}
    if how.get("protocol") == "paper":  # its validation part is the test part, so that no fold is blind to a slide
        return
    there = judged.of_patients(rule).rows
    for name, fold, predicted_class, said in zip(
        there.patients, there.fold.tolist(), there.predicted.tolist(), there.probabilities[:, 1].tolist(), strict=True
    ):
        assert float(rows[name]["threshold"]) == pytest.approx(thresholds[0, fold], abs=1e-6)
        assert float(rows[name]["probability_tumour"]) == pytest.approx(said, abs=1e-6)
        assert rows[name]["predicted"] == study.classes[predicted_class]


def test_a_bundle_brings_the_thresholds_along_and_no_patient(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = made(tmp_path / "run", monkeypatch)
    own = [fold.patient_thresholds for fold in read_trained(study.project.models, "cpu")]
    facts = bundle.run(tmp_path / "run", tmp_path / "model.sammil")
    assert [member.patient_thresholds for member in facts.members] == own
    opened = open_models(tmp_path / "model.sammil", "cpu")
    assert [fold.patient_thresholds for fold in opened.folds] == own
    mean = together(own)
    assert mean is not None
    rows = predicted(study, tmp_path / "model.sammil", "max")  # the models of this study do not say what they have seen
    assert [float(row["threshold"]) for row in rows] == pytest.approx([mean["max"]] * 6, abs=1e-6)
    assert f"{mean['mean']:.3f} by the mean of their slides, {mean['max']:.3f} by the highest of them" in "\n".join(
        screen("model.sammil", facts)
    )


def test_a_table_of_folds_that_is_not_that_of_the_training_says_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = made(tmp_path / "run", monkeypatch)
    models, splits = study.project.models, study.project.splits
    known = [fold.patient_thresholds for fold in read_trained(models, "cpu")]
    assert None not in known
    assert read_trained(models / "repeat_0_fold_1", "cpu")[0].patient_thresholds == known[1]
    shutil.copytree(models / "repeat_0_fold_1", tmp_path / "alone" / "models" / "repeat_0_fold_1")
    assert read_trained(tmp_path / "alone" / "models", "cpu")[0].patient_thresholds is None
    assert {row["threshold_of"] for row in predicted(study, tmp_path / "alone" / "models", "mean")} == {"slides"}
    before = splits.read_text(encoding="utf-8")
    splits.write_text(before.replace("tumour", "normal"), encoding="utf-8")
    assert {fold.patient_thresholds is None for fold in read_trained(models, "cpu")} == {True}
    splits.write_text(before, encoding="utf-8")
    write_manifest(models, splits, [fold.name for fold in study.folds], {})
    assert [fold.patient_thresholds for fold in read_trained(models, "cpu")] == known
    splits.write_text(before.replace(",P3,", ",P2,"), encoding="utf-8")
    assert {fold.patient_thresholds is None for fold in read_trained(models, "cpu")} == {True}
