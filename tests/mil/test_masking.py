"""Masking: golden numbers from docs/methods.md §10.3 and by hand."""

from collections.abc import Callable
from typing import get_args

import pytest
import torch
from op_watch import OpWatch
from torch import Tensor

from sammil_cli.config import TrainSettings
from sammil_cli.mil.groups import Groups, make_groups
from sammil_cli.mil.masking import keep_in_groups, keep_instances, keep_random, mask_ratios

CPU = torch.device("cpu")
PAPER = {"slope": 5e-4, "center": 5000.0}
NONE = -1
# Those that a user can choose.
STRATEGIES = get_args(TrainSettings.model_fields["mask_strategy"].annotation)
RATIO_FUNCTIONS = get_args(TrainSettings.model_fields["mask_ratio_function"].annotation)

every_strategy = pytest.mark.parametrize("strategy", STRATEGIES)


def seeded(seed: int = 3) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def shuffled(*sizes: int, first: int = 0) -> Tensor:
    """Region of each patch, from `first` on, so many of each; a region is no contiguous stretch."""
    in_blocks = torch.repeat_interleave(torch.arange(len(sizes)) + first, torch.tensor(sizes))
    return in_blocks[torch.randperm(len(in_blocks), generator=seeded(99))]


def grouped(
    region: Tensor, area: list[float], group_region: list[int] | None = None, grouping: str = "region"
) -> Groups:
    return make_groups(region, torch.tensor(group_region or [], dtype=torch.int64), torch.tensor(area), grouping)


def mask(strategy: str, groups: Groups, seed: int = 3, group_features: bool = True, **changes: object) -> Tensor:
    settings = {"target": 0.9, "function": "sigmoid", **PAPER, **changes}
    return keep_instances(strategy, groups, group_features=group_features, generator=seeded(seed), **settings)


def kept_of(groups: Groups, keep: Tensor) -> list[int]:
    """Patches kept of each group."""
    patches = groups.patch
    return torch.bincount(patches[keep[: len(patches)]], minlength=len(groups.area)).tolist()


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


@pytest.mark.parametrize("seed", range(5))
def test_kept_patches_of_four_groups_are_the_published_numbers(seed: int) -> None:
    # n - floor(n * 0.9 * R(A)) by hand: 100 - floor(6.83), 300 - floor(32.18), 300 - floor(135), 290 - floor(261)
    groups = grouped(shuffled(100, 300, 300, 290), [1.0, 1000.0, 5000.0, 400_000.0])
    assert kept_of(groups, mask("sam-guided", groups, seed)) == [0, 94, 268, 165, 29]


@pytest.mark.parametrize(("function", "kept"), [("constant", [10, 30, 30, 29]), ("linear", [100, 300, 297, 29])])
def test_the_other_functions_keep_so_many_of_the_four_groups(function: str, kept: list[int]) -> None:
    # constant: n - floor(.9 n) each; linear: 300 - floor(300 * .9 * 5000 / 400000 = 3.375), the others .0002 and .675
    groups = grouped(shuffled(100, 300, 300, 290), [1.0, 1000.0, 5000.0, 400_000.0])
    assert kept_of(groups, mask("sam-guided", groups, function=function)) == [0, *kept]


def test_patches_in_no_region_are_a_group_of_area_1() -> None:
    groups = grouped(shuffled(100, 300, first=NONE), [5000.0])
    assert kept_of(groups, mask("sam-guided", groups)) == [94, 165]


def test_a_bag_without_regions_is_hardly_masked() -> None:
    groups = grouped(torch.full((100,), NONE), [])
    assert int(mask("sam-guided", groups).sum()) == 94


def test_regions_without_patches_change_nothing() -> None:
    groups = grouped(torch.tensor([3] * 10), [9.0, 9.0, 9.0, 5000.0, 9.0])
    assert kept_of(groups, mask("sam-guided", groups)) == [0, 0, 0, 0, 10 - 4, 0]  # floor(10 * 0.45)


def test_regions_of_equal_area_are_masked_together_when_grouped_by_area() -> None:
    # Two regions of 5 patches at 0.45: floor(2.25) each, or floor(4.5) together.
    region, area = shuffled(5, 5), [5000.0, 5000.0]
    apart, together = grouped(region, area), grouped(region, area, grouping="area")
    assert kept_of(apart, mask("sam-guided", apart)) == [0, 3, 3]
    assert kept_of(together, mask("sam-guided", together)) == [0, 6]
    kept_of_first = {kept_of(apart, mask("sam-guided", together, seed))[1] for seed in range(30)}
    assert len(kept_of_first) > 1  # the four that go come from either


@pytest.mark.parametrize(
    ("count", "ratio", "masked"),
    [(10, 0.9, 9), (1000, 0.9, 900), (20_000, 0.7, 14_000), (100, 0.29, 29), (100, 0.57, 57), (1000, 0.001, 1)],
)
def test_whole_numbers_of_masked_instances_stay_whole(count: int, ratio: float, masked: int) -> None:
    assert int((~keep_random(count, ratio, seeded(), CPU)).sum()) == masked  # 0.29 * 100 is 28.999… for a computer
    groups = grouped(torch.full((count,), NONE), [])
    keep = keep_in_groups(groups, torch.tensor([ratio], dtype=torch.float64), seeded())
    assert int((~keep).sum()) == masked


def test_a_fraction_of_an_instance_is_not_masked() -> None:
    assert int((~keep_random(7, 0.5, seeded(), CPU)).sum()) == 3
    assert int((~keep_random(1, 0.9, seeded(), CPU)).sum()) == 0


@pytest.mark.parametrize("strategy", ["non-group", "sam-guided"])
def test_group_features_are_never_dropped(strategy: str) -> None:
    groups = grouped(shuffled(40, 25), [80_000.0, 90_000.0], [0, 1])
    for seed in range(20):
        keep = mask(strategy, groups, seed, target=0.99)
        assert len(keep) == 67
        assert keep[65:].all()
        assert not keep[:65].all()


@pytest.mark.parametrize("grouping", ["region", "area"])
def test_centred_at_the_median_the_mask_does_not_depend_on_the_size_of_regions(grouping: str) -> None:
    region, areas = shuffled(200, 200, 200, 40, first=NONE), [2500.0, 5000.0, 10_000.0]
    groups = grouped(region, areas, grouping=grouping)
    as_published = kept_of(groups, mask("sam-guided", groups))
    for scale in (0.01, 1.0, 100.0):
        groups = grouped(region, [scale * area for area in areas], grouping=grouping)
        kept = kept_of(groups, mask("sam-guided", groups, center="median"))
        assert kept[1:] == as_published[1:]  # whose median is 5000
        # Patches in no region: 0.9 times R(1 px), of which the least scale makes R(100 px).
        assert kept[0] == (186 if scale == 0.01 else as_published[0])
    large = grouped(region, [100 * area for area in areas])
    assert kept_of(large, mask("sam-guided", large))[1:] == [20, 20, 4], "a fixed centre masks nearly all of it"


def test_the_median_of_a_bag_without_regions_masks_as_for_the_least_area() -> None:
    groups = grouped(torch.full((1000,), NONE), [])
    assert int(mask("sam-guided", groups, center="median").sum()) == 1000 - 68  # 0.9 / (1 + exp(2.5)) = 0.0683
    assert torch.equal(mask("sam-guided", groups, center="median"), mask("sam-guided", groups))


def test_non_group_masks_patches_at_the_target_ratio_whatever_the_area() -> None:
    for area in ([1.0, 1.0], [9e5, 3.0]):
        groups = grouped(shuffled(60, 40), area, [0, 1, 1])
        keep = mask("non-group", groups, target=0.75)
        assert int(keep[:100].sum()) == 25
        assert keep[100:].all()
        assert len(keep) == 103


def test_random_masks_group_features_too() -> None:
    groups = grouped(torch.zeros(10, dtype=torch.int64), [4.0], [0] * 10)
    kept = [mask("random", groups, seed, target=0.5) for seed in range(20)]
    assert all(len(keep) == 20 and int(keep.sum()) == 10 for keep in kept)
    assert any(not keep[10:].all() for keep in kept)
    assert any(not keep[:10].all() for keep in kept)


@every_strategy
def test_without_group_features_the_mask_is_over_patches(strategy: str) -> None:
    groups = grouped(shuffled(60, 40), [90_000.0, 90_000.0], [0, 1, 1])
    keep = mask(strategy, groups, group_features=False, target=0.75)
    assert len(keep) == 100
    assert int(keep.sum()) == (100 if strategy == "none" else 25)


def test_none_keeps_everything() -> None:
    groups = grouped(shuffled(5, 3), [1e6, 1e6], [0, 1, 1])
    assert mask("none", groups, function="constant").tolist() == [True] * 11


@every_strategy
@pytest.mark.parametrize("function", RATIO_FUNCTIONS)
def test_every_strategy_keeps_at_least_one_of_few_instances(strategy: str, function: str) -> None:
    for patches in (1, 2, 3):
        keep = mask(strategy, grouped(torch.zeros(patches, dtype=torch.int64), [1e7]), target=0.999, function=function)
        assert keep.dtype == torch.bool
        assert len(keep) == patches
        assert keep.any()


def test_each_group_keeps_at_least_one_patch_even_when_all_should_go() -> None:
    groups = grouped(shuffled(1, 7, 30, first=NONE), [5.0, 6.0])
    survivors = set()
    for seed in range(40):
        keep = keep_in_groups(groups, torch.ones(3), seeded(seed))
        assert kept_of(groups, keep) == [1, 1, 1]
        survivors.update(keep.nonzero()[:, 0].tolist())
    assert len(survivors) > 15  # not always the same


def test_one_huge_region_is_masked_at_the_target() -> None:
    groups = grouped(torch.zeros(50_000, dtype=torch.int64), [1e6])
    assert int(mask("sam-guided", groups).sum()) == 5000


def test_thousands_of_regions_of_one_patch_lose_none() -> None:
    groups = grouped(shuffled(*[1] * 5000), [1e6] * 5000)
    assert mask("sam-guided", groups).all()
    together = grouped(shuffled(*[1] * 5000), [1e6] * 5000, grouping="area")
    assert int(mask("sam-guided", together).sum()) == 500


def test_all_groups_are_drawn_at_once_however_many_there_are() -> None:
    counts = []
    for regions in (1, 20, 5000):
        groups = grouped(torch.arange(20_000) % regions, [9000.0] * regions)
        with OpWatch() as watch:
            mask("sam-guided", groups)
        counts.append(watch.ops)
        assert not watch.waits
    assert counts[0] == counts[1] == counts[2]


@pytest.mark.parametrize("strategy", [name for name in STRATEGIES if name != "none"])
def test_the_same_generator_state_gives_the_same_mask_and_another_one_does_not(strategy: str) -> None:
    groups = grouped(shuffled(50, 70), [8000.0, 2000.0], [0, 1])
    first = mask(strategy, groups, 5)
    assert torch.equal(first, mask(strategy, groups, 5))
    assert not torch.equal(first, mask(strategy, groups, 6))
    generator = seeded(5)
    draw: Callable[[], Tensor] = lambda: keep_in_groups(groups, torch.full((3,), 0.5), generator)  # noqa: E731
    assert not torch.equal(draw(), draw())  # the state goes on


def test_every_patch_of_a_group_is_kept_equally_often() -> None:
    region, generator, draws = shuffled(6, 10), seeded(11), 2000
    groups, ratio = grouped(region, [3.0, 4.0]), torch.tensor([0.0, 0.5, 0.2], dtype=torch.float64)
    kept = torch.zeros(16)
    for _ in range(draws):
        kept += keep_in_groups(groups, ratio, generator)
    share = kept / draws
    # 3 of 6 and 8 of 10 are kept. A share's sd is sqrt(p (1 - p) / 2000) <= 0.0112; the bound is 5 sd.
    assert (share[region == 0] - 0.5).abs().max() < 0.056
    assert (share[region == 1] - 0.8).abs().max() < 0.056


def test_patches_of_a_group_are_kept_independently_of_their_neighbours() -> None:
    # Pairs of a group of 6, of which 3 are kept: both with probability 3/6 * 2/5; sd of a share 0.009.
    groups, generator, draws = grouped(shuffled(6, 10), [3.0, 4.0]), seeded(12), 2000
    ratio = torch.tensor([0.0, 0.5, 0.2], dtype=torch.float64)
    inside = groups.patch == 1
    both = torch.zeros(6, 6)
    for _ in range(draws):
        keep = keep_in_groups(groups, ratio, generator)[inside].float()
        both += keep[:, None] * keep
    off_diagonal = (both / draws)[~torch.eye(6, dtype=torch.bool)]
    assert (off_diagonal - 0.2).abs().max() < 0.045


def test_the_number_kept_of_a_group_does_not_follow_the_order_of_the_patches() -> None:
    region = shuffled(100, 300, first=NONE)
    for order in (torch.arange(400), torch.argsort(region), torch.argsort(-region)):
        groups = grouped(region[order], [5000.0])
        assert kept_of(groups, mask("sam-guided", groups)) == [94, 165]


def test_the_mask_does_not_follow_the_order_of_the_instances() -> None:
    position = torch.arange(100, dtype=torch.float64)
    generator = seeded(4)
    mean = torch.stack([position[keep_random(100, 0.9, generator, CPU)].mean() for _ in range(500)]).mean()
    # The mean of 10 of 0..99 has sd 28.9 / sqrt(10) * sqrt(90 / 99) = 8.7; of 500 such means 0.39.
    assert abs(float(mean) - 49.5) < 2.0
    groups = grouped(torch.zeros(100, dtype=torch.int64), [1e6])
    ratio = torch.tensor([0.0, 0.9], dtype=torch.float64)
    mean = torch.stack([position[keep_in_groups(groups, ratio, generator)].mean() for _ in range(500)]).mean()
    assert abs(float(mean) - 49.5) < 2.0


@every_strategy
def test_no_strategy_makes_the_host_wait(strategy: str) -> None:
    groups = grouped(shuffled(50, 70), [8000.0, 2000.0], [0, 1])
    with OpWatch() as watch:
        mask(strategy, groups)
    assert not watch.waits


def test_a_region_without_patches_is_no_measure_for_the_linear_ratio() -> None:
    regions = torch.tensor([0] * 10 + [1] * 10)
    huge_and_empty = make_groups(regions, torch.zeros(0, dtype=torch.int64), torch.tensor([50.0, 100.0, 1e6]), "region")
    keep = keep_instances(
        "sam-guided",
        huge_and_empty,
        group_features=False,
        target=0.8,
        function="linear",
        slope=5e-4,
        center=5000.0,
        generator=torch.Generator().manual_seed(0),
    )
    assert [int(keep[:10].sum()), int(keep[10:].sum())] == [6, 2]  # 10 - floor(10 * 0.4), 10 - floor(10 * 0.8)
