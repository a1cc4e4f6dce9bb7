"""sammil evaluate where the labels are, or are not, those of the training; see `judged_study`."""

from pathlib import Path

import pytest
from csv_rows import rows_of
from judged_study import Study, make_study

from sammil_cli.config import EvaluateSettings
from sammil_cli.errors import InputError
from sammil_cli.project.project import RunOptions
from sammil_cli.stages import evaluate
from sammil_cli.storage.files import write_csv

pytestmark = pytest.mark.usefixtures("no_pictures")


def relabel(study: Study, **changes: tuple[str, str]) -> None:
    """Gives slides another label and patient, on a table with another order, form and one slide more."""
    rows = {row["slide_id"]: (row["label"], row["patient_id"]) for row in rows_of(study.project.labels)}
    rows = {"new": ("something else", "P9"), **dict(reversed(rows.items())), **changes}
    write_csv(
        study.project.labels,
        ("patient_id", "slide_id", "note", "label"),
        [(patient, slide, "", label) for slide, (label, patient) in rows.items()],
    )


def test_a_table_that_says_the_same_of_the_folds_slides_is_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = make_study(tmp_path, monkeypatch)
    before = study.run()
    relabel(study)
    assert study.run() == before


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"s00": ("tumour", "P0"), "s01": ("normal", "P0")},
            "2 of 12 slides have another label now (s00 'tumour', was 'normal'; s01 'normal', was 'tumour')",
        ),
        ({"s03": ("tumour", "P7")}, "1 of 12 slides have another patient now (s03 'P7', was 'P1')"),
        (
            {"s02": ("tumour", "P8"), "s04": ("Normal", "P2")},
            "2 of 12 slides have another label now (s02 'tumour', was 'normal'; s04 'Normal', was 'normal'), "
            "1 of 12 slides have another patient now (s02 'P8', was 'P1')",
        ),
    ],
)
def test_labels_that_changed_since_training_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, tuple[str, str]], said: str
) -> None:
    study = make_study(tmp_path, monkeypatch)
    relabel(study, **changes)
    with pytest.raises(InputError) as caught:
        study.run()
    assert caught.value.code == "E_LABELS"
    assert said in caught.value.message
    assert "sammil train" in caught.value.remedy
    assert not study.project.metrics.exists()


def test_changed_labels_are_judged_by_when_asked_for_and_the_report_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = make_study(tmp_path, monkeypatch)
    before = study.run()
    flipped = {0: "tumour", 1: "normal"}
    relabel(study, **{slide: (flipped[label], f"P{int(slide[1:]) // 2}") for slide, label in study.label.items()})
    settings = EvaluateSettings(bootstrap_draws=100)
    summary = evaluate.run(study.project, settings, RunOptions(), changed_labels=True)
    assert summary["auc"]["mean"] == pytest.approx(1 - before["auc"]["mean"])
    assert summary["changed_labels"] == 12
    notice = "12 slides have another label or patient here than when the models were trained"
    assert notice in summary["notice"]
    assert notice in study.project.page.read_text(encoding="utf-8")
    relabel(study, s00=("Tumour", "P0"))
    with pytest.raises(InputError, match="the label 'Tumour' of slide 's00' is none of the models' classes"):
        evaluate.run(study.project, settings, RunOptions(), changed_labels=True)


def test_splits_without_labels_are_refused_unless_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = make_study(tmp_path, monkeypatch)
    rows = [tuple(row.values())[:-1] for row in rows_of(study.project.splits)]
    write_csv(study.project.splits, ("repeat", "fold", "slide_id", "patient_id", "role"), rows)
    with pytest.raises(InputError, match=r"splits\.csv does not hold the labels") as caught:
        study.run()
    assert caught.value.code == "E_LABELS"
    settings = EvaluateSettings(bootstrap_draws=100)
    summary = evaluate.run(study.project, settings, RunOptions(), changed_labels=True)
    assert summary["changed_labels"] is None
    assert "nothing says which labels the models were trained on" in summary["notice"]
