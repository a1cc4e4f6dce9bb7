"""Words that stand in a cell where something is missing, as people, spreadsheets and pandas write them."""

import re

from sammil_cli.cohort.near_ids import look_alike

# Without blanks, case, brackets, and what joins letters. Words that also name a finding are left out: indeterminate,
# equivocal, negative, other, NOS, ND, NAT (normal adjacent tissue).
_WORDS = frozenset(
    (
        *("na", "nan", "-nan", "null", "nil", "none", "unk", "unknown", "missing", "empty", "tbd", "pending", "nodata"),
        *("notavailable", "notapplicable", "notreported", "notrecorded", "notknown", "notdone", "notevaluated"),
        *("notgiven", "notspecified", "undefined", "unspecified", "unassigned", "unlabelled", "unlabeled", "nolabel"),
    )
)
_BRACKETS = "[](){}<>'\"#!. "
_JOINS = re.compile(r"(?<=\w)[\\/_.-]+(?=\w)")
_SIGNS_ONLY = re.compile(r"[-_.?!*/\\#~'\"()\[\]]+")  # not + or =, < and >, which say something
_SPREADSHEET_ERROR = re.compile(r"#(value!|ref!|div/0!|name\?|num!|null!|n/a)")


def is_missing(text: str) -> bool:
    """Whether a cell says that there is nothing: `NA`, `n/a`, `[Not Available]`, `?`, `-`, `#N/A`, …; "" does, too."""
    plain = look_alike(text)
    if not plain or _SIGNS_ONLY.fullmatch(plain) or _SPREADSHEET_ERROR.fullmatch(plain):
        return True
    return _JOINS.sub("", plain.strip(_BRACKETS)) in _WORDS
