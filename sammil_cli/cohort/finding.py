"""What is wrong with a cohort: one finding names the file, the row, the column, the text and the fix."""

from dataclasses import dataclass
from typing import Literal

from sammil_cli.errors import InputError

Severity = Literal["error", "warning"]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Something wrong. An error stops a stage or makes its result wrong; a warning may be meant.

    `kind` is a stable word that groups findings of one sort; `row` is the line as an editor counts it, None = the whole
    file; `text` is the offending text as it stands there.
    """

    file: str
    kind: str
    message: str
    fix: str
    row: int | None = None
    column: str | None = None
    text: str = ""
    severity: Severity = "error"

    @property
    def place(self) -> str:
        """`labels.csv, row 3`, for people."""
        return self.file if self.row is None else f"{self.file}, row {self.row}"

    def refusal(self) -> InputError:
        """The finding as the error that ends a stage."""
        return InputError(f"{self.place}: {self.message}", remedy=self.fix)


def refuse_first(findings: list[Finding]) -> None:
    """Raises the first finding that is an error as `InputError`; warnings pass."""
    for finding in findings:
        if finding.severity == "error":
            raise finding.refusal()
