"""sammil check: what is wrong with labels, slides and tables, all at once and before any compute."""

import shutil
import textwrap
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import islice
from pathlib import Path

from sammil_cli import choices, console
from sammil_cli.cohort.cohort import Cohort
from sammil_cli.cohort.cohort_check import ready
from sammil_cli.cohort.examine import examine
from sammil_cli.cohort.finding import Finding
from sammil_cli.cohort.label_table import LabelTable
from sammil_cli.cohort.near_ids import look_alike
from sammil_cli.cohort.no_classes import NO_CLASSES
from sammil_cli.config import Settings, TrainSettings
from sammil_cli.errors import InputError, SlideError
from sammil_cli.preflight.check_drawings import check_drawings
from sammil_cli.preflight.check_encoder import check_encoder
from sammil_cli.preflight.check_features import check_features, for_features, is_of_features
from sammil_cli.preflight.check_slides_table import check_slides_table
from sammil_cli.project.experiment_copy import LOST, absolute_link, lost_in_copies
from sammil_cli.project.project import Project
from sammil_cli.runner.earlier_files import slide_suffixes
from sammil_cli.slides.conversion import UNSUPPORTED
from sammil_cli.slides.dicom import other_objects
from sammil_cli.slides.files import find_slides, foreign_content, identify, no_name
from sammil_cli.slides.table import SlideEntry, read_slides_table
from sammil_cli.storage.files import check_name, is_utf8
from sammil_cli.storage.paths import SlidePath
from sammil_cli.storage.shown_text import shown
from sammil_cli.training.fold import Fold
from sammil_cli.training.foresight import fold_findings

_GLANCE = 4096  # bytes
_SHOWN = 5  # findings of a kind that are printed
_MOST_CLASSES = 12  # that the last line lists
_UNUSABLE = ("empty-slide", "long-name", "no-slide-content", "unreadable")  # kinds of findings


@dataclass(frozen=True, kw_only=True)
class CheckReport:
    """All findings, errors first, and the counts for the line that sums up.

    `slides`: how many are here; `in_hand`: as features, in a project that has no slide files.
    `folds`: what the folds of whole sites test, a line for each of the first repeat.
    """

    findings: tuple[Finding, ...]
    labelled: int
    classes: dict[str, int]
    unlabelled: int
    positive_class: str | None
    patients: int
    slides: int
    in_hand: bool
    ready: int
    labels: Path
    of_patients: bool
    sites: int
    folds: tuple[str, ...]

    def count(self, severity: str) -> int:
        """How many findings are errors, or warnings."""
        return sum(finding.severity == severity for finding in self.findings)


def run(project: Project, settings: Settings) -> CheckReport:
    """Reads the label file, slides.csv, the names and samples of the slides, and the names of bags and drawings.

    Of the settings, what the cohort decides by, a flag of group features that marks nothing, and whether the patches
    suit the encoder.

    Never raises for what it looks at: everything wrong is a finding.
    """
    suffixes, in_hand = slide_suffixes(), is_of_features()
    bags = {path.stem: path for path in sorted(project.bags.glob("*.h5"))}
    paths, of_slides = ({}, []) if in_hand else _slides(project, suffixes, bool(bags))
    features, of_features = check_features(project) if in_hand else ({}, [])
    known = {slide_id: str(path) for slide_id, path in {**features, **bags, **paths}.items()}
    examined = examine(
        project.labels,
        classes=settings.classes,
        positive_class=settings.positive_class,
        folds=settings.folds,
        validated=settings.protocol == "honest",
        slides=known,
        suffixes=lambda: suffixes,
    )
    table, findings = examined.table, [for_features(one) if in_hand else one for one in examined.findings]
    by_site: tuple[str, ...] = ()
    findings += _identical(paths, table, _entries(project.slides_table))
    if lost_in_copies(project.slides):
        fix = absolute_link(project.slides)
        findings.append(Finding(file=str(project.slides), kind="slide-link", severity="warning", message=LOST, fix=fix))
    findings += check_slides_table(project.slides_table, known, suffixes)
    findings += [*of_slides, *of_features]
    for folder in (project.edits, project.rois, project.annotations, project.lesions):
        findings += check_drawings(folder, known, suffixes)
    findings += [*_flag(settings), *([] if in_hand else check_encoder(settings))]
    unusable = {finding.text for finding in findings if finding.kind in _UNUSABLE}
    found = ready(table, known) - unusable if table else set()
    if examined.cohort:
        here = examined.cohort.only(ready(table, known)) if table and known else examined.cohort
        drawable = not any(finding.kind == "small-class" for finding in examined.findings)
        drawn, more = _folds(here, settings, project.labels, drawable=drawable)
        findings += more
        by_site = _sites_tested(here, drawn) if settings.folds_by == "site" else ()
    classes = Counter(row["label"] for row in table.rows) if table else Counter()
    if any(finding.kind in NO_CLASSES for finding in findings):
        classes = Counter()
    return CheckReport(
        findings=tuple(sorted(findings, key=lambda finding: finding.severity)),
        labelled=len(table.rows) if table else 0,
        classes={name: classes[name] for name in sorted(classes) if name},
        unlabelled=classes[""],
        positive_class=examined.positive_class,
        patients=len({table.patient(row) for row in table.rows} - {""}) if table else 0,
        slides=len(known),
        in_hand=in_hand,
        ready=len(found),
        labels=project.labels,
        of_patients=table is not None and not table.of_slides,
        sites=len({row["site"] for row in table.rows} - {""}) if table else 0,
        folds=by_site,
    )


def _flag(settings: TrainSettings) -> Iterator[Finding]:
    """A flag of group features that the model does not take: `train` would refuse it."""
    if settings.group_feature_flag:
        from sammil_cli.stages.settled import settled  # models take torch, and that takes seconds

        try:
            settled(settings)
        except InputError as error:
            yield Finding(file="params.yaml", kind="settings", message=error.message, fix=error.remedy)


def _folds(
    cohort: Cohort, settings: TrainSettings, labels: Path, *, drawable: bool
) -> tuple[list[Fold], list[Finding]]:
    """The folds that `train` will draw of these slides, and what it will meet then."""
    folds: list[Fold] = []
    found: list[Finding] = []
    if drawable:
        from sammil_cli.jobs.drawn_folds import drawn_folds  # scikit-learn takes a second

        try:
            folds = drawn_folds(cohort, settings)
        except InputError as error:
            found.append(Finding(file=str(labels), kind="folds", message=error.message, fix=error.remedy))
    return folds, [*found, *fold_findings(cohort, folds, str(labels))]


def _sites_tested(cohort: Cohort, folds: Sequence[Fold]) -> tuple[str, ...]:
    """The sites that each fold of the first repeat tests and validates on."""
    site = {member.slide_id: str(member.site) for member in cohort.members}
    lines = []
    for fold in (fold for fold in folds if fold.repeat == 0):
        test, val = (sorted({site[slide] for slide in part}) for part in (fold.test, fold.val))
        validated = "" if val == test else f", validates on {_few(val)}"
        lines.append(f"fold {fold.fold} tests {_few(test)} ({_counted(len(fold.test), 'slide')}){validated}")
    return tuple(lines)


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")


def _slides(project: Project, suffixes: set[str], bags: bool) -> tuple[dict[str, SlidePath], list[Finding]]:
    """The slides by id, the first of those with one id, and what is wrong with their files' names."""
    folder = project.slides
    findings: list[Finding] = []
    try:
        found = find_slides(folder)
        paths = found.paths
        findings += _passed_over(folder, found.unsupported)
        findings += _unnameable(found.unnameable)
    except InputError as error:
        if bags and not folder.is_dir():
            return {}, []  # features came without slides
        if bags and not any(folder.iterdir()):
            return {}, [_no_slides(folder)]
        kinds = suffixes - set(choices.load(choices.FORMATS, "image").SUFFIXES)  # pictures of slides, mostly
        found_files = (path for path in folder.rglob("*") if path.suffix.lower() in kinds and path.is_file())
        files = sorted(path for path in found_files if is_utf8(path) and path not in other_objects(path.parent))
        paths = {path.stem: SlidePath(path) for path in reversed(files)}
        findings += _same_id(folder, files)
        if not findings:
            findings.append(Finding(file=str(folder), kind="slide-folder", message=error.message, fix=error.remedy))
    return paths, [*findings, *_names(paths), *_long_names(paths, project.tissue)]


def _no_slides(folder: Path) -> Finding:
    message = "holds no slides, so the labels are held against the bags; dvc repro begins with the slides"
    fix = "put the slides there; for features without slides: sammil init . --update --from-features FOLDER"
    return Finding(file=str(folder), kind="slide-folder", severity="warning", message=message, fix=fix)


def _passed_over(folder: Path, unsupported: Mapping[str, int]) -> Iterator[Finding]:
    for suffix, count in unsupported.items():
        yield Finding(
            file=str(folder),
            kind="unsupported",
            severity="warning",
            message=f"{_counted(count, 'file')} passed over: {suffix}",
            fix=UNSUPPORTED[suffix],
        )


def _unnameable(paths: Mapping[str, Path]) -> Iterator[Finding]:
    for name, path in paths.items():
        error = no_name(path)
        yield Finding(file=shown(str(path)), kind="slide-name", text=name, message=error.message, fix=error.remedy)


def _same_id(folder: Path, files: Sequence[Path]) -> Iterator[Finding]:
    by_id: dict[str, list[Path]] = defaultdict(list)
    for path in files:
        by_id[path.stem].append(path)
    for name, same in by_id.items():
        if len(same) > 1:
            listing = ", ".join(str(path.relative_to(folder)) for path in same)
            message = f"{len(same)} slides have the id {name!r}: {listing}"
            yield Finding(file=str(same[1]), kind="same-id", text=name, message=message, fix="rename all but one")


def _names(paths: Mapping[str, Path]) -> Iterator[Finding]:
    first: dict[str, str] = {}
    for name, path in paths.items():
        finding = partial(Finding, file=str(path), text=name)
        other = first.setdefault(look_alike(name), name)
        if other != name:
            message = f"the slides {other!r} and {name!r} differ only in case, blanks or letters that look alike"
            fix = "rename one, or delete it if it is the same slide"
            yield finding(kind="look-alike", severity="warning", message=message, fix=fix)
        odd = sorted({repr(c) for c in name if not c.isprintable() or c == ","})
        if odd or name != name.strip():
            what = f"holds {', '.join(odd)}" if odd else "begins or ends with a blank"
            message = f"the slide's name {name!r} {what}: tables and --only will trip over it"
            yield finding(kind="slide-name", severity="warning", message=message, fix="rename the file")
        if path.stat().st_size == 0:
            message = "the file has no content (0 bytes)"
            yield finding(kind="empty-slide", message=message, fix="copy or download it again")
        elif content := foreign_content(path):
            yield finding(kind="no-slide-content", message=f"its content is {content.what}", fix=content.fix)


def _long_names(paths: Mapping[str, Path], folder: Path) -> Iterator[Finding]:
    for name, path in paths.items():
        try:
            check_name(name, folder)
        except SlideError as error:
            yield Finding(file=str(path), kind="long-name", text=name, message=error.message, fix=error.remedy)


def _glance(path: Path) -> tuple[int, bytes]:
    """What tells most files apart without much reading: the size, and some bytes of the middle."""
    size = path.stat().st_size
    with path.open("rb") as stream:
        stream.seek(size // 2)
        return size, stream.read(_GLANCE)


def _entries(table: Path) -> dict[str, SlideEntry]:
    """What slides.csv says; nothing where it is wrong, which is a finding of its own."""
    try:
        return read_slides_table(table)
    except InputError:
        return {}


def _identical(
    paths: Mapping[str, SlidePath], table: LabelTable | None, entries: Mapping[str, SlideEntry]
) -> Iterator[Finding]:
    """Slides with the same content under two names, but for scenes of one file that slides.csv tells apart.

    Only those that look alike at a glance are looked into.
    """
    by_glance: dict[tuple[int, bytes], list[str]] = defaultdict(list)
    for name, path in paths.items():
        try:
            by_glance[_glance(path)].append(name)
        except OSError as error:
            message = f"the file cannot be read: {error.strerror}"
            yield Finding(file=str(path), kind="unreadable", text=name, message=message, fix="check its rights")
    rows = {row["slide_id"]: row for row in table.rows} if table else {}
    first: dict[tuple[str, int | None], str] = {}
    for name in (name for (size, _), same in by_glance.items() if size and len(same) > 1 for name in same):
        scene = entries[name].scene if name in entries else None
        other = first.setdefault((identify(paths[name]), scene), name)
        if other == name:
            continue
        one, two = rows.get(other), rows.get(name)
        message, where = f"slide {name!r} is the same file as {other!r}", None
        if table and one and two and one["label"] != two["label"]:
            where = f", with the label {two['label']!r} here and {one['label']!r} in row {one.line}"
        elif table and one and two and table.patient(one) != table.patient(two):
            where = f" of row {one.line}, another patient's: folds would share it"
        yield Finding(
            file=table.file if table and two else str(paths[name]),
            kind="same-slide",
            severity="error" if where else "warning",
            row=two.line if two else None,
            column="slide_id" if two else None,
            text=name,
            message=message + (where or ""),
            fix="keep one of them, file and row",
        )


def as_record(report: CheckReport) -> dict[str, object]:
    """The report for programs."""
    counts = {
        "labelled": report.labelled,
        "unlabelled": report.unlabelled,
        "classes": report.classes,
        "positive_class": report.positive_class,
        "patients": report.patients,
        "sites": report.sites,
    }
    return {
        "errors": report.count("error"),
        "warnings": report.count("warning"),
        "labels": counts,
        "slides": report.slides,
        "ready": report.ready,
        "findings": [asdict(finding) for finding in report.findings],
    }


def exit_code(report: CheckReport) -> int:
    """2 with errors, else 0."""
    return 2 if report.count("error") else 0


def report(found: CheckReport) -> None:
    """Prints the findings by file, the first few of each kind, then how much is there and how much is wrong."""
    by_place: dict[str, dict[tuple[str, str], list[Finding]]] = defaultdict(lambda: defaultdict(list))
    for finding in found.findings:
        by_place[_heading(finding)][finding.severity, finding.kind].append(finding)
    for place, by_kind in by_place.items():
        console.say(place)
        for findings in by_kind.values():
            _list_kind(place, findings)
        console.say("")
    unit = "patient" if found.of_patients else "slide"
    classes = ", ".join(f"{name} {number}" for name, number in islice(found.classes.items(), _MOST_CLASSES))
    classes += ", …" if len(found.classes) > _MOST_CLASSES else ""
    console.say(
        f"{found.labels.name}: {_counted(found.labelled, unit)}, {_counted(len(found.classes), 'class')}"
        + (f" ({classes})" if classes else "")
        + (f", {found.unlabelled} without a label" if found.unlabelled else "")
        + (f", positive class: {found.positive_class}" if found.positive_class else "")
        + ("" if found.of_patients else f", {_counted(found.patients, 'patient')}")
        + (f", {_counted(found.sites, 'site')}" if found.sites else "")
        + f"; {'slides with features' if found.in_hand else 'slides'}: {found.slides}; ready: {found.ready}"
    )
    for line in found.folds:
        console.say(f"folds by site: {line}")
    errors, warnings = found.count("error"), found.count("warning")
    console.say(", ".join([_counted(errors, "error"), *([_counted(warnings, "warning")] if warnings else [])]))


def _heading(finding: Finding) -> str:
    """The table, or the folder of the slide or drawing, that a finding is listed under."""
    return finding.file if finding.file.endswith(".csv") or finding.text == "" else str(Path(finding.file).parent)


def _list_kind(place: str, findings: Sequence[Finding]) -> None:
    width = max(60, min(shutil.get_terminal_size((100, 24)).columns, 120))
    for finding in findings[:_SHOWN]:
        row = [] if finding.row is None else [f"row {finding.row}"]
        file = [] if finding.file == place else [Path(finding.file).name]
        where = ", ".join([*file, *row, *([finding.column] if finding.column else [])])
        console.say(*_wrapped(f"  {finding.severity:<8} {where + ': ' if where else ''}{finding.message}", 11, width))
        console.say(*_wrapped(f"{'':11}fix: {finding.fix}", 16, width))
    if more := findings[_SHOWN:]:
        rows = ", ".join(str(finding.row) for finding in more[:_SHOWN] if finding.row)
        listing = f" (rows {rows}{', …' if len(more) > _SHOWN else ''})" if rows else ""
        console.say(f"{'':11}… and {len(more)} more of this kind{listing}; --json lists all")


def _wrapped(text: str, indent: int, width: int) -> list[str]:
    return textwrap.wrap(text, width, subsequent_indent=" " * indent, break_long_words=False, break_on_hyphens=False)


def _counted(number: int, noun: str) -> str:
    plural = {"class": "classes"}.get(noun, noun + "s")
    return f"{number or 'no'} {noun if number == 1 else plural}"
