"""What a recipe says of optimiser, schedule, sampling and the kept epoch is what the loop does."""

import copy
import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from toy_cohort import BEST, CHANCE, DIM, GOOD, TRAIN, VAL, Scripted, build, recipe, run, toy_bag

from sammil_cli.mil.contract import Bag, MILModel, Options, Output
from sammil_cli.mil.model_spec import ModelSpec
from sammil_cli.mil.recipe import COMMON, Recipe
from sammil_cli.training.epoch import Run
from sammil_cli.training.loop import train_fold
from sammil_cli.training.optimisers import LookaheadRAdam, learning_rate, make_optimiser


class Slope(MILModel):
    """Its loss is w · (slide's number), so that the gradient of each step is known; it notes which slide it saw."""

    def __init__(self) -> None:
        super().__init__(ModelSpec(dim=DIM, classes=2, group_features=False), Options())
        self.part = nn.Linear(1, 1, bias=False)
        self.other = nn.Linear(1, 1, bias=False)
        self.seen: list[float] = []
        self.steps: list[float] = []

    def forward(self, bag: Bag) -> Output:
        even = torch.full((len(bag.features), 2), 0.5)
        return Output(logits=torch.zeros(2), attention=even[:, 0] / len(even) * 2, evidence=even)

    def losses(self, bag: Bag, label: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        number = float(bag.features[0, 0])
        self.seen.append(number)
        return {"bag": (number * self.part.weight + 0.5 * self.other.weight).sum()}

    def after_step(self, done: float) -> None:
        self.steps.append(done)


def numbered(slide: str) -> Bag:
    bag = toy_bag(slide)
    return replace(bag, features=torch.full((2, DIM), 1.0 + float(slide.removeprefix("train").removeprefix("val"))))


def one_epoch(plan: Recipe) -> tuple[Slope, Run]:
    torch.manual_seed(0)
    model = Slope()
    training = Run(model, TRAIN, plan, 3)
    training.epoch(0, numbered)
    return model, training


# ---------------------------------------------------------------------------------------------- schedule, optimiser


def test_the_cosine_goes_from_the_learning_rate_to_the_final_one() -> None:
    plan = Recipe(epochs=50, learning_rate=1e-4, final_learning_rate=5e-6)
    rates = [learning_rate(plan, epoch) for epoch in (0, 25, 50)]
    assert rates == pytest.approx([1e-4, (1e-4 + 5e-6) / 2, 5e-6])


def test_a_step_is_a_fifth_from_the_middle_on_and_constant_stays() -> None:
    plan = Recipe(epochs=200, learning_rate=1e-4, schedule="step")
    assert [learning_rate(plan, epoch) for epoch in (0, 99, 100, 199)] == pytest.approx([1e-4, 1e-4, 2e-5, 2e-5])
    assert learning_rate(replace(plan, schedule="constant"), 199) == 1e-4


@pytest.mark.parametrize("word", ["adam", "adamw"])
def test_the_optimiser_is_the_one_named_with_its_numbers_to_the_last_bit(word: str) -> None:
    plan = Recipe(optimiser=word, learning_rate=3e-4, weight_decay=0.02, betas=(0.5, 0.9))
    torch.manual_seed(1)
    ours = build("abmil")
    theirs = copy.deepcopy(ours)
    found = make_optimiser(ours, plan)
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[word]
    published = kind(theirs.parameters(), 3e-4, (0.5, 0.9), weight_decay=0.02, fused=True)
    for step in range(6):
        for optimiser in (found, published):
            optimiser.param_groups[0]["lr"] = 3e-4 / (1 + step)
            optimiser.zero_grad(set_to_none=True)
        for number, (one, other) in enumerate(zip(ours.parameters(), theirs.parameters(), strict=True)):
            if number or step > 1:  # the first weight learns from the third step on
                one.grad = torch.randn(one.shape)
                other.grad = one.grad.clone()
        found.step()
        published.step()
        if step == 3:  # as after a kill
            state, found = copy.deepcopy(found.state_dict()), make_optimiser(ours, plan)
            found.load_state_dict(state)
        for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
            assert torch.equal(one, other), step


def test_transmil_learns_by_lookahead_and_radam() -> None:
    plan = Recipe(optimiser="lookahead-radam", learning_rate=3e-4, weight_decay=0.02, betas=(0.5, 0.9))
    found = make_optimiser(build("abmil"), plan)
    assert type(found) is LookaheadRAdam
    group = found.param_groups[0]
    assert (group["lr"], group["weight_decay"], group["betas"]) == (3e-4, 0.02, (0.5, 0.9))
    assert sum(len(group["params"]) for group in found.param_groups) == len(list(build("abmil").parameters()))


def test_lookahead_goes_half_of_the_way_back_every_sixth_step() -> None:
    plan = Recipe(optimiser="lookahead-radam", learning_rate=0.1, weight_decay=0.0)
    ahead, plain = (nn.Parameter(torch.tensor([[1.0, -2.0]])) for _ in range(2))
    holder = nn.Module()
    holder.weight = ahead
    lookahead, radam = make_optimiser(holder, plan), torch.optim.RAdam([plain], 0.1)
    slow = ahead.detach().clone()
    for step in range(1, 15):
        for weight, optimiser in ((ahead, lookahead), (plain, radam)):
            weight.grad = torch.full((1, 2), 0.3 + 0.1 * step)
            optimiser.step()
        if step % 6 == 0:
            with torch.no_grad():
                slow += 0.5 * (plain - slow)
                plain.copy_(slow)
        assert torch.allclose(ahead, plain, atol=1e-7), step


def test_lookahead_radam_decays_no_bias_and_no_norm() -> None:
    model = nn.Sequential(nn.Linear(3, 2), nn.LayerNorm(2))
    found = make_optimiser(model, Recipe(optimiser="lookahead-radam", weight_decay=0.1))
    decays = {weight.ndim: group["weight_decay"] for group in found.param_groups for weight in group["params"]}
    assert decays == {2: 0.1, 1: 0.0}


def test_what_does_not_learn_is_left_to_itself() -> None:
    model = build("abmil")
    model.requires_grad_(False)
    weight = model.get_parameter("classifier.weight").requires_grad_(True)
    assert [group["params"] for group in make_optimiser(model, COMMON).param_groups] == [[weight]]


# ---------------------------------------------------------------------------------------------- sampling, steps


def test_every_slide_comes_once_an_epoch_in_an_order_that_changes_unless_it_is_fixed() -> None:
    numbers = [1.0 + index for index in range(len(TRAIN))]
    model, training = one_epoch(recipe(2))
    first = list(model.seen)
    training.epoch(1, numbered)
    assert sorted(first) == numbers
    assert first != numbers
    assert model.seen[len(numbers) :] != first
    assert one_epoch(recipe(2, sampling="fixed"))[0].seen == numbers


def test_balanced_sampling_draws_rare_classes_as_often_as_common_ones() -> None:
    slides = [(f"train{index}", int(index == 0)) for index in range(10)]  # one of ten is of class 1
    model = Slope()
    training = Run(model, slides, recipe(1, sampling="balanced"), 5)
    for epoch in range(60):
        training.epoch(0 * epoch, numbered)
    share = sum(number == 1.0 for number in model.seen) / len(model.seen)
    assert len(model.seen) == 600
    assert share == pytest.approx(0.5, abs=0.06)  # three standard deviations


def test_gradients_of_several_slides_make_one_step_of_their_mean() -> None:
    plan = recipe(1, sampling="fixed", accumulate=4, learning_rate=0.1, weight_decay=0.0)
    torch.manual_seed(0)
    model = Slope()
    training = Run(model, TRAIN, plan, 3)
    found: list[float] = []
    step = training._optimiser.step
    training._optimiser.step = lambda: found.append(float(model.part.weight.grad)) or step()  # type: ignore
    training.epoch(0, numbered)
    # Slides 1 … 10: means of fours, and of the last two over four, too: each slide weighs the same.
    assert found == pytest.approx([(1 + 2 + 3 + 4) / 4, (5 + 6 + 7 + 8) / 4, (9 + 10) / 4])
    assert model.steps == pytest.approx([0.4, 0.8, 1.0])


def test_accumulating_does_not_change_what_is_said_of_the_gradients() -> None:
    plans = [recipe(1, sampling="fixed", accumulate=count, learning_rate=1e-12, weight_decay=0.0) for count in (1, 4)]
    figures = []
    for plan in plans:
        torch.manual_seed(0)
        figures.append(Run(Slope(), TRAIN, plan, 3).epoch(0, numbered)["gradient_bag"])
    assert figures[0] == pytest.approx(figures[1])
    assert figures[0] == pytest.approx(math.hypot(5.5, 0.5))


def test_each_part_of_a_model_is_clipped_by_itself() -> None:
    torch.manual_seed(0)
    model = Slope()
    training = Run(model, TRAIN, recipe(1, sampling="fixed", clip_norm=2.0), 3)
    found: list[tuple[float, float]] = []
    step = training._optimiser.step

    def noted() -> None:
        found.append((float(model.part.weight.grad), float(model.other.weight.grad)))  # type: ignore[arg-type]
        step()

    training._optimiser.step = noted  # type: ignore[method-assign]
    training.epoch(0, numbered)
    assert [pair[0] for pair in found] == pytest.approx([1.0, *[2.0] * 9], rel=1e-5)
    assert [pair[1] for pair in found] == pytest.approx([0.5] * 10)


def test_the_share_of_steps_done_rises_to_one_at_the_last_epoch() -> None:
    model = Slope()
    training = Run(model, TRAIN, recipe(4), 3)
    for epoch in range(4):
        training.epoch(epoch, numbered)
    assert model.steps[:2] == pytest.approx([1 / 40, 2 / 40])
    assert model.steps[-1] == 1.0


# ---------------------------------------------------------------------------------------------- the kept epoch

# Of the validation labels 0, 1, 0, 1, 0, 1: accuracies by hand at one half.
CALM = [0.45, 0.55, 0.45, 0.55, 0.45, 0.55]  # AUC 1, accuracy 1, loss 0.598
SURE_AND_WRONG_ONCE = [0.01, 0.99, 0.01, 0.99, 0.01, 0.4]  # AUC 1, accuracy 5 / 6, loss 0.16


def kept(plan: Recipe, *epochs: list[float]) -> int:
    return run(Scripted(list(epochs)), replace(plan, epochs=len(epochs)))[0].epoch


@pytest.mark.parametrize(
    ("by", "epochs", "best"),
    [
        ("auc", [CHANCE, GOOD, CALM, SURE_AND_WRONG_ONCE], 3),  # of equal AUCs the smallest loss
        ("loss", [CALM, SURE_AND_WRONG_ONCE, CHANCE], 1),
        ("accuracy", [SURE_AND_WRONG_ONCE, CALM, CHANCE], 1),
        ("accuracy", [GOOD, BEST], 1),
        ("auc-and-accuracy", [SURE_AND_WRONG_ONCE, CALM, CHANCE], 1),
        ("auc-and-accuracy", [CHANCE, SURE_AND_WRONG_ONCE, GOOD], 1),
    ],
)
def test_the_kept_epoch_is_the_best_by_what_the_recipe_says(by: str, epochs: list[list[float]], best: int) -> None:
    assert kept(recipe(1, chosen_by=by), *epochs) == best


def test_only_the_last_epochs_may_be_kept_where_the_recipe_says_so() -> None:
    epochs = [BEST, GOOD, CHANCE, GOOD]
    assert kept(recipe(1), *epochs) == 0
    assert kept(recipe(1, choose_last=2), *epochs) == 3
    assert kept(recipe(1, choose_last=99), *epochs) == 0


def test_waiting_begins_with_the_first_epoch_that_may_be_kept() -> None:
    epochs = [GOOD] * 4 + [BEST] + [GOOD] * 4
    trained, logs = run(Scripted(epochs), recipe(9, patience=2, choose_last=5))
    assert (trained.epoch, len(logs)) == (4, 7)


def test_accuracy_is_in_the_figures() -> None:
    trained, logs = run(Scripted([GOOD]), recipe(1))
    assert logs[0]["val_accuracy"] == pytest.approx(5 / 6)
    assert trained.val_accuracy == logs[0]["val_accuracy"]


# ---------------------------------------------------------------------------------------------- stages


class Second(MILModel):
    """Adds what its first stage learned to its own logits."""

    training_only = ("helper.",)

    def __init__(self) -> None:
        super().__init__(ModelSpec(dim=DIM, classes=2, group_features=False), Options())
        self.own = nn.Linear(DIM, 2)
        self.helper = nn.Linear(2, 2)
        self.register_buffer("learned", torch.zeros(2, DIM))
        self.register_buffer("slides", torch.zeros(()))
        self.begun = 0

    def first_stage(self) -> MILModel:
        return build("mean", dropout=0.0, group_features=False)

    def begin(self, first: MILModel | None, bags: object, generator: torch.Generator) -> None:
        assert first is not None
        assert not first.training
        self.begun += 1
        self.learned.copy_(first.get_parameter("head.3.weight")[:, :DIM].detach())
        self.slides.fill_(sum(1 for _ in bags))  # type: ignore[call-overload]

    def forward(self, bag: Bag) -> Output:
        mean = bag.features.mean(0)
        even = torch.full((len(bag.features), 2), 0.5)
        return Output(logits=self.own(mean) + self.learned @ mean, attention=even[:, 0], evidence=even)


def test_the_first_stage_is_trained_and_handed_on_with_the_training_slides_alone() -> None:
    torch.manual_seed(1)
    model = Second()
    seen: list[tuple[bool, int]] = []

    def log(epoch: int, figures: dict[str, float], /, *, first_stage: bool = False) -> None:
        seen.append((first_stage, epoch))

    trained = train_fold(model, toy_bag, TRAIN, VAL, recipe(3), seed=1, log=log)
    assert seen == [(True, 0), (True, 1), (True, 2), (False, 0), (False, 1), (False, 2)]
    assert (model.begun, int(model.slides)) == (1, len(TRAIN))
    assert model.learned.abs().sum() > 0
    assert len(trained.first_stage) == 3
    assert set(trained.state) == {"own.weight", "own.bias", "learned", "slides"}
