"""Remarks of many slides in a few lines: what may spoil a result first, what is only reported last."""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

_FLAG = re.compile("([a-z-]+): ")
_LOST = frozenset(
    {"damaged", "unreadable", "never-stored", "no-region", "no-regions"}
)  # a part of the slide is missing
_REPORTED = frozenset(  # done as it should be; everything else is a doubt
    {"pen", "black-border", "grey", "edit", "edited", "roi", "scenes", "ome", "levels", "pages", "orientation"}
)
_MOST_KINDS = 6
_EXAMPLES = 2
_AT_BORDER = "touches-border: "
_BORDER = re.compile(rf"{_AT_BORDER}(\d+)%")
_MUCH_OF_BORDER = 10  # percent of the outline
_FEW = 0.25  # of the slides


def remark_lines(remarks: Mapping[str, Sequence[str]], slides: int, process_list: Path) -> list[str]:
    """A header and a line for each kind of remark; nothing without remarks. Plain sentences stand in the list only.

    A section that ends at the edge of the scan is said of where it matters: much of the outline is tissue, so that a
    good part of the section may be missing, or few slides have it. Where most have it a little, they were scanned so.

    Args:
        remarks: by slide. slides: how many were looked at.
    """
    kinds: dict[str, list[tuple[str, str]]] = {}
    for slide_id, texts in remarks.items():
        for text in texts:
            if found := _FLAG.match(text):
                kinds.setdefault(found[1], []).append((slide_id, text))
    if not _border_matters(kinds.get("touches-border", ()), slides):
        kinds.pop("touches-border", None)
    if not kinds:
        return []
    who = {slide_id for said in kinds.values() for slide_id, _ in said}
    ranked = sorted(kinds, key=lambda kind: (_rank(kind), -len(kinds[kind]), kind))
    lines = [f"{len(who)} slide(s) with remarks (column remarks of {process_list})"]
    lines += [f"    {_line(kind, kinds[kind])}" for kind in ranked[:_MOST_KINDS]]
    if more := ranked[_MOST_KINDS:]:
        lines.append(f"    … and {', '.join(more)}")
    return lines


def flags_in(remarks: Iterable[str]) -> list[str]:
    """The flags among the remarks of a stage, `pen: 1.5% of the slide`; what it only counts stands in its list."""
    return [text for text in remarks if _FLAG.match(text)]


def worst_first(remarks: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """The remarks on each slide as pages show them, each once: those that may spoil a result first.

    Those on the edge of the scan are left out where `remark_lines` leaves them out.

    Args:
        remarks: by slide, also of those without any.
    """
    border = [(slide_id, text) for slide_id, texts in remarks.items() for text in texts if text.startswith(_AT_BORDER)]
    passed_over = set() if _border_matters(border, len(remarks)) else {text for _, text in border}
    return {
        slide_id: sorted(dict.fromkeys(text for text in texts if text not in passed_over), key=_rank_of)
        for slide_id, texts in remarks.items()
    }


def _border_matters(said: Sequence[tuple[str, str]], slides: int) -> bool:
    shares = [int(found[1]) for _, text in said if (found := _BORDER.match(text))]
    return len(said) < _FEW * slides or any(share >= _MUCH_OF_BORDER for share in shares) or slides < 1 / _FEW


def _rank_of(text: str) -> int:
    return _rank(text.partition(": ")[0])


def _rank(kind: str) -> int:
    return 0 if kind in _LOST else 2 if kind in _REPORTED else 1


def _line(kind: str, said: Sequence[tuple[str, str]]) -> str:
    """`a: damaged: level 1 in places`, or `5 slides: pen (a: 2% of the slide; b: 1% of the slide; …)`."""
    if len(said) == 1:
        return ": ".join(said[0])
    texts = [f"{slide_id}: {text.removeprefix(f'{kind}: ')}" for slide_id, text in said[:_EXAMPLES]]
    return f"{len(said)} slides: {kind} ({'; '.join([*texts, *(['…'] if len(said) > _EXAMPLES else [])])})"
