"""Labels that are spelt in two ways, which would make two classes of one."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import SequenceMatcher

from sammil_cli.cohort.finding import Finding, Severity
from sammil_cli.cohort.label_table import LabelTable, cell_finding
from sammil_cli.cohort.near_ids import look_alike
from sammil_cli.cohort.no_classes import number_of

_RARE = 0.1  # a label this much rarer than one it resembles is taken for a slip
_SIMILAR = 0.8  # difflib's ratio
_BY_MARKS, _BY_NUMBER = "only in case, blanks or punctuation", "only in how the number is written"
_FEW = 2  # slips come in ones and twos in a small cohort


@dataclass(frozen=True)
class Slip:
    """The commoner label that was meant, how this one differs, and whether both surely are the same."""

    meant: str
    difference: str
    same: bool


def find_slips(table: LabelTable, column: str = "label") -> dict[str, Slip]:
    """The labels (or other words of a column) that resemble a commoner one, by label."""
    tally = Counter(row[column] for row in table.rows if row[column])
    slips = {}
    for label, number in tally.items():
        commoner = sorted(
            (other for other in tally if (tally[other], other) > (number, label)), key=lambda o: -tally[o]
        )
        same = [other for other in commoner if _letters(other) == _letters(label)]
        near = [
            other
            for other in commoner
            if number < tally[other]
            and number <= max(_FEW, _RARE * tally[other])
            and _marks(other) == _marks(label)
            and SequenceMatcher(None, other.casefold(), label.casefold()).ratio() > _SIMILAR
        ]
        if same:
            how = _BY_NUMBER if number_of(label) is not None else _BY_MARKS
            slips[label] = Slip(same[0], how, True)
        elif near:
            slips[label] = Slip(near[0], "in a letter or two", False)
    return slips


def slip_findings(table: LabelTable, slips: Mapping[str, Slip], folds: int, column: str = "label") -> Iterator[Finding]:
    """A finding for each row with such a label; a warning where it may be a class, with a patient for every fold."""
    tally = Counter(row[column] for row in table.rows)
    for row in table.rows:
        label = row[column]
        if label not in slips:
            continue
        meant, same = slips[label].meant, slips[label].same
        message = (
            f"{column} {label!r} (rows: {tally[label]}) differs from {meant!r} ({tally[meant]}) "
            f"{slips[label].difference}"
        )
        fix = f"write {meant}" if same else f"if it is a slip, write {meant}"
        severity: Severity = "error" if same or tally[label] < folds else "warning"
        yield cell_finding(table, row, column, f"{column}-slip", message, fix, severity)


def _letters(text: str) -> str | float:
    """Without case, blanks and what joins words; a sign at the end, as of ER+ and ER-, stays. A number is its value."""
    plain = look_alike(text)
    number = number_of(plain)
    joined = re.sub(r"(?<=[^\W\d])[_.-]+(?=\w)|(?<=\w)[_.-]+(?=[^\W\d])", "", plain)  # not between two numbers
    return joined if number is None else number


def _marks(text: str) -> list[str]:
    """Numbers, single letters and signs: what tells grades and types apart, and is not misspelt."""
    return re.findall(r"\d+|(?<![^\W\d_])[^\W\d_](?![^\W\d_])|[+-]$", text.casefold())
