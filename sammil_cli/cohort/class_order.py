"""The order of classes: by name, and which of two is the positive one."""

import re
from collections.abc import Collection, Sequence

NUMBER = re.compile(r"[+-]?\d+(\.\d+)?")


def by_name(names: Collection[str]) -> list[str]:
    """Names of classes in order: by value where all are numbers, so that 10 comes after 9, else as text."""
    if all(NUMBER.fullmatch(name) for name in names):
        return sorted(names, key=lambda name: (float(name), name))
    return sorted(names)


def positive_of(classes: Sequence[str]) -> str | None:
    """The positive class: the last of two; None with more classes."""
    return classes[1] if len(classes) == 2 else None
