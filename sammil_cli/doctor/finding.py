"""What one check of the doctor found: a state, what was seen, and the fix."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

State = Literal["ok", "note", "wrong"]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One finding. A note costs nobody a result; what is wrong stops a command, or makes its result wrong.

    `found` is one line for people; `remedy` is the exact thing to do, empty where nothing is; `facts` are for programs:
    versions, file paths, bytes.
    """

    group: str
    name: str
    state: State
    found: str
    remedy: str = ""
    facts: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What the doctor is to look at: the project in the working folder, with these settings."""

    params: Path
    assignments: tuple[str, ...] = ()

    @property
    def in_project(self) -> bool:
        """Whether the working folder is a project at all."""
        return self.params.exists()


Check = Callable[[Asked], Iterator[Finding]]


def ok(group: str, name: str, found: str, /, **facts: object) -> Finding:
    """All is well."""
    return Finding(group=group, name=name, state="ok", found=found, facts=facts)


def note(group: str, name: str, found: str, remedy: str = "", /, **facts: object) -> Finding:
    """Worth knowing; nothing fails because of it."""
    return Finding(group=group, name=name, state="note", found=found, remedy=remedy, facts=facts)


def wrong(group: str, name: str, found: str, remedy: str, /, **facts: object) -> Finding:
    """A command will fail because of it, or give a wrong result."""
    return Finding(group=group, name=name, state="wrong", found=found, remedy=remedy, facts=facts)
