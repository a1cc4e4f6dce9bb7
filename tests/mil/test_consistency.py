"""The forms of the consistency term against their definitions, written as loops; and how each scales with a bag."""

import math
import time
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from sammil_cli.mil.consistency import FORMS, between, consistency, distance, divergence, variance
from sammil_cli.mil.groups import Members

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


def naive_divergence(a: Tensor, group: list[int]) -> Tensor:
    """Sum over groups of A sum_i p_i log(n p_i) with p_i = a_i / A; no gradient for the A in front."""
    total = a.sum() * 0
    for name in set(group):
        inside = torch.stack([a[i] for i, other in enumerate(group) if other == name])
        share = inside / inside.sum()
        total = total + inside.sum().detach() * sum(p * torch.log(len(inside) * p) for p in share)
    return total


NAIVE: dict[str, Callable[[Tensor, list[int]], Tensor]] = {
    "divergence": naive_divergence,
    "distance": naive_distance,
    "variance": naive_variance,
    "eq12": naive_eq12,
}


def loss(form: str, attention: list[float] | Tensor, group: list[int], groups: int | None = None) -> Tensor:
    values = attention if isinstance(attention, Tensor) else torch.tensor(attention, dtype=torch.float64)
    index = torch.tensor(group)
    return FORMS[form](values.log(), index, torch.bincount(index, minlength=groups or max(group) + 2))


def random_bag(count: int, groups: int, seed: int) -> tuple[Tensor, list[int]]:
    generator = torch.Generator().manual_seed(seed)
    attention = torch.softmax(torch.randn(count, generator=generator, dtype=torch.float64) * 2, 0)
    return attention, torch.randint(0, groups, (count,), generator=generator).tolist()


def in_regions(region: Tensor) -> Members:
    """The members of a bag's regions: patches of the region -1 are in none."""
    place = (region >= 0).nonzero()[:, 0]
    return Members(place=place, group=region[place], size=torch.bincount(region[place]))


def pull(form: str, scores: Tensor, region: Tensor, dtype: torch.dtype = torch.float64) -> tuple[float, Tensor]:
    """The term and its gradient by the scores (N,)."""
    leaf = scores.to(dtype, copy=True).requires_grad_()
    value = consistency(form, leaf, in_regions(region))
    value.backward()
    assert leaf.grad is not None
    return value.item(), leaf.grad.double()


def random_scores(count: int, regions: int, seed: int = 3) -> tuple[Tensor, Tensor]:
    """Scores (count,) and regions, of which each has a patch; some patches are in none."""
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randint(-1, regions, (count - regions,), generator=generator)
    return 2 * torch.randn(count, generator=generator, dtype=torch.float64), torch.cat([torch.arange(regions), drawn])


def test_every_form_that_can_be_chosen_is_tested() -> None:
    assert set(NAIVE) == set(FORMS) == {"divergence", "distance", "variance", "eq12"}
    assert {"divergence": divergence, "distance": distance, "variance": variance, "eq12": between} == FORMS


@pytest.mark.parametrize(
    ("form", "attention", "group", "expected"),
    [
        ("divergence", [0.75, 0.25], [0, 0], 0.75 * math.log(1.5) + 0.25 * math.log(0.5)),
        # half of the attention is even inside its group; the other half is as above
        ("divergence", [0.25, 0.25, 0.375, 0.125], [1, 1, 0, 0], 0.375 * math.log(1.5) + 0.125 * math.log(0.5)),
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


@pytest.mark.parametrize("form", ["divergence", "distance", "variance"])
def test_groups_of_one_instance_have_nothing_to_be_consistent_with(form: str) -> None:
    assert float(loss(form, [0.6, 0.1, 0.3], [0, 1, 2])) == 0.0
    alone = float(loss(form, [*ATTENTION, 0.9], [*REGION, 4]))  # forms know no whole
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


@pytest.mark.parametrize("form", ["divergence", "distance", "variance"])
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


@pytest.mark.parametrize("form", ["divergence", "distance", "variance"])
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
    group = torch.tensor([0, 0, 1, 1, 2, 2])
    value = consistency(form, scores, in_regions(group))
    value.backward()
    assert value.dtype == dtype
    assert value.item() == pytest.approx(1.0 if form == "eq12" else 0.0, abs=1e-6)
    assert scores.grad is not None
    assert torch.isfinite(scores.grad).all()
    assert float(scores.grad.abs().max()) < 10


@every_form
def test_single_precision_is_close_to_double_on_a_large_bag(form: str) -> None:
    generator = torch.Generator().manual_seed(3)
    drawn = torch.randn(20_000, generator=generator, dtype=torch.float64)
    members = in_regions(torch.randint(0, 30, (20_000,), generator=generator))
    gradients = []
    for dtype in (torch.float64, torch.float32):
        scores = drawn.to(dtype, copy=True).requires_grad_()
        consistency(form, scores, members).backward()
        assert scores.grad is not None
        gradients.append(scores.grad.double())
    assert (gradients[0] - gradients[1]).norm() < 1e-4 * gradients[0].norm()


@every_form
@pytest.mark.parametrize("groups", [1, 20, 40_000])
def test_a_hundred_thousand_instances_take_no_time(form: str, groups: int) -> None:
    generator = torch.Generator().manual_seed(3)
    scores = torch.randn(100_000, generator=generator).requires_grad_()
    members = in_regions(torch.randint(0, groups, (100_000,), generator=generator))
    began = time.process_time()
    consistency(form, scores, members).backward()
    assert time.process_time() - began < 2  # 10^10 pairs would take minutes and 40 GB
    assert scores.grad is not None
    assert torch.isfinite(scores.grad).all()


@every_form
def test_patches_in_no_region_have_their_share_of_attention_and_no_part_in_the_term(form: str) -> None:
    scores, region = random_scores(60, 5)
    value, found = pull(form, scores, region)
    outside = region < 0
    assert 5 < int(outside.sum()) < 30
    attention = torch.softmax(scores, 0)[~outside].requires_grad_()
    assert value == pytest.approx(NAIVE[form](attention, region[~outside].tolist()).item(), rel=1e-9)
    other = scores.clone()
    other[outside] = other[outside].flip(0)  # another order outside: as much attention, and nothing changes
    assert pull(form, other, region)[0] == pytest.approx(value, rel=1e-9)
    if form == "divergence":
        assert found[outside].abs().max() < 1e-15  # none is pushed down to level the rest


@every_form
def test_a_bag_without_regions_has_a_term_of_0_and_no_gradient(form: str) -> None:
    value, found = pull(form, torch.randn(7), torch.full((7,), -1))
    assert (value, found.tolist()) == (0, [0] * 7)


# ------------------------------------------------------------------------------- how each form scales with the bag


@pytest.mark.parametrize(
    ("form", "power"), [("divergence", 0.0), ("distance", -0.5), ("variance", -2.0), ("eq12", -1.0)]
)
def test_the_gradient_falls_by_a_power_of_how_often_every_patch_is_there(form: str, power: float) -> None:
    """What attention pooling gives is the same for every k; docs/methods.md §10.5 has the table."""
    scores, region = random_scores(400, 12)
    norms = []
    for k in (1, 4, 16):
        _, found = pull(form, scores.repeat_interleave(k), region.repeat_interleave(k))
        norms.append(float(found.view(-1, k).sum(1).norm()))  # of the score that k patches have in common
    for k, norm in zip((4, 16), norms[1:], strict=True):
        assert norm / norms[0] == pytest.approx(k**power, rel=0.06 if form != "divergence" else 1e-9)


@pytest.mark.parametrize(("patches", "regions"), [(100, 5), (1000, 50), (10_000, 500), (100_000, 500), (100_000, 5)])
def test_divergence_is_its_definition_for_any_size_of_bag(patches: int, regions: int) -> None:
    scores, region = random_scores(patches, regions)
    value, found = pull("divergence", scores, region)
    attention, expected, gradient = torch.softmax(scores, 0), 0.0, torch.zeros_like(scores)
    for number in range(regions):
        inside = region == number
        mass, n = attention[inside].sum(), int(inside.sum())
        share = attention[inside] / mass
        excess = torch.log(n * share)
        inner = (share * excess).sum()
        assert 0 <= inner <= math.log(n) + 1e-12
        expected += float(mass * inner)
        gradient[inside] = attention[inside] * (excess - inner)
        assert abs(float(found[inside].sum())) < 1e-14
    assert value == pytest.approx(expected, rel=1e-9)
    assert torch.allclose(found, gradient, rtol=1e-7, atol=1e-16)
    single, rough = pull("divergence", scores, region, torch.float32)
    assert single == pytest.approx(value, rel=1e-5)
    assert (rough - found).norm() < 1e-5 * found.norm()


@pytest.mark.parametrize(("patches", "regions", "k"), [(100, 5, 10), (1000, 5, 100), (1000, 500, 10)])
def test_divergence_does_not_know_how_often_every_patch_is_there(patches: int, regions: int, k: int) -> None:
    scores, region = random_scores(patches, regions)
    value, found = pull("divergence", scores, region)
    more, spread = pull("divergence", scores.repeat_interleave(k), region.repeat_interleave(k))
    assert more == pytest.approx(value, rel=1e-9)
    assert (spread.view(-1, k).sum(1) - found).norm() < 1e-9 * found.norm()


def test_divergence_near_even_attention_is_half_the_variance_of_the_scores() -> None:
    scores, region = random_scores(500, 20)
    value, _ = pull("divergence", 1e-3 * scores, region)
    attention, expected = torch.softmax(1e-3 * scores, 0), 0.0
    for number in range(20):
        inside = region == number
        expected += float(attention[inside].sum() * (1e-3 * scores[inside]).var(correction=0)) / 2
    assert value == pytest.approx(expected, rel=1e-2)


def test_the_gradient_of_divergence_is_that_of_finite_differences() -> None:
    scores, _ = random_scores(12, 2)
    held, region = torch.softmax(scores, 0), torch.arange(12) % 3
    scores.requires_grad_()

    def inner(values: Tensor) -> Tensor:  # with the attention of each region held, as the term holds it
        alone = [consistency("divergence", values[region == k], in_regions(region[:4] * 0)) for k in range(3)]
        return torch.stack([held[region == k].sum() * alone[k] for k in range(3)]).sum()

    assert torch.autograd.gradcheck(inner, (scores,))  # a region alone has all the attention, and holds nothing
    expected = torch.autograd.grad(inner(scores), scores)[0]
    assert torch.allclose(pull("divergence", scores.detach(), region)[1], expected, rtol=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_divergence_is_safe_where_attention_underflows(dtype: torch.dtype) -> None:
    # Region 0 has all the attention, region 1 none that a number could hold, region 2 a patch with none beside one.
    scores = torch.tensor([0.0, 0.5, -2e4, -1e4, -3.0, -5e3], dtype=dtype)
    value, found = pull("divergence", scores, torch.tensor([0, 0, 1, 1, 2, 2]), dtype)
    first, _ = pull("divergence", scores[:2], torch.tensor([0, 0]), dtype)
    mass = torch.softmax(scores.double(), 0)
    assert value == pytest.approx(float(mass[:2].sum() * first + mass[4] * math.log(2)), rel=1e-6)
    assert torch.isfinite(found).all()
    assert found[2:].abs().max() < 1e-12
