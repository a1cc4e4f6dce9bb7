"""What is wrong with the column `site` of labels.csv: where slides come from, a hospital or a scanner."""

from collections import defaultdict
from collections.abc import Iterator

from sammil_cli.cohort.finding import Finding
from sammil_cli.cohort.label_slips import find_slips, slip_findings
from sammil_cli.cohort.label_table import LabelRow, LabelTable, cell_finding

_FEWEST = 3  # slides of a site, on average: smaller sites have one class by chance


def site_findings(table: LabelTable) -> Iterator[Finding]:
    """Sites spelt in two ways, rows without one, patients with two, and sites that give the class away."""
    if not any(row["site"] for row in table.rows):
        return
    yield from slip_findings(table, find_slips(table, "site"), 0, "site")
    yield from _gaps(table)
    yield from _patients_with_two_sites(table)
    yield from _sites_of_one_class(table)


def _gaps(table: LabelTable) -> Iterator[Finding]:
    if empty := [row for row in table.rows if not row["site"]]:
        message = f"site says nothing in {len(empty)} of {len(table.rows)} rows: these slides count to no site"
        fix = "write their sites (folds_by: site needs all of them)"
        yield cell_finding(table, empty[0], "site", "no-site", message, fix, "warning")


def _patients_with_two_sites(table: LabelTable) -> Iterator[Finding]:
    first: dict[str, LabelRow] = {}
    for row in table.rows:
        if not row["site"]:
            continue
        patient = table.patient(row)
        other = first.setdefault(patient, row)
        if other["site"] != row["site"]:
            message = f"patient {patient!r} has two sites: {other['site']!r} in row {other.line}, {row['site']!r} here"
            fix = "mend one; if both are right, nothing, but folds_by: site cannot keep both sites whole"
            yield cell_finding(table, row, "site", "patient-sites", message, fix, "warning")


def _sites_of_one_class(table: LabelTable) -> Iterator[Finding]:
    """Sites that give the class away: a model may learn the hospital for the disease."""
    classes: dict[str, set[str]] = defaultdict(set)
    rows = [row for row in table.rows if row["site"] and row["label"]]
    for row in rows:
        classes[row["site"]].add(row["label"])
    found = set().union(*classes.values())
    if len(found) > 1 and len(rows) >= _FEWEST * len(classes) and all(len(of) == 1 for of in classes.values()):
        message = (
            f"each of the {len(classes)} sites has slides of one class only: a model that tells sites by their stain "
            "or scanner looks as if it knew the disease"
        )
        fix = "add slides of the other class from the same sites; no split of these slides can tell the two"
        yield Finding(
            file=table.file, kind="site-is-class", severity="warning", column="site", message=message, fix=fix
        )
