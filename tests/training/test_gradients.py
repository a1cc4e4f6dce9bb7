"""The averaged gradient of each loss term, against gradients taken one by one; training goes on as if nobody looked."""

import math
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn
from toy_cohort import TRAIN, build, recipe, run, toy_bag

from sammil_cli.training import gradients
from sammil_cli.training.gradients import APART, MOST_STEPS, MeanGradients, is_averaged


def averaged(terms_of_step: list[dict[str, float]], *, frozen: str = "") -> dict[str, float]:
    """What comes out for terms that are multiples of one weight, each the slope of its step."""
    weight = nn.Parameter(torch.zeros(3))
    found = MeanGradients([weight, nn.Parameter(torch.zeros(2), requires_grad=False)], len(terms_of_step), 0)
    for step, slopes in enumerate(terms_of_step):
        terms = {name: torch.tensor(1.0) if name == frozen else slope * weight[1] for name, slope in slopes.items()}
        found.add_terms(step, terms, torch.tensor(2.0))
        weight.grad = None
        (torch.stack(list(terms.values())).sum() * 2.0).backward()
        found.add_total(step)
    return found.norms(terms_of_step[0])


def test_a_term_that_cancels_over_the_slides_is_small_and_one_that_pushes_one_way_is_not() -> None:
    steps = [{"bag": 8.0 if step % 2 else -7.0, "consistency": 0.4} for step in range(40)]
    found = averaged(steps)  # as the optimiser is given them: slides weigh 2
    assert found == pytest.approx({"bag": 2 * 0.5, "consistency": 2 * 0.4}, rel=1e-5)


def test_a_term_without_a_gradient_is_passed_over() -> None:
    found = averaged([{"monitor": 1.0, "bag": 3.0, "other": 1.0}] * 3, frozen="monitor")
    assert math.isnan(found.pop("monitor"))
    assert found == pytest.approx({"bag": 6.0, "other": 2.0})


@pytest.mark.parametrize(("steps", "counted"), [(1, 1), (MOST_STEPS, MOST_STEPS), (1000, MOST_STEPS)])
def test_a_long_epoch_is_averaged_over_so_many_evenly_spaced_steps(
    steps: int, counted: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[float] = []
    grad = torch.autograd.grad

    def spying(term: Tensor, *arguments: object, **how: object) -> object:
        found = grad(term, *arguments, **how)
        seen.append(round(found[0][1].item() / 2))
        return found

    monkeypatch.setattr(torch.autograd, "grad", spying)
    found = averaged([{"bag": 1.0, "other": float(step)} for step in range(steps)])
    assert len(seen) == counted
    assert {later - earlier for earlier, later in pairwise(seen)} <= {steps // counted, -(-steps // counted)}
    assert found["other"] == pytest.approx(2 * sum(seen) / counted)
    assert found["bag"] == pytest.approx(2.0)


@pytest.mark.parametrize("steps", [1, 24, MOST_STEPS, 200, 500, 5000])
def test_one_step_in_so_many_counts_and_the_first_epochs_always_do(steps: int) -> None:
    averaged_epochs = [epoch for epoch in range(1000) if is_averaged(epoch, steps)]
    assert averaged_epochs[:2] == [0, 1]
    counted = len(averaged_epochs) * min(steps, MOST_STEPS)
    assert counted / (1000 * steps) <= 1.05 / APART
    assert steps > MOST_STEPS * APART or counted / (1000 * steps) >= 0.6 / APART


def test_an_epoch_that_is_not_averaged_says_so_and_takes_no_extra_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    grad, passes = torch.autograd.grad, []
    monkeypatch.setattr(torch.autograd, "grad", lambda *args, **how: (passes.append(1), grad(*args, **how))[1])
    _, logs = run(build("sam-mil", dropout=0.0), recipe(4))
    assert [math.isnan(figures["gradient_bag"]) for figures in logs] == [False, False, True, True]
    alone = len(passes)
    _, logs = run(build("sam-mil", dropout=0.0), recipe(2))
    assert len(passes) == 2 * alone


@pytest.mark.parametrize(
    ("name", "changes"), [("sam-mil", {}), ("sam-mil", {"sammil_mode": "released"}), ("abmil", {})]
)
def test_what_an_epoch_logs_is_the_norm_of_the_mean_of_its_slides(name: str, changes: dict[str, object]) -> None:
    _, logs = run(build(name, dropout=0.0, **changes), recipe(1, learning_rate=1e-30))  # weights stay where they are
    model, generator = build(name, dropout=0.0, **changes), torch.Generator().manual_seed(1)
    weights = list(model.parameters())
    sums: dict[str, Tensor] = {}
    for index in torch.randperm(len(TRAIN), generator=torch.Generator().manual_seed(1)).tolist():
        slide, label = TRAIN[index]
        for term, value in model.losses(toy_bag(slide), torch.tensor(label), generator).items():
            found = torch.autograd.grad(value, weights, retain_graph=True, allow_unused=True, materialize_grads=True)
            sums[term] = sums.get(term, 0) + torch.cat([one.flatten() for one in found])
    assert {f"gradient_{term}" for term in sums} == {column for column in logs[0] if column.startswith("gradient_")}
    for term, total in sums.items():
        assert logs[0][f"gradient_{term}"] == pytest.approx(float(total.norm()) / len(TRAIN), rel=1e-4)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_training_is_the_same_to_the_bit_whether_gradients_are_averaged_or_not(
    precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    states = []
    for most in (MOST_STEPS, 3, 0):
        monkeypatch.setattr(gradients, "MOST_STEPS", most)
        trained, logs = run(build("sam-mil"), recipe(2, precision=precision, class_weights="balanced"))
        states.append(trained.state)
    assert math.isnan(logs[0]["gradient_bag"])  # of no step
    assert all(torch.equal(states[0][name], other[name]) for other in states[1:] for name in states[0])
