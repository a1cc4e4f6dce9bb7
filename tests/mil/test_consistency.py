"""The forms of the consistency term against their definitions, written as loops over pairs."""

import time
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from sammil_cli.mil.consistency import FORMS, between, distance, variance

REGION = [0, 2, 0, 3, 2, 2, 1, 3, 0]  # three, one, three and two instances; group 4 is empty
ATTENTION = [0.05, 0.3, 0.02, 0.11, 0.07, 0.2, 0.13, 0.04, 0.08]

every_form = pytest.mark.parametrize("form", FORMS)


def naive_distance(a: Tensor, group: list[int]) -> Tensor:
    """Mean over i of sqrt(sum over j of i's group of (a_i - a_j)^2), groups of one instance left out."""
    roots = []
    for i, own in enumerate(group):
        if group.count(own) > 1:
            roots.append(sum((a[i] - a[j]) ** 2 for j, other in enumerate(group) if other == own) ** 0.5)
    return sum(roots) / len(roots) if roots else a.sum() * 0


def naive_variance(a: Tensor, group: list[int]) -> Tensor:
    """Sum over groups of the mean squared deviation from the group's mean."""
    total = a.sum() * 0
    for name in set(group):
        inside = torch.stack([a[i] for i, other in enumerate(group) if other == name])
        total = total + sum((x - inside.mean()) ** 2 for x in inside) / len(inside)
    return total


def naive_eq12(a: Tensor, group: list[int]) -> Tensor:
    """Mean over pairs i < j of different groups of 1 - |a_i - a_j|."""
    pairs = [(i, j) for j in range(len(group)) for i in range(j) if group[i] != group[j]]
    return sum(1 - abs(a[i] - a[j]) for i, j in pairs) / len(pairs) if pairs else a.sum() * 0


NAIVE: dict[str, Callable[[Tensor, list[int]], Tensor]] = {
    "distance": naive_distance,
    "variance": naive_variance,
    "eq12": naive_eq12,
}


def loss(form: str, attention: list[float] | Tensor, group: list[int], groups: int | None = None) -> Tensor:
    values = attention if isinstance(attention, Tensor) else torch.tensor(attention, dtype=torch.float64)
    index = torch.tensor(group)
    return FORMS[form](values, index, torch.bincount(index, minlength=groups or max(group) + 2))


def random_bag(count: int, groups: int, seed: int) -> tuple[Tensor, list[int]]:
    generator = torch.Generator().manual_seed(seed)
    attention = torch.softmax(torch.randn(count, generator=generator, dtype=torch.float64) * 2, 0)
    return attention, torch.randint(0, groups, (count,), generator=generator).tolist()


def test_every_form_that_can_be_chosen_is_tested() -> None:
    assert set(NAIVE) == set(FORMS) == {"distance", "variance", "eq12"}
    assert {"distance": distance, "variance": variance, "eq12": between} == FORMS


@pytest.mark.parametrize(
    ("form", "attention", "group", "expected"),
    [
        ("distance", [0.7, 0.3], [0, 0], 0.4),  # |a - b| twice, the mean of both
        # group 0: roots of .04 + .16, .04 + .04, .16 + .04; group 1 does not count
        ("distance", [0.1, 0.3, 0.5, 0.1], [0, 0, 0, 1], (0.2**0.5 + 0.08**0.5 + 0.2**0.5) / 3),
        ("variance", [0.7, 0.3], [0, 0], 0.04),
        ("variance", [0.1, 0.3, 0.5, 0.1], [0, 0, 0, 1], 0.08 / 3),
        ("variance", [0.1, 0.3, 0.2, 0.4], [0, 0, 1, 1], 0.02),  # summed over groups
        ("eq12", [0.7, 0.3], [0, 1], 0.6),
        # pairs between groups: (.1 | .6), (.3 | .6): 1 - .5, 1 - .3
        ("eq12", [0.1, 0.6, 0.3], [0, 1, 0], 0.6),
    ],
)
def test_the_values_by_hand(form: str, attention: list[float], group: list[int], expected: float) -> None:
    assert float(loss(form, attention, group)) == pytest.approx(expected, rel=1e-9)


@every_form
def test_the_value_and_the_gradient_are_those_of_the_loop_over_pairs(form: str) -> None:
    bags = [(torch.tensor(ATTENTION, dtype=torch.float64), REGION)]
    bags += [random_bag(count, groups, seed) for seed, (count, groups) in enumerate([(2, 2), (5, 1), (17, 4), (23, 9)])]
    for attention, group in bags:
        closed, naive = attention.clone().requires_grad_(), attention.clone().requires_grad_()
        value, expected = loss(form, closed, group), NAIVE[form](naive, group)
        value.backward()
        expected.backward()
        assert value.item() == pytest.approx(expected.item(), rel=1e-9, abs=1e-12)
        assert torch.allclose(closed.grad, naive.grad, rtol=1e-7, atol=1e-9), (closed.grad, naive.grad)
        assert len(set(group)) == 1 or float(closed.grad.abs().sum()) > 0


@pytest.mark.parametrize("form", ["distance", "variance"])
def test_groups_of_one_instance_have_nothing_to_be_consistent_with(form: str) -> None:
    assert float(loss(form, [0.6, 0.1, 0.3], [0, 1, 2])) == 0.0
    alone = float(loss(form, [*ATTENTION, 0.9], [*REGION, 4]))
    assert alone == pytest.approx(float(loss(form, ATTENTION, REGION)), rel=1e-9)


def test_eq12_compares_groups_of_one_instance_with_each_other() -> None:
    # 1 - .5, 1 - .3, 1 - .2
    assert float(loss("eq12", [0.6, 0.1, 0.3], [0, 1, 2])) == pytest.approx(2 / 3, rel=1e-9)


def test_eq12_of_one_group_is_0_and_without_gradient() -> None:
    attention = torch.tensor([0.5, 0.2, 0.3], requires_grad=True)
    value = loss("eq12", attention, [1, 1, 1], 3)
    value.backward()
    assert value.item() == 0
    assert attention.grad is not None
    assert attention.grad.tolist() == [0, 0, 0]


@pytest.mark.parametrize("form", ["distance", "variance"])
def test_one_group_is_compared_with_itself(form: str) -> None:
    attention = torch.tensor([0.6, 0.1, 0.3], dtype=torch.float64)
    assert float(loss(form, attention, [0, 0, 0])) == pytest.approx(float(NAIVE[form](attention, [0, 0, 0])), rel=1e-9)


@every_form
def test_a_bag_of_one_instance_costs_nothing(form: str) -> None:
    attention = torch.ones(1, requires_grad=True)
    value = loss(form, attention, [0])
    value.backward()
    assert value.item() == 0
    assert attention.grad is not None
    assert float(attention.grad) == 0


@every_form
def test_the_order_of_the_instances_does_not_matter(form: str) -> None:
    order = [4, 0, 8, 3, 1, 7, 2, 6, 5]
    shuffled = loss(form, [ATTENTION[i] for i in order], [REGION[i] for i in order])
    assert float(shuffled) == pytest.approx(float(loss(form, ATTENTION, REGION)), rel=1e-12)


@every_form
def test_the_names_of_the_groups_and_empty_groups_do_not_matter(form: str) -> None:
    renamed = [{0: 3, 1: 0, 2: 5, 3: 1}[group] for group in REGION]
    assert float(loss(form, ATTENTION, renamed, 9)) == pytest.approx(float(loss(form, ATTENTION, REGION)), rel=1e-12)


@pytest.mark.parametrize("form", ["distance", "variance"])
def test_attention_that_is_equal_inside_groups_costs_nothing_however_groups_differ(form: str) -> None:
    assert float(loss(form, [0.3, 0.3, 0.1, 0.1, 0.2], [0, 0, 1, 1, 2])) < 1e-9


def test_eq12_rewards_groups_that_differ_and_is_blind_to_the_inside_of_groups() -> None:
    apart, alike = [0.4, 0.4, 0.1, 0.1], [0.25] * 4
    assert float(loss("eq12", apart, [0, 0, 1, 1])) == pytest.approx(0.7)
    assert float(loss("eq12", alike, [0, 0, 1, 1])) == pytest.approx(1.0)


@every_form
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_equal_attention_has_a_finite_gradient(form: str, dtype: torch.dtype) -> None:
    scores = torch.zeros(6, dtype=dtype, requires_grad=True)
    value = loss(form, torch.softmax(scores, 0), [0, 0, 1, 1, 2, 2])
    value.backward()
    assert value.item() == pytest.approx(1.0 if form == "eq12" else 0.0, abs=1e-6)
    assert scores.grad is not None
    assert torch.isfinite(scores.grad).all()
    assert float(scores.grad.abs().max()) < 10


@every_form
def test_single_precision_is_close_to_double_on_a_large_bag(form: str) -> None:
    generator = torch.Generator().manual_seed(3)
    scores = torch.randn(20_000, generator=generator, dtype=torch.float64)
    group = torch.randint(0, 30, (20_000,), generator=generator)
    size = torch.bincount(group)
    gradients = []
    for dtype in (torch.float64, torch.float32):
        attention = torch.softmax(scores, 0).to(dtype).requires_grad_()
        FORMS[form](attention, group, size).backward()
        assert attention.grad is not None
        gradients.append(attention.grad.double())
    assert (gradients[0] - gradients[1]).norm() < 1e-4 * gradients[0].norm()


@every_form
@pytest.mark.parametrize("groups", [1, 20, 40_000])
def test_a_hundred_thousand_instances_take_no_time(form: str, groups: int) -> None:
    generator = torch.Generator().manual_seed(3)
    attention = torch.softmax(torch.randn(100_000, generator=generator), 0).requires_grad_()
    group = torch.randint(0, groups, (100_000,), generator=generator)
    size = torch.bincount(group, minlength=groups)
    began = time.process_time()
    FORMS[form](attention, group, size).backward()
    assert time.process_time() - began < 2  # 10^10 pairs would take minutes and 40 GB
    assert attention.grad is not None
    assert torch.isfinite(attention.grad).all()
