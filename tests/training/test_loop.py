"""The training loop, on bags that one number separates."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from torch import Tensor
from toy_cohort import BEST, CHANCE, GOOD, RECIPE, SURE, TRAIN, VAL, Scripted, build, recipe, run, scripted, toy_bag

from sammil_cli.errors import SammilError
from sammil_cli.mil.contract import Bag
from sammil_cli.mil.recipe import Recipe
from sammil_cli.training.fused_adam import FusedAdam
from sammil_cli.training.loop import predict, train_fold
from sammil_cli.training.validation_figures import area_under_curve


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", ["abmil", "max", "sam-mil"])
def test_a_separable_cohort_is_learned(name: str, precision: str) -> None:
    trained, logs = run(build(name), dataclasses.replace(RECIPE, precision=precision))
    assert trained.val_auc == 1.0
    assert trained.val_loss < 0.5
    assert logs[-1]["loss_total"] < 0.7 * logs[0]["loss_total"]


def test_the_chosen_weights_give_the_validation_probabilities_again() -> None:
    model = build()
    trained, _ = run(model)
    fresh = build(seed=5)
    fresh.load_state_dict(trained.state)
    found = predict(fresh, toy_bag, [slide for slide, _ in VAL])
    assert np.allclose(found, trained.val_probabilities, atol=1e-6)
    assert trained.val_probabilities.shape == (6, 2)


def test_every_epoch_is_logged_with_its_terms_and_validation_figures() -> None:
    _, logs = run(build("sam-mil"), Recipe(epochs=2, patience=9, min_epochs=0, learning_rate=1e-3, weight_decay=0))
    assert len(logs) == 2
    for figures in logs:
        terms = ["loss_bag", "loss_pseudo_bags", "loss_consistency"]
        norms = ["gradient_bag", "gradient_pseudo_bags", "gradient_consistency"]
        assert list(figures) == [*terms, "loss_total", *norms, "val_auc", "val_loss", "val_accuracy"]
        assert all(figures[name] > 0 for name in norms)
        assert figures["loss_total"] == pytest.approx(sum(figures[name] for name in terms), rel=1e-5)


def test_the_best_epoch_has_the_largest_validation_auc() -> None:
    trained, epochs = scripted(CHANCE, GOOD, BEST, SURE, CHANCE)
    assert (trained.epoch, trained.val_auc, epochs) == (2, 1.0, 5)
    assert trained.val_probabilities[:, 1].tolist() == pytest.approx(BEST)
    assert int(trained.state["epoch"]) == 2


def test_of_epochs_with_equal_auc_the_one_with_the_smallest_loss_is_chosen() -> None:
    assert scripted(GOOD, SURE, GOOD)[0].epoch == 1
    assert scripted(SURE, GOOD, GOOD)[0].epoch == 0
    assert scripted(GOOD, GOOD)[0].epoch == 0
    assert scripted(SURE)[0].val_auc == pytest.approx(8 / 9)


def test_training_stops_after_so_many_epochs_without_a_better_one() -> None:
    trained, epochs = scripted(CHANCE, GOOD, CHANCE, CHANCE, CHANCE, BEST, patience=3)
    assert (trained.epoch, epochs) == (1, 5)


def test_a_better_epoch_in_time_keeps_training_going() -> None:
    trained, epochs = scripted(CHANCE, GOOD, CHANCE, CHANCE, BEST, CHANCE, CHANCE, CHANCE, CHANCE, patience=3)
    assert (trained.epoch, epochs) == (4, 8)


def test_training_never_stops_before_the_least_number_of_epochs() -> None:
    trained, epochs = scripted(GOOD, CHANCE, CHANCE, CHANCE, BEST, CHANCE, CHANCE, patience=1, min_epochs=5)
    assert (trained.epoch, epochs) == (4, 6)


def test_only_slides_of_training_and_validation_are_loaded() -> None:
    loaded = set()

    def load(slide: str) -> Bag:
        if slide.startswith("test"):
            raise AssertionError(f"{slide} is a test slide")
        loaded.add(slide)
        return toy_bag(slide)

    run(build(), Recipe(epochs=2, patience=9, min_epochs=0, learning_rate=1e-3, weight_decay=0), load=load)
    assert loaded == {slide for slide, _ in TRAIN + VAL}


def test_validation_never_changes_the_weights() -> None:
    model = build()
    states = []

    def load(slide: str) -> Bag:
        if slide.startswith("val"):
            assert not model.training
            states.append(model.state_dict()["feature.0.weight"].clone())
        return toy_bag(slide)

    run(model, Recipe(epochs=1, patience=9, min_epochs=0, learning_rate=1e-2, weight_decay=0), load=load)
    assert len(states) == len(VAL)
    assert all(torch.equal(state, states[0]) for state in states)
    assert torch.equal(model.state_dict()["feature.0.weight"], states[0])


def test_the_same_seed_trains_the_same_model_and_another_one_does_not() -> None:
    def trained(seed: int) -> dict[str, Tensor]:
        model = build("sam-mil")
        torch.manual_seed(7)  # it is not the state of torch's own generator that makes the difference
        return run(model, Recipe(epochs=3, patience=9, min_epochs=0, learning_rate=1e-3, weight_decay=0), seed)[0].state

    first, again, other = trained(1), trained(1), trained(2)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_the_order_of_training_changes_from_epoch_to_epoch() -> None:
    orders: list[list[str]] = []

    def load(slide: str) -> Bag:
        if slide.startswith("train"):
            if not orders or len(orders[-1]) == len(TRAIN):
                orders.append([])
            orders[-1].append(slide)
        return toy_bag(slide)

    run(build("mean"), Recipe(epochs=3, patience=9, min_epochs=0, learning_rate=1e-3, weight_decay=0), load=load)
    assert [sorted(order) for order in orders] == [sorted(slide for slide, _ in TRAIN)] * 3
    assert len({tuple(order) for order in orders}) == 3


def test_the_learning_rate_falls_along_a_cosine_to_0_at_the_last_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    rates: list[float] = []
    step = FusedAdam.step

    def spying(self: FusedAdam) -> None:
        rates.append(self.param_groups[0]["lr"])
        step(self)

    monkeypatch.setattr(FusedAdam, "step", spying)
    run(build("mean"), Recipe(epochs=4, patience=9, min_epochs=0, learning_rate=0.01, weight_decay=0))
    expected = [0.005 * (1 + math.cos(math.pi * epoch / 4)) for epoch in range(4)]
    assert rates[:: len(TRAIN)] == pytest.approx(expected)
    assert rates[len(TRAIN) - 1] == pytest.approx(0.01)


def test_weight_decay_shrinks_weights_that_the_loss_leaves_alone() -> None:
    weights = []
    for decay in (0.0, 1.0):
        model = build("mean")
        run(model, Recipe(epochs=3, patience=9, min_epochs=0, learning_rate=1e-3, weight_decay=decay))
        weights.append(float(model.state_dict()["head.0.weight"].norm()))
    assert weights[1] < weights[0]


def test_a_loss_that_is_not_finite_ends_training_with_the_slide_and_the_terms() -> None:
    def load(slide: str) -> Bag:
        bag = toy_bag(slide)
        if slide == "train4":
            bag.features[3] = float("inf")
        return bag

    torch.set_warn_always(True)  # the message must not bring a warning of torch with it
    try:
        with pytest.raises(SammilError, match="not finite on slide train4: bag nan") as caught:
            run(build(), load=load)
    finally:
        torch.set_warn_always(False)
    assert "learning_rate" in caught.value.remedy


def test_prediction_turns_dropout_off_and_gradients_off() -> None:
    model = build().train()

    def load(slide: str) -> Bag:
        assert not torch.is_grad_enabled()
        return toy_bag(slide)

    first = predict(model, load, ["test3", "test2"])
    assert not model.training
    assert (first == predict(model.train(), load, ["test3", "test2"])).all()
    assert first.shape == (2, 2)
    assert first.sum(1).tolist() == pytest.approx([1, 1])
    assert first.dtype == np.float64


def test_prediction_keeps_the_order_of_the_slides() -> None:
    model = build()
    one = predict(model, toy_bag, ["test3", "test2", "test7"])
    other = predict(model, toy_bag, ["test7", "test3", "test2"])
    assert np.allclose(one[[2, 0, 1]], other)


def test_the_area_under_the_curve_by_hand() -> None:
    # docs/methods.md §1: 12 of the 16 pairs are in the right order.
    labels = np.array([0, 0, 0, 1, 1, 1, 0, 1])
    scores = np.array([0.1, 0.4, 0.35, 0.8, 0.3, 0.9, 0.6, 0.55])
    assert area_under_curve(labels, np.stack([1 - scores, scores], 1)) == pytest.approx(0.75)


def test_the_area_of_three_classes_is_the_mean_of_one_against_the_rest() -> None:
    labels = np.array([0, 1, 2, 2])
    probabilities = np.array([[0.5, 0.3, 0.2], [0.6, 0.3, 0.1], [0.1, 0.2, 0.7], [0.2, 0.6, 0.2]])
    # class 0: .5 above .1, .2 but not .6 -> 2/3; class 1: .3 above .2, half of .3, not .6 -> 1/2;
    # class 2: .7 above both, .2 above .1 and half of .2 -> 3.5/4
    assert area_under_curve(labels, probabilities) == pytest.approx((2 / 3 + 1 / 2 + 3.5 / 4) / 3)


@pytest.mark.parametrize(("labels", "classes"), [([1, 1, 1], 2), ([0, 0, 0], 2), ([0, 2, 0], 3)])
def test_the_area_is_not_defined_where_a_class_is_absent(labels: list[int], classes: int) -> None:
    probabilities = np.full((3, classes), 1 / classes)
    assert math.isnan(area_under_curve(np.array(labels), probabilities))


def test_a_validation_part_of_one_class_falls_back_to_the_loss() -> None:
    val = [(slide, 1) for slide, _ in VAL]
    script = [[0.5] * 6, [0.9] * 6, [0.6] * 6]
    trained = train_fold(
        Scripted(script),
        toy_bag,
        TRAIN,
        val,
        Recipe(epochs=3, patience=9, min_epochs=0, learning_rate=1e-3, weight_decay=0),
        seed=1,
        log=lambda epoch, figures: None,
    )
    assert trained.epoch == 1
    assert math.isnan(trained.val_auc)
    assert trained.val_loss == pytest.approx(-math.log(0.9))


def test_in_the_released_mode_the_separable_cohort_is_learned_too() -> None:
    trained, logs = run(build("sam-mil", sammil_mode="released"))
    assert trained.val_auc == 1.0
    assert {"loss_last_pseudo_bag", "gradient_last_pseudo_bag"} <= set(logs[0])


def test_bfloat16_is_another_training_and_predicts_in_single_precision() -> None:
    one, other = (run(build("sam-mil"), recipe(2, precision=kind))[0] for kind in ("float32", "bfloat16"))
    assert all(tensor.dtype == torch.float32 for tensor in other.state.values())
    assert any(not torch.equal(one.state[name], other.state[name]) for name in one.state)
    assert np.allclose(one.val_probabilities, other.val_probabilities, atol=0.02)
    fresh = build("sam-mil", seed=5)
    fresh.load_state_dict(other.state)
    assert (predict(fresh, toy_bag, [slide for slide, _ in VAL]) == other.val_probabilities).all()


@pytest.mark.parametrize("poisoned", ["train0", "train5", "train9"])
@pytest.mark.parametrize("name", ["abmil", "sam-mil"])
def test_a_slide_with_nan_features_is_named_wherever_it_stands_in_the_order(name: str, poisoned: str) -> None:
    def load(slide: str) -> Bag:
        bag = toy_bag(slide)
        if slide == poisoned:
            bag.features[7, 1] = float("nan")
        return bag

    with pytest.raises(SammilError, match=f"not finite on slide {poisoned}: bag nan"):
        run(build(name), load=load)
