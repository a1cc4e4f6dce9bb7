"""What folds will meet is foreseen: classes that parts lack, patients in the names of slides; in words of our own."""

import random
import re
import warnings

import pytest

from sammil_cli.cohort.cohort import Cohort, Member, patients_of
from sammil_cli.errors import InputError
from sammil_cli.training.foresight import fold_findings
from sammil_cli.training.splits import draw_folds


def cohort_of(labels: str, *, slides: list[str] | None = None, roles: str = "") -> Cohort:
    """A slide for each letter of `labels`, a patient each; `roles`: a letter each, of train, val, test."""
    role = {"r": "train", "v": "val", "e": "test"}
    classes = tuple(sorted(set(labels)))
    names = slides or [f"s{i}" for i in range(len(labels))]
    members = tuple(
        Member(slide_id=name, label=classes.index(label), patient_id=name, parts=(role[roles[i]],) if roles else ())
        for i, (name, label) in enumerate(zip(names, labels, strict=True))
    )
    return Cohort(classes=classes, members=members, patients=patients_of(members))


def foreseen(cohort: Cohort, **changes: object) -> list[tuple[str, str, str]]:
    folds = draw_folds(cohort, **{"folds": 3, "repeats": 1, "val_fraction": 0.2, "seed": 1, **changes})
    return [(finding.kind, finding.message, finding.fix) for finding in fold_findings(cohort, folds, "labels.csv")]


def test_a_class_without_a_patient_in_validation_is_named_with_its_folds_and_a_share_that_is_enough() -> None:
    cohort = cohort_of("a" * 3 + "b" * 20)
    ((kind, message, fix),) = foreseen(cohort)
    assert (kind, message) == (
        "no-class-in-val",
        "folds 0, 1, 2 of repeat 0: no slide of class 'a' is in validation: the epoch is chosen by loss, not by AUC, "
        "and the threshold is 0.5",
    )
    assert fix == "set val_fraction to 0.5, or add patients of this class"
    assert foreseen(cohort, val_fraction=0.5) == []
    assert foreseen(cohort, protocol="paper") == []


def test_parts_that_are_given_and_lack_a_class_are_named() -> None:
    both = foreseen(cohort_of("ababab" + "aa" + "bb", roles="rrrrrr" + "vv" + "ee"))
    assert [(kind, fix) for kind, _, fix in both] == [
        ("no-class-in-val", "give val a patient of it"),
        ("no-class-in-test", "give test a patient of it"),
    ]
    assert both[1][1] == "fold 0 of repeat 0: no slide of class 'a' is in the test part: it has no AUC"


@pytest.mark.parametrize(
    ("labels", "roles", "message"),
    [
        ("aabb", "rrve", "the given fold: no patient of class 'b' is left to train on"),
        ("aabab", "rrree", "the given fold: class 'b' has 1 patient beside the test part"),
        ("aab", "rre", "of 2 patients beside the test part 2 are for validation, and 0 are left"),
    ],
)
def test_given_parts_that_nothing_can_be_learnt_from_are_refused(labels: str, roles: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        foreseen(cohort_of(labels, roles=roles))


def test_no_cohort_however_small_ends_in_words_of_scikit_learn() -> None:
    lot = random.Random(1)
    refused = []
    for _ in range(150):
        labels = "".join(letter * lot.randint(1, 7) for letter in "abc"[: lot.randint(2, 3)])
        roles = "".join(lot.choice("rrrve") for _ in labels) if lot.random() < 0.3 else ""
        folds, share = lot.randint(2, 5), lot.choice((0.05, 0.2, 0.5, 0.9))
        protocol, published = lot.choice(("honest", "paper")), lot.random() < 0.5
        changes = {"folds": folds, "val_fraction": share, "protocol": protocol, "published": published}
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            try:
                foreseen(cohort_of(labels, roles=roles), **changes)
            except InputError as error:
                refused.append(error.message + error.remedy)
    assert 20 < len(refused) < 130
    assert not [text for text in refused if re.search("n_splits|least populated|test_size|n_samples|stratif", text)]


def test_a_class_of_the_number_that_the_refusal_asks_for_is_enough() -> None:
    for folds in (2, 3, 5):
        for number in range(1, 8):
            cohort = cohort_of("a" * number + "b" * 20)
            needed = 4 if folds == 2 else folds
            if number < needed:
                with pytest.raises(InputError, match=f"{number} patients?; {folds} folds need {needed}"):
                    foreseen(cohort, folds=folds)
            else:
                foreseen(cohort, folds=folds)


PAIRS = {
    "TCGA": [f"TCGA-0{i // 8}-{1000 + i // 2}-01Z-00-DX{i % 2}" for i in range(24)],
    "CPTAC": [f"C3L-{1000 + i // 2:05d}-2{i % 2}" for i in range(24)],
    "a case number": [f"H19.{1000 + i // 2}_{'AB'[i % 2]}_HE" for i in range(24)],
}


@pytest.mark.parametrize("name", PAIRS)
def test_patients_in_the_names_of_slides_are_counted_in_the_folds_with_the_column_to_write(name: str) -> None:
    cohort = cohort_of("aabb" * 6, slides=PAIRS[name])
    ((kind, message, fix),) = foreseen(cohort)
    assert kind == "shared-patients"
    assert "24 of 24 slides count as 24 patients, but their names hold 12: " in message
    folds = draw_folds(cohort, folds=3, repeats=1, val_fraction=0.2, seed=1)
    patient = dict(zip(PAIRS[name], [i // 2 for i in range(24)], strict=True))
    mixed = sum(
        any(patient[s] == patient[other] for other in (*fold.train, *fold.val)) for fold in folds for s in fold.test
    )
    assert 0 < mixed < 24
    assert f"; {mixed} of 24 test slides of the folds drawn have their patient in train or validation" in message
    first, second = PAIRS[name][:2]
    assert fix.startswith("write patients into the column patient_id: ")
    assert fix.endswith(f" for {first} and {second}")


@pytest.mark.parametrize(
    "slides",
    [
        [f"normal_{i:03d}" for i in range(24)],
        [f"study2023_{i:03d}" for i in range(24)],
        [f"batch{i // 12}_slide{i}" for i in range(24)],
        [f"{i // 2}_{i % 2}" for i in range(24)],
    ],
    ids=["a class", "a study", "a batch", "short numbers"],
)
def test_what_names_share_besides_is_no_patient(slides: list[str]) -> None:
    assert foreseen(cohort_of("ab" * 12, slides=slides)) == []
