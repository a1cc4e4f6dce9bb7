"""The leakage audit of folds that leak, and of folds that do not; results per site."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from two_folds import LABELS, PERFECT, POOR

from sammil_cli.cohort.cohort import Member
from sammil_cli.report.audit import Audit, audit
from sammil_cli.report.audit_tables import site_table, tables_of_audit
from sammil_cli.report.intervals import Estimate
from sammil_cli.report.per_value import per_site
from sammil_cli.training.bag_content import Pair
from sammil_cli.training.fold import Fold

SLIDES = [f"s{i}" for i in range(8)]
FOLDS = [
    Fold(repeat=0, fold=0, train=("s4", "s5", "s6"), val=("s7",), test=("s0", "s1", "s2", "s3")),
    Fold(repeat=0, fold=1, train=("s0", "s1"), val=("s2", "s3"), test=("s4", "s5", "s6", "s7")),
]
PATIENTS = {slide: f"P{slide[1]}" for slide in SLIDES}


def members_of(patients: dict[str, str] = PATIENTS, sites: str = "AAAABBBB") -> dict[str, Member]:
    return {
        slide: Member(slide_id=slide, label=LABELS[i], patient_id=patients[slide], site=site.strip() or None)
        for i, (slide, site) in enumerate(zip(SLIDES, sites, strict=True))
    }


def audited(folds: list[Fold] = FOLDS, members: dict[str, Member] | None = None, **changes: Any) -> Audit:
    given = {"patients": PATIENTS, "pairs": [], "published": False, "beside": {}, "left_out": [], **changes}
    return audit(folds, members or members_of(), given.pop("patients"), given.pop("pairs"), **given)


def test_clean_folds_have_no_warning_and_their_parts_are_counted() -> None:
    found = audited()
    assert found["warnings"] == []
    assert found["shared_patients"] == {"train-test": 0, "val-test": 0, "train-val": 0}
    assert found["near_duplicates"] == found["seen_sites"] == {"test_slides": 0, "of": 8}
    assert (found["sites"], found["slides_without_site"]) == (2, 0)
    by = {one["what"]: one for one in found["choices"]}
    assert (by["weights"]["slides"], by["weights"]["on"], by["weights"]["test_slides"]) == (
        [2, 3],
        "the training part",
        0,
    )
    for what in ("epoch", "threshold", "temperature"):
        assert (by[what]["slides"], by[what]["patients"], by[what]["test_slides"]) == ([1, 2], [1, 2], 0)
        assert by[what]["on"] == "the validation part"
    assert by["settings and seed"]["on"] == "not recorded"


def test_the_published_protocol_chooses_on_its_test_slides_and_that_is_said() -> None:
    folds = [replace(fold, val=fold.test) for fold in FOLDS]
    found = audited(folds, published=True)
    epoch = next(one for one in found["choices"] if one["what"] == "epoch")
    assert (epoch["on"], epoch["test_slides"]) == ("the test part itself", 8)
    assert found["shared_patients"] == {"train-test": 0, "val-test": 8, "train-val": 0}
    assert found["warnings"] == []  # the stamp on every number says it
    assert "8 test slides are in the validation part of their own fold" in audited(folds)["warnings"][1]


@pytest.mark.parametrize("where", ["splits.csv", "labels.csv"])
def test_a_patient_in_two_parts_is_counted_by_the_table_of_folds_and_by_the_labels(where: str) -> None:
    shared = {**PATIENTS, "s0": "P4"}
    changes = {"patients": shared} if where == "splits.csv" else {"members": members_of(shared)}
    found = audited(**changes)
    assert found["shared_patients"] == {"train-test": 2, "val-test": 0, "train-val": 0}
    assert found["warnings"] == ["2 times a patient is in the test part and in training or validation of one fold"]


def test_patients_are_known_by_the_names_of_slides() -> None:
    names = {slide: f"TCGA-AA-000{int(slide[1]) % 4}-{slide}" for slide in SLIDES}
    members = {
        names[slide]: replace(member, slide_id=names[slide]) for slide, member in members_of(sites=" " * 8).items()
    }
    folds = [
        replace(fold, **{role: tuple(names[s] for s in getattr(fold, role)) for role in ("train", "val", "test")})
        for fold in FOLDS
    ]
    found = audited(folds, members, patients={names[slide]: patient for slide, patient in PATIENTS.items()})
    assert found["patients_in_names"] == {"test_slides": 8, "of": 8}
    assert found["sites"] == 0
    assert "8 of 8 test slides share a patient with training or validation by the names" in found["warnings"][0]


def test_near_duplicates_count_where_they_are_in_different_parts() -> None:
    pairs = [Pair(slides=("s0", "s1"), share=1.0), Pair(slides=("s3", "s7"), share=0.75)]
    found = audited(pairs=pairs)
    assert found["near_duplicates"] == {"test_slides": 2, "of": 8}  # s3 in fold 0, s7 in fold 1
    assert found["near_duplicate_pairs"] == [{"slides": ["s3", "s7"], "share": 0.75, "same_patient": False}]
    assert found["warnings"] == [
        "2 of 8 test slides have a near-duplicate, by the content of the bags, in training or validation (s3 and s7): "
        "delete one of each pair, or give both one patient_id"
    ]


def test_sites_that_training_has_seen_are_counted() -> None:
    assert audited(members=members_of(sites="AABBAACC"))["seen_sites"] == {"test_slides": 4, "of": 8}
    found = audited(members=members_of(sites="AAAAA BB"))
    assert found["seen_sites"] == {"test_slides": 5, "of": 8}
    assert found["slides_without_site"] == 1


@pytest.mark.parametrize(
    ("beside", "said"),
    [
        ((-0.02, -0.1, 0.05), "the model does not beat site-only: its AUC differs by -0.020 (-0.100 to +0.050)"),
        ((0.0, 0.0, 0.0), "the model does not beat site-only: its AUC differs by +0.000 (+0.000 to +0.000)"),
        ((0.02, -0.01, 0.05), "the model is not shown to beat site-only: its AUC differs by +0.020 (-0.010 to +0.050)"),
        ((0.2, 0.1, 0.3), None),
        ((float("nan"),) * 3, None),
    ],
)
def test_a_model_that_does_not_beat_the_site_is_called_so(beside: tuple[float, float, float], said: str | None) -> None:
    found = audited(beside={"site-only": Estimate(*beside)})
    assert found["warnings"] == ([said] if said else [])


def test_the_tables_show_what_was_found() -> None:
    found = audited(beside={"site-only": Estimate(-0.02, -0.1, 0.05)}, left_out=["brightness-only: no pictures"])
    chosen, shared = tables_of_audit(found, {}, "tumour", 0.95)
    assert [row[:2] for row in chosen.rows] == [
        ("weights", "the training part"),
        ("epoch, threshold, temperature, what the baselines choose", "the validation part"),
        ("settings and seed, encoder", "not recorded"),
    ]
    assert shared.rows == [
        ("patients", "train and test 0, val and test 0, train and val 0"),
        ("patients, by the names of slides", "0 of 8 test slides"),
        ("near-duplicate slides", "0 of 8 test slides"),
        ("sites", "0 of 8 test slides"),
        ("AUC minus that of site-only", "-0.020 (-0.100 to +0.050)"),
        ("not compared with", "brightness-only: no pictures"),
    ]
    _, without = tables_of_audit(audited(members=members_of(sites=" " * 8)), {}, None, 0.95)
    assert ("sites", "not known: labels.csv has no column site") in without.rows


def test_each_site_has_the_metrics_of_its_slides() -> None:
    rows = replace(POOR, probabilities=np.concatenate([PERFECT.probabilities[:4], POOR.probabilities[4:]]))
    sites = dict(zip(SLIDES, "AAAABBBB", strict=True))
    found = per_site(rows, sites, level=0.95, draws=100)
    assert {site: (one["slides"], one["patients"]) for site, one in found.items()} == {"A": (4, 4), "B": (4, 4)}
    assert (found["A"]["metrics"]["auc"]["pooled"], found["B"]["metrics"]["auc"]["pooled"]) == (1.0, 0.5)
    (row, other) = site_table(found, "tumour", 0.95).rows
    assert row[:4] == ("A", "4", "4", "1.000 (0.165 to 1.000)")
    assert other[3].startswith("0.500 (")


def test_one_site_has_no_table_and_a_site_of_one_class_no_auc() -> None:
    assert per_site(PERFECT, dict.fromkeys(SLIDES, "A"), level=0.95, draws=100) == {}
    of_class = dict(zip(SLIDES, ["AB"[label] for label in LABELS], strict=True))
    found = per_site(PERFECT, {**of_class, "s7": None}, level=0.95, draws=100)
    assert [one["slides"] for one in found.values()] == [4, 3]
    assert found["A"]["metrics"]["auc"]["pooled"] is None
    assert [row[3] for row in site_table(found, "tumour", 0.95).rows] == ["–", "–"]
