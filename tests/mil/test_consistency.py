"""The consistency term against its definition, written as a double loop."""

import math

import pytest
import torch
from torch import Tensor

from sammil_cli.mil.consistency import region_consistency

REGION = [0, 2, 0, -1, 2, 2, 1, -1, 0]  # sizes: none 2, region 0 three, region 1 one, region 2 three; 3 is empty
ATTENTION = [0.05, 0.3, 0.02, 0.11, 0.07, 0.2, 0.13, 0.04, 0.08]


def by_hand(attention: list[float], region: list[int]) -> float:
    """Mean over i of sqrt(sum over j of i's region of (a_i - a_j)^2), regions of one instance left out."""
    distances = []
    for i, group in enumerate(region):
        fellows = [j for j, other in enumerate(region) if other == group]
        if len(fellows) > 1:
            distances.append(math.sqrt(sum((attention[i] - attention[j]) ** 2 for j in fellows)))
    return sum(distances) / len(distances) if distances else 0.0


def loss(attention: list[float] | Tensor, region: list[int], regions: int = 4) -> Tensor:
    values = attention if isinstance(attention, Tensor) else torch.tensor(attention, dtype=torch.float64)
    return region_consistency(values, torch.tensor(region), regions)


def test_the_value_is_that_of_the_double_loop() -> None:
    assert float(loss(ATTENTION, REGION)) == pytest.approx(by_hand(ATTENTION, REGION), rel=1e-9)


def test_two_instances_differ_by_their_difference() -> None:
    # sqrt((a - b)^2) for each of both, mean |a - b|
    assert float(loss([0.7, 0.3], [0, 0], 1)) == pytest.approx(0.4, rel=1e-9)


def test_random_bags_agree_with_the_double_loop() -> None:
    generator = torch.Generator().manual_seed(2)
    for count in (2, 5, 17):
        attention = torch.softmax(torch.randn(count, generator=generator, dtype=torch.float64) * 3, 0)
        region = torch.randint(-1, 3, (count,), generator=generator).tolist()
        assert float(loss(attention, region, 3)) == pytest.approx(by_hand(attention.tolist(), region), abs=1e-9)


def test_the_gradient_is_that_of_the_value() -> None:
    attention = torch.tensor(ATTENTION, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda a: loss(a, REGION), (attention,), eps=1e-7, atol=1e-6)


def test_regions_of_one_instance_do_not_count() -> None:
    alone = [*REGION, 3]  # region 3 gets its only instance
    assert float(loss([*ATTENTION, 0.9], alone)) == pytest.approx(float(loss(ATTENTION, REGION)), rel=1e-9)
    assert float(loss([0.6, 0.1, 0.3], [0, 1, 2])) == 0.0


def test_instances_in_no_region_are_one_group() -> None:
    assert float(loss([0.6, 0.1, 0.3], [-1, -1, -1], 0)) == pytest.approx(by_hand([0.6, 0.1, 0.3], [-1] * 3), rel=1e-9)


def test_the_order_of_the_instances_does_not_matter() -> None:
    order = [4, 0, 8, 3, 1, 7, 2, 6, 5]
    shuffled = loss([ATTENTION[i] for i in order], [REGION[i] for i in order])
    assert float(shuffled) == pytest.approx(float(loss(ATTENTION, REGION)), rel=1e-12)


def test_the_names_of_the_regions_do_not_matter() -> None:
    renamed = [{0: 3, 1: 0, 2: 1, -1: -1}[group] for group in REGION]
    assert float(loss(ATTENTION, renamed)) == pytest.approx(float(loss(ATTENTION, REGION)), rel=1e-12)


def test_regions_of_different_attention_but_equal_inside_cost_nothing() -> None:
    assert float(loss([0.3, 0.3, 0.1, 0.1, 0.2], [0, 0, 1, 1, 2])) < 1e-9


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_equal_attention_costs_nothing_and_has_a_finite_gradient(dtype: torch.dtype) -> None:
    scores = torch.zeros(6, dtype=dtype, requires_grad=True)
    value = region_consistency(torch.softmax(scores, 0), torch.tensor([0, 0, 1, 1, -1, -1]), 2)
    value.backward()
    assert float(value.detach()) < 1e-6
    assert scores.grad is not None
    assert torch.isfinite(scores.grad).all()
    assert float(scores.grad.abs().max()) < 10
