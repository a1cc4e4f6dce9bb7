"""What a report says of the threshold: what it was chosen for, on which slides, and what it achieved there."""

from collections.abc import Mapping, Sequence
from typing import Any

from sammil_cli.training.decision import Decision
from sammil_cli.training.operating_point import OperatingPoint, doubt, spread_of


def said_of_decision(decision: Decision, points: Sequence[OperatingPoint | None]) -> dict[str, Any]:
    """`decision` of metrics.json.

    Args:
        points: of each fold on its validation part; None where a model does not keep it, or of more than two classes.

    Returns:
        `rule`, `target`, `words`; of validation, with two classes: `positives` and `negatives`, least and most slides
        of a fold, mean `sensitivity` and `specificity`; `remark`: None where the parts are large enough for the target.
    """
    known = [point for point in points if point is not None]
    found: dict[str, Any] = {"rule": decision.rule, "target": decision.target, "words": decision.said}
    if known:
        sizes = {kind: [getattr(point, kind) for point in known] for kind in ("positives", "negatives")}
        found |= {kind: [min(numbers), max(numbers)] for kind, numbers in sizes.items()}
        found |= spread_of(known)
    return {**found, "remark": doubt(decision, known)}


def decision_note(summary: Mapping[str, Any]) -> str | None:
    """The line on the threshold below the tables; None with more than two classes, where the largest one is called."""
    found = summary.get("decision")
    if not found or summary["positive_class"] is None:
        return None
    line = f"threshold of each fold: {found['words']}"
    if "positives" not in found:
        return line
    numbers = [f"{_range(found[kind])} {name}" for kind, name in (("positives", "positive"), ("negatives", "other"))]
    shares = [f"{name} {found[name]:.3f}" for name in ("sensitivity", "specificity") if found[name] is not None]
    return f"{line}; there {' and '.join(numbers)} slides a fold, {', '.join(shares)} on average"


def _range(numbers: Sequence[int]) -> str:
    return f"{numbers[0]}" if numbers[0] == numbers[1] else f"{numbers[0]} to {numbers[1]}"
