"""Labels that are no classes: numbers of a scale, dates, several classes in a cell, ids, times of survival."""

import math
import re
from collections import Counter
from collections.abc import Collection, Iterator, Sequence

_MOST = 0.8  # share of the labels that must be of a kind
_FEW_NUMBERS = 10  # up to this many different whole numbers may be codes of classes
_FEW_STEPS = 6  # up to this many different numbers, halves included, may be grades
_FEW_LABELS = 4  # a very small table may have up to this many classes
_NUMBER = re.compile(r"[+-]?(\d+([.,]\d*)?|[.,]\d+)([eE][+-]?\d+)?")
_MEASURE = re.compile(r"[<>≤≥~]?\s*(.*?)\s*%?")  # a number with the signs of a measurement
_DATE = re.compile(r"\d{4}[-/.]\d{1,2}[-/.]\d{1,2}([T ].*)?|\d{1,2}[-/.]\d{1,2}[-/.](\d{4}|\d\d)")
_LISTED = "|;"  # what separates the items of a list and is seldom part of a name
_JOINED = ",/&+"  # what may be part of a name, too
_TIME = re.compile(r"(?!age)(.*)(time(?!point)|months|days|years|duration|follow)")
_EVENT = re.compile(r"event|status|censor|dead|death|died|deceased|vital|fustat|observed")
_ENDPOINTS = frozenset(("os", "dss", "dfs", "pfs", "pfi", "dfi", "rfs", "efs", "ttp"))
NO_CLASSES = ("numbers", "dates", "several-labels", "ids-as-labels")  # the kinds of findings


def number_of(text: str) -> float | None:
    """The number that a text is, also with a decimal comma; None if it is none."""
    number = float(text.replace(",", ".")) if _NUMBER.fullmatch(text) else math.nan
    return number if math.isfinite(number) else None


def _measured(text: str) -> float | None:
    found = _MEASURE.fullmatch(text)
    return number_of(found[1]) if found else None


def what_they_are(labels: Sequence[str], ids: Collection[str]) -> tuple[str, str, str] | None:
    """What a column of labels holds instead of classes, as kind, message and fix; None where they may be classes.

    Args:
        labels: those that are there and that params.yaml does not name as classes.
        ids: of what is labelled.
    """
    tally = Counter(labels)
    if len(tally) < 2:
        return None
    by_name = "in classes in params.yaml"
    most = _MOST * len(labels)
    numbers = {label: number for label in tally if (number := _measured(label)) is not None}
    values = f"{len(tally)} different values, such as {', '.join(map(repr, sorted(tally)[:3]))}"
    if sum(tally[label] for label in numbers) >= most and _of_a_scale(set(numbers.values()), len(labels)):
        message = f"the column label holds numbers of a scale ({values}); sammil sorts slides into classes"
        fix = f"make classes by limits that you choose beforehand; if they are codes of classes, list all {by_name}"
        return "numbers", message, fix
    if sum(number for label, number in tally.items() if _DATE.fullmatch(label)) >= most:
        return (
            "dates",
            f"the column label holds dates ({values})",
            "write classes into the column label, which slides share",
        )
    if combined := next(_combinations(tally), None):
        message = (
            f"the column label holds several classes in a cell, such as {combined!r} (rows: {tally[combined]}); sammil "
            "gives a slide one class"
        )
        fix = f"write one class a slide, and ask one question at a time; if {combined!r} is a class, name all {by_name}"
        return "several-labels", message, fix
    if len(tally) > _FEW_LABELS and (len(set(tally) & set(ids)) > len(tally) / 2 or len(tally) > len(labels) / 2):
        message = f"the column label holds {values}, for {len(labels)} rows: classes are shared by slides"
        fix = f"write classes into the column label; if these are classes, list all {by_name}"
        return "ids-as-labels", message, fix
    return None


def _of_a_scale(numbers: set[float], rows: int) -> bool:
    """Whether numbers are measured, not codes: fractions, or many that do not count up from 0 or 1."""
    if any(number != int(number) for number in numbers):
        return len(numbers) > _FEW_STEPS or len(numbers) > max(2, rows / 2)
    codes = numbers == {float(n) for n in range(int(min(numbers)), int(min(numbers)) + len(numbers))}
    return len(numbers) > _FEW_NUMBERS and not (codes and min(numbers) in (0, 1) and len(numbers) <= rows / 2)


def _combinations(labels: Collection[str]) -> Iterator[str]:
    """Labels that are made of others.

    A name may hold a comma or a slash: then all of its parts must be labels, too. Of `A|B` it is enough that one part
    is met again.
    """
    parts = {
        label: [part.strip(" []'\"") for part in re.split(rf"[{re.escape(signs)}]", label)]
        for label in labels
        for signs in [next((signs for signs in (_LISTED, _JOINED) if any(sign in label for sign in signs)), "\0")]
    }
    met = Counter(part for found in parts.values() for part in set(found))
    for label, found in parts.items():
        if len(found) < 2 or not all(found):
            continue
        listed = any(sign in label for sign in _LISTED)
        if (listed and any(met[part] > 1 for part in found)) or all(part in labels for part in found):
            yield label


def survival_columns(names: Sequence[str]) -> list[str]:
    """A column of times and one of events among the names of columns; nothing unless both are there."""
    plain = {name: re.sub(r"[\W_]+", "", name.casefold()) for name in names}
    times = [name for name in names if _TIME.match(plain[name])]
    events = [name for name in names if name not in times and (_EVENT.search(plain[name]) or plain[name] in _ENDPOINTS)]
    times += [name for name in names if "survival" in plain[name] and name not in events]
    return [times[0], events[0]] if times and events else []
