"""sammil evaluate --on: an external cohort judged by a made-up project, see `judged_study`."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from csv_rows import rows_of
from external_study import External, make_external
from judged_study import Study, make_study
from sklearn.metrics import average_precision_score, roc_auc_score

from sammil_cli.bundles.ensemble import read_trained
from sammil_cli.config import EvaluateSettings
from sammil_cli.errors import InputError
from sammil_cli.project.project import RunOptions
from sammil_cli.stages import bundle, external
from sammil_cli.storage.files import write_csv
from sammil_cli.training import calibration

pytestmark = pytest.mark.usefixtures("no_pictures")

LABELS = [0, 0, 0, 1, 1, 1, 1, 0]
SCORES = [0.1, 0.3, 0.6, 0.2, 0.7, 0.8, 0.9, 0.35]  # uncalibrated; two of four positives' neighbours are wrong


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Study:
    return make_study(tmp_path / "run", monkeypatch)


@pytest.fixture
def cohort(study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> External:
    return make_external(study, tmp_path / "other", monkeypatch, labels=LABELS, scores=SCORES)


def test_a_small_cohort_comes_out_as_computed_by_hand(cohort: External) -> None:
    summary = cohort.run()
    # At 0.4 the positive ones are e02, e04, e05, e06: three of four tumours, and one of four normals.
    assert summary["confusion"] == [[3, 1], [1, 3]]
    for name in ("accuracy", "f1", "sensitivity", "specificity", "balanced_accuracy"):
        assert summary[name]["pooled"] == 0.75
    # Pairs in right order: of the tumours 0.2 lies above one of four normals, the others above all.
    assert summary["auc"]["pooled"] == pytest.approx((1 + 4 + 4 + 4) / 16, abs=1e-6)
    assert summary["average_precision"]["pooled"] == pytest.approx(average_precision_score(LABELS, SCORES), abs=1e-6)
    assert summary["average_precision"]["at_random"] == 0.5
    before = 2 * np.mean((np.array(SCORES) - LABELS) ** 2)
    assert summary["brier"]["pooled"] == pytest.approx(before, abs=1e-6)
    assert (summary["slides"], summary["patients"], summary["models"]) == (8, 8, 3)
    assert summary["auc"]["low"] < summary["auc"]["pooled"] < summary["auc"]["high"]
    assert json.loads((cohort.out / "metrics.json").read_text(encoding="utf-8")) == summary


def test_the_threshold_is_the_models_own_and_not_moved_by_the_cohort(cohort: External, study: Study) -> None:
    summary, rows = cohort.run(), rows_of(cohort.out / "predictions.csv")
    own = calibration.apply_to_threshold(study.threshold, 2.0)
    assert [float(row["threshold"]) for row in rows] == pytest.approx([own] * 8, abs=1e-6)
    assert summary["threshold"]["carried"]["threshold"] == [pytest.approx(own, abs=1e-6)] * 2
    here = summary["threshold"]["chosen_here"]
    # Youden's on these slides: 0.7, which catches three of four and calls no normal one.
    chosen = calibration.apply_to_threshold(0.7, 2.0)
    assert here["threshold"] == [pytest.approx(chosen, abs=1e-6)] * 2
    assert (here["sensitivity"]["pooled"], here["specificity"]["pooled"]) == (0.75, 1.0)
    turned = make_labels(cohort, [1 - label for label in LABELS])
    assert turned.run()["threshold"]["carried"]["threshold"] == summary["threshold"]["carried"]["threshold"]


def test_slides_that_every_model_has_seen_do_not_count(cohort: External, study: Study) -> None:
    alone = cohort.run()
    known = [(slide, study.classes[study.label[slide]], f"K{slide}") for slide in sorted(study.label)[:2]]
    every = study.project.splits.read_text(encoding="utf-8").replace(",test,", ",train,")
    study.project.splits.write_text(every, encoding="utf-8")
    for slide, *_ in known:
        (cohort.bags / f"{slide}.h5").write_bytes((study.project.bags / f"{slide}.h5").read_bytes())
    write_csv(cohort.labels, ("slide_id", "label", "patient_id"), [*cohort.rows, *known])
    summary = cohort.run()
    assert summary["in_sample"] == [slide for slide, *_ in known]
    assert summary["auc"] == alone["auc"]
    assert summary["slides"] == 8
    assert "seen in training by every model" in summary["notices"][0]
    assert not {row["slide_id"] for row in rows_of(cohort.out / "predictions.csv")} & {slide for slide, *_ in known}


@pytest.mark.usefixtures("cohort")  # the same words from the same models
def test_the_models_own_folds_give_the_internal_numbers(study: Study, tmp_path: Path) -> None:
    inside = study.run()
    outside = run(study, study.project.labels, study.project.bags, tmp_path / "again")
    for name in ("auc", "accuracy", "f1", "balanced_accuracy", "sensitivity", "specificity"):
        for key in ("pooled", "low", "high"):
            assert outside[name][key] == inside[name][key]
    assert outside["brier_calibrated"] == inside["brier_calibrated"]
    assert outside["ece_calibrated"] == inside["ece_calibrated"]
    assert outside["internal"]["auc"]["pooled"] == pytest.approx(inside["auc"]["pooled"], abs=1e-6)
    assert outside["difference"] is None
    assert "12 slides are of the internal folds, too" in outside["no_difference"]
    assert outside["in_sample"] == []


def test_the_difference_is_external_minus_internal(cohort: External, study: Study) -> None:
    inside = study.run()
    summary = cohort.run()
    for name in ("auc", "sensitivity"):
        apart = summary["difference"][name]
        assert apart["pooled"] == pytest.approx(summary[name]["pooled"] - inside[name]["pooled"], abs=2e-6)
        assert apart["low"] < apart["pooled"] < apart["high"]
        assert summary["internal"][name]["pooled"] == pytest.approx(inside[name]["pooled"], abs=1e-6)
        assert summary["internal"][name]["sd"] == pytest.approx(inside[name]["sd"], abs=1e-6)


def test_predictions_of_other_models_do_not_stand_beside(cohort: External, study: Study) -> None:
    study.run()
    table = study.project.predictions
    table.write_text(table.read_text(encoding="utf-8").replace("0.449490", "0.3"), encoding="utf-8")
    summary = cohort.run()
    assert summary["internal"] is None
    assert "is of other models" in summary["no_difference"]


def test_a_bundle_judges_as_the_run_that_it_is_of_and_brings_the_internal_numbers_along(
    cohort: External, study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    study.run()
    by_run, table = cohort.run(), rows_of(cohort.out / "predictions.csv")
    run = study.project.models.parent
    bundle.run(run, tmp_path / "model.sammil", report=run)
    shutil.rmtree(run)
    found = replace(cohort, models=tmp_path / "model.sammil").run()
    assert {name: found[name] for name in ("auc", "accuracy", "brier_calibrated", "confusion", "threshold")} == {
        name: by_run[name] for name in ("auc", "accuracy", "brier_calibrated", "confusion", "threshold")
    }
    for name in ("auc", "sensitivity"):
        for numbers in ("internal", "difference"):
            assert found[numbers][name]["pooled"] == pytest.approx(by_run[numbers][name]["pooled"], abs=2e-6)
    # This study's models say what they have seen by splits.csv alone, which a bundle has not.
    assert rows_of(cohort.out / "predictions.csv") == [{**row, "in_sample": "unknown"} for row in table]
    assert any("8 slides may have been seen in training" in text for text in found["notices"])


def test_the_spread_is_that_of_the_models(study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shifts = [0.0, 0.15, -0.25]
    cohort = make_external(study, tmp_path / "other", monkeypatch, labels=LABELS, scores=SCORES, shifts=shifts)
    summary = cohort.run()
    sharp = [
        np.mean([(s + shift >= 0.4) == label for s, label in zip(SCORES, LABELS, strict=True)]) for shift in shifts
    ]
    assert summary["accuracy"]["mean"] == pytest.approx(np.mean(sharp), abs=1e-6)
    assert summary["accuracy"]["sd"] == pytest.approx(np.std(sharp), abs=1e-6)
    first = rows_of(cohort.out / "predictions.csv")[0]
    assert float(first["low_tumour"]) < float(first["probability_tumour"]) < float(first["high_tumour"])


def test_a_model_without_a_test_part_is_judged_outside_and_refused_inside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = make_study(tmp_path / "run", monkeypatch, folds=1)  # the one fold's training part is all that is left
    every = study.project.splits.read_text(encoding="utf-8").replace(",test,", ",train,")
    study.project.splits.write_text(every, encoding="utf-8")
    with pytest.raises(InputError, match="no test part") as refusal:
        study.run()
    assert "sammil evaluate --on LABELS.csv --models" in str(refusal.value.remedy)
    cohort = make_external(study, tmp_path / "other", monkeypatch, labels=LABELS, scores=SCORES)
    summary = cohort.run()
    assert summary["auc"]["pooled"] == pytest.approx(roc_auc_score(LABELS, SCORES), abs=1e-6)
    assert "sd" not in summary["auc"]
    assert "no predictions.csv beside the models" in summary["no_difference"]


def test_each_value_of_a_column_has_its_numbers(cohort: External) -> None:
    site = ["north", "north", "north", "north", "south", "south", "south", ""]
    rows = [(*row, place) for row, place in zip(cohort.rows, site, strict=True)]
    write_csv(cohort.labels, ("slide_id", "label", "patient_id", "site"), rows)
    found = cohort.run(by=("site",))["by"]["site"]
    assert {name: one["slides"] for name, one in found.items()} == {"north": 4, "south": 3}
    assert found["north"]["metrics"]["auc"]["pooled"] == pytest.approx(1 / 3, abs=1e-6)
    assert found["north"]["metrics"]["specificity"]["pooled"] == pytest.approx(2 / 3, abs=1e-6)
    assert found["south"]["metrics"]["auc"]["pooled"] is None
    assert found["south"]["metrics"]["sensitivity"]["pooled"] == 1.0
    assert found["south"]["class_sizes"] == {"normal": 0, "tumour": 3}


def test_patients_with_several_slides_are_judged_as_such(cohort: External) -> None:
    rows = [(slide, label, f"Q{int(slide[1:]) // 2}") for slide, label, _ in cohort.rows]
    write_csv(cohort.labels, ("slide_id", "label", "patient_id"), rows)
    summary = cohort.run()
    assert summary["per_patient"]["several_slides"] == 4
    assert summary["per_patient"]["patients"] == 2  # the two others have slides of both classes
    rows = rows_of(cohort.out / "predictions_patients.csv")
    assert len(rows) == 2
    own = f"{calibration.apply_to_threshold(0.4, 2.0):.6f}"
    assert (summary["per_patient"]["threshold_of"], {row["threshold"] for row in rows}) == ("slides", {own})
    assert any("these models know no threshold for patients" in text for text in summary["notices"])


def test_models_that_know_their_validation_patients_bring_a_threshold_for_patients_along(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = make_study(tmp_path / "run", monkeypatch, labels=[0, 0, 1, 1] * 3, keeps_validation=True)
    cohort = make_external(study, tmp_path / "other", monkeypatch, labels=LABELS, scores=SCORES)
    rows = [(slide, label, f"Q{int(slide[1:]) // 2}") for slide, label, _ in cohort.rows]
    write_csv(cohort.labels, ("slide_id", "label", "patient_id"), rows)
    summary = cohort.run(patient_rule="max")
    own = [fold.patient_thresholds for fold in read_trained(study.project.models, "cpu")]
    mean = np.mean([one["max"] for one in own if one])
    thresholds = [float(row["threshold"]) for row in rows_of(cohort.out / "predictions_patients.csv")]
    assert thresholds == pytest.approx([mean] * 4, abs=1e-6)
    assert summary["per_patient"]["threshold_of"] == "patients"
    assert not any("threshold for patients" in text for text in summary["notices"])


def test_a_bag_of_another_encoder_costs_its_own_slide(cohort: External) -> None:
    cohort.write_bag("e03", encoder="resnet50")
    summary = cohort.run()
    assert summary["slides"] == 7
    (refused,) = summary["refused"]
    assert (refused["slide_id"], refused["code"]) == ("e03", "E_BAG")
    assert "texture" in refused["message"]


def test_after_a_call_in_which_no_slide_can_be_judged_nothing_of_an_earlier_one_is_there(cohort: External) -> None:
    cohort.run()
    assert {path.name for path in cohort.out.iterdir()} == set(external.WRITTEN)
    for slide, *_ in cohort.rows:
        cohort.write_bag(slide, encoder="resnet50")
    with pytest.raises(InputError, match="no slide can be judged; e00"):
        cohort.run()
    assert [path.name for path in cohort.out.iterdir()] == ["process_list.csv"]  # which says why


def test_slides_without_a_bag_and_bags_without_a_label_are_named(cohort: External) -> None:
    cohort.write_bag("f99")
    write_csv(cohort.labels, ("slide_id", "label", "patient_id"), [*cohort.rows, ("zz9", "normal", "Z")])
    summary = cohort.run()
    assert (summary["without_bag"], summary["without_label"]) == (["zz9"], ["f99"])
    assert summary["slides"] == 8


def test_one_class_alone_has_no_area_but_a_sensitivity(cohort: External) -> None:
    write_csv(cohort.labels, ("slide_id", "label", "patient_id"), [row for row in cohort.rows if row[1] == "tumour"])
    summary = cohort.run()
    assert summary["auc"]["pooled"] is None
    assert summary["sensitivity"]["pooled"] == 0.75
    assert any("no AUC" in text for text in summary["notices"])


def test_the_same_patch_content_and_patients_are_remarks(cohort: External, study: Study) -> None:
    seen = sorted({slide for slide in study.label if all(slide in fold.train for fold in study.folds[:1])})[0]
    there = study.project.models.resolve().parents[1] / "artifacts" / "bags"
    there.mkdir(parents=True)
    for path in study.project.bags.glob("*.h5"):
        (there / path.name).write_bytes(path.read_bytes())
    cohort.copy_bag(study.project.bags / f"{seen}.h5", "e00")
    rows = [(slide, label, "P0" if slide == "e00" else patient) for slide, label, patient in cohort.rows]
    write_csv(cohort.labels, ("slide_id", "label", "patient_id"), rows)
    said = " ".join(cohort.run()["notices"])
    assert f"e00 and {seen}" in said
    assert "the id of a patient of the training (P0)" in said


@pytest.mark.parametrize(
    ("rows", "message", "remedy"),
    [
        ([("e00", "tumor", "a")], "'tumor' is none of the classes", "write tumour, or delete the row: the models know"),
        ([("e00", "", "a"), ("e01", "tumour", "b")], "label is empty", "fill it in or delete the row"),
        ([], "no rows below its first line", "add a row"),
        ([("nothing", "tumour", "a")], "not one row fits a slide", "write slide_id as"),
    ],
)
def test_labels_that_are_not_the_models_are_refused(
    cohort: External, rows: Sequence[tuple[str, ...]], message: str, remedy: str
) -> None:
    write_csv(cohort.labels, ("slide_id", "label", "patient_id"), list(rows))
    with pytest.raises(InputError, match=message) as refusal:
        cohort.run()
    assert remedy in str(refusal.value.remedy)
    assert not cohort.out.exists()


def test_columns_that_cannot_be_compared_are_refused(cohort: External) -> None:
    with pytest.raises(InputError, match="no column 'sight'"):
        cohort.run(by=("sight",))
    write_csv(cohort.labels, ("slide_id", "label", "age"), [(*row[:2], "NA") for row in cohort.rows])
    with pytest.raises(InputError, match="says nothing of these slides"):
        cohort.run(by=("age",))


def test_a_cohort_that_every_model_has_seen_is_refused(study: Study, tmp_path: Path) -> None:
    every = study.project.splits.read_text(encoding="utf-8").replace(",test,", ",train,")
    study.project.splits.write_text(every, encoding="utf-8")
    with pytest.raises(InputError, match="every one of the 12 slides was seen in training"):
        run(study, study.project.labels, study.project.bags, tmp_path / "again")


def run(study: Study, labels: Path, bags: Path, out: Path) -> dict[str, Any]:
    settings = EvaluateSettings(bootstrap_draws=200)
    return external.run(labels, study.project.models.parent, bags, out, settings, RunOptions())[0]


def make_labels(cohort: External, labels: Sequence[int]) -> External:
    names = ("normal", "tumour")
    rows = [(row[0], names[label], row[2]) for row, label in zip(cohort.rows, labels, strict=True)]
    write_csv(cohort.labels, ("slide_id", "label", "patient_id"), rows)
    return cohort
