"""sammil check: every kind of slip in labels.csv, and what is said of it."""

import re
from pathlib import Path
from typing import Any

import pytest
from checked_cohort import GOOD, Place, changed, checked, errors, places, put, write

from sammil_cli.cohort.cohort import read_labels
from sammil_cli.errors import InputError
from sammil_cli.preflight.check import as_record, exit_code, report


def test_a_good_cohort_has_no_finding(cohort: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = checked()
    assert found.findings == ()
    assert exit_code(found) == 0
    report(found)
    assert capsys.readouterr().out == (
        "labels.csv: 6 slides, 2 classes (normal 3, tumour 3), positive class: tumour, 6 patients; slides: 6; "
        "ready: 6\nno errors\n"
    )


def test_a_flag_of_group_features_that_training_would_refuse_is_an_error(cohort: Path) -> None:
    (finding,) = checked(model="mean", group_feature_flag=True).findings
    assert (finding.file, finding.kind, finding.severity) == ("params.yaml", "settings", "error")
    assert "it would mark nothing" in finding.message
    assert "group_features: true" in finding.fix
    assert checked(model="mean", group_feature_flag=True, group_features=True).findings == ()


# The text, where the one finding stands, a piece of its message, a piece of its fix.
BROKEN: dict[str, tuple[str | bytes, Place, str, str]] = {
    "no content": ("", ("empty-file", None, None), "is empty", "slide_id,label"),
    "a spreadsheet": (b"PK\x03\x04abc", ("encoding", None, None), "is a spreadsheet", "CSV UTF-8"),
    "UTF-16": (GOOD.encode("utf-16"), ("encoding", None, None), "UTF-16", "CSV UTF-8"),
    "Latin-1": (GOOD.replace("s_02,", "prä,").encode("latin-1"), ("encoding", 3, None), "not UTF-8", "CSV UTF-8"),
    "semicolons": (GOOD.replace(",", ";"), ("separator", 1, None), "semicolons", "commas"),
    "tabs": (GOOD.replace(",", "\t"), ("separator", 1, None), "tabs", "commas"),
    "Slide for slide_id": (
        changed("slide_id", "Slide"),
        ("columns", 1, "Slide"),
        "lacks the column 'slide_id'",
        "Rename it to slide_id",
    ),
    "Label for label": (
        changed(",label,", ",Label,"),
        ("columns", 1, "Label"),
        "lacks the column 'label'",
        "Rename it to label",
    ),
    "no header of three": (
        GOOD.split("\n", 1)[1],
        ("columns", 1, None),
        "lacks the column 'slide_id'",
        "first line, such as slide_id,label",
    ),
    "a column twice": (
        changed("slide_id,label,patient_id", "slide_id,label,label"),
        ("columns", 1, "label"),
        "appears twice",
        "rename or delete",
    ),
    "a cell too many": (
        changed("s_02,tumour,", "s_02,tumour, poor,"),
        ("cells", 3, None),
        "more than 3 cells",
        "quote",
    ),
    "an open quote": (changed("s_03,", '"s_03,'), ("quote", 4, None), "goes on to line 7", 'delete the "'),
    "an empty label": (changed("s_02,tumour", "s_02,"), ("empty", 3, "label"), "label is empty", "fill it in"),
    "an empty id": (changed("s_02,tumour", ",tumour"), ("empty", 3, "slide_id"), "slide_id is empty", "delete the row"),
    "a row twice": (
        GOOD + "s_01,normal,P0\n",
        ("duplicate", 8, "slide_id"),
        "'s_01' stands in row 2 already",
        "delete this row",
    ),
    "two labels of a slide": (
        GOOD + "s_01,tumour,P0\n",
        ("contradiction", 8, "slide_id"),
        "with the label 'normal', here 'tumour'",
        "right label",
    ),
    "look-alikes": (
        GOOD + "S_01,normal,P0\n",
        ("look-alike", 8, "slide_id"),
        "'S_01' differs from 's_01' of row 2 only in case",
        "delete one",
    ),
    "a zero-width space": (
        changed("s_02,", "s_02\u200b,"),
        ("invisible", 3, "slide_id"),
        "U+200B",
        "type it again: s_02",
    ),
    "the suffix kept": (changed("s_02,", "s_02.svs,"), ("near-id", 3, "slide_id"), "the file's suffix", "write s_02"),
    "no zero": (changed("s_02,", "s_2,"), ("near-id", 3, "slide_id"), "'s_02' differs in leading zeros", "write s_02"),
    "capitals": (changed("s_02,", "S_02,"), ("near-id", 3, "slide_id"), "capital letters", "write s_02"),
    "a blank within": (changed("s_02,", "s_ 02,"), ("near-id", 3, "slide_id"), "spaces", "write s_02"),
    "O for zero": (changed("s_02,", "s_O2,"), ("near-id", 3, "slide_id"), "letter O", "write s_02"),
    "a label's capital": (
        changed("s_02,tumour", "s_02,Tumour"),
        ("label-slip", 3, "label"),
        "differs from 'tumour' (2) only in case",
        "write tumour",
    ),
    "a label's letter": (
        changed("s_02,tumour", "s_02,tumor"),
        ("label-slip", 3, "label"),
        "differs from 'tumour' (2) in a letter",
        "write tumour",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_label_file_is_told_with_row_column_and_fix(cohort: Path, name: str) -> None:
    text, place, message, fix = BROKEN[name]
    write(text)
    found = errors(checked())
    assert place in places(found)
    finding = next(f for f in found if (f.kind, f.row, f.column) == place)
    assert message in finding.message
    assert fix in finding.fix
    assert finding.file == "data/labels.csv"
    small = {f.kind for f in found} - {place[0]}
    assert small <= {"small-class"}, "one slip, one error (and the class that it makes too small)"


@pytest.mark.parametrize("name", [name for name in BROKEN if BROKEN[name][1][0] in ("columns", "cells", "empty")])
def test_training_refuses_what_is_told_as_an_error_in_the_same_words(cohort: Path, name: str) -> None:
    write(BROKEN[name][0])
    first = errors(checked())[0]
    with pytest.raises(InputError) as caught:
        read_labels(Path("data/labels.csv"))
    assert caught.value.message == f"data/labels.csv, row {first.row}: {first.message}"
    assert caught.value.remedy == first.fix


def test_all_is_told_at_once(cohort: Path) -> None:
    write(
        "slide_id,label,patient_id,split\ns_1,normal,P0,train\ns_02,tumour,P1,holdout\ns_03,,P2,train\n"
        "s_04,tumour,P1,test\ns_04,tumour,P3,test\ns_05.svs,normal,P4,\ns_06,Normal,P5,test\n"
    )
    write("slide_id,mpp\ns_02,abc\n", "data/slides.csv")
    assert places(errors(checked())) >= {
        ("near-id", 2, "slide_id"),
        ("split-word", 3, "split"),
        ("empty", 4, "label"),
        ("split-patient", 5, "split"),
        ("duplicate", 6, "slide_id"),
        ("near-id", 7, "slide_id"),
        ("split-gap", 7, "split"),
        ("label-slip", 8, "label"),
        ("mpp", 2, "mpp"),
    }


def test_blanks_around_a_cell_are_a_warning_and_the_habit_after_a_comma_is_none(cohort: Path) -> None:
    write(changed("s_02,tumour", '"s_02 ", tumour'))
    (finding,) = checked().findings
    assert (finding.severity, finding.row, finding.text) == ("warning", 3, "s_02 ")


def test_letters_of_another_script_and_points_in_names_survive(cohort: Path) -> None:
    names = ["Präparat.1.b", "切片 7", "S-12.3_é"]
    put(*names)
    write(GOOD + "".join(f"{name},normal,{name}\n" for name in names))
    assert checked().findings == ()
    assert checked().ready == 9


def test_the_two_ways_to_write_an_umlaut_are_told_apart(cohort: Path) -> None:
    put("Pra\u0308parat")
    write(GOOD + "Präparat,normal,P9\n")
    (finding,) = checked().findings
    assert (finding.kind, finding.row) == ("near-id", 8)
    assert "letters that look alike" in finding.message


UUID = "0c1d2e3f-4a5b-4c6d-8e7f-001122334455"


@pytest.mark.parametrize("both", ["row", "slide"])
def test_the_uuid_of_a_tcga_slide_may_be_missing_on_either_side(cohort: Path, both: str) -> None:
    short, long = "TCGA-CR-7395-01A-01-TS1", f"TCGA-CR-7395-01A-01-TS1.{UUID}"
    row, slide = (short, long) if both == "row" else (long, short)
    put(slide)
    write(GOOD + f"{row},normal,P9\n")
    (finding,) = checked().findings
    assert finding.message == f"there is no slide {row!r}; {slide!r} differs in the UUID at its end"
    assert finding.fix == f"write {slide}"


def test_patients_in_the_column_of_slides_are_recognised(cohort: Path) -> None:
    put("TCGA-CR-7395-01A", "TCGA-CR-7395-02A")
    write(GOOD + "TCGA-CR-7395,normal,P9\n")
    (finding,) = checked().findings
    assert "2 begin so" in finding.message
    assert finding.fix == "name the column patient_id"


def test_both_directions_of_a_difference_are_warnings_where_nothing_is_near(cohort: Path) -> None:
    put("other")
    write(GOOD + "s_99,normal,P9\n")
    found = checked().findings
    assert [(f.severity, f.kind, f.row, f.text) for f in found] == [
        ("warning", "no-slide", 8, "s_99"),
        ("warning", "no-label", None, "other"),
    ]
    assert exit_code(checked()) == 0


def test_many_rows_without_a_slide_and_many_slides_without_a_row_are_one_warning_each(cohort: Path) -> None:
    put(*(f"other_{k}" for k in "abc"))
    write(GOOD + "".join(f"far_{k},normal,P{k}\n" for k in range(30, 36)))
    absent, unlabelled = checked().findings
    assert absent.message.startswith("6 rows name slides that are not here: 'far_30' (row 8), 'far_31' (row 9), ")
    assert absent.message.endswith("'far_34' (row 12), …; they are passed over")
    assert (absent.row, absent.text, absent.others) == (None, "far_30", tuple(f"far_{k}" for k in range(31, 36)))
    assert "3 slides have no row in" in unlabelled.message
    assert (unlabelled.file, unlabelled.others) == (absent.file, ("other_b", "other_c"))


def test_labels_of_which_none_fits_a_slide_are_told_with_one_of_each(cohort: Path) -> None:
    write("slide_id,label\nx-01,normal\nx-02,tumour\n")
    (finding,) = errors(checked())
    assert finding.message == "not one row fits a slide: rows name 'x-01', slides 's_01'"
    assert "without its suffix" in finding.fix


@pytest.mark.parametrize(
    ("settings", "rows", "message"),
    [
        ({"folds": 4}, "", "class 'normal' has 3 patients with slides; 4 folds need 4"),
        ({"classes": ["normal", "tumour", "rare"]}, "", "class 'rare' has no patients with slides"),
        ({}, "s_07,rare,P7\n", "class 'rare' has 1 patient with slides"),
    ],
)
def test_classes_too_small_for_the_folds_are_errors(
    cohort: Path, settings: dict[str, Any], rows: str, message: str
) -> None:
    put("s_07")
    write(GOOD + (rows or "s_07,tumour,P1\n"))
    assert any(message in finding.message for finding in errors(checked(**settings)))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("ER+", "ER-"),
        ("grade_1", "grade_2"),
        ("class A", "class B"),
        ("tumour", "non-tumour"),
        ("1.0", "10"),
        ("<1", "1"),
    ],
)
def test_classes_that_differ_by_a_sign_a_number_or_a_word_are_no_slips(cohort: Path, one: str, other: str) -> None:
    put("s_07")
    write(GOOD.replace("normal", "@").replace("tumour", other).replace("@", one) + f"s_07,{one},P7\n")
    assert checked(positive_class=one).findings == ()


def test_a_class_that_params_do_not_name_is_an_error_with_the_nearest_one(cohort: Path) -> None:
    write(changed("s_02,tumour", "s_02,tumours"))
    found = [f for f in errors(checked(classes=["normal", "tumour"])) if f.kind == "class"]
    assert [(f.row, f.fix) for f in found] == [(3, "write tumour, or add it to classes in params.yaml")]


def test_a_positive_class_that_sounds_negative_is_asked_about(cohort: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(GOOD.replace("tumour", "cancer"))
    found = checked()
    assert [(f.kind, f.severity, f.message, f.fix) for f in found.findings] == [
        (
            "positive-class",
            "warning",
            "positive is 'normal': is that meant?",
            "set positive_class: cancer (or normal, if it is meant)",
        )
    ]
    report(found)
    assert "(cancer 3, normal 3), positive class: normal, 6 patients" in capsys.readouterr().out
    for meant in ("cancer", "normal"):
        found = checked(positive_class=meant)
        assert (found.findings, found.positive_class) == ((), meant)
    assert as_record(found)["labels"]["positive_class"] == "normal"


def test_a_positive_class_that_is_none_is_an_error_of_check_and_train(cohort: Path) -> None:
    found = checked(positive_class="Tumour")
    (error,) = found.findings
    assert (error.message, error.fix) == (
        "positive_class 'Tumour' is none of the classes 'normal', 'tumour'",
        "set positive_class: tumour",
    )
    assert found.positive_class is None
    write(GOOD.replace("s_06,tumour", "s_06,stroma").replace("s_05,normal", "s_05,stroma"))
    messages = [error.message for error in errors(checked(positive_class="tumour", folds=2))]
    assert sum("there are 3 classes" in message for message in messages) == 1
    with pytest.raises(InputError, match="there are 3 classes"):
        read_labels(Path("data/labels.csv"), positive_class="tumour")


def test_a_table_that_was_only_begun_says_what_to_write(cohort: Path) -> None:
    for key, what in (("slide_id", "slide"), ("patient_id", "patient")):
        write(f"{key},label\n")
        (error,) = errors(checked())
        assert error.message == "the table has no rows below its first line"
        assert error.fix == f"add a row for each {what}: {key},label"


def test_a_single_class_is_an_error(cohort: Path) -> None:
    write(GOOD.replace("tumour", "normal"))
    assert "1 class(es)" in errors(checked())[0].message


def test_a_patient_with_two_labels_is_a_warning_that_names_both_rows(cohort: Path) -> None:
    put("s_07", "s_08", "s_09", "s_10")
    write(GOOD + "s_07,tumour,P0\ns_08,normal,P0\ns_09,normal,P6\ns_10,normal,P7\n")
    (finding,) = checked(folds=2).findings
    assert (finding.severity, finding.row, finding.column) == ("warning", 8, "patient_id")
    assert "'normal' in row 2, 'tumour' here" in finding.message


def test_a_column_of_patients_by_another_name_is_told_since_folds_would_leak(cohort: Path) -> None:
    write(changed("patient_id", "Patient ID"))
    (finding,) = checked().findings
    assert (finding.severity, finding.column, finding.fix) == (
        "warning",
        "Patient ID",
        "if it is meant, rename it to patient_id",
    )


def test_a_headerless_file_is_accepted_and_named_as_such(cohort: Path) -> None:
    write("".join(line.rsplit(",", 1)[0] + "\n" for line in GOOD.splitlines()[1:]))
    found = checked()
    assert [(f.severity, f.kind) for f in found.findings] == [("warning", "no-header")]
    assert found.ready == 6


def test_a_table_of_patients_is_checked_by_the_slides_names(cohort: Path) -> None:
    put("two_s_01_s_02", "t_1", "t_2", "t_3")
    rows = "s_01,normal\ns_02,tumour\ns_03,normal\ns_04,tumour\nP77,normal\ns_05,tumour\n"
    write(f"patient_id,label\n{rows}t_1,normal\nt_2,normal\nt_3,tumour\n")
    found = checked(folds=2).findings
    assert [(f.severity, f.kind, f.row, f.text) for f in found] == [
        ("error", "two-patients", None, "two_s_01_s_02"),
        ("warning", "no-slide", 6, "P77"),
        ("warning", "no-label", None, "s_06"),
    ]
    assert "'s_01' and 's_02'" in found[0].message  # in an order of its own, not of a set


def test_sites_are_counted_and_the_folds_of_whole_sites_are_drawn_and_shown(
    cohort: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put(*(f"t_{number:02d}" for number in range(6)))
    rows = [f"s_{number:02d}" for number in range(1, 7)] + [f"t_{number:02d}" for number in range(6)]
    sites = ["Ghent", "Ghent", "Lund", "Lund", "Porto", "Porto"] * 2
    table = "".join(f"{row},{'nt'[i % 2]},P{i},{sites[i]}\n" for i, row in enumerate(rows))
    write("slide_id,label,patient_id,site\n" + table)
    found = checked(folds=3, folds_by="site")
    assert (found.findings, found.sites) == ((), 3)
    report(found)
    out = capsys.readouterr().out
    assert "12 patients, 3 sites; slides: 12" in out
    tested = re.findall(r"folds by site: fold (\d) tests (\w+) \(4 slides\), validates on (\w+)", out)
    assert [number for number, _, _ in tested] == ["0", "1", "2"]
    assert sorted(site for _, site, _ in tested) == ["Ghent", "Lund", "Porto"]
    assert all(test != val for _, test, val in tested)
    assert as_record(found)["labels"]["sites"] == 3  # type: ignore[index]
    assert "folds by site" not in str(report(checked(folds=3)) or capsys.readouterr().out)


def test_sites_that_cannot_give_the_folds_are_an_error_with_its_fix(cohort: Path) -> None:
    write(GOOD.replace("patient_id\n", "patient_id,site\n").replace("P1\n", "P1,A\n").replace("P4\n", "P4,B\n"))
    (first,) = errors(checked(folds_by="site"))
    assert first.kind == "folds"
    assert "folds_by: site needs the site of every slide; 4 have none" in first.message
    assert "or set folds_by: patient" in first.fix
