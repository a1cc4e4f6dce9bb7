"""A small cohort in the working directory, broken by the tests and looked at by `sammil check`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sammil_cli.cohort.finding import Finding
from sammil_cli.config import Settings
from sammil_cli.preflight.check import CheckReport, run
from sammil_cli.project.project import Project

SLIDES = tuple(f"s_{number:02d}" for number in range(1, 7))
GOOD = "slide_id,label,patient_id\n" + "".join(
    f"{name},{'tumour' if number % 2 else 'normal'},P{number}\n" for number, name in enumerate(SLIDES)
)
Place = tuple[str, int | None, str | None]  # kind, row, column


def fill() -> None:
    """Six slides, each of other content, and good labels, in the working directory."""
    put(*SLIDES)
    write(GOOD)


def put(*names: str, content: bytes | None = None, suffix: str = ".svs") -> None:
    Path("data/slides").mkdir(parents=True, exist_ok=True)
    for name in names:
        Path("data/slides", name + suffix).write_bytes(b"II*\0" + name.encode() if content is None else content)


def write(text: str | bytes, file: str = "data/labels.csv") -> None:
    Path(file).parent.mkdir(parents=True, exist_ok=True)
    Path(file).write_bytes(text.encode() if isinstance(text, str) else text)


def checked(**settings: Any) -> CheckReport:
    return run(Project(), Settings(**{"folds": 3, **settings}))


def errors(found: CheckReport) -> list[Finding]:
    return [finding for finding in found.findings if finding.severity == "error"]


def places(findings: Sequence[Finding]) -> set[Place]:
    return {(finding.kind, finding.row, finding.column) for finding in findings}


def changed(old: str, new: str) -> str:
    assert old in GOOD
    return GOOD.replace(old, new)
