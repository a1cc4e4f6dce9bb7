"""What a threshold is chosen for: rules by hand, what is refused, and when a validation part is too small."""

import itertools

import numpy as np
import pytest

from sammil_cli.config import Settings, check, load_settings
from sammil_cli.errors import InputError
from sammil_cli.training.decision import Decision, Rule
from sammil_cli.training.operating_point import OperatingPoint, doubt, lower_bound, operating_point
from sammil_cli.training.thresholds import fold_threshold, validation_threshold

LABELS = np.array([0, 0, 0, 1, 1, 1, 0, 1])
SCORES = np.array([0.1, 0.4, 0.35, 0.8, 0.3, 0.9, 0.6, 0.55])
# From above: 1 at 0.9, 0.8 | 0 at 0.6 | 1 at 0.55 | 0 at 0.4, 0.35 | 1 at 0.3 | 0 at 0.1


def chosen(rule: Rule, target: float | None, labels: np.ndarray = LABELS, scores: np.ndarray = SCORES) -> float:
    return validation_threshold(labels, scores, Decision(rule=rule, target=target))


@pytest.mark.parametrize(
    ("rule", "target", "threshold"),
    [
        ("sensitivity", 0.5, (0.8 + 0.6) / 2),  # both at no false alarm
        ("sensitivity", 0.25, (0.8 + 0.6) / 2),  # one would do; the second costs nothing
        ("sensitivity", 0.75, (0.55 + 0.4) / 2),
        ("sensitivity", 0.95, (0.3 + 0.1) / 2),
        ("specificity", 1.0, (0.8 + 0.6) / 2),
        ("specificity", 0.75, (0.55 + 0.4) / 2),
        ("specificity", 0.5, (0.55 + 0.4) / 2),  # the third alarm buys nothing
        ("specificity", 0.25, (0.3 + 0.1) / 2),
        ("cost", 0.4, (0.8 + 0.6) / 2),  # 2 missed cost 0.8, 1 missed and 1 alarm 1.4
        ("cost", 1.5, (0.55 + 0.4) / 2),  # 1 missed and 1 alarm cost 2.5, 2 missed 3, 3 alarms 3
        ("cost", 5.0, (0.3 + 0.1) / 2),  # 3 alarms; one missed would cost 5
    ],
)
def test_each_rule_chooses_on_validation_and_lies_midway_to_the_next_lower_score(
    rule: Rule, target: float, threshold: float
) -> None:
    assert chosen(rule, target) == pytest.approx(threshold)


@pytest.mark.parametrize("seed", range(5))
def test_a_target_is_kept_and_no_other_threshold_that_keeps_it_does_better(seed: int) -> None:
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 2, 40)
    scores = np.round(generator.beta(2 + labels, 2), 2)  # with ties
    everyone = [operating_point(labels, scores, limit) for limit in (*np.unique(scores), 1.01)]
    for rule, target in itertools.product(("sensitivity", "specificity"), (0.3, 0.8, 0.95, 1.0)):
        other = "specificity" if rule == "sensitivity" else "sensitivity"
        found = operating_point(labels, scores, chosen(rule, target, labels, scores))  # type: ignore[arg-type]
        assert getattr(found, rule) >= target
        assert getattr(found, other) == max(getattr(p, other) for p in everyone if getattr(p, rule) >= target)
    for weight in (0.2, 1.0, 7.0):
        found = operating_point(labels, scores, chosen("cost", weight, labels, scores))
        assert _cost(found, weight) == pytest.approx(min(_cost(point, weight) for point in everyone))


def _cost(point: OperatingPoint, weight: float) -> float:
    assert point.sensitivity is not None
    assert point.specificity is not None
    return weight * point.positives * (1 - point.sensitivity) + point.negatives * (1 - point.specificity)


def test_to_call_every_validation_slide_positive_puts_the_threshold_midway_to_nothing() -> None:
    assert chosen("sensitivity", 1.0, np.array([1, 0]), np.array([0.2, 0.9])) == pytest.approx(0.1)


def test_a_fixed_threshold_needs_no_slides_and_one_class_gives_one_half() -> None:
    fixed = Decision(rule="fixed", target=0.3)
    assert fold_threshold(np.array([1]), np.array([[0.1, 0.9]]), fixed) == 0.3
    assert chosen("sensitivity", 0.9, np.array([1, 1]), np.array([0.2, 0.4])) == 0.5


@pytest.mark.parametrize(
    ("given", "what", "fix"),
    [
        ({"decision": "sensitivity"}, "decision: sensitivity needs a target", "decision_target: 0.95"),
        ({"decision": "specificity", "decision_target": 95}, "95 is no target", "at most 1"),
        ({"decision": "cost", "decision_target": 0}, "0 is no target", "above 0"),
        ({"decision": "fixed", "decision_target": 1}, "1 is no target", "between 0 and 1"),
        ({"decision": "youden", "decision_target": 0.9}, "youden has no target", "null"),
        ({"decision_target": 0.9}, "youden has no target", "null"),
        ({"decision": "cost", "decision_target": 5, "protocol": "paper"}, "protocol: paper", "protocol: honest"),
        ({"decision": "best"}, "decision: 'best'", "youden | sensitivity"),
    ],
)
def test_a_decision_and_a_target_that_do_not_fit_are_refused_with_the_fix(
    given: dict[str, object], what: str, fix: str
) -> None:
    with pytest.raises(InputError) as refused:
        check(given, "params.yaml")
    assert what in f"{refused.value.message}"
    assert fix in f"{refused.value.remedy}"


def test_settings_name_the_decision_with_its_target() -> None:
    settings = load_settings(None, ["decision=cost", "decision_target=5"])
    assert settings.decided_by == Decision(rule="cost", target=5)
    assert "a missed positive counting as 5 false alarms" in settings.decided_by.said
    assert Settings().decided_by == Decision()


def point(positives: int, sensitivity: float, specificity: float = 0.5) -> OperatingPoint:
    return OperatingPoint(positives=positives, negatives=40, sensitivity=sensitivity, specificity=specificity)


def test_three_positives_cannot_show_a_sensitivity_of_95_per_cent_and_sixty_can() -> None:
    wanted = Decision(rule="sensitivity", target=0.95)
    assert lower_bound(1.0, 3) == pytest.approx(0.025 ** (1 / 3))
    said = doubt(wanted, [point(3, 1.0), point(4, 1.0)]) or ""
    assert "3 to 4 positive validation slides a fold cannot show it" in said
    assert "begins at 0.29" in said
    assert doubt(wanted, [point(60, 1.0), point(80, 0.975)]) is None
    assert doubt(Decision(), [point(3, 1.0)]) is None


def test_a_target_that_only_one_call_for_all_reaches_is_said() -> None:
    wanted = Decision(rule="sensitivity", target=0.95)
    assert "in 1 of 2 folds only calling every slide" in (doubt(wanted, [point(80, 1.0, 0.0), point(80, 1.0)]) or "")


def test_folds_with_one_class_in_validation_are_counted() -> None:
    alone = OperatingPoint(positives=0, negatives=40, sensitivity=None, specificity=1.0)
    said = doubt(Decision(rule="sensitivity", target=0.95), [alone, point(80, 1.0)]) or ""
    assert "1 of 2 folds have one class only in validation" in said
