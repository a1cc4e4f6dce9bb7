"""Folds that labels.csv gives, by the columns split, fold, and fold_0, fold_1, …"""

from pathlib import Path

import pytest

from sammil_cli.cohort.cohort import Cohort, read_labels
from sammil_cli.cohort.given_folds import without_shared_patients
from sammil_cli.errors import InputError
from sammil_cli.training.fold import Fold
from sammil_cli.training.splits import draw_folds


def read(folder: Path, text: str) -> Cohort:
    path = folder / "labels.csv"
    path.write_text(text.replace(" ", "\n") + "\n")
    return read_labels(path)


def drawn(cohort: Cohort, **changes: object) -> list[Fold]:
    return draw_folds(cohort, **{"folds": 5, "repeats": 1, "val_fraction": 0.3, "seed": 3, **changes})


def test_the_column_fold_says_which_fold_tests_a_slide(tmp_path: Path) -> None:
    rows = " ".join(f"s{i},{'xw'[i % 2]},P{i},{10 * (i // 4)}" for i in range(12))
    folds = drawn(read(tmp_path, f"slide_id,label,patient_id,fold {rows}"), repeats=2)
    assert [(fold.repeat, fold.fold) for fold in folds] == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)]
    for fold in folds:
        assert fold.test == tuple(f"s{i}" for i in range(4 * fold.fold, 4 * fold.fold + 4))
        assert sorted((*fold.train, *fold.val, *fold.test)) == sorted(f"s{i}" for i in range(12))
        assert len(fold.val) == 2
    assert {fold.val for fold in folds[:3]} != {fold.val for fold in folds[3:]}  # validation is drawn anew


NUMBERED = """\
slide_id,label,patient_id,fold_0,fold_1
a,x,A,train,test
b,w,B,train,train
c,x,C,val,train
d,w,D,val,test
e,x,E,test,
f,w,F,test,val
g,x,G,,val
"""


def test_numbered_columns_give_each_fold_its_parts_and_leave_slides_out(tmp_path: Path) -> None:
    assert drawn(read(tmp_path, NUMBERED)) == [
        Fold(repeat=0, fold=0, train=("a", "b"), val=("c", "d"), test=("e", "f")),
        Fold(repeat=0, fold=1, train=("b", "c"), val=("f", "g"), test=("a", "d")),
    ]
    paper = drawn(read(tmp_path, NUMBERED), protocol="paper")[1]
    assert paper == Fold(repeat=0, fold=1, train=("b", "c", "f", "g"), val=("a", "d"), test=("a", "d"))


def test_given_folds_that_test_a_slide_twice_are_repeats(tmp_path: Path) -> None:
    cohort = read(tmp_path, NUMBERED.replace("e,x,E,test,", "e,x,E,test,test"))
    assert [(fold.repeat, fold.fold) for fold in drawn(cohort, repeats=2)] == [(0, 0), (1, 0), (2, 0), (3, 0)]


def test_the_columns_are_ordered_by_number(tmp_path: Path) -> None:
    rows = "slide_id,label,fold_10,fold_9 a,x,train,test b,w,train,test c,x,test,train d,w,test,train"
    assert next(member.parts for member in read(tmp_path, rows).members) == ("test", "train")


def test_a_column_that_nothing_fills_gives_no_folds(tmp_path: Path) -> None:
    assert [member.parts for member in read(tmp_path, "slide_id,label,split a,x, b,w,").members] == [(), ()]


@pytest.mark.parametrize(
    ("rows", "words", "fix"),
    [
        ("label,fold a,x,0 b,w,", "row 3: fold is empty here", "number of the fold"),
        ("label,fold a,x,0 b,w,-1", "row 3: fold '-1' is no number", "from 0 on"),
        ("label,fold a,x,train b,w,test", "row 2: fold 'train' is no number", "rename the column to split"),
        ("label,fold a,x,1 b,w,1", "every slide has the same fold", "at least two"),
        ("label,patient_id,fold a,x,P,0 b,w,P,1", "patient 'P' is in fold 1 here and in 0 in row 2", "one part"),
        ("label,fold_0 a,x,training b,w,test", "row 2: fold_0 'training'", "train, val, test"),
        ("label,fold_0 a,x,train b,w,train", "no slide is in the part test of the column fold_0", "some"),
        ("label,fold_0,fold_1 a,x,train,test b,w,train,train c,w,test,test", "class 'x' is in the part train", "drop"),
        (
            "label,patient_id,fold_3 a,x,P,train b,w,P,test c,w,Q,train",
            "patient 'P' is in fold_3 test here",
            "one part",
        ),
        ("label,split a,x,train b,w,train c,w,test d,x,", "row 5: split is empty here", "train, val, test"),
        (
            "label,split,fold_0 a,x,train,test b,w,test,train",
            "given twice, by the columns fold_0, … and split",
            "delete",
        ),
        ("label,fold,split a,x,0,test b,w,1,train", "given twice, by the columns fold and split", "delete"),
    ],
)
def test_folds_that_cannot_be_are_refused(tmp_path: Path, rows: str, words: str, fix: str) -> None:
    with pytest.raises(InputError) as caught:
        read(tmp_path, f"slide_id,{rows}")
    assert words in caught.value.message
    assert fix in caught.value.remedy


def test_a_fold_whose_test_slides_are_not_here_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no slide of the test part of given fold 1 is here"):
        drawn(read(tmp_path, NUMBERED.replace("a,x,A,train,test", "a,x,A,train,")).only(set("abcefg")))


def test_a_patient_is_kept_in_one_part_test_before_val_before_train() -> None:
    parts: dict[str, list[str | None]] = {
        "a1": ["train", "test", "train"],
        "a2": ["test", "val", "val"],
        "a3": ["test", "train", "train"],
        "b": ["val", None, "train"],
    }
    assert without_shared_patients(parts, lambda slide: slide[0]) == [1, 2, 2]
    assert parts == {
        "a1": [None, "test", None],
        "a2": ["test", None, "val"],
        "a3": ["test", None, None],
        "b": ["val", None, "train"],
    }
