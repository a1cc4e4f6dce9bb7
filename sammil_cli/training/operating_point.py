"""Where a threshold puts a model on its validation part, and how far such a part can be relied on."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sammil_cli.training.decision import Decision
from sammil_cli.training.thresholds import Labels, Values

SHORT = 0.1  # an interval that reaches further below the target says that the part is too small for it
_LEVEL = 0.95


@dataclass(frozen=True, kw_only=True)
class OperatingPoint:
    """The slides of a validation part by class, and which share of each is called right; None where a class lacks."""

    positives: int
    negatives: int
    sensitivity: float | None
    specificity: float | None


def operating_point(labels: Labels, scores: Values, threshold: float) -> OperatingPoint:
    """What a threshold achieves.

    Args:
        labels: (v,) 0 or 1. scores: (v,) of class 1, on the scale of the threshold.
    """
    called, positive = scores >= threshold, labels == 1
    return OperatingPoint(
        positives=int(positive.sum()),
        negatives=int((~positive).sum()),
        sensitivity=float(called[positive].mean()) if positive.any() else None,
        specificity=float((~called[~positive]).mean()) if (~positive).any() else None,
    )


def lower_bound(share: float, number: int) -> float:
    """The lower end of the 95 % interval of a share that was seen in `number` slides (Clopper and Pearson 1934)."""
    hits = round(share * number)
    from scipy.stats import beta  # here: it takes a second to load

    return float(beta.ppf((1 - _LEVEL) / 2, hits, number - hits + 1)) if hits else 0.0


def doubt(decision: Decision, points: Sequence[OperatingPoint]) -> str | None:
    """What to know of a target before it is relied on, over the folds; None where the parts are large enough.

    A target of sensitivity that no validation part can show (three positives, all found, leave 0.29 open), or that is
    reached by calling every slide positive only; the same of specificity.
    """
    if decision.rule not in ("sensitivity", "specificity") or decision.target is None or not points:
        return None
    kind, other = ("positive", "specificity") if decision.rule == "sensitivity" else ("negative", "sensitivity")
    sizes = [point.positives if kind == "positive" else point.negatives for point in points]
    shares = [getattr(point, decision.rule) for point in points]
    known = [(share, size) for share, size in zip(shares, sizes, strict=True) if share is not None]
    said = []
    if lacking := sum(point.positives == 0 or point.negatives == 0 for point in points):
        said.append(f"{lacking} of {len(points)} folds have one class only in validation: their threshold is 0.5")
    if useless := sum(getattr(point, other) == 0 for point in points):
        said.append(f"in {useless} of {len(points)} folds only calling every slide alike reaches it")
    if known:
        lowest, size = min((lower_bound(share, size), size) for share, size in known)
        if lowest < decision.target - SHORT:
            least, most = min(sizes), max(sizes)
            slides = f"{least}" if least == most else f"{least} to {most}"
            said.append(
                f"{slides} {kind} validation slides a fold cannot show it: of {size} the 95 % interval of the "
                f"{decision.rule} begins at {lowest:.2f}"
            )
    if not said:
        return None
    return f"{decision.rule} of {decision.target:g}: {'; '.join(said)}. Add patients, or raise val_fraction"


def spread_of(points: Sequence[OperatingPoint]) -> dict[str, float | None]:
    """Mean sensitivity and specificity on validation over folds; None where no fold has one."""
    found: dict[str, float | None] = {}
    for name in ("sensitivity", "specificity"):
        known = [getattr(point, name) for point in points if getattr(point, name) is not None]
        found[name] = float(np.mean(known)) if known else None
    return found
