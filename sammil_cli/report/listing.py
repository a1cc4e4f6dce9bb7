"""Tables of slides and patients as the pages show them: which columns there are, and what one reads of each row."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

from sammil_cli.report.slide_rows import SlideRow

Choice = Literal["", "each", "any"]
_REMARKS = "remarks"


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column: `key` of the rows; `number`: set right and sorted so; `choose`: a menu of each value, or of any."""

    title: str
    key: str
    number: bool = False
    choose: Choice = ""


@dataclass(frozen=True, kw_only=True)
class Listing:
    """A table. `of`: what its rows are, in the plural; `linked`: the names that have a picture; `said`: above it."""

    of: str
    columns: Sequence[Column]
    rows: Sequence[SlideRow]
    linked: Collection[str] = frozenset()
    said: str = ""


def listing(
    rows: Sequence[SlideRow], positive_class: str | None, *, of: str = "slides", linked: Collection[str] = frozenset()
) -> Listing:
    """The table of rows, without the columns that would be empty."""
    more = rows[0].more if rows else {}
    columns = (
        Column(title=of.removesuffix("s"), key="name"),
        Column(title="slides", key="slides", number=True),
        Column(title="patient", key="patient"),
        Column(title="truth", key="truth", choose="each"),
        Column(title="decision" if any(row.truth for row in rows) else "predicted", key="called", choose="each"),
        Column(title="outcome", key="outcome", choose="each"),
        Column(title=f"P({positive_class or 'predicted'})", key="probability", number=True),
        Column(title="threshold", key="threshold", number=True),
        *(Column(title=name, key=name, choose="each" if name == "in sample" else "") for name in more),
        Column(title="fold", key="fold", choose="each"),
        Column(title=_REMARKS, key=_REMARKS, choose="any"),
    )
    kept = [column for column in columns if column.key == "name" or any(row.cell(column.key) for row in rows)]
    return Listing(of=of, columns=kept, rows=rows, linked=linked, said=_said(rows, of))


def facts_of(row: SlideRow, positive_class: str | None) -> str:
    """A row in one line, below the name of its picture."""
    called = f"called {row.called}" + (f" ({row.outcome})" if row.wrong else "")
    probability = f"P({positive_class or 'predicted'}) {row.probability}" if row.probability else ""
    parts = (
        row.truth and f"truth {row.truth}",
        row.called and called,
        probability + (f", threshold {row.threshold}" if row.threshold else ""),
        row.fold and f"fold {row.fold}",
        row.patient and f"patient {row.patient}",
        "; ".join(row.remarks),
    )
    return " · ".join(part for part in parts if part)


def _said(rows: Sequence[SlideRow], of: str) -> str:
    wrong = sum(row.wrong for row in rows)
    if not wrong:
        return f"All {len(rows)} {of} are called right."
    return f"{wrong} of {len(rows)} {of} are called wrong; these come first, the most confident errors on top."
