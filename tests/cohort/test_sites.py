"""The column `site` of labels.csv: how it is read, and what `sammil check` finds in it."""

from pathlib import Path

import pytest

from sammil_cli.cohort.cohort import read_labels
from sammil_cli.cohort.finding import Finding
from sammil_cli.cohort.label_table import read_table
from sammil_cli.cohort.sites import site_findings

HEAD = "slide_id,label,patient_id,site\n"
# Class, patient and site of each slide.
GOOD = [(("n", "t")[i % 2], f"P{i // 2}", ("Ghent", "Lund", "Porto")[i // 2 % 3]) for i in range(12)]


def write(path: Path, rows: list[tuple[str, str, str]]) -> Path:
    path.write_text(HEAD + "".join(f"s{i},{','.join(row)}\n" for i, row in enumerate(rows)), encoding="utf-8")
    return path


def found_in(path: Path, rows: list[tuple[str, str, str]]) -> list[Finding]:
    table, findings = read_table(write(path, rows), None)
    assert table is not None
    assert findings == []
    return list(site_findings(table))


def test_sites_are_read_with_the_labels_of_slides_and_of_patients(tmp_path: Path) -> None:
    path = write(tmp_path / "labels.csv", [*GOOD, ("n", "P9", "NA"), ("n", "P9", " ")])
    assert [member.site for member in read_labels(path).members] == [site for _, _, site in GOOD] + [None, None]
    path.write_text("patient_id,label,site\nP1,n,Ghent\nP2,t,\n", encoding="utf-8")
    cohort = read_labels(path, None, {"P1_a", "P1_b", "P2_a"})
    assert [(m.slide_id, m.site) for m in cohort.members] == [("P1_a", "Ghent"), ("P1_b", "Ghent"), ("P2_a", None)]


def test_good_sites_have_no_finding(tmp_path: Path) -> None:
    assert found_in(tmp_path / "labels.csv", GOOD) == []


@pytest.mark.parametrize(
    ("row", "change", "kind", "severity", "message"),
    [
        (4, ("n", "P2", "porto"), "site-slip", "error", "site 'porto' (rows: 1) differs from 'Porto' (3) only in case"),
        (4, ("n", "P7", "Prto"), "site-slip", "warning", "differs from 'Porto' (3) in a letter or two"),
        (3, ("t", "P1", "Porto"), "patient-sites", "warning", "patient 'P1' has two sites: 'Lund' in row 4, 'Porto'"),
        (3, ("t", "P1", "unknown"), "no-site", "warning", "site says nothing in 1 of 12 rows"),
        (3, ("t", "P1", ""), "no-site", "warning", "site says nothing in 1 of 12 rows"),
    ],
)
def test_a_slip_is_found_with_its_row(
    tmp_path: Path, row: int, change: tuple[str, str, str], kind: str, severity: str, message: str
) -> None:
    rows = [*GOOD[:row], change, *GOOD[row + 1 :]]
    (finding, *more) = [one for one in found_in(tmp_path / "labels.csv", rows) if one.kind == kind]
    assert (more, finding.row, finding.column, finding.severity) == ([], row + 2, "site", severity)
    assert message in finding.message
    assert finding.fix


def test_sites_that_give_the_class_away_are_named(tmp_path: Path) -> None:
    rows = [("n", f"P{i}", "Ghent") if i < 6 else ("t", f"P{i}", "Lund") for i in range(12)]
    (finding,) = found_in(tmp_path / "labels.csv", rows)
    assert (finding.kind, finding.severity) == ("site-is-class", "warning")
    assert "each of the 2 sites has slides of one class only" in finding.message
    assert found_in(tmp_path / "labels.csv", [*rows, ("t", "P20", "Ghent")]) == []


def test_a_column_that_is_called_otherwise_is_named(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("slide_id,label,patient_id,Hospital\na,n,P1,Ghent\nb,t,P2,Lund\n", encoding="utf-8")
    (finding,) = read_table(path, None)[1]
    assert finding.message == "the column 'Hospital' is not used: neither folds nor the report can tell sites"
    assert finding.fix == "if it is meant, rename it to site"
