"""Which id was meant, and what is not taken for it."""

import pytest

from sammil_cli.cohort.near_ids import Near, NearIds, look_alike

SUFFIXES = {".svs", ".tif"}


@pytest.mark.parametrize(
    ("wrong", "right", "difference"),
    [
        ("a_1.SVS", "a_1", "the file's suffix"),
        ("a_1", "a_01", "leading zeros"),
        ("A_1", "a_1", "capital letters"),
        (" a _1", "a_1", "spaces"),
        ("a-1", "a_1", "separators"),
        ("а_1", "a_1", "letters that look alike"),
        ("A_01.tif", "a-1", "the way it is written"),
        ("patiant_7", "patient_7", "a letter or two"),
        ("TCGA-05-4244", "TCGA-05-4244-01Z", "what follows"),
        ("TCGA-05-4244-01Z-00-DX1", "TCGA-05-4244-01Z", "what follows"),
    ],
)
def test_the_id_that_was_meant_is_found(wrong: str, right: str, difference: str) -> None:
    assert NearIds([right, "other_99", "b_77"], SUFFIXES).find(wrong) == Near(right, difference)


@pytest.mark.parametrize("wrong", ["a_2", "a_11", "a_1_1", "b_1", "1"])
def test_another_number_or_name_is_another_slide(wrong: str) -> None:
    assert NearIds(["a_1"], SUFFIXES).find(wrong) is None


def test_nothing_is_proposed_where_two_could_be_meant() -> None:
    assert NearIds(["a_01", "A_1"], SUFFIXES).find("a_001") is None
    ids = NearIds(["TCGA-05-4244-01Z", "TCGA-05-4244-02Z"], SUFFIXES)
    assert ids.find("TCGA-05-4244") is None
    assert len(ids.beginning_with("TCGA-05-4244")) == 2


def test_texts_look_alike_by_case_blanks_and_letters_but_not_by_number() -> None:
    assert look_alike("S lide\u200b‐1") == look_alike("slide-1")
    assert look_alike("slide-1") != look_alike("slide-01")
