"""labels.csv: what is read, and what is refused."""

from pathlib import Path

import pytest

from sammil_cli.errors import InputError
from sammil_cli.training.cohort import Member, counts, read_labels


def write(folder: Path, text: str, encoding: str = "utf-8") -> Path:
    path = folder / "labels.csv"
    path.write_bytes(text.encode(encoding))
    return path


def labels_of(path: Path, classes: list[str] | None = None) -> list[tuple[str, int, str]]:
    return [(m.slide_id, m.label, m.patient_id) for m in read_labels(path, classes).members]


def test_a_table_with_patients_is_read_in_file_order(tmp_path: Path) -> None:
    path = write(tmp_path, "slide_id,label,patient_id\nb,tumour,P2\na,normal,P1\nc,normal,P2\n")
    cohort = read_labels(path)
    assert cohort.classes == ("normal", "tumour")
    assert cohort.members == (
        Member(slide_id="b", label=1, patient_id="P2", role=None),
        Member(slide_id="a", label=0, patient_id="P1", role=None),
        Member(slide_id="c", label=0, patient_id="P2", role=None),
    )


def test_columns_may_stand_in_any_order_beside_others(tmp_path: Path) -> None:
    path = write(tmp_path, "age,label,patient_id,slide_id\n61,x,P,s1\n44,w,Q,s2\n")
    assert labels_of(path) == [("s1", 1, "P"), ("s2", 0, "Q")]


@pytest.mark.parametrize("text", ["slide_id,label\ns1,x\ns2,w\n", "slide_id,label,patient_id\ns1,x,\ns2,w,\n"])
def test_a_slide_without_a_patient_is_its_own_patient(tmp_path: Path, text: str) -> None:
    assert labels_of(write(tmp_path, text)) == [("s1", 1, "s1"), ("s2", 0, "s2")]


def test_the_published_form_has_two_columns_and_no_header(tmp_path: Path) -> None:
    path = write(tmp_path, "tumor_020,1\nnormal_052,0\ntumor_078,1\n")
    assert labels_of(path) == [
        ("tumor_020", 1, "tumor_020"),
        ("normal_052", 0, "normal_052"),
        ("tumor_078", 1, "tumor_078"),
    ]


def test_a_headerless_table_of_three_columns_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="lacks the column 'slide_id'"):
        read_labels(write(tmp_path, "a,1,P\nb,0,Q\n"))


def test_a_headerless_table_with_a_longer_row_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="line 2 has more than 2 cells"):
        read_labels(write(tmp_path, "a,1\nb,0,Q\n"))


def test_a_byte_order_mark_blanks_and_windows_line_ends_do_no_harm(tmp_path: Path) -> None:
    path = write(tmp_path, "slide_id , label\r\n s1 ,x \r\ns2, w\r\n\r\n", "utf-8-sig")
    assert labels_of(path) == [("s1", 1, "s1"), ("s2", 0, "s2")]


def test_a_byte_order_mark_before_a_headerless_table_is_no_part_of_the_slide(tmp_path: Path) -> None:
    assert labels_of(write(tmp_path, "s1,x\ns2,w\n", "utf-8-sig")) == [("s1", 1, "s1"), ("s2", 0, "s2")]


@pytest.mark.parametrize("head", ["", "slide_id,label\n"], ids=["headerless", "with-header"])
def test_a_table_that_is_not_utf_8_is_refused(tmp_path: Path, head: str) -> None:
    with pytest.raises(InputError, match="UTF-8"):
        read_labels(write(tmp_path, head + "Präparat,x\ns2,w\n", "latin-1"))


def test_a_slide_that_stands_twice_is_refused_with_both_lines(tmp_path: Path) -> None:
    path = write(tmp_path, "slide_id,label\ns1,x\ns2,w\ns1,x\n")
    with pytest.raises(InputError, match=r"row 4: slide 's1' stands in row 2 already"):
        read_labels(path)


def test_lines_are_counted_from_the_first_one_of_a_headerless_table(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"row 3: slide 's1' stands in row 1 already"):
        read_labels(write(tmp_path, "s1,x\ns2,w\ns1,x\n"))


def test_an_empty_label_is_refused_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"row 3: slide_id or label is empty"):
        read_labels(write(tmp_path, "slide_id,label\ns1,x\ns2,\n"))


def test_the_order_of_the_classes_can_be_given(tmp_path: Path) -> None:
    path = write(tmp_path, "slide_id,label\ns1,benign\ns2,malignant\n")
    cohort = read_labels(path, ["malignant", "benign"])
    assert cohort.classes == ("malignant", "benign")
    assert [m.label for m in cohort.members] == [1, 0]


def test_a_label_beside_the_given_classes_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, "slide_id,label\ns1,normal\ns2,Tumour\n")
    with pytest.raises(InputError, match=r"row 3: label 'Tumour' is none of the classes \['normal', 'tumour'\]"):
        read_labels(path, ["normal", "tumour"])


def test_the_column_split_gives_slides_to_parts(tmp_path: Path) -> None:
    path = write(tmp_path, "slide_id,label,split\ns1,x,train\ns2,w,val\ns3,w,test\ns4,x,\n")
    assert [m.role for m in read_labels(path).members] == ["train", "val", "test", None]


def test_an_unknown_part_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, "slide_id,label,split\ns1,x,train\ns2,w,holdout\n")
    with pytest.raises(InputError, match=r"row 3: split 'holdout'") as caught:
        read_labels(path)
    assert "train, val, test" in caught.value.remedy


@pytest.mark.parametrize(("rows", "number"), [("s1,x\ns2,x\n", 1), ("", 0)])
def test_fewer_than_two_classes_are_refused(tmp_path: Path, rows: str, number: int) -> None:
    with pytest.raises(InputError, match=rf"has {number} class"):
        read_labels(write(tmp_path, "slide_id,label\n" + rows))


def test_a_missing_table_is_refused_with_its_first_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist") as caught:
        read_labels(tmp_path / "labels.csv")
    assert "slide_id,label" in caught.value.remedy


def test_a_cohort_is_restricted_to_some_slides_and_keeps_its_classes(tmp_path: Path) -> None:
    cohort = read_labels(write(tmp_path, "slide_id,label\ns1,x\ns2,w\ns3,x\n")).only({"s3", "s1", "other"})
    assert [m.slide_id for m in cohort.members] == ["s1", "s3"]
    assert cohort.classes == ("w", "x")


def test_a_cohort_is_counted_for_people(tmp_path: Path) -> None:
    path = write(tmp_path, "slide_id,label,patient_id\na,x,P\nb,w,Q\nc,x,P\nd,x,R\n")
    assert counts(read_labels(path)) == "1 w, 3 x slides of 3 patients"
