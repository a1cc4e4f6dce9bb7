"""labels.csv looked at as a whole: one set of findings, which `sammil check` lists and `sammil train` stops at."""

import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sammil_cli.cohort.class_order import positive_of
from sammil_cli.cohort.cohort import Cohort, cohort_of_table
from sammil_cli.cohort.cohort_check import check_cohort
from sammil_cli.cohort.finding import Finding, refuse_first
from sammil_cli.cohort.header import FIRST_LINE
from sammil_cli.cohort.label_table import LabelTable, cell_errors, read_table
from sammil_cli.cohort.positive_class import positive_findings, with_positive_last
from sammil_cli.errors import InputError

_OF_FOLDS = "small-class"  # said where folds are drawn, of the slides that there are then

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Examined:
    """The table, if it is one, what is wrong with it, and the cohort where nothing forbids that."""

    table: LabelTable | None
    findings: tuple[Finding, ...]
    cohort: Cohort | None
    positive_class: str | None


def examine(
    path: Path,
    *,
    classes: Sequence[str] | None,
    positive_class: str | None,
    folds: int,
    validated: bool,
    slides: Mapping[str, str],
    suffixes: Callable[[], Collection[str]],
) -> Examined:
    """Reads the label file and lists all that is wrong with it.

    Args:
        classes, folds, validated, slides, suffixes: see `check_cohort`.
        positive_class: see `with_positive_last`.
    """
    table, findings = read_table(path, slides, classes)
    if table is None:
        return Examined(table=None, findings=tuple(findings), cohort=None, positive_class=None)
    findings += cell_errors(table, classes)
    findings += check_cohort(table, classes=classes, folds=folds, validated=validated, slides=slides, suffixes=suffixes)
    slips = {finding.text for finding in findings if finding.kind == "label-slip" and finding.severity == "error"}
    order = classes or [name for name in table.found if name not in slips]
    misfits = list(positive_findings(order, positive_class, table.file))
    findings += misfits
    positive = None
    if not any(finding.severity == "error" for finding in misfits):
        order = with_positive_last(order, positive_class, table.file)
        positive = positive_of(order)
    wrong = any(finding.severity == "error" and finding.kind != _OF_FOLDS for finding in findings)
    known = bool(slides) or table.of_slides
    cohort = cohort_of_table(table, tuple(order), slides) if known and not wrong else None
    return Examined(table=table, findings=tuple(findings), cohort=cohort, positive_class=positive)


def cohort_of(found: Examined, path: Path, *, passed_over: Collection[str] = ()) -> Cohort:
    """The cohort, for a stage to work on; warnings are logged. Classes that are too small are left to the folds.

    Args:
        passed_over: kinds of warnings that the stage gives in words of its own.

    Raises:
        InputError: the first error.
    """
    refuse_first([finding for finding in found.findings if finding.kind != _OF_FOLDS])
    warn(finding for finding in found.findings if finding.kind not in passed_over)
    if found.cohort is None:
        raise InputError(f"{path} is no table of labels", remedy=f"begin: {FIRST_LINE}")
    return found.cohort


def warn(findings: Iterable[Finding]) -> None:
    """Logs warnings, the first of each kind with the number of others."""
    by_kind: dict[str, list[Finding]] = {}
    for finding in findings:
        if finding.severity == "warning":
            by_kind.setdefault(finding.kind, []).append(finding)
    for first, *others in by_kind.values():
        more = f"; {len(others)} more of this kind: sammil check" if others else ""
        log.warning("%s: %s (%s%s)", first.place, first.message, first.fix, more)
