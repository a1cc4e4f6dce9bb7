"""Folds: by patient, stratified, drawn once."""

from itertools import groupby
from pathlib import Path

import pytest

from sammil_cli.cohort.cohort import Cohort, Member, Patient, patients_of
from sammil_cli.errors import InputError
from sammil_cli.training.fold import Fold, read_folds, write_folds
from sammil_cli.training.splits import draw_folds

ROLES = ("train", "val", "test")


def member(slide: str, label: int, patient: str, role: str | None = None) -> Member:
    return Member(slide_id=slide, label=label, patient_id=patient, parts=(role,) if role else ())


def cohort_of(members: tuple[Member, ...]) -> Cohort:
    return Cohort(classes=("normal", "tumour"), members=members, patients=patients_of(members))


def make_cohort(negative: int = 18, positive: int = 12) -> Cohort:
    """Patients with one to three slides each; a positive patient's first slide is negative, as a normal block is."""
    members = []
    for patient in range(negative + positive):
        for slide in range(1 + patient % 3):
            tumour = patient >= negative and (slide > 0 or patient % 3 == 0)
            members.append(member(f"s{patient:02d}_{slide}", int(tumour), f"P{patient:02d}"))
    return cohort_of(tuple(members))


def draw(cohort: Cohort, **changes: object) -> list[Fold]:
    found = draw_folds(cohort, **{"folds": 4, "repeats": 1, "val_fraction": 0.2, "seed": 7, **changes})
    assert found
    return found


def patients(cohort: Cohort, slides: tuple[str, ...]) -> set[str]:
    return {m.patient_id for m in cohort.members if m.slide_id in slides}


def positives(cohort: Cohort, slides: tuple[str, ...]) -> int:
    """Patients with a positive slide in their whole cohort."""
    positive = {m.patient_id for m in cohort.members if m.label == 1}
    return len(positive & patients(cohort, slides))


def test_every_slide_has_one_part_in_every_fold() -> None:
    cohort = make_cohort()
    everything = sorted(m.slide_id for m in cohort.members)
    for fold in draw(cohort):
        assert sorted((*fold.train, *fold.val, *fold.test)) == everything


def test_no_patient_is_in_two_parts() -> None:
    cohort = make_cohort()
    for fold in draw(cohort, repeats=2):
        train, val, test = (patients(cohort, getattr(fold, role)) for role in ROLES)
        assert not train & val
        assert not train & test
        assert not val & test


def test_every_patient_is_tested_once_per_repeat() -> None:
    cohort = make_cohort()
    folds = draw(cohort, repeats=3)
    assert [(fold.repeat, fold.fold) for fold in folds] == [(r, f) for r in range(3) for f in range(4)]
    for repeat in range(3):
        tested = [p for fold in folds if fold.repeat == repeat for p in patients(cohort, fold.test)]
        assert sorted(tested) == sorted({m.patient_id for m in cohort.members})


def test_repeats_draw_other_folds() -> None:
    folds = draw(make_cohort(), repeats=2)
    assert {fold.test for fold in folds[:4]} != {fold.test for fold in folds[4:]}


def test_folds_are_stratified_by_the_class_of_the_patients() -> None:
    cohort = make_cohort(18, 12)
    for fold in draw(cohort, folds=6):
        assert len(patients(cohort, fold.test)) == 5
        assert positives(cohort, fold.test) == 2


def test_validation_is_a_stratified_share_of_the_training_patients() -> None:
    cohort = make_cohort(18, 12)
    for fold in draw(cohort, folds=3, val_fraction=0.25):  # 20 patients are not tested, 8 of them positive
        assert len(patients(cohort, fold.val)) == 5
        assert positives(cohort, fold.val) == 2
        assert len(patients(cohort, fold.train)) == 15


def test_validation_holds_every_class_however_small_its_share() -> None:
    cohort = make_cohort(6, 6)
    for fold in draw(cohort, folds=3, val_fraction=0.01):
        assert positives(cohort, fold.val) == 1
        assert len(patients(cohort, fold.val)) == 2


def test_the_same_seed_draws_the_same_folds_and_another_one_does_not() -> None:
    cohort = make_cohort()
    assert draw(cohort, seed=3) == draw(cohort, seed=3)
    assert draw(cohort, seed=3) != draw(cohort, seed=4)


def test_the_order_of_the_table_does_not_matter_to_the_folds() -> None:
    cohort = make_cohort()
    turned = cohort_of(cohort.members[::-1])
    for one, other in zip(draw(cohort), draw(turned), strict=True):
        assert [set(getattr(one, role)) for role in ROLES] == [set(getattr(other, role)) for role in ROLES]


def test_too_few_patients_of_a_class_are_refused_and_the_remedy_works() -> None:
    cohort = make_cohort(12, 3)
    with pytest.raises(InputError, match="class 'tumour' has 3 patients; 4 folds need 4") as caught:
        draw(cohort)
    assert "set folds to 3" in caught.value.remedy
    assert len(draw(cohort, folds=3)) == 3


def test_too_few_patients_for_a_validation_part_are_refused() -> None:
    with pytest.raises(InputError, match="class 'normal' has 2 patients; 2 folds need 4, two beside each test part"):
        draw(make_cohort(2, 2), folds=2)


def test_a_class_that_only_shares_patients_with_a_higher_one_is_refused() -> None:
    # A patient counts for its highest class, so that nobody is left in class `normal`.
    members = tuple(member(f"s{p}_{label}", label, f"P{p}") for p in range(8) for label in (0, 1))
    with pytest.raises(InputError, match=r"class 'normal' has no patients \(8 more have slides of a higher class"):
        draw(cohort_of(members), folds=2)


@pytest.mark.parametrize("published", [False, True])
def test_the_paper_protocol_validates_on_the_test_part_and_trains_on_all_else(published: bool) -> None:
    cohort = make_cohort()
    everything = {m.slide_id for m in cohort.members}
    honest = draw(cohort, repeats=2, published=published)
    paper = draw(cohort, repeats=2, published=published, protocol="paper")
    for fold, same in zip(paper, honest, strict=True):
        assert fold.val == fold.test == same.test  # the test parts are those of the honest protocol
        assert set(fold.train) == everything - set(fold.test)
        assert len(fold.train) == len(same.train) + len(same.val)


def test_published_folds_follow_the_shuffled_order_of_the_table() -> None:
    # random.Random(1) shuffles 0..7 into 3, 6, 1, 5, 7, 0, 4, 2; odd patients are positive. Without a shuffle of its
    # own StratifiedKFold gives the first two of each class in that order to fold 0: 3, 1 and 6, 0.
    members = tuple(member(f"s{i}", i % 2, f"P{9 - i}") for i in range(8))  # names run against the table's order
    first, second = draw(cohort_of(members), folds=2, seed=1, published=True, protocol="paper")
    assert first.test == second.train == ("s3", "s6", "s1", "s0")
    assert second.test == first.train == ("s5", "s7", "s4", "s2")


def test_the_next_repeat_of_published_folds_is_that_of_the_next_seed() -> None:
    cohort = make_cohort()
    repeats = draw(cohort, repeats=2, seed=5, published=True)
    assert [f.test for f in repeats[4:]] == [f.test for f in draw(cohort, seed=6, published=True)]
    assert {f.test for f in repeats[:4]} != {f.test for f in repeats[4:]}


def test_published_folds_come_from_all_patients_of_the_table_not_from_those_with_slides() -> None:
    whole = make_cohort(18, 12)
    gone = {m.slide_id for m in whole.members[::7]}
    part = whole.only({m.slide_id for m in whole.members} - gone)
    for fold, smaller in zip(draw(whole, published=True), draw(part, published=True), strict=True):
        assert smaller.test == tuple(slide for slide in fold.test if slide not in gone)


def test_no_patient_straddles_published_folds_and_a_patient_keeps_its_slides_together() -> None:
    cohort = make_cohort()
    for fold in draw(cohort, repeats=2, published=True):
        train, val, test = (patients(cohort, getattr(fold, role)) for role in ROLES)
        assert not train & val
        assert not train & test
        assert not val & test
        assert len(val) == round(0.2 * len(train | val))
        runs = [slide.split("_")[0] for slide in fold.test]
        assert len(list(groupby(runs))) == len(test)


def test_published_folds_are_stratified() -> None:
    cohort = make_cohort(18, 12)
    for fold in draw(cohort, folds=6, published=True):
        assert len(patients(cohort, fold.test)) == 5
        assert positives(cohort, fold.test) == 2


def test_published_folds_without_a_slide_of_a_class_are_refused() -> None:
    cohort = make_cohort(8, 8)
    tested = draw(cohort, published=True)[2].test
    missing = {m.slide_id for m in cohort.members if m.patient_id in patients(cohort, tested) and m.patient_id >= "P08"}
    with pytest.raises(InputError, match="no patient of class 'tumour' in the test part of published fold 2") as caught:
        draw(cohort.only({m.slide_id for m in cohort.members} - missing), published=True)
    assert "only 14 of the 16 patients" in caught.value.message
    assert "published_folds to false" in caught.value.remedy


def test_too_few_patients_for_published_folds_are_refused() -> None:
    with pytest.raises(InputError, match="class 'tumour' has 3 patients; 4 folds need 4"):
        draw(make_cohort(12, 3), published=True)


def test_a_patient_of_the_table_counts_once_whatever_its_slides() -> None:
    assert patients_of((member("a", 0, "P2"), member("b", 1, "P1"), member("c", 1, "P2"), member("d", 0, "P1"))) == (
        Patient(patient_id="P2", label=1),
        Patient(patient_id="P1", label=1),
    )


GIVEN = (
    member("a", 0, "P1", "train"),
    member("b", 1, "P2", "train"),
    member("c", 0, "P3", "val"),
    member("d", 1, "P4", "val"),
    member("e", 1, "P5", "test"),
    member("f", 0, "P6", "test"),
)


def given(*changes: Member) -> Cohort:
    chosen = {m.slide_id: m for m in (*GIVEN, *changes)}
    return cohort_of(tuple(chosen.values()))


def test_given_parts_stand() -> None:
    assert draw(given()) == [Fold(repeat=0, fold=0, train=("a", "b"), val=("c", "d"), test=("e", "f"))]


@pytest.mark.parametrize("published", [False, True])
def test_given_parts_stand_in_the_paper_protocol_with_validation_in_training(published: bool) -> None:
    (fold,) = draw(given(), protocol="paper", published=published)
    assert fold == Fold(repeat=0, fold=0, train=("a", "b", "c", "d"), val=("e", "f"), test=("e", "f"))


def test_given_train_and_test_get_a_validation_part_out_of_train() -> None:
    extra = [member(f"{name}2", m.label, f"{m.patient_id}x", "train") for name, m in zip("abcd", GIVEN, strict=False)]
    cohort = given(member("c", 0, "P3", "train"), member("d", 1, "P4", "train"), *extra)
    for fold in draw(cohort, repeats=2, val_fraction=0.25):
        assert fold.test == ("e", "f")
        assert len(fold.val) == 2
        assert positives(cohort, fold.val) == 1
        assert len(fold.train) == 6


def test_a_split_column_without_a_test_part_is_refused() -> None:
    with pytest.raises(InputError, match="no slide of the test part of the given fold"):
        draw(given(member("e", 1, "P5", "train"), member("f", 0, "P6", "train")))


@pytest.mark.parametrize(("role", "parts"), [("train", "train and in test"), ("val", "val and in test")])
def test_a_patient_in_two_given_parts_is_refused(role: str, parts: str) -> None:
    with pytest.raises(InputError, match=f"patient 'P5' is in {parts} of the given fold"):
        draw(given(member("g", 1, "P5", role)))


@pytest.mark.parametrize("protocol", ["honest", "paper"])
def test_folds_are_the_same_after_writing_and_reading(tmp_path: Path, protocol: str) -> None:
    cohort = make_cohort()
    folds = draw(cohort, repeats=2, protocol=protocol, published=True)
    write_folds(tmp_path / "splits.csv", folds, cohort)
    assert read_folds(tmp_path / "splits.csv") == folds


def test_the_table_of_the_folds_is_that_of_the_contract(tmp_path: Path) -> None:
    cohort = given()
    write_folds(tmp_path / "splits.csv", draw(cohort), cohort)
    lines = (tmp_path / "splits.csv").read_text(encoding="utf-8").splitlines()
    assert lines[:4] == [
        "repeat,fold,slide_id,patient_id,role,label",
        "0,0,a,P1,train,normal",
        "0,0,b,P2,train,tumour",
        "0,0,c,P3,val,normal",
    ]
    assert len(lines) == 7


@pytest.mark.parametrize("row", ["0,0,a,P1,holdout", "zero,0,a,P1,train", "0,,a,P1,train"])
def test_a_table_that_is_no_table_of_folds_is_refused(tmp_path: Path, row: str) -> None:
    path = tmp_path / "splits.csv"
    path.write_text(f"repeat,fold,slide_id,patient_id,role\n{row}\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"splits\.csv"):
        read_folds(path)


def test_the_name_of_a_fold_names_its_repeat_first() -> None:
    assert Fold(repeat=2, fold=0, train=(), val=(), test=()).name == "repeat_2_fold_0"
