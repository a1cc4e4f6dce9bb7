"""The ids that are nearest to one that is not there: what a person may have meant."""

import re
from collections.abc import Collection
from difflib import SequenceMatcher

_LEAST_ALIKE = 0.5  # difflib's ratio
_SHORTEST_START = 3  # letters of an id that are a telling start of it
_FAR = 1 << 62


def nearest_ids(text: str, known: Collection[str], most: int = 2) -> list[str]:
    """At most this many ids, the nearest first; empty where none is like it.

    First comes one that is written otherwise (`demo_01` for `demo_001`), then those that begin with the text, then by
    letters in common; of equally like ones the nearest numbers.
    """
    matcher = SequenceMatcher(autojunk=False)
    matcher.set_seq2(text)
    found = []
    for name in known:
        matcher.set_seq1(name)
        rank = 0 if _plain(name) == _plain(text) else 1 if _begins(name, text) else 2
        if rank == 2 and (matcher.real_quick_ratio() < _LEAST_ALIKE or matcher.quick_ratio() < _LEAST_ALIKE):
            continue
        alike = matcher.ratio()
        if rank < 2 or alike >= _LEAST_ALIKE:
            found.append((rank, -alike, _apart(name, text), name))
    return [name for *_, name in sorted(found)[:most]]


def did_you_mean(text: str, known: Collection[str]) -> str:
    """The question for the remedy of an error; how ids come about where none is near."""
    near = nearest_ids(text, known)
    return f"did you mean {' or '.join(near)}?" if near else "a slide's id is its file name without the suffix"


def _plain(name: str) -> tuple[str, ...]:
    """Runs of letters and digits without case and leading zeros."""
    return tuple(part.lstrip("0") or "0" for part in re.findall(r"\d+|[^\W\d_]+", name.casefold()))


def _begins(name: str, text: str) -> bool:
    return len(text) >= _SHORTEST_START and name.startswith(text)


def _apart(name: str, text: str) -> int:
    """How far the numbers in two ids are from each other."""
    ours, theirs = ([int(number) for number in re.findall(r"\d+", one)] for one in (name, text))
    return sum(abs(a - b) for a, b in zip(ours, theirs, strict=True)) if len(ours) == len(theirs) else _FAR
