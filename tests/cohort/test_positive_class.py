"""Which of two classes is the positive one, and which names are asked about."""

from pathlib import Path

import pytest

from sammil_cli.cohort.class_order import by_name
from sammil_cli.cohort.cohort import read_labels
from sammil_cli.cohort.positive_class import positive_findings, sounds_negative

# The negative class, then the positive one.
PAIRS = [
    ("normal", "cancer"),
    ("Solid Tissue Normal", "Primary Tumor"),
    ("Benign", "malignant"),
    ("HPV-", "HPV+"),
    ("ER−", "ER+"),
    ("HPVneg", "HPVpos"),
    ("her2_negative", "her2_positive"),
    ("wildtype", "mutant"),
    ("wild type", "V600E"),
    ("IDH-wt", "IDH-mut"),
    ("MSS", "MSI"),
    ("MSI-L/MSS", "MSI-H"),
    ("pMMR", "dMMR"),
    ("control", "case"),
    ("healthy", "ill"),
    ("none", "some"),
    ("no", "yes"),
    ("no metastasis", "metastasis"),
    ("non-responder", "responder"),
    ("nonresponder", "responder"),
    ("not X", "X"),
    ("unmethylated", "methylated"),
    ("absent", "present"),
    ("false", "true"),
    ("0", "1"),
    ("0", "tumour"),
    ("9", "10"),
    ("-1", "1"),
    ("low", "high"),
    ("stable", "unstable"),
    ("healthy", "unhealthy"),
    ("normal", "not normal"),
]


@pytest.mark.parametrize(("negative", "positive"), PAIRS)
def test_a_negative_name_sounds_so_and_its_positive_one_does_not(negative: str, positive: str) -> None:
    assert sounds_negative(negative, positive)
    assert not sounds_negative(positive, negative)


@pytest.mark.parametrize(("one", "other"), [("LUAD", "LUSC"), ("class_0", "class_1"), ("G1", "G2"), ("a", "b")])
def test_names_that_say_nothing_are_not_asked_about(one: str, other: str) -> None:
    assert not sounds_negative(one, other)
    assert not sounds_negative(other, one)


def test_only_two_classes_of_which_none_is_set_are_asked_about() -> None:
    assert len(list(positive_findings(["cancer", "normal"], None, "labels.csv"))) == 1
    assert list(positive_findings(["cancer", "normal"], "normal", "labels.csv")) == []
    (asked,) = positive_findings(["10", "9"], None, "labels.csv")
    assert asked.fix == "set positive_class: '10' (or '9', if it is meant)"  # a number needs its quotes in YAML
    assert list(positive_findings(["benign", "cancer", "normal"], None, "labels.csv")) == []


def test_numbers_are_ordered_by_value_and_names_as_text() -> None:
    assert by_name({"10", "9", "-1", "0.5"}) == ["-1", "0.5", "9", "10"]
    assert by_name({"10", "9", "x"}) == ["10", "9", "x"]


@pytest.mark.parametrize(
    ("classes", "positive_class", "order"),
    [
        (None, None, ("cancer", "normal")),
        (None, "cancer", ("normal", "cancer")),
        (["normal", "cancer"], None, ("normal", "cancer")),
        (["normal", "cancer"], "normal", ("cancer", "normal")),
    ],
)
def test_the_positive_class_comes_last_whatever_orders_the_classes(
    tmp_path: Path, classes: list[str] | None, positive_class: str | None, order: tuple[str, ...]
) -> None:
    (tmp_path / "labels.csv").write_text("slide_id,label\na,cancer\nb,normal\n")
    cohort = read_labels(tmp_path / "labels.csv", classes, positive_class=positive_class)
    assert cohort.classes == order
    assert cohort.positive_class == order[1]
    assert [cohort.classes[member.label] for member in cohort.members] == ["cancer", "normal"]
