"""Folds of whole sites: no site is in two parts, and what cannot be drawn is refused with a fix that works."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from csv_rows import rows_of

from sammil_cli.cohort.cohort import Cohort, Member, patients_of
from sammil_cli.errors import InputError
from sammil_cli.training.fold import Fold, patients_of_folds, read_folds, write_folds
from sammil_cli.training.splits import draw_folds

# Patients of the two classes at each site.
UNEVEN = {"A": (9, 3), "B": (5, 2), "C": (7, 4), "D": (2, 1), "E": (6, 3), "F": (3, 1), "G": (4, 2), "H": (4, 4)}


def cohort_of(members: Sequence[Member]) -> Cohort:
    return Cohort(classes=("normal", "tumour"), members=tuple(members), patients=patients_of(members))


def cohort_at(sites: dict[str, tuple[int, int]]) -> Cohort:
    """Two slides of each patient."""
    members = [
        Member(slide_id=f"{site}{label}{number}_{slide}", label=label, patient_id=patient, site=site)
        for site, counts in sites.items()
        for label, count in enumerate(counts)
        for number in range(count)
        for patient in [f"{site}{label}{number}"]
        for slide in range(2)
    ]
    return cohort_of(members)


def draw(cohort: Cohort, **changes: object) -> list[Fold]:
    return draw_folds(cohort, **{"folds": 3, "repeats": 1, "val_fraction": 0.25, "seed": 5, "by": "site", **changes})


def sites(slides: Sequence[str]) -> set[str]:
    return {slide[0] for slide in slides}


def share(slides: Sequence[str]) -> float:
    return sum(slide[1] == "1" for slide in slides) / len(slides)


@pytest.mark.parametrize("protocol", ["honest", "paper"])
def test_a_site_is_in_one_part_only_and_every_slide_is_tested_once(protocol: str) -> None:
    cohort = cohort_at(UNEVEN)
    folds = draw(cohort, protocol=protocol, repeats=2)
    for fold in folds:
        assert not sites(fold.train) & sites(fold.test)
        assert not sites(fold.train) & sites(fold.val)
        assert sites(fold.val) == sites(fold.test) if protocol == "paper" else not sites(fold.val) & sites(fold.test)
        assert {*fold.train, *fold.val, *fold.test} == {member.slide_id for member in cohort.members}
    for repeat in range(2):
        tested = [slide for fold in folds if fold.repeat == repeat for slide in fold.test]
        assert sorted(tested) == sorted(member.slide_id for member in cohort.members)


def test_classes_and_sizes_are_as_even_as_whole_sites_allow() -> None:
    for fold in draw(cohort_at(UNEVEN)):
        assert 0.3 <= len(fold.test) / 120 <= 0.37  # 60 patients with two slides each
        assert share(fold.test) == pytest.approx(1 / 3, abs=0.04)
        assert share(fold.train) == pytest.approx(1 / 3, abs=0.06)
        assert len(fold.val) / (len(fold.val) + len(fold.train)) == pytest.approx(0.25, abs=0.05)


def test_the_draw_follows_the_seed_and_not_the_order_of_the_table() -> None:
    cohort = cohort_at(UNEVEN)
    turned = cohort_of(cohort.members[::-1])
    assert draw(cohort) == draw(cohort)
    assert [set(fold.test) for fold in draw(cohort)] == [set(fold.test) for fold in draw(turned)]
    assert len({tuple(fold.test for fold in draw(cohort, seed=seed)) for seed in range(4)}) > 1


@pytest.mark.parametrize(
    ("at", "folds", "message", "remedy"),
    [
        ({"A": (5, 5), "B": (5, 5)}, 3, "2 sites, and 3 folds of whole sites need one for each", "folds_by: patient"),
        ({"A": (9, 9), "B": (9, 9), "C": (9, 9)}, 5, "3 sites, and 5 folds", "set folds to 3, or folds_by: patient"),
        (
            {"A": (9, 0), "B": (9, 0), "C": (9, 0), "D": (0, 9), "E": (0, 9), "F": (0, 9)},
            5,
            "class 'normal' is at 3 of 6 sites: 5 test parts of whole sites cannot all hold every class",
            "set folds to 3, or folds_by: patient",
        ),
        (
            {"A": (9, 9), "B": (9, 9), "C": (9, 0)},
            2,
            "class 'tumour' is at 2 of 3 sites: beside the test part of fold 0, training and validation cannot both",
            "set folds_by: patient, or add sites",
        ),
    ],
)
def test_sites_that_cannot_be_divided_are_refused_and_the_remedy_works(
    at: dict[str, tuple[int, int]], folds: int, message: str, remedy: str
) -> None:
    cohort = cohort_at(at)
    with pytest.raises(InputError) as caught:
        draw(cohort, folds=folds)
    assert message in caught.value.message
    assert remedy in caught.value.remedy
    if "set folds to" in remedy:
        assert len(draw(cohort, folds=int(remedy.split()[3].strip(",")))) == 3
    assert len(draw(cohort, folds=folds, by="patient")) == folds


def test_sites_that_are_not_known_or_not_whole_are_refused() -> None:
    known = cohort_at(UNEVEN).members
    bare = [Member(slide_id=m.slide_id, label=m.label, patient_id=m.patient_id) for m in known]
    moved = Member(slide_id="x", label=0, patient_id=known[0].patient_id, site="Z")
    cases: list[tuple[Cohort, str, dict[str, object]]] = [
        (cohort_of(bare), "the labels have no column site", {}),
        (cohort_of([*known, bare[0]]), f"1 have none, such as '{bare[0].slide_id}'", {}),
        (cohort_of([*known, moved]), "patient 'A00' has slides of two sites, 'A' and 'Z'", {}),
        (cohort_of(known), "published_folds draws by patient", {"published": True}),
    ]
    for cohort, message, changes in cases:
        with pytest.raises(InputError) as caught:
            draw(cohort, **changes)
        assert message in caught.value.message
        assert "patient" in caught.value.remedy


def given(test: str, *train: str) -> Cohort:
    members = cohort_at(dict.fromkeys((test, *train), (3, 3))).members
    role = {test: "test", **dict.fromkeys(train, "train")}
    return cohort_of(
        [
            Member(slide_id=m.slide_id, label=m.label, patient_id=m.patient_id, parts=(role[str(m.site)],), site=m.site)
            for m in members
        ]
    )


def test_given_parts_stand_and_validation_is_a_site_of_train() -> None:
    (fold,) = draw(given("A", "B", "C", "D"))
    assert sites(fold.test) == {"A"}
    assert len(sites(fold.val)) == 1
    assert sites(fold.train) | sites(fold.val) == {"B", "C", "D"}
    with pytest.raises(InputError, match="of the 1 sites beside the test part no choice leaves every class"):
        draw(given("A", "B"))


def test_given_parts_that_share_a_site_are_refused() -> None:
    cohort = given("A", "B", "C")
    spilt = Member(slide_id="x", label=0, patient_id="X", parts=("test",), site="B")
    with pytest.raises(InputError, match="site 'B' is in train and in test of the column split"):
        draw(cohort_of([*cohort.members, spilt]))


def test_the_table_of_folds_holds_the_site_and_reads_back(tmp_path: Path) -> None:
    cohort = cohort_at(UNEVEN)
    folds, path = draw(cohort), tmp_path / "splits.csv"
    write_folds(path, folds, cohort)
    assert read_folds(path) == folds
    assert {row["site"] == row["slide_id"][0] for row in rows_of(path)} == {True}
    assert patients_of_folds(path) == {member.slide_id: member.patient_id for member in cohort.members}
