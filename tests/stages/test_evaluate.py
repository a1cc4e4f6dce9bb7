"""sammil evaluate on a made-up project, see `judged_study`."""

import json
import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
import pytest
from csv_rows import rows_of
from judged_study import each, keys, make_study
from sklearn.metrics import accuracy_score, f1_score, roc_auc_score

from sammil_cli.errors import InputError
from sammil_cli.stages import evaluate
from sammil_cli.storage import hdf5
from sammil_cli.storage.files import write_csv
from sammil_cli.training import baselines
from sammil_cli.training.bags import BagFolder

EVERY = dict.fromkeys(("mean", "sd", "pooled", "low", "high"))
numbers_only = pytest.mark.usefixtures("no_pictures")
INTERVAL = dict.fromkeys(("pooled", "low", "high"))


def test_metrics_json_has_these_keys_and_no_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = make_study(tmp_path, monkeypatch)
    summary = study.run()
    assert json.loads(study.project.metrics.read_text(encoding="utf-8")) == summary
    of_folds = ("folds", "repeats", "folds_with_auc", "folds_with_val_auc")
    facts = ("model", "group_features", "group_feature_flag", "protocol", *of_folds, "slides", "patients", "interval")
    said = ("positive_class", "changed_labels", "bootstrap_draws", "patient_rule", "notice")
    of_patients = ("patient_rule", "patients", "several_slides", "mixed_labels", "left_out", "notice")
    of_decisions = ("auc", "accuracy", "f1", "balanced_accuracy", "sensitivity", "specificity")
    assert keys(summary) == {
        **dict.fromkeys((*facts, *said)),
        "val_auc": dict.fromkeys(("mean", "sd")),
        **each(of_decisions, EVERY),
        **each(("auc_delong", "brier", "brier_calibrated"), INTERVAL),
        **each(("ece", "ece_calibrated"), {"pooled": None}),
        "baselines": each(("mean-pool", "majority"), each(("auc", "accuracy", "f1"), EVERY)),
        "test_threshold": each(("accuracy", "f1"), dict.fromkeys(("mean", "sd"))),
        "decision": dict.fromkeys(("rule", "target", "words", "remark")),  # these models keep no validation part
        "audit": {
            **dict.fromkeys(
                ("choices", "near_duplicate_pairs", "left_out", "warnings", "sites", "slides_without_site")
            ),
            "shared_patients": dict.fromkeys(("train-test", "val-test", "train-val")),
            **each(("patients_in_names", "near_duplicates", "seen_sites"), dict.fromkeys(("test_slides", "of"))),
            "beside": {},
        },
        "per_site": {},
        "per_patient": dict.fromkeys(of_patients),  # every patient has slides of both classes here
    }
    assert [summary[name] for name in facts] == ["mean", False, False, "honest", 3, 1, 3, 3, 12, 6, 0.95]
    assert (summary["positive_class"], summary["changed_labels"]) == ("tumour", 0)
    assert summary["audit"]["left_out"] == [
        "site-only: labels.csv has no column site",
        "brightness-only: 12 of 12 slides have no readable picture of segment",
    ]


@numbers_only
def test_pooled_numbers_follow_from_the_predictions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = make_study(tmp_path, monkeypatch)
    summary, rows = study.run(), study.predictions()
    labels = np.array([row["label"] == "tumour" for row in rows])
    scores, before = (np.array([float(row[f"{k}_tumour"]) for row in rows]) for k in ("probability", "uncalibrated"))
    assert summary["auc"]["pooled"] == pytest.approx(roc_auc_score(labels, scores), abs=1e-6)
    assert summary["auc_delong"]["pooled"] == summary["auc"]["pooled"]
    assert summary["accuracy"]["pooled"] == pytest.approx(accuracy_score(labels, before >= 0.4), abs=1e-6)
    assert summary["f1"]["pooled"] == pytest.approx(f1_score(labels, before >= 0.4), abs=1e-6)
    assert summary["brier"]["pooled"] == pytest.approx(np.mean(2 * (before - labels) ** 2), abs=1e-5)
    assert summary["brier_calibrated"]["pooled"] == pytest.approx(np.mean(2 * (scores - labels) ** 2), abs=1e-5)
    assert all(
        summary[name]["low"] < summary[name]["pooled"] < summary[name]["high"]
        for name in ("auc", "accuracy", "f1", "brier", "brier_calibrated", "auc_delong", "sensitivity")
    )


@numbers_only
def test_out_of_fold_predictions_are_those_of_the_table_and_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = make_study(tmp_path, monkeypatch, repeats=2)
    found = evaluate.out_of_fold(study.project, "cpu")
    assert not study.project.predictions.exists()
    study.run()
    rows = study.predictions()
    assert found.slides == tuple(row["slide_id"] for row in rows)
    assert found.patients == tuple(row["patient_id"] for row in rows)
    assert found.repeat.tolist() == [int(row["repeat"]) for row in rows]
    assert found.fold.tolist() == [int(row["fold"]) for row in rows]
    assert [study.classes[choice] for choice in found.predicted] == [row["predicted"] for row in rows]


@numbers_only
def test_folds_spread_is_that_of_the_folds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = make_study(tmp_path, monkeypatch)
    summary = study.run()
    areas = [
        roc_auc_score([study.label[s] for s in fold.test], [study.said[s][1] for s in fold.test])
        for fold in study.folds
    ]
    assert summary["auc"]["mean"] == pytest.approx(np.mean(areas), abs=1e-6)
    assert summary["auc"]["sd"] == pytest.approx(np.std(areas), abs=1e-6)


@numbers_only
def test_calibrated_probabilities_are_those_of_the_models_temperature(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = make_study(tmp_path, monkeypatch, temperature=2.0)
    study.run()
    for row in study.predictions():
        raw = float(row["uncalibrated_tumour"])
        odds = math.sqrt(raw / (1 - raw))  # logits halved
        assert float(row["probability_tumour"]) == pytest.approx(odds / (1 + odds), abs=1e-5)
        assert float(row["probability_normal"]) == pytest.approx(1 / (1 + odds), abs=1e-5)
        assert float(row["threshold"]) == pytest.approx(math.sqrt(2 / 3) / (1 + math.sqrt(2 / 3)), abs=1e-6)
        assert row["predicted"] == ("tumour" if raw >= 0.4 else "normal")  # the decision stays the model's own
        assert row["positive_class"] == "tumour"
        assert row["protocol"] == "honest"


@numbers_only
def test_several_repeats_give_the_mean_over_repeats_and_predict_each_slide_in_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = make_study(tmp_path, monkeypatch, repeats=2)
    once = make_study(tmp_path / "once", monkeypatch)
    assert len(study.predictions() if study.run() else []) == 24
    summary = json.loads(study.project.metrics.read_text(encoding="utf-8"))
    assert (summary["repeats"], summary["slides"], summary["folds"]) == (2, 12, 6)
    # The models say the same in both repeats, so that the pooled values are those of one.
    alone = once.run()
    assert summary["auc"]["pooled"] == pytest.approx(alone["auc"]["pooled"], abs=1e-6)
    assert summary["ece"]["pooled"] == pytest.approx(alone["ece"]["pooled"], abs=1e-6)


@numbers_only
def test_the_baselines_are_trained_and_judged_on_the_same_folds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = make_study(tmp_path, monkeypatch)
    summary = study.run()
    assert summary["baselines"]["mean-pool"]["auc"]["pooled"] > 0.95  # the mean shows the class here
    majority = summary["baselines"]["majority"]
    assert majority["auc"] == {"mean": 0.5, "sd": 0.0, "pooled": 0.5, "low": 0.5, "high": 0.5}
    assert majority["accuracy"]["pooled"] == 0.5


@numbers_only
def test_the_mean_pool_baseline_never_sees_test_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = make_study(tmp_path, monkeypatch)
    seen: list[tuple[set[bytes], set[bytes]]] = []
    fit = baselines.fit_mean_pool

    def spy(features: np.ndarray, labels: np.ndarray, val: np.ndarray, val_labels: np.ndarray, classes: int) -> Any:
        seen.append(({row.tobytes() for row in features}, {row.tobytes() for row in val}))
        return fit(features, labels, val, val_labels, classes)

    monkeypatch.setattr(baselines, "fit_mean_pool", spy)
    study.run()
    bags = BagFolder(study.project.bags, "cpu")
    for fold, features in zip(study.folds, seen, strict=True):
        parts = [baselines.mean_features(bags.read, part).values() for part in (fold.train, fold.val)]
        assert features == tuple({row.tobytes() for row in part} for part in parts)


@numbers_only
def test_a_test_threshold_is_never_worse_than_the_reported_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = make_study(tmp_path, monkeypatch)
    summary = study.run()
    assert summary["test_threshold"]["accuracy"]["mean"] >= summary["accuracy"]["mean"]
    assert "published habit" in study.project.page.read_text(encoding="utf-8")


@numbers_only
def test_a_small_cohort_is_called_small(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    study = make_study(tmp_path, monkeypatch)
    summary = study.run()
    width = summary["auc"]["high"] - summary["auc"]["low"]
    assert width > 0.2
    assert f"n too small: the interval of the AUC is {width:.2f} wide" in summary["notice"]
    assert summary["notice"] in " ".join(capsys.readouterr().out.split())
    assert "n too small" in study.project.page.read_text(encoding="utf-8")


def test_a_fold_of_one_class_breaks_nothing_and_writes_no_nan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    labels = [0, 0, 0, 0, 1, 0, 1, 0, 1, 0, 1, 1]
    study = make_study(tmp_path, monkeypatch, labels=labels)
    summary = study.run()
    assert summary["folds_with_auc"] == 2
    assert "1 folds have no AUC" in summary["notice"]
    assert "NaN" not in study.project.metrics.read_text(encoding="utf-8")
    assert summary["auc"]["pooled"] is not None


@numbers_only
@pytest.mark.parametrize(
    ("protocol", "areas", "found", "said"),
    [
        ("honest", (0.5, None, 1.0), (0.75, 0.25, 2), "0.750 ± 0.250 over 2 of 3 folds; choose settings by it"),
        ("honest", (None,), (None, None, 0), "– over 0 of 3 folds; choose settings by it"),
        (
            "paper",
            (0.9,),
            (0.9, 0.0, 3),
            "0.900 ± 0.000 over 3 of 3 folds, of the test parts themselves: choose nothing",
        ),
    ],
)
def test_the_auc_on_validation_is_there_to_choose_settings_by(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    protocol: str,
    areas: Sequence[float | None],
    found: tuple[float | None, float | None, int],
    said: str,
) -> None:
    study = make_study(tmp_path, monkeypatch, protocol=protocol, val_auc=areas)
    study.run()
    written = json.loads(study.project.metrics.read_text(encoding="utf-8"))
    assert (*written["val_auc"].values(), written["folds_with_val_auc"]) == found
    assert said in " ".join(capsys.readouterr().out.split())
    assert said in study.project.page.read_text(encoding="utf-8")


def test_three_classes_have_macro_means_and_a_row_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    classes = ("A", "B", "C")
    study = make_study(tmp_path, monkeypatch, classes=classes)
    summary = study.run()
    assert {"sensitivity", "specificity", "auc_delong", "test_threshold"} & set(summary) == set()
    assert keys(summary["per_class"]) == each(
        classes, {"auc": INTERVAL, "f1": INTERVAL, "sensitivity": INTERVAL, "specificity": INTERVAL, "slides": None}
    )
    labels = np.array([study.label[slide] for fold in study.folds for slide in fold.test])
    said = np.stack([study.said[slide] for fold in study.folds for slide in fold.test]) ** (1 / 2)  # temperature 2
    said /= said.sum(axis=1, keepdims=True)
    assert summary["positive_class"] is None
    assert summary["auc"]["pooled"] == pytest.approx(roc_auc_score(labels, said, multi_class="ovr"), abs=1e-6)
    for index, name in enumerate(classes):
        one = summary["per_class"][name]
        assert one["slides"] == 4
        assert one["auc"]["pooled"] == pytest.approx(roc_auc_score(labels == index, said[:, index]), abs=1e-6)
    assert np.mean([summary["per_class"][name]["f1"]["pooled"] for name in classes]) == pytest.approx(
        summary["f1"]["pooled"], abs=1e-5
    )
    assert {"uncalibrated_A", "uncalibrated_B", "uncalibrated_C"} <= set(study.predictions()[0])


@numbers_only
@pytest.mark.parametrize("temperature", [0.05, 0.7, 1.0, 3.0, 20.0])
@pytest.mark.parametrize("on", [None, 3])
def test_every_decision_can_be_read_from_its_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, temperature: float, on: int | None
) -> None:
    scores = [1e-12, 3e-9, 3.1e-9, 0.4, 0.40000001, 0.4000001, 0.6, 0.9, 1 - 1e-7, 1 - 1e-9, 1 - 2e-12, 1.0]
    study = make_study(
        tmp_path, monkeypatch, temperature=temperature, threshold=0.40000005 if on is None else scores[on]
    )
    for slide, score in zip(study.said, scores, strict=True):
        study.said[slide] = np.array([1 - score, score])
    study.run()
    for row, score in zip(sorted(study.predictions(), key=lambda one: one["slide_id"]), scores, strict=True):
        called = "tumour" if float(row["probability_tumour"]) >= float(row["threshold"]) else "normal"
        assert called == row["predicted"] == ("tumour" if score >= study.threshold else "normal")


def test_the_positive_class_is_named_with_every_table_and_figure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    study = make_study(tmp_path, monkeypatch, classes=("HPV-", "HPV+"))
    study.run()
    said = " ".join(capsys.readouterr().out.split())
    assert "patients, positive class: HPV+ Out of fold, positive class: HPV+" in said
    assert "(a published habit), positive class: HPV+" in said
    page = study.project.page.read_text(encoding="utf-8")
    assert "The positive class is HPV+." in page
    for title in ("Out of fold", "Folds", "ROC", "Precision and recall"):
        assert f">{title}, positive class: HPV+<" in page
    assert evaluate.out_of_fold(study.project, "cpu").positive_class == "HPV+"


# ---------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize("role", ["test", "val", "train"])
def test_a_slide_that_is_gone_is_named_with_its_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, role: str
) -> None:
    study = make_study(tmp_path, monkeypatch)
    # Only one fold is left, so that a slide has one part.
    fold = study.folds[0]
    kept = [row for row in rows_of(study.project.splits) if row["fold"] == "0"]
    write_csv(study.project.splits, tuple(kept[0]), [tuple(row.values()) for row in kept])
    slide = getattr(fold, role)[0]
    (study.project.bags / f"{slide}.h5").unlink()
    with pytest.raises(InputError, match=f"slide '{slide}' of the {role} part has no bag any more"):
        study.run()


def test_the_same_project_gives_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = make_study(tmp_path, monkeypatch)
    study.run()
    files = (study.project.metrics, study.project.predictions, study.project.page)
    before = [path.read_bytes() for path in files]
    study.run()
    assert [path.read_bytes() for path in files] == before


@numbers_only
def test_the_level_of_the_interval_is_the_setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = make_study(tmp_path, monkeypatch)
    wide, narrow = study.run(interval=0.99), study.run(interval=0.5)
    assert wide["auc"]["low"] < narrow["auc"]["low"]
    assert wide["auc_delong"]["low"] < narrow["auc_delong"]["low"]
    assert wide["auc_delong"]["high"] > narrow["auc_delong"]["high"]
    assert "50 % interval" in study.project.page.read_text(encoding="utf-8")


@numbers_only
def test_each_bag_is_opened_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study, opened = make_study(tmp_path, monkeypatch, repeats=2), Counter[str]()
    read = hdf5._opened

    def counted(path: Path, kind: str) -> IO[bytes]:
        opened[path.stem] += kind == "bag"
        return read(path, kind)

    monkeypatch.setattr(hdf5, "_opened", counted)
    study.run()
    assert {slide: opened[slide] for slide in study.label} == dict.fromkeys(study.label, 1)
