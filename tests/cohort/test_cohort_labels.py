"""labels.csv: what is read, and what is refused."""

from pathlib import Path

import pytest

from sammil_cli.cohort.cohort import Member, Patient, counts, read_labels
from sammil_cli.errors import InputError


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
        Member(slide_id="b", label=1, patient_id="P2"),
        Member(slide_id="a", label=0, patient_id="P1"),
        Member(slide_id="c", label=0, patient_id="P2"),
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
    with pytest.raises(InputError, match="row 2: more than 2 cells"):
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
    with pytest.raises(InputError, match=r"row 3: label is empty"):
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
    path = write(tmp_path, "slide_id,label,split\ns1,x,train\ns2,w,val\ns3,w,test\ns4,w,train\n")
    assert [m.parts for m in read_labels(path).members] == [("train",), ("val",), ("test",), ("train",)]


def test_an_unknown_part_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, "slide_id,label,split\ns1,x,train\ns2,w,holdout\n")
    with pytest.raises(InputError, match=r"row 3: split 'holdout'") as caught:
        read_labels(path)
    assert "train, val, test" in caught.value.remedy


@pytest.mark.parametrize(("rows", "said"), [("s1,x\ns2,x\n", "has 1 class"), ("", "has no rows")])
def test_fewer_than_two_classes_are_refused(tmp_path: Path, rows: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        read_labels(write(tmp_path, "slide_id,label\n" + rows))


def test_a_missing_table_is_refused_with_its_first_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist") as caught:
        read_labels(tmp_path / "labels.csv")
    assert "slide_id,label" in caught.value.remedy


SLIDES = {"P1_b.x", "P1_a", "P2-01", "Q_P3", "other"}
PATIENTS = "P1,normal\nP3,tumour\nP9,normal\nP2,tumour\n"


def slides_of(path: Path, slides: set[str]) -> list[tuple[str, int, str]]:
    return [(m.slide_id, m.label, m.patient_id) for m in read_labels(path, slides=slides).members]


@pytest.mark.parametrize("head", ["patient_id,label\n", "case_id,label\n", ""], ids=["ours", "clam", "headerless"])
def test_a_table_of_patients_labels_the_slides_that_hold_their_ids(tmp_path: Path, head: str) -> None:
    cohort = read_labels(write(tmp_path, head + PATIENTS), slides=SLIDES)
    assert cohort.members == (
        Member(slide_id="P1_a", label=0, patient_id="P1"),
        Member(slide_id="P1_b.x", label=0, patient_id="P1"),
        Member(slide_id="Q_P3", label=1, patient_id="P3"),
        Member(slide_id="P2-01", label=1, patient_id="P2"),
    )
    assert [p.patient_id for p in cohort.patients] == ["P1", "P3", "P9", "P2"]  # P9 has no slide
    assert [p.label for p in cohort.patients] == [0, 1, 0, 1]


def test_the_patients_of_the_file_stay_when_slides_go(tmp_path: Path) -> None:
    cohort = read_labels(write(tmp_path, "slide_id,label,patient_id\nb,x,Q\na,w,P\nc,w,Q\nd,w,R\n"))
    assert cohort.patients == (
        Patient(patient_id="Q", label=1),
        Patient(patient_id="P", label=0),
        Patient(patient_id="R", label=0),
    )
    assert cohort.only({"c"}).patients == cohort.patients


def test_parts_of_patients_are_those_of_their_slides(tmp_path: Path) -> None:
    path = write(tmp_path, "patient_id,label,fold\nP1,x,0\nP2,w,1\n")
    parts = {m.slide_id: m.parts for m in read_labels(path, slides=SLIDES).members}
    assert parts == {"P1_a": ("test", "train"), "P1_b.x": ("test", "train"), "P2-01": ("train", "test")}


def test_slides_do_not_matter_to_a_table_of_slides(tmp_path: Path) -> None:
    path = write(tmp_path, "slide_id,label\nP1,x\nP2,w\n")
    assert read_labels(path, slides={"P1_a", "P2_a"}) == read_labels(path)


@pytest.mark.parametrize(
    "slides",
    [{"P1", "P2_a"}, {"a", "b"}, set()],
    ids=["one id is a slide's", "no id is part of a slide's", "no slides"],
)
def test_a_headerless_table_names_slides_unless_only_parts_of_their_ids_match(tmp_path: Path, slides: set[str]) -> None:
    assert slides_of(write(tmp_path, "P1,w\nP2,x\n"), slides) == [("P1", 0, "P1"), ("P2", 1, "P2")]


def test_of_two_patients_in_a_slides_id_the_longer_one_wins_if_it_holds_the_shorter(tmp_path: Path) -> None:
    path = write(tmp_path, "patient_id,label\nTCGA-05,w\nTCGA-05-4417,x\n")
    slides = {"TCGA-05-4417-01Z", "TCGA-05-9999-01Z"}
    assert slides_of(path, slides) == [("TCGA-05-9999-01Z", 0, "TCGA-05"), ("TCGA-05-4417-01Z", 1, "TCGA-05-4417")]


@pytest.mark.parametrize("head", ["patient_id,label\n", ""], ids=["with-header", "headerless"])
def test_a_slide_of_two_patients_is_refused_with_both(tmp_path: Path, head: str) -> None:
    path = write(tmp_path, head + "P1,w\nP22,x\n")
    with pytest.raises(InputError, match="slide 'P1_and_P22' holds the ids of two patients, 'P22' and 'P1'") as caught:
        read_labels(path, slides={"P1_a", "P1_and_P22"})
    assert "slide_id,label,patient_id" in caught.value.remedy


def test_a_patients_number_is_no_part_of_a_longer_number(tmp_path: Path) -> None:
    path = write(tmp_path, "patient_id,label\nP1,w\n7,x\n")
    slides = {"P10_a", "P1_a", "P1b", "x17", "x7y", "P01_70"}
    assert [slide for slide, _, _ in slides_of(path, slides)] == ["P1_a", "P1b", "x7y"]


def test_a_table_of_patients_needs_slides(tmp_path: Path) -> None:
    path = write(tmp_path, "patient_id,label\nP1,w\nP2,x\n")
    with pytest.raises(InputError, match=r"labels\.csv labels patients, and no slides are known") as caught:
        read_labels(path)
    assert "slide_id,label,patient_id" in caught.value.remedy


def test_a_table_of_patients_without_any_slide_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, "patient_id,label\nP1,w\nP2,x\n")
    with pytest.raises(InputError, match="no patient's id is part of a slide's; labels name 'P1', slides 'a'"):
        read_labels(path, slides={"b", "a"})


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("P1,w\nP2,x\nP1,w\n", "row 4: patient 'P1' stands in row 2 already"),
        ("P1,w\n,x\n", "row 3: patient_id is empty"),
        ("P1,w\nP2,\n", "row 3: label is empty"),
        ("P1,w\nP2,w\n", r"has 1 class\(es\)"),
    ],
)
def test_a_wrong_table_of_patients_is_refused_with_its_row(tmp_path: Path, rows: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_labels(write(tmp_path, "patient_id,label\n" + rows), slides=SLIDES)


def test_a_header_that_names_neither_slides_nor_patients_is_no_row(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="'slide,label' lacks the column 'slide_id'"):
        read_labels(write(tmp_path, "slide,label\na,w\nb,x\n"))


def test_a_cohort_is_restricted_to_some_slides_and_keeps_its_classes(tmp_path: Path) -> None:
    cohort = read_labels(write(tmp_path, "slide_id,label\ns1,x\ns2,w\ns3,x\n")).only({"s3", "s1", "other"})
    assert [m.slide_id for m in cohort.members] == ["s1", "s3"]
    assert cohort.classes == ("w", "x")


def test_a_cohort_is_counted_for_people(tmp_path: Path) -> None:
    path = write(tmp_path, "slide_id,label,patient_id\na,x,P\nb,w,Q\nc,x,P\nd,x,R\n")
    assert counts(read_labels(path)) == "1 w, 3 x slides of 3 patients"


ROWS = "".join(f"s{i},{'wx'[i % 2]}\n" for i in range(8))
TURNED = "".join(f"{'wx'[i % 2]},s{i},{40 + i}\n" for i in range(8))
KNOWN = {f"s{i}" for i in range(8)}


@pytest.mark.parametrize(
    ("text", "slides", "message", "fix"),
    [
        ("ID,Group\n" + ROWS, KNOWN, "'ID,Group' lacks the column 'slide_id'", "rename the column 'ID' to slide_id"),
        ("ID,Group\n" + ROWS, set(), "'ID,Group' lacks the column 'slide_id'", "that of the patients to patient_id"),
        ("slide_id,Group\n" + ROWS, set(), "lacks the column 'label'", "the columns are: slide_id, Group"),
        ("Group,ID,Age\n" + TURNED, KNOWN, "lacks the column 'slide_id'", "rename the column 'ID' to slide_id"),
        (TURNED, KNOWN, "lacks the column 'slide_id'", "write a first line, with slide_id for column 2"),
        (
            "image,diagnosis\n" + ROWS,
            set(),
            "lacks the column 'slide_id'",
            "did you mean 'image'? Rename it to slide_id",
        ),
        ("slide_id,label\nimage,class\n" + ROWS, set(), "row 2: 'image,class' looks like a second header", "delete"),
        (
            "time,event\n" + "".join(f"{3 * i},{i % 2}\n" for i in range(8)),
            KNOWN,
            "lacks the column 'slide_id'",
            "names of",
        ),
    ],
)
def test_a_header_of_other_names_is_no_row_and_gives_no_class(
    tmp_path: Path, text: str, slides: set[str], message: str, fix: str
) -> None:
    with pytest.raises(InputError) as caught:
        read_labels(write(tmp_path, text), slides=slides)
    assert message in caught.value.message
    assert fix in caught.value.remedy


def test_a_first_row_of_a_class_that_params_name_is_no_header(tmp_path: Path) -> None:
    path = write(tmp_path, "control,rare\n" + ROWS)
    assert read_labels(path, ["w", "x", "rare"]).members[0].label == 2
