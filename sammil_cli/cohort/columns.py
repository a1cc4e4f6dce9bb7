"""Other columns of a label table, by which results are looked at: site, scanner, sex, …"""

import difflib
from collections.abc import Sequence

from sammil_cli.cohort.cohort import Member
from sammil_cli.cohort.label_table import LabelTable
from sammil_cli.cohort.missing_words import is_missing
from sammil_cli.errors import InputError

MOST_VALUES = 20


def column_of(table: LabelTable, column: str, members: Sequence[Member]) -> dict[str, str | None]:
    """What a column says of each slide; None where its cell is empty, or says that there is nothing (`NA`).

    Raises:
        InputError: there is no such column, it is empty, or has more than 20 values.
    """
    if column not in (columns := list(table.rows[0].raw)):
        near = difflib.get_close_matches(column, columns, 1) or [", ".join(name for name in columns if name)]
        raise InputError(f"{table.file} has no column {column!r}", remedy=f"did you mean --by {near[0]}?")
    of_key = {row[table.key]: None if is_missing(row[column]) else row[column] for row in table.rows}
    found = {m.slide_id: of_key.get(m.slide_id if table.of_slides else m.patient_id) for m in members}
    values = set(found.values()) - {None}
    if not values:
        raise InputError(f"{table.file}: the column {column!r} says nothing of these slides", remedy="fill it in")
    if len(values) > MOST_VALUES:
        raise InputError(
            f"{table.file}: the column {column!r} has {len(values)} values, {MOST_VALUES} at most can be compared",
            remedy="write groups into a column of its own, such as age_group: below 60, 60 and more; and give that one",
        )
    return found
