"""Labels that are spelt in two ways, which would make two classes of one."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import SequenceMatcher

from sammil_cli.cohort.finding import Finding, Severity
from sammil_cli.cohort.label_table import LabelTable, cell_finding
from sammil_cli.cohort.near_ids import look_alike

_RARE = 0.1  # a label this much rarer than one it resembles is taken for a slip
_SIMILAR = 0.8  # difflib's ratio
_FEW = 2  # slips come in ones and twos in a small cohort


@dataclass(frozen=True)
class Slip:
    """The commoner label that was meant, and whether it differs in case, blanks or punctuation only."""

    meant: str
    same_letters: bool


def find_slips(table: LabelTable) -> dict[str, Slip]:
    """The labels that resemble a commoner one, by label."""
    tally = Counter(row["label"] for row in table.rows if row["label"])
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
        if same or near:
            slips[label] = Slip((same or near)[0], bool(same))
    return slips


def slip_findings(table: LabelTable, slips: Mapping[str, Slip], folds: int) -> Iterator[Finding]:
    """A finding for each row with such a label; a warning where it may be a class, with a patient for every fold."""
    tally = Counter(row["label"] for row in table.rows)
    for row in table.rows:
        label = row["label"]
        if label not in slips:
            continue
        meant, same = slips[label].meant, slips[label].same_letters
        how = "only in case, blanks or punctuation" if same else "in a letter or two"
        message = f"label {label!r} (rows: {tally[label]}) differs from {meant!r} ({tally[meant]}) {how}"
        fix = f"write {meant}" if same else f"if it is a slip, write {meant}"
        severity: Severity = "error" if same or tally[label] < folds else "warning"
        yield cell_finding(table, row, "label", "label-slip", message, fix, severity)


def _letters(text: str) -> str:
    """Without case, blanks and what joins words; a sign at the end, as of ER+ and ER-, stays."""
    return re.sub(r"(?<=\w)[_.-]+(?=\w)", "", look_alike(text))


def _marks(text: str) -> list[str]:
    """Numbers, single letters and signs: what tells grades and types apart, and is not misspelt."""
    return re.findall(r"\d+|(?<![^\W\d_])[^\W\d_](?![^\W\d_])|[+-]$", text.casefold())
