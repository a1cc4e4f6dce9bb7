"""Patients from their slides, by numbers worked out by hand."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from csv_rows import rows_of

from sammil_cli.bundles.ensemble import Verdict
from sammil_cli.errors import InputError
from sammil_cli.report.per_patient import PatientRule
from sammil_cli.stages.predicted_patients import Patient, note_on, patients_table, verdicts_on_patients, write_patients


def verdict(
    slide: str,
    tumour: float,
    *,
    threshold: float | None = 0.5,
    seen: bool | None = False,
    own: dict[str, float] | None = None,
) -> Verdict:
    said = {"normal": 1 - tumour, "tumour": tumour}
    return Verdict(
        slide_id=slide,
        predicted="tumour" if tumour >= (threshold or 0.5) else "normal",
        positive_class="tumour",
        probability=said,
        low=said,
        high=said,
        uncalibrated=said,
        threshold=threshold,
        models=1,
        in_sample=seen,
        patient_thresholds=own,
    )


SLIDES = [verdict("a", 0.9), verdict("b", 0.2, threshold=0.8), verdict("c", 0.4)]
PATIENTS = {"a": "p", "b": "p"}


def table(slides: Sequence[Verdict], patients: Mapping[str, str], rule: PatientRule) -> list[Patient]:
    return patients_table(verdicts_on_patients(slides, patients, rule), "honest")


def test_the_mean_of_a_patients_slides_is_decided_by_the_mean_of_their_thresholds(tmp_path: Path) -> None:
    write_patients(tmp_path / "t.csv", table(SLIDES, PATIENTS, "mean"))
    rows = {row["patient_id"]: row for row in rows_of(tmp_path / "t.csv")}
    assert rows["p"] == {
        "patient_id": "p",
        "slides": "2",
        "predicted": "normal",  # 0.55 < 0.65
        "positive_class": "tumour",
        "threshold": "0.650000",
        "probability_normal": "0.450000",
        "probability_tumour": "0.550000",
        "in_sample": "false",
        "patient_rule": "mean",
        "threshold_of": "slides",
        "protocol": "honest",
    }
    assert (rows["c"]["slides"], rows["c"]["predicted"]) == ("1", "normal")  # its own patient


def test_by_the_maximum_the_most_suspicious_slide_speaks() -> None:
    (patient, _) = table(SLIDES, PATIENTS, "max")
    assert (patient["probability_tumour"], patient["predicted"]) == ("0.900000", "tumour")


def test_a_threshold_for_patients_decides_where_all_models_know_theirs() -> None:
    own = {"mean": 0.5, "max": 0.95}
    slides = [verdict("a", 0.9, own=own), verdict("b", 0.2, own=own), verdict("c", 0.4, own=own)]
    rows = table(slides, PATIENTS, "mean")
    assert [(row["predicted"], row["threshold"], row["threshold_of"]) for row in rows] == [
        ("tumour", "0.500000", "patients"),
        ("normal", "0.500000", "patients"),
    ]
    assert "on their validation patients" in note_on(verdicts_on_patients(slides, PATIENTS, "mean"))
    assert table(slides, PATIENTS, "max")[0]["predicted"] == "normal"  # 0.9 < 0.95
    half = verdicts_on_patients([slides[0], verdict("b", 0.2)], PATIENTS, "mean")
    assert half[0].threshold_of == "slides"
    assert "know no threshold for patients" in note_on(half)


@pytest.mark.parametrize(
    ("seen", "said"), [((True, False), "true"), ((None, False), "unknown"), ((False,) * 2, "false")]
)
def test_a_patient_is_in_sample_where_one_of_its_slides_is(seen: tuple[bool | None, ...], said: str) -> None:
    slides = [verdict(name, 0.5, seen=one) for name, one in zip("ab", seen, strict=True)]
    assert table(slides, PATIENTS, "mean")[0]["in_sample"] == said


def test_without_several_slides_of_a_patient_there_is_no_table_and_an_earlier_one_goes(tmp_path: Path) -> None:
    rows = table(SLIDES, {"a": "p"}, "mean")
    assert rows == []
    (tmp_path / "t.csv").touch()
    write_patients(tmp_path / "t.csv", rows)
    assert not (tmp_path / "t.csv").exists()


def test_the_maximum_of_three_classes_is_refused() -> None:
    said = {"a": 0.2, "b": 0.3, "c": 0.5}
    three = [
        Verdict(
            slide_id=name,
            predicted="c",
            positive_class=None,
            probability=said,
            low=said,
            high=said,
            uncalibrated=said,
            threshold=None,
            models=1,
            in_sample=False,
        )
        for name in "ab"
    ]
    with pytest.raises(InputError, match="max is defined for two classes"):
        table(three, PATIENTS, "max")
    (found,) = verdicts_on_patients(three, PATIENTS, "mean")
    assert (found.predicted, found.threshold, found.threshold_of) == ("c", None, None)
    assert note_on([found]) == ""
    assert table(three, PATIENTS, "mean")[0]["threshold_of"] == ""
