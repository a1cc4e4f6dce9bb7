"""Words for a missing label or patient are no class and no person."""

from pathlib import Path

import pytest

from sammil_cli.cohort.cohort import read_labels
from sammil_cli.cohort.missing_words import is_missing
from sammil_cli.errors import InputError

MISSING = (
    *(
        "",
        " ",
        "nan",
        "NaN",
        "NA",
        "N/A",
        "n/a",
        "n. a.",
        "#N/A",
        "<NA>",
        "Null",
        "None",
        "unknown",
        "Unk.",
        "UNKNOWN ",
    ),
    *(
        "Not Available",
        "[Not Available]",
        "not_applicable",
        "Not  Reported",
        "'--",
        "-",
        "–",
        "--",
        "?",
        "??",
        ".",
        "…",
    ),
    *("#VALUE!", "#DIV/0!", "Missing", "empty", "ＮＡ"),
)
SAID = (
    "0",
    "1",
    "+",
    "+/-",
    "N+",
    "Na+",
    "normal",
    "NAT",
    "NOS",
    "ND",
    "nano",
    "negative",
    "other",
    "indeterminate",
    "<1",
)


@pytest.mark.parametrize(("words", "missing"), [(MISSING, True), (SAID, False)])
def test_words_for_nothing_are_known_in_any_dress_and_findings_are_no_such_words(
    words: tuple[str, ...], missing: bool
) -> None:
    assert [word for word in words if is_missing(word) != missing] == []


@pytest.mark.parametrize("word", ["nan", "Not Available", "-", "unknown"])
def test_a_missing_label_is_refused_unless_it_is_named_as_a_class(tmp_path: Path, word: str) -> None:
    path = tmp_path / "labels.csv"
    path.write_text(f"slide_id,label\ns1,x\ns2,{word}\ns3,w\ns4,{word}\n", encoding="utf-8")
    for classes in (None, ["w", "x"]):
        with pytest.raises(
            InputError, match=rf"row 3: label '{word}' \(rows: 2\) says that there is no label"
        ) as caught:
            read_labels(path, classes)
        assert caught.value.remedy.endswith(f"name all of them in params.yaml: classes: ['w', 'x', {word!r}]")
    cohort = read_labels(path, ["w", "x", word])
    assert [member.label for member in cohort.members] == [1, 2, 0, 2]


def test_words_for_no_patient_make_each_slide_its_own_patient_not_one_patient_of_all(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("slide_id,label,patient_id,case_id\ns1,x,NA,C1\ns2,w,n/a,NA\ns3,x,P1,NA\n", encoding="utf-8")
    assert [member.patient_id for member in read_labels(path).members] == ["C1", "s2", "P1"]
