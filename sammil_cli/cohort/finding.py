"""What is wrong with a cohort: one finding names the file, the row, the column, the text and the fix."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from sammil_cli.errors import InputError

Severity = Literal["error", "warning"]
_NAMED = 5  # of many findings that are said as one


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Something wrong. An error stops a stage or makes its result wrong; a warning may be meant.

    `kind` is a stable word that groups findings of one sort; `row` is the line as an editor counts it, None = the whole
    file; `text` is the offending text as it stands there; `others`: the texts of further rows that it is said of.
    """

    file: str
    kind: str
    message: str
    fix: str
    row: int | None = None
    column: str | None = None
    text: str = ""
    severity: Severity = "error"
    others: tuple[str, ...] = ()

    @property
    def place(self) -> str:
        """`labels.csv, row 3`, for people."""
        return self.file if self.row is None else f"{self.file}, row {self.row}"

    def refusal(self) -> InputError:
        """The finding as the error that ends a stage."""
        return InputError(f"{self.place}: {self.message}", remedy=self.fix)


def said_once(findings: Sequence[Finding], what: str, so: str, fix: str) -> Iterator[Finding]:
    """Findings of one kind as a single one, `<count> <what>: <the first few>; <so>`; one alone stays as it is."""
    if len(findings) < 2:
        yield from findings
        return
    named = [repr(one.text) + (f" (row {one.row})" if one.row else "") for one in findings[:_NAMED]]
    names = ", ".join([*named, *(["…"] if len(findings) > _NAMED else [])])
    yield replace(
        findings[0],
        row=None,
        message=f"{len(findings)} {what}: {names}; {so}",
        fix=fix,
        others=tuple(one.text for one in findings[1:]),
    )


def refuse_first(findings: list[Finding]) -> None:
    """Raises the first finding that is an error as `InputError`; warnings pass."""
    for finding in findings:
        if finding.severity == "error":
            raise finding.refusal()
