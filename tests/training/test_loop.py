"""The training loop, on bags that one number separates."""

import dataclasses
import math
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from op_watch import OpWatch
from safetensors.torch import save_file
from torch import Tensor, nn

from sammil_cli.errors import SammilError
from sammil_cli.mil.contract import Bag, MILModel, ModelSpec, Options, Output
from sammil_cli.training.bundle import build_model
from sammil_cli.training.checkpoint import read_checkpoint
from sammil_cli.training.loop import Recipe, Trained, area_under_curve, predict, train_fold

DIM = 4
RECIPE = Recipe(epochs=12, patience=12, min_epochs=0, learning_rate=1e-3, weight_decay=0.0)
TRAIN = [(f"train{i}", i % 2) for i in range(10)]
VAL = [(f"val{i}", i % 2) for i in range(6)]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """As `sammil train` does; on small bags more threads only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def toy_bag(slide: str) -> Bag:
    """Ten patches of noise; in a slide of an odd number, two of them are far off along the third feature."""
    number = int(slide.lstrip("trainvesl"))
    generator = torch.Generator().manual_seed(100 * len(slide) + number)
    features = torch.randn(10, DIM, generator=generator)
    if number % 2:
        features[:2, 2] += 6
    return Bag(
        features=features,
        group_features=features[:4].mean(0, keepdim=True),
        region=torch.tensor([0] * 4 + [-1] * 6),
        group_region=torch.tensor([0]),
        region_area=torch.tensor([500.0]),
    )


def build(name: str = "abmil", seed: int = 0, **changes: object) -> MILModel:
    torch.manual_seed(seed)
    model = build_model(name, ModelSpec(**{"dim": DIM, "classes": 2, "group_features": True, **changes}), {})
    model.initialise()
    return model


def run(
    model: MILModel, recipe: Recipe = RECIPE, seed: int = 1, load: object = toy_bag
) -> tuple[Trained, list[dict[str, float]]]:
    logs: list[dict[str, float]] = []
    trained = train_fold(model, load, TRAIN, VAL, recipe, seed=seed, log=lambda epoch, figures: logs.append(figures))
    return trained, logs


class Scripted(MILModel):
    """Says in epoch e of each validation slide what the script says: the probability of class 1."""

    def __init__(self, script: list[list[float]]) -> None:
        super().__init__(ModelSpec(dim=DIM, classes=2, group_features=True), Options())
        self.script, self.asked = script, 0
        self.weight = nn.Parameter(torch.zeros(1))
        self.register_buffer("epoch", torch.tensor(-1))

    def train(self, mode: bool = True) -> "Scripted":
        self.epoch += int(mode)  # the loop calls train() at the start of each epoch
        super().train(mode)
        return self

    def forward(self, bag: Bag) -> Output:
        p = self.script[int(self.epoch)][self.asked % len(VAL)]
        self.asked += 1
        logits = torch.tensor([math.log(1 - p), math.log(p)], dtype=torch.float64)
        return Output(logits=logits, attention=torch.ones(1), evidence=torch.ones(1, 2))

    def losses(self, bag: Bag, label: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        return {"bag": self.weight.sum()}


def scripted(*epochs: list[float], patience: int = 99, min_epochs: int = 0) -> tuple[Trained, int]:
    """Trains a scripted model; returns what was chosen and how many epochs ran."""
    recipe = Recipe(epochs=len(epochs), patience=patience, min_epochs=min_epochs, learning_rate=1e-3, weight_decay=0.0)
    trained, logs = run(Scripted(list(epochs)), recipe)
    return trained, len(logs)


# Labels of VAL are 0, 1, 0, 1, 0, 1. AUC by hand: of the 9 pairs, those in the right order.
CHANCE = [0.5] * 6  # 0.5
GOOD = [0.2, 0.7, 0.3, 0.6, 0.65, 0.9]  # 8 of 9
SURE = [0.1, 0.8, 0.2, 0.6, 0.65, 0.95]  # 8 of 9, smaller loss than GOOD
BEST = [0.3, 0.7, 0.3, 0.7, 0.4, 0.6]  # 9 of 9


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
        assert list(figures) == [*terms, "loss_total", *norms, "val_auc", "val_loss"]
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
        torch.manual_seed(seed)  # dropout
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
    step = torch.optim.Adam.step

    def spying(self: torch.optim.Adam, *arguments: object) -> object:
        rates.append(self.param_groups[0]["lr"])
        return step(self, *arguments)

    monkeypatch.setattr(torch.optim.Adam, "step", spying)
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
    # METHODS §1: 12 of the 16 pairs are in the right order.
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


def recipe(epochs: int, **changes: object) -> Recipe:
    return Recipe(
        **{"epochs": epochs, "patience": 99, "min_epochs": 0, "learning_rate": 1e-3, "weight_decay": 1e-5, **changes}
    )


# Weights of the losses: every slide's gradient is 1 before it is weighted.


class Tally(MILModel):
    """Its loss has the gradient 1; it notes what the gradient becomes."""

    def __init__(self, classes: int) -> None:
        super().__init__(ModelSpec(dim=DIM, classes=classes, group_features=True), Options())
        self.weight = nn.Parameter(torch.zeros(()))
        self.label, self.found = -1, Counter[tuple[int, float]]()
        self.weight.register_hook(self._note)

    def _note(self, gradient: Tensor) -> None:
        self.found[self.label, round(gradient.item(), 6)] += 1

    def forward(self, bag: Bag) -> Output:
        logits = torch.zeros(self.spec.classes)
        return Output(logits=logits, attention=torch.ones(1), evidence=torch.ones(1, self.spec.classes))

    def losses(self, bag: Bag, label: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        self.label = int(label)
        return {"bag": self.weight * 1}


@pytest.mark.parametrize(
    ("labels", "classes", "kind", "weight_of"),
    [
        ([0, 0, 0, 1], 2, "none", {0: 1.0, 1: 1.0}),
        ([0, 0, 0, 1], 2, "balanced", {0: 2 / 3, 1: 2.0}),  # 4 / (2 * 3), 4 / (2 * 1)
        ([0, 1, 0, 1], 2, "balanced", {0: 1.0, 1: 1.0}),
        ([2, 0, 1, 1, 2, 2, 2, 2], 3, "balanced", {0: 8 / 3, 1: 4 / 3, 2: 8 / 15}),
        ([0, 2, 2], 3, "balanced", {0: 1.5, 2: 0.75}),  # a class that is not there has no share
    ],
)
def test_the_weights_of_slides_by_hand(labels: list[int], classes: int, kind: str, weight_of: dict[int, float]) -> None:
    model = Tally(classes)
    train = [(f"train{i}", label) for i, label in enumerate(labels)]
    train_fold(model, toy_bag, train, VAL, recipe(1, class_weights=kind), seed=1, log=lambda *_: None)
    # The norms of the first step are taken before it is weighted.
    norms = Counter({key: 1 for key in model.found if key[1] == 1.0 and model.found[key] > labels.count(key[0])})
    expected = Counter({(label, round(weight, 6)): labels.count(label) for label, weight in weight_of.items()})
    extra = model.found - expected
    assert expected - model.found == Counter()
    assert extra.total() == 1  # one gradient norm, of weight 1
    assert next(iter(extra))[1] == 1.0
    assert norms.total() <= 1
    assert sum(weight * labels.count(label) for label, weight in weight_of.items()) == pytest.approx(len(labels))


def test_balanced_weights_are_weights_of_the_losses() -> None:
    train = [(f"train{i}", int(i in (1, 3))) for i in range(8)]  # 6 and 2: 8 / 12 and 8 / 4
    table = torch.tensor([8 / 12, 2.0])
    seen = []
    for balanced in (True, False):
        model = build("abmil", dropout=0.0)
        if not balanced:
            plain = model.losses

            def weighted(bag: Bag, label: Tensor, generator: torch.Generator, plain: Callable = plain) -> object:
                return {name: term * table[label] for name, term in plain(bag, label, generator).items()}

            model.losses = weighted
        logs: list[dict[str, float]] = []
        kind = "balanced" if balanced else "none"
        trained = train_fold(
            model,
            toy_bag,
            train,
            VAL,
            recipe(3, class_weights=kind),
            seed=1,
            log=lambda _, figures, logs=logs: logs.append(figures),
        )
        seen.append((trained.state, logs))
    (one, logged), (other, _) = seen
    assert all(torch.allclose(one[name], other[name], rtol=1e-5, atol=1e-7) for name in one)
    even, _ = run(build("abmil", dropout=0.0), recipe(3))
    assert any(not torch.allclose(one[name], even.state[name], rtol=1e-3) for name in one)
    assert logged[0]["loss_bag"] < 1.5  # terms are logged as they are, not weighted


# What a GPU would wait for. Four more slides are four more steps; what an epoch costs besides is the same.


def per_step(regions: int, **changes: object) -> tuple[Counter[str], float]:
    """Operations and waits of a step with a bag of so many regions, backward pass and Adam among them."""
    generator = torch.Generator().manual_seed(1)
    bag = Bag(
        features=torch.randn(1100, DIM, generator=generator),
        group_features=torch.randn(regions, DIM, generator=generator),
        region=torch.randint(-1, regions, (1100,), generator=generator),
        group_region=torch.arange(regions),
        region_area=torch.randint(1, 60_000, (regions,), generator=generator).float(),
    )
    model = build("sam-mil", **changes)
    bag.groups(model.spec.grouping)  # once for a bag
    ops, waits = [], []
    for slides in (2, 6):
        with OpWatch() as watch:
            train_fold(model, lambda _: bag, TRAIN[:slides], VAL[:2], recipe(1), seed=1, log=lambda *_: None)
        ops.append(watch.ops)
        waits.append(watch.waits.total())
    return ops[1] - ops[0], (waits[1] - waits[0]) / 4


@pytest.mark.parametrize(
    "changes", [{}, {"consistency_form": "eq12"}, {"mask_strategy": "random"}, {"grouping": "area"}], ids=str
)
def test_a_step_never_makes_the_host_wait_and_runs_as_much_for_any_number_of_regions(
    changes: dict[str, object],
) -> None:
    few, waits_few = per_step(20, **changes)
    some, waits_some = per_step(200, **changes)
    many, waits_many = per_step(1000, **changes)
    assert (waits_few, waits_some, waits_many) == (0, 0, 0)  # the published step waits 104 and 557 times
    assert few == some == many
    assert few["_fused_adam_"] == 4
    assert few["threshold_backward"] >= 3 * 4  # the pooling's own backward pass is among what was seen
    assert few.total() / 4 < 224  # of the prototype in BASELINES §1


# Interrupted trainings: a stop in any way, then a fresh start with the same checkpoint.

RESUMED = [
    ("sam-mil", {}, {}),
    ("sam-mil", {"sammil_mode": "released"}, {"class_weights": "balanced"}),
    ("sam-mil", {}, {"precision": "bfloat16"}),
    ("abmil", {"dropout": 0.5}, {}),  # draws dropout from torch's global generator
    ("abmil", {"dropout": 0.5}, {"precision": "bfloat16"}),
]


class Stopped(Exception):
    """Stands in for a kill."""


def train_with(
    checkpoint: Path | None,
    name: str,
    changes: dict[str, object],
    plan: Recipe,
    *,
    weights: int = 0,
    stop_at: int | None = None,
    stop_at_slide: int | None = None,
) -> tuple[Trained, list[dict[str, float]], MILModel]:
    """Trains a fresh model; stops after the epoch `stop_at`, or on loading so many bags."""
    logs: list[dict[str, float]] = []
    loaded = [0]

    def log(epoch: int, figures: dict[str, float]) -> None:
        assert epoch == len(logs)
        logs.append(figures)
        if epoch == stop_at:
            raise Stopped

    def load(slide: str) -> Bag:
        loaded[0] += 1
        if loaded[0] == stop_at_slide:
            raise Stopped
        return toy_bag(slide)

    model = build(name, seed=weights, **changes)
    return train_fold(model, load, TRAIN, VAL, plan, seed=1, log=log, checkpoint=checkpoint), logs, model


def assert_same(
    one: tuple[Trained, list[dict[str, float]], MILModel], other: tuple[Trained, list[dict[str, float]], MILModel]
) -> None:
    """Bit by bit: history, chosen epoch, its weights, all probabilities and the weights of the last epoch."""
    assert one[1] == other[1]
    assert (one[0].epoch, one[0].val_auc, one[0].val_loss) == (other[0].epoch, other[0].val_auc, other[0].val_loss)
    assert one[0].state.keys() == other[0].state.keys()
    assert all(torch.equal(one[0].state[name], other[0].state[name]) for name in one[0].state)
    assert (one[0].val_probabilities == other[0].val_probabilities).all()
    assert one[0].every_epoch.shape == other[0].every_epoch.shape == (len(one[1]), len(VAL), 2)
    assert (one[0].every_epoch == other[0].every_epoch).all()
    last = other[2].state_dict()
    assert all(torch.equal(tensor, last[name]) for name, tensor in one[2].state_dict().items())


@pytest.mark.parametrize(("name", "changes", "how"), RESUMED, ids=str)
def test_an_interrupted_training_ends_with_the_same_bits(
    tmp_path: Path, name: str, changes: dict[str, object], how: dict[str, object]
) -> None:
    plan = recipe(7, **how)
    undisturbed = train_with(None, name, changes, plan)
    assert undisturbed[0].epoch > 0
    file = tmp_path / "fold.safetensors"
    with pytest.raises(Stopped):
        train_with(file, name, changes, plan, stop_at=3)  # epoch 3 was not yet saved
    saved = read_checkpoint(file)
    assert saved is not None
    assert saved.history == undisturbed[1][:3]
    torch.manual_seed(999)
    # Other weights and another state of torch's generator: all must come from the checkpoint.
    assert_same(train_with(file, name, changes, plan, weights=77), undisturbed)


def test_a_training_may_be_interrupted_again_and_again(tmp_path: Path) -> None:
    plan, file = recipe(6), tmp_path / "fold.safetensors"
    undisturbed = train_with(None, "sam-mil", {}, plan)
    for slide in (4, 20, 37, 16 + 13, 3):  # an epoch loads 16 bags: 10 to train on, 6 of validation
        with pytest.raises(Stopped):
            train_with(file, "sam-mil", {}, plan, weights=slide if file.exists() else 0, stop_at_slide=slide)
    saved = read_checkpoint(file)
    assert saved is not None
    assert len(saved.history) == 0 + 1 + 2 + 1 + 0
    assert_same(train_with(file, "sam-mil", {}, plan, weights=5), undisturbed)


def test_a_training_without_interruption_is_the_same_with_and_without_a_checkpoint(tmp_path: Path) -> None:
    plan = recipe(4)
    assert_same(
        train_with(tmp_path / "a.safetensors", "abmil", {}, plan),
        train_with(None, "abmil", {}, plan),
    )


def test_a_finished_training_is_read_and_not_repeated(tmp_path: Path) -> None:
    plan, file = recipe(4), tmp_path / "fold.safetensors"
    first = train_with(file, "sam-mil", {}, plan)
    assert_same(train_with(file, "sam-mil", {}, plan, weights=8, stop_at_slide=1), first)


@pytest.mark.parametrize("stop_at", [1, 2, 3, 4])
def test_early_stopping_comes_at_the_same_epoch_after_an_interruption(tmp_path: Path, stop_at: int) -> None:
    script = [CHANCE, GOOD, CHANCE, CHANCE, CHANCE, BEST]
    plan, file = recipe(6, patience=3), tmp_path / "fold.safetensors"
    for stop in (stop_at, None):
        logs: list[int] = []

        def log(epoch: int, figures: dict[str, float], stop: int | None = stop, logs: list[int] = logs) -> None:
            logs.append(epoch)
            if epoch == stop:
                raise Stopped

        model = Scripted(script)
        try:
            trained = train_fold(model, toy_bag, TRAIN, VAL, plan, seed=1, log=log, checkpoint=file)
        except Stopped:
            continue
    assert logs == [0, 1, 2, 3, 4]
    assert (trained.epoch, trained.val_auc) == (1, pytest.approx(8 / 9))
    assert trained.val_probabilities[:, 1].tolist() == pytest.approx(GOOD)


def _truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def _other_tensors(file: Path) -> None:
    save_file({"weight": torch.ones(3)}, file)


@pytest.mark.parametrize(
    "damage",
    [
        _truncate,
        _other_tensors,
        lambda file: file.write_bytes(b""),
        lambda file: file.write_text("no tensors at all", encoding="utf-8"),
        lambda file: file.write_bytes(bytes(file.stat().st_size)),
    ],
    ids=["half", "other", "empty", "text", "zeros"],
)
def test_a_damaged_checkpoint_is_passed_over(tmp_path: Path, damage: Callable[[Path], object]) -> None:
    plan, file = recipe(3), tmp_path / "fold.safetensors"
    undisturbed = train_with(None, "abmil", {}, plan)
    with pytest.raises(Stopped):
        train_with(file, "abmil", {}, plan, stop_at=2)
    damage(file)
    assert_same(train_with(file, "abmil", {}, plan), undisturbed)
