"""What the threshold of a model is chosen for: the settings `decision` and `decision_target`, and their words."""

from dataclasses import dataclass, replace
from typing import Literal

Rule = Literal["youden", "sensitivity", "specificity", "cost", "fixed"]

_TARGETS = {
    "sensitivity": "the least sensitivity on validation, above 0 and at most 1: decision_target: 0.95",
    "specificity": "the least specificity on validation, above 0 and at most 1: decision_target: 0.95",
    "cost": "how many false alarms a missed positive is worth, above 0: decision_target: 5",
    "fixed": "the calibrated probability from which on a slide is positive, between 0 and 1: decision_target: 0.5",
}


@dataclass(frozen=True, kw_only=True)
class Decision:
    """A rule, its target (None for `youden`, which has none), and the protocol: `honest` or `paper`."""

    rule: Rule = "youden"
    target: float | None = None
    protocol: str = "honest"

    @property
    def honest(self) -> "Decision":
        """The same, chosen on a validation part: for baselines, whatever the protocol of the model beside them."""
        return replace(self, protocol="honest")

    @property
    def said(self) -> str:
        """The rule in words that follow "the threshold:"."""
        target = "" if self.target is None else f"{self.target:g}"
        part = "test" if self.protocol == "paper" else "validation"
        return {
            "youden": f"the largest sensitivity + specificity - 1 on {part} (Youden)",
            "sensitivity": f"the largest specificity with a sensitivity of at least {target} on {part}",
            "specificity": f"the largest sensitivity with a specificity of at least {target} on {part}",
            "cost": f"the least cost on {part}, a missed positive counting as {target} false alarms",
            "fixed": f"a calibrated probability of {target}, as it was set",
        }[self.rule]


def trouble(decision: Decision) -> tuple[str, str] | None:
    """What is wrong with a rule and its target, and the fix; None where they fit each other."""
    rule, target = decision.rule, decision.target
    if rule not in ("youden", *_TARGETS):
        return f"there is no decision {rule!r}", f"it is one of: youden, {', '.join(_TARGETS)}"
    if decision.protocol == "paper" and rule != "youden":
        return (
            f"protocol: paper chooses its threshold by Youden's index, and decision is {rule}",
            "set protocol: honest, or decision: youden",
        )
    if rule == "youden":
        if target is not None:
            rules = ", ".join(_TARGETS)
            return f"decision: youden has no target, and {target:g} is given", f"set it to null, or decision to {rules}"
        return None
    most = float("inf") if rule == "cost" else 1.0
    if target is None:
        return f"decision: {rule} needs a target", f"give {_TARGETS[rule]}"
    if not 0 < target <= most or (rule == "fixed" and target == 1):
        return f"{target:g} is no target of decision: {rule}", f"give {_TARGETS[rule]}"
    return None


def trouble_with_classes(decision: Decision, classes: int) -> tuple[str, str] | None:
    """Why a rule cannot be used with that number of classes, and the fix; None where it can."""
    if classes == 2 or decision.rule == "youden":
        return None
    return (
        f"decision: {decision.rule} is defined for two classes, and there are {classes}",
        "set decision: youden, decision_target: null",
    )
