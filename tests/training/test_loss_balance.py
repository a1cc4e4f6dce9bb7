"""What is said of loss terms that do nothing or outweigh the classification, from learning curves."""

import math
from pathlib import Path

import pytest

from sammil_cli.training.learning_curves import CurveFile, read_curve
from sammil_cli.training.loss_balance import describe, shares_of_bag, warnings


def curve(path: Path, *epochs: tuple[float, float]) -> list[dict[str, float]]:
    """A curve of these gradients of bag and consistency, as it comes back from disk."""
    with CurveFile(path) as file:
        for number, (bag, other) in enumerate(epochs):
            gradients = {"gradient_bag": bag, "gradient_consistency": other}
            file.add(number, {"loss_bag": 0.5, "loss_total": 0.7, **gradients, "val_auc": math.nan})
    return read_curve(path)


def test_the_median_over_the_epochs_up_to_the_chosen_one_counts(tmp_path: Path) -> None:
    found = curve(tmp_path / "a.csv", (2, 0.2), (1, 0.3), (0.5, 0.05), (1e-6, 0.05), (1e-9, 0.05))
    assert shares_of_bag(found, 2) == pytest.approx({"consistency": 0.1})
    assert shares_of_bag(found, 1) == pytest.approx({"consistency": 0.2})
    assert shares_of_bag(found, 0) == pytest.approx({"consistency": 0.1})


@pytest.mark.parametrize(
    "epoch",
    [
        {"gradient_bag": 1.0},  # one term only
        {"gradient_last_pseudo_bag": 1.0, "gradient_pseudo_bags": 0.2},  # sammil_mode: released has no masked bag
        {"gradient_bag": 0.0, "gradient_consistency": 0.1},
        {"gradient_bag": 1.0, "gradient_monitor": math.nan},  # a term without a gradient
        {"loss_bag": 1.0, "val_auc": 0.5},
    ],
    ids=str,
)
def test_where_nothing_can_be_compared_nothing_is_said(epoch: dict[str, float]) -> None:
    assert shares_of_bag([epoch], 0) == shares_of_bag([], 0) == {}
    assert (describe({"fold": {}}, {}), warnings({"fold": {}}, {})) == ("", [])


@pytest.mark.parametrize(
    ("shares", "said"),
    [
        ([0.0011, 0.02, 0.99], []),
        ([0.0005, 0.0004, 0.0006], ["0.05 % of the bag's in all 3 folds: ", "raise consistency_weight"]),
        ([0.0, 0.2, 0.2], ["0 % of the bag's in repeat_0_fold_0: it trains as if"]),
        ([0.5, 2.5, 4.5], ["350 % of the bag's in repeat_0_fold_1, repeat_0_fold_2: ", "lower consistency_weight"]),
    ],
)
def test_a_term_that_does_nothing_or_too_much_is_named_once_with_its_folds(
    shares: list[float], said: list[str]
) -> None:
    found = {f"repeat_0_fold_{i}": {"pseudo_bags": 0.6, "consistency": share} for i, share in enumerate(shares)}
    lines = warnings(found, {"consistency": "distance, β = 1, 10,000 patches a slide"})
    assert len(lines) == bool(said)
    for text in said:
        assert text in lines[0]
    start = "the gradient of consistency (distance, β = 1, 10,000 patches a slide) is"
    assert all(line.startswith(start) for line in lines)


def test_terms_whose_weights_are_a_papers_are_described_and_not_warned_of() -> None:
    found = {"a": {"masked": 1.5, "reconstruction": 0.0001}, "b": {"masked": 1.6, "reconstruction": 0.0001}}
    assert warnings(found, {}) == []
    assert describe(found, {}) == "gradient, of the bag's: masked 155 %, reconstruction 0.01 %"


def test_one_line_says_what_each_term_amounts_to() -> None:
    found = {"a": {"pseudo_bags": 0.4, "consistency": 0.0004}, "b": {"pseudo_bags": 0.6, "consistency": 0.0006}}
    assert describe(found, {"consistency": "distance, β = 1, 10,000 patches a slide"}) == (
        "gradient, of the bag's: pseudo_bags 50 %, consistency (distance, β = 1, 10,000 patches a slide) 0.05 %"
    )
