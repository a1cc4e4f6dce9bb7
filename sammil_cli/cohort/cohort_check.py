"""What is wrong with a cohort besides the form of its table: ids, labels, patients, parts. Nothing is read here."""

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace

from sammil_cli.cohort.class_sizes import small_classes
from sammil_cli.cohort.finding import Finding, said_once
from sammil_cli.cohort.given_folds import fold_errors, gives_folds
from sammil_cli.cohort.label_slips import find_slips, slip_findings
from sammil_cli.cohort.label_table import LabelRow, LabelTable, cell_finding, contained, what_is_no_class
from sammil_cli.cohort.near_ids import NearIds, look_alike, visible
from sammil_cli.cohort.sites import site_findings

_PASSED_OVER = "they are passed over"


def check_cohort(
    table: LabelTable,
    *,
    classes: Sequence[str] | None,
    folds: int,
    validated: bool,
    slides: Mapping[str, str],
    suffixes: Callable[[], Collection[str]],
) -> Iterator[Finding]:
    """Findings on the whole cohort, file order within each kind.

    Args:
        classes: as params.yaml gives them; None = those of the table.
        folds: outer folds, each of which needs a patient of every class.
        validated: whether validation is taken from the training patients (`protocol: honest`).
        slides: id -> where it lies, for messages; empty = nothing is known of slides.
        suffixes: gives those of slide files, where a row fits no slide.
    """
    yield from _blanks(table)
    yield from _no_patients(table)
    as_classes = what_is_no_class(table, classes) is None
    slips = find_slips(table) if as_classes and not classes else {}  # else they are none of the classes
    yield from slip_findings(table, slips, folds)
    yield from site_findings(table)
    yield from fold_errors(table)
    yield from _alike_ids(table, slides)
    if table.of_slides:
        yield from _slides_and_labels(table, slides, suffixes)
        yield from _patients_with_two_labels(table) if as_classes else ()
    else:
        yield from _slides_and_patients(table, slides)
    if slides and not _fitting(table, slides, table.rows):
        yield from [_nothing_fits(table, slides)] if table.rows else []
    elif as_classes:
        order = classes or [name for name in table.found if name not in slips]
        yield from _class_sizes(table, order, folds, slides, validated=validated)


def _blanks(table: LabelTable) -> Iterator[Finding]:
    for row in table.rows:
        for column in (table.key, "label", "patient_id", "case_id", "split", "fold", "site"):
            text = row.raw.get(column, "")
            if clean := visible(row[column]) if visible(row[column]) != row[column] else "":
                hidden = next(c for c in row[column] if c not in clean)
                message = f"{column} {row[column]!r} holds the invisible character U+{ord(hidden):04X}"
                yield cell_finding(table, row, column, "invisible", message, f"type it again: {clean}")
            if text != text.strip() and _quoted_or_odd(text):
                message = f"{column} {text!r} has a blank before or after it"
                fix = f"write {row[column]}; sammil passes over it, other tools do not"
                yield cell_finding(table, row, column, "blanks", message, fix, "warning")


def _no_patients(table: LabelTable) -> Iterator[Finding]:
    """Words such as NA in place of a patient, which would make one patient of all of their slides."""
    rows: dict[tuple[str, str], list[LabelRow]] = defaultdict(list)
    for row in table.rows:
        for column in ("patient_id", "case_id"):
            if column in row.missing and column != table.key and row.raw.get(column, "").strip():
                rows[column, row.raw[column].strip()].append(row)
    for (column, word), found in rows.items():
        message = f"{column} {word!r} (rows: {len(found)}) names nobody: each of these slides counts as its own patient"
        fix = "nothing if that is so; else write the patients, or folds may share one"
        yield cell_finding(table, found[0], column, "no-patient", message, fix, "warning")


def _quoted_or_odd(text: str) -> bool:
    """A blank after a separator is a habit; one at the end, or another kind of blank, is a slip."""
    return text != text.rstrip() or not text.startswith(" ")


def _alike_ids(table: LabelTable, slides: Mapping[str, str]) -> Iterator[Finding]:
    first: dict[str, LabelRow] = {}
    for row in table.rows:
        name = row[table.key]
        other = first.setdefault(look_alike(name), row)
        if name and other[table.key] != name:
            both = name in slides and other[table.key] in slides
            message = (
                f"{table.key} {name!r} differs from {other[table.key]!r} of row {other.line} only in case, blanks or "
                "letters that look alike"
            )
            fix = "if it is the same slide, delete one; else rename one, file and row"
            yield cell_finding(table, row, table.key, "look-alike", message, fix, "warning" if both else "error")


def _slides_and_labels(
    table: LabelTable, slides: Mapping[str, str], suffixes: Callable[[], Collection[str]]
) -> Iterator[Finding]:
    """Rows without a slide and slides without a row."""
    if not slides:
        return
    labelled = {row["slide_id"] for row in table.rows}
    fitting = not any(row["slide_id"] and visible(row["slide_id"]) not in slides for row in table.rows)
    open_slides = NearIds(set(slides) - labelled, () if fitting else suffixes())
    taken, absent = set(), []
    for row in table.rows:
        name = row["slide_id"]
        if not name or visible(name) in slides:
            continue
        several = open_slides.beginning_with(name)
        if len(several) > 1:
            message = (
                f"there is no slide {name!r}; {len(several)} begin so, such as {several[0]!r}: it may be a patient"
            )
            yield cell_finding(table, row, "slide_id", "patient-as-slide", message, "name the column patient_id")
            taken |= set(several)
        elif near := open_slides.find(name):
            message = f"there is no slide {name!r}; {near.slide_id!r} differs in {near.difference}"
            yield cell_finding(table, row, "slide_id", "near-id", message, f"write {near.slide_id}")
            taken.add(near.slide_id)
        else:
            message = f"there is no slide {name!r}; the row is passed over"
            fix = "add the slide, or delete the row"
            absent.append(cell_finding(table, row, "slide_id", "no-slide", message, fix, "warning"))
    yield from said_once(
        absent, "rows name slides that are not here", _PASSED_OVER, "add the slides, or delete the rows"
    )
    yield from _unlabelled(table, sorted(set(slides) - labelled - taken), slides, "slide_id")


def _unlabelled(table: LabelTable, ids: Sequence[str], slides: Mapping[str, str], column: str) -> Iterator[Finding]:
    found = [
        Finding(
            file=slides[name],
            kind="no-label",
            severity="warning",
            text=name,
            message=f"the slide {name!r} has no row in {table.file}: it is processed, but not trained on",
            fix=f"add the row {name},<label>" if column == "slide_id" else f"add its patient to {table.file}",
        )
        for name in ids
    ]
    what, so = f"slides have no row in {table.file}", "they are processed, but not trained on"
    fix = "add their rows: <slide_id>,<label>" if column == "slide_id" else f"add their patients to {table.file}"
    for one in said_once(found, what, so, fix):
        yield replace(one, file=table.file) if one.others else one


def _slides_and_patients(table: LabelTable, slides: Mapping[str, str]) -> Iterator[Finding]:
    """As above, for a table of patients: a slide is its patient's whose id stands in its own."""
    of = contained((row[table.key] for row in table.rows), slides)
    met = {name for ids in of.values() for name in ids}
    absent = []
    for row in table.rows:
        if row[table.key] and row[table.key] not in met and slides:
            message = f"no slide's id holds {row[table.key]!r}"
            fix = "add the patient's slides, or delete the row"
            absent.append(cell_finding(table, row, table.key, "no-slide", message, fix, "warning"))
    what = "rows name patients of no slide that is here"
    yield from said_once(absent, what, _PASSED_OVER, "add their slides, or delete the rows")
    for slide, (longest, *others) in of.items():
        if foreign := [name for name in others if name not in longest]:
            yield Finding(
                file=slides[slide],
                kind="two-patients",
                text=slide,
                message=f"slide {slide!r} holds the ids of two patients, {longest!r} and {foreign[0]!r}",
                fix="label slides, one row each, first line: slide_id,label,patient_id",
            )
    yield from _unlabelled(table, sorted(set(slides) - set(of)), slides, table.key)


def _nothing_fits(table: LabelTable, slides: Mapping[str, str]) -> Finding:
    row, slide = table.rows[0], min(slides)
    return cell_finding(
        table,
        row,
        table.key,
        "nothing-fits",
        f"not one row fits a slide: rows name {row[table.key]!r}, slides {slide!r}",
        "write slide_id as the slide's file name without its suffix, or label patients: patient_id,label",
    )


def _patients_with_two_labels(table: LabelTable) -> Iterator[Finding]:
    first: dict[str, LabelRow] = {}
    for row in table.rows:
        patient = table.patient(row)
        other = first.setdefault(patient, row)
        if row["label"] and other["label"] and other["label"] != row["label"] and row["slide_id"] != other["slide_id"]:
            column = "patient_id" if row["patient_id"] else "case_id"
            message = (
                f"patient {patient!r} has two labels: {other['label']!r} in row {other.line}, {row['label']!r} here"
            )
            fix = "nothing if slides differ within a patient (folds count the highest class); else mend one"
            yield cell_finding(table, row, column, "patient-labels", message, fix, "warning")


def _class_sizes(
    table: LabelTable, order: Sequence[str], folds: int, slides: Mapping[str, str], *, validated: bool
) -> Iterator[Finding]:
    """Classes that are too small to be divided, counted by patients with slides; a patient has its highest class."""
    here = _is_here(table, slides)
    of_patient: dict[str, int] = {}
    rows_of: dict[str, list[LabelRow]] = defaultdict(list)
    for row in table.rows:
        if row["label"] in order and here(row):
            name = table.patient(row)
            of_patient[name] = max(order.index(row["label"]), of_patient.get(name, 0))
            rows_of[row["label"]].append(row)
    tally = Counter(order[label] for label in of_patient.values())
    patients = {name: tally[name] for name in order}
    shared = {
        name: len({table.patient(row) for row in rows if order[of_patient[table.patient(row)]] != name})
        for name, rows in rows_of.items()
    }
    found = small_classes(patients, folds, validated=validated, here=" with slides" if slides else "", shared=shared)
    for small in () if gives_folds(table) else found:
        rows = rows_of[small.name]
        yield Finding(
            file=table.file,
            kind="small-class",
            row=rows[0].line if patients[small.name] == 1 and rows else None,
            column="label",
            text=small.name,
            message=small.message,
            fix=small.fix,
        )


def _is_here(table: LabelTable, slides: Mapping[str, str]) -> Callable[[LabelRow], bool]:
    if not slides:
        return lambda row: bool(row[table.key])
    if table.of_slides:
        return lambda row: row["slide_id"] in slides
    met = {name for ids in contained((row[table.key] for row in table.rows), slides).values() for name in ids}
    return lambda row: row[table.key] in met


def ready(table: LabelTable, slides: Mapping[str, str]) -> set[str]:
    """The slides that are there and labelled."""
    return _fitting(table, slides, [row for row in table.rows if row["label"]])


def _fitting(table: LabelTable, slides: Mapping[str, str], rows: Sequence[LabelRow]) -> set[str]:
    names = {row[table.key] for row in rows}
    return names & set(slides) if table.of_slides else set(contained(names, slides))
