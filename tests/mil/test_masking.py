"""Masking: golden numbers from METHODS §10.3 and by hand."""

import pytest
import torch
from torch import Tensor

from sammil_cli.mil.masking import (
    RATIO_FUNCTIONS,
    STRATEGIES,
    keep_in_groups,
    keep_instances,
    keep_random,
    mask_ratios,
)

CPU = torch.device("cpu")
PAPER = {"slope": 5e-4, "center": 5000.0}


def seeded(seed: int = 3) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def groups(*sizes: int) -> Tensor:
    """Group of each instance, groups taking turns, so that a group is no contiguous stretch."""
    in_blocks = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
    return in_blocks[torch.randperm(len(in_blocks), generator=seeded(99))]


def guided(region: Tensor, patches: int, area: list[float], seed: int = 3, **changes: object) -> Tensor:
    settings = {"target": 0.9, "function": "sigmoid", **PAPER, **changes}
    return keep_instances("sam-guided", region, patches, torch.tensor(area), generator=seeded(seed), **settings)


@pytest.mark.parametrize(("area", "ratio"), [(1, 0.0759), (1000, 0.1192), (5000, 0.5), (20000, 0.9994)])
def test_the_sigmoid_gives_the_published_values(area: float, ratio: float) -> None:
    found = mask_ratios(torch.tensor([area, 7.0]), target=1.0, function="sigmoid", **PAPER)
    assert float(found[0]) == pytest.approx(ratio, abs=5e-5)


def test_ratios_are_scaled_by_the_target() -> None:
    found = mask_ratios(torch.tensor([5000.0, 1000.0]), target=0.8, function="sigmoid", **PAPER)
    assert found.tolist() == pytest.approx([0.4, 0.8 * 0.119203], abs=1e-6)


def test_the_sigmoid_follows_slope_and_center() -> None:
    found = mask_ratios(torch.tensor([100.0, 300.0]), target=1.0, function="sigmoid", slope=0.01, center=300.0)
    assert found.tolist() == pytest.approx([0.119203, 0.5], abs=1e-6)  # 1 / (1 + e^2)


def test_the_constant_function_masks_every_group_alike() -> None:
    found = mask_ratios(torch.tensor([1.0, 90.0, 40000.0]), target=0.7, function="constant", **PAPER)
    assert found.tolist() == pytest.approx([0.7, 0.7, 0.7])


def test_the_linear_function_is_the_area_over_the_largest_one() -> None:
    found = mask_ratios(torch.tensor([100.0, 400.0, 50.0]), target=0.8, function="linear", **PAPER)
    assert found.tolist() == pytest.approx([0.2, 0.8, 0.1])


@pytest.mark.parametrize("function", RATIO_FUNCTIONS)
def test_every_function_stays_between_0_and_the_target(function: str) -> None:
    found = mask_ratios(torch.tensor([1.0, 12.0, 5000.0, 1e6]), target=0.9, function=function, **PAPER)
    assert float(found.min()) >= 0
    assert float(found.max()) <= 0.9 + 1e-6
    assert found[-1] == found.max()


def test_kept_patches_of_four_groups_are_the_published_numbers() -> None:
    # n - floor(n * 0.9 * R(A)) by hand: 100 - floor(6.83), 300 - floor(32.18), 300 - floor(135), 290 - floor(261)
    sizes, area = (100, 300, 300, 290), [1.0, 1000.0, 5000.0, 400_000.0]
    region = groups(*sizes)
    keep = guided(region, len(region), area)
    assert torch.bincount(region[keep], minlength=4).tolist() == [94, 268, 165, 29]


def test_patches_in_no_region_are_a_group_of_area_1() -> None:
    region = groups(100, 300) - 1  # -1: 100 patches in no region; 0: 300 patches
    keep = guided(region, len(region), [5000.0])
    assert torch.bincount(region[keep] + 1).tolist() == [94, 165]


def test_a_bag_without_regions_is_hardly_masked() -> None:
    keep = guided(torch.full((100,), -1), 100, [])
    assert int(keep.sum()) == 94


def test_regions_without_patches_change_nothing() -> None:
    region = torch.tensor([3] * 10)
    keep = guided(region, 10, [9.0, 9.0, 9.0, 5000.0, 9.0])
    assert int(keep.sum()) == 10 - 4  # floor(10 * 0.45)


@pytest.mark.parametrize("count", [10, 100, 1000, 20_000])
@pytest.mark.parametrize("ratio", [0.9, 0.3, 0.7])
def test_whole_numbers_of_masked_instances_stay_whole(count: int, ratio: float) -> None:
    keep = keep_random(count, ratio, seeded(), CPU)
    assert int((~keep).sum()) == round(count * ratio)


def test_a_fraction_of_an_instance_is_not_masked() -> None:
    assert int((~keep_random(7, 0.5, seeded(), CPU)).sum()) == 3
    assert int((~keep_random(1, 0.9, seeded(), CPU)).sum()) == 0


@pytest.mark.parametrize("strategy", ["non-group", "sam-guided"])
def test_group_features_are_never_dropped(strategy: str) -> None:
    region = torch.cat([groups(40, 25), torch.tensor([0, 1])])
    for seed in range(20):
        keep = keep_instances(
            strategy,
            region,
            65,
            torch.tensor([80_000.0, 90_000.0]),
            target=0.99,
            function="sigmoid",
            **PAPER,
            generator=seeded(seed),
        )
        assert keep[65:].all()
        assert not keep[:65].all()


def test_non_group_masks_patches_at_the_target_ratio_whatever_the_area() -> None:
    region = torch.cat([groups(60, 40), torch.tensor([0, 1, 1])])
    for area in ([1.0, 1.0], [9e5, 3.0]):
        keep = keep_instances(
            "non-group", region, 100, torch.tensor(area), target=0.75, function="sigmoid", **PAPER, generator=seeded()
        )
        assert int(keep[:100].sum()) == 25
        assert keep[100:].all()


def test_random_masks_group_features_too() -> None:
    region = torch.cat([torch.zeros(10, dtype=torch.int64), torch.zeros(10, dtype=torch.int64)])
    arguments = {"target": 0.5, "function": "sigmoid", **PAPER}
    kept = [
        keep_instances("random", region, 10, torch.tensor([4.0]), **arguments, generator=seeded(seed))
        for seed in range(20)
    ]
    assert all(int(keep.sum()) == 10 for keep in kept)
    assert any(not keep[10:].all() for keep in kept)
    assert any(not keep[:10].all() for keep in kept)


def test_none_keeps_everything() -> None:
    keep = keep_instances(
        "none", groups(5, 6), 8, torch.tensor([1e6, 1e6]), target=0.9, function="constant", **PAPER, generator=seeded()
    )
    assert keep.tolist() == [True] * 11


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("function", RATIO_FUNCTIONS)
def test_every_strategy_keeps_at_least_one_of_few_instances(strategy: str, function: str) -> None:
    for patches in (1, 2, 3):
        keep = keep_instances(
            strategy,
            torch.zeros(patches, dtype=torch.int64),
            patches,
            torch.tensor([1e7]),
            target=0.999,
            function=function,
            **PAPER,
            generator=seeded(),
        )
        assert keep.dtype == torch.bool
        assert len(keep) == patches
        assert keep.any()


def test_one_instance_is_kept_even_when_all_should_go() -> None:
    kept = {
        int(keep_in_groups(torch.tensor([0, 1, 1, 2]), torch.ones(3), seeded(seed)).nonzero()) for seed in range(40)
    }
    assert kept == {0, 1, 2, 3}  # one, and not always the same


def test_the_same_generator_state_gives_the_same_mask_and_another_one_does_not() -> None:
    region = groups(50, 70)
    first = guided(region, 120, [8000.0, 2000.0], seed=5)
    assert torch.equal(first, guided(region, 120, [8000.0, 2000.0], seed=5))
    assert not torch.equal(first, guided(region, 120, [8000.0, 2000.0], seed=6))


def test_every_patch_of_a_group_is_kept_equally_often() -> None:
    region, generator, draws = groups(6, 10), seeded(11), 2000
    kept = torch.zeros(16)
    for _ in range(draws):
        kept += keep_in_groups(region, torch.tensor([0.5, 0.2], dtype=torch.float64), generator)
    share = kept / draws
    # 3 of 6 and 8 of 10 are kept. A share's sd is sqrt(p (1 - p) / 2000) <= 0.0112; the bound is 5 sd.
    assert (share[region == 0] - 0.5).abs().max() < 0.056
    assert (share[region == 1] - 0.8).abs().max() < 0.056


def test_the_mask_does_not_follow_the_order_of_the_instances() -> None:
    position = torch.arange(100, dtype=torch.float64)
    generator = seeded(4)
    mean = torch.stack([position[keep_random(100, 0.9, generator, CPU)].mean() for _ in range(500)]).mean()
    # The mean of 10 of 0..99 has sd 28.9 / sqrt(10) * sqrt(90 / 99) = 8.7; of 500 such means 0.39.
    assert abs(float(mean) - 49.5) < 2.0
