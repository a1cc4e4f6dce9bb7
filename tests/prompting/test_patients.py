"""Whose slides are learned from, and who is held out."""

from pathlib import Path

import pytest

from sammil_cli.errors import InputError
from sammil_cli.prompting.patients import held_out, patients_of_slides


def test_patients_come_from_the_label_table_and_a_slide_that_it_lacks_is_its_own(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("slide_id,label,patient_id\na,tumour,p1\nb,tumour,p1\n")  # one class will do
    assert patients_of_slides(path, {"a", "b", "c"}) == ({"a": "p1", "b": "p1", "c": "c"}, 1)


@pytest.mark.parametrize("text", [None, "slide_id,label,patient_id\n"])
def test_without_a_table_each_slide_is_its_own_patient(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "labels.csv"
    if text is not None:
        path.write_text(text)
    assert patients_of_slides(path, {"a", "b"}) == ({"a": "a", "b": "b"}, 2)


def test_a_table_of_patients_says_it_by_the_names_of_slides(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("patient_id,label\nTCGA-1,x\nTCGA-2,y\n")
    found, unnamed = patients_of_slides(path, {"TCGA-1-A", "TCGA-1-B", "TCGA-2-A"})
    assert (found["TCGA-1-A"], found["TCGA-1-B"], found["TCGA-2-A"], unnamed) == ("TCGA-1", "TCGA-1", "TCGA-2", 0)


def test_a_table_that_cannot_be_made_out_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("a;b;c\n1;2;3\n")
    with pytest.raises(InputError):
        patients_of_slides(path, {"a"})


def test_a_slide_of_two_patients_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("slide_id,label,patient_id\na,x,p1\nb,x,p2\na,x,p2\n")
    with pytest.raises(InputError, match=r"row 4: slide 'a' stands in row 2 already") as refused:
        patients_of_slides(path, {"a", "b"})
    assert refused.value.remedy


@pytest.mark.parametrize(("count", "fraction", "held"), [(2, 0.2, 1), (10, 0.2, 2), (3, 0.95, 2), (20, 0.01, 1)])
def test_at_least_one_patient_is_held_out_and_never_all(count: int, fraction: float, held: int) -> None:
    patients = {f"s{number}": f"p{number}" for number in range(count)}
    found = held_out(patients, fraction, seed=3)
    assert len(found) == held
    assert found < set(patients.values())
    assert found == held_out(dict(reversed(patients.items())), fraction, seed=3)


def test_another_seed_holds_others_out() -> None:
    patients = {f"s{number}": f"p{number}" for number in range(30)}
    assert held_out(patients, 0.2, seed=1) != held_out(patients, 0.2, seed=2)


def test_slides_of_one_patient_are_refused() -> None:
    with pytest.raises(InputError, match="one patient, 'p'") as refused:
        held_out({"a": "p", "b": "p"}, 0.2, seed=1)
    assert "two patients" in refused.value.remedy
