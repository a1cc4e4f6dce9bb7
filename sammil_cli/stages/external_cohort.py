"""The labels of an external cohort, in the classes of trained models, and the bags that go with them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sammil_cli.cohort.cohort import Cohort, cohort_of_table
from sammil_cli.cohort.examine import examine, warn
from sammil_cli.cohort.finding import Finding, refuse_first
from sammil_cli.cohort.header import FIRST_LINE
from sammil_cli.cohort.label_table import LabelTable
from sammil_cli.errors import InputError
from sammil_cli.runner.earlier_files import slide_suffixes
from sammil_cli.storage.paths import BagPath

_COUNTED = ("no-slide", "no-label")  # `without_bag` and `without_label` name these
_FOLDS = 2  # none are drawn; what is said of classes that are too small for folds is passed over


@dataclass(frozen=True, kw_only=True)
class ExternalCohort:
    """Labelled slides that have a bag; those that lack one of the two, by name."""

    table: LabelTable
    cohort: Cohort
    without_bag: Sequence[str]
    without_label: Sequence[str]


def read_cohort(labels: Path, classes: Sequence[str], bags: Mapping[str, BagPath]) -> ExternalCohort:
    """Reads labels as `sammil train` does, in the classes of the models and in their order.

    Raises:
        InputError: the table is wrong, holds a class that the models do not know, or fits no bag.
    """
    found = examine(
        labels,
        classes=classes,
        positive_class=None,
        folds=_FOLDS,
        validated=False,
        slides={slide: str(path) for slide, path in bags.items()},
        suffixes=slide_suffixes,
    )
    findings = [_of_models(one) for one in found.findings if not _of_folds(one, found.table)]
    refuse_first(findings)
    warn(one for one in findings if one.kind not in _COUNTED)
    if (table := found.table) is None:
        raise InputError(f"{labels} is no table of labels", remedy=f"begin: {FIRST_LINE}")
    cohort = cohort_of_table(table, tuple(classes), set(bags))
    named = {member.slide_id for member in cohort.members}
    return ExternalCohort(
        table=table,
        cohort=cohort.only(set(bags)),
        without_bag=sorted(named - set(bags)),
        without_label=sorted(set(bags) - named),
    )


def _of_folds(finding: Finding, table: LabelTable | None) -> bool:
    """Whether a finding is one only where folds are drawn and something is to be learned."""
    one_class = finding.kind == "classes" and table is not None and len(table.found) == 1
    return finding.kind == "small-class" or one_class


def _of_models(finding: Finding) -> Finding:
    """The finding with a fix for models that are trained: params.yaml cannot give them another class."""
    fix = finding.fix.replace("add it to classes in params.yaml", "delete the row: the models know no other class")
    return replace(finding, fix=fix)
