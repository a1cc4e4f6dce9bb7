"""Pseudo-bags: a partition of the bag."""

import pytest
import torch

from sammil_cli.mil.pseudo_bags import draw_parts

CPU = torch.device("cpu")


def seeded(seed: int = 3) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def sizes(count: int, parts: int, **how: bool) -> list[int]:
    """Instances of each part; an instance has one part by the form of the answer, so that parts are disjoint."""
    part, number = draw_parts(count, parts, seeded(), CPU, **how)
    assert part.shape == (count,)
    assert part.dtype == torch.int64
    found = torch.bincount(part).tolist()
    assert len(found) == number
    return found


@pytest.mark.parametrize(
    ("count", "parts", "expected"),
    [(23, 5, [4, 4, 5, 5, 5]), (10, 5, [2, 2, 2, 2, 2]), (5, 5, [1, 1, 1, 1, 1]), (7, 1, [7]), (1001, 2, [500, 501])],
)
def test_parts_are_of_nearly_equal_size(count: int, parts: int, expected: list[int]) -> None:
    assert sorted(sizes(count, parts)) == expected


@pytest.mark.parametrize("count", [37, 40, 41, 99])
@pytest.mark.parametrize("parts", [2, 3, 5, 7, 36])
def test_sizes_differ_by_one_at_most(count: int, parts: int) -> None:
    found = sizes(count, parts)
    assert len(found) == parts
    assert sum(found) == count
    assert max(found) - min(found) <= 1


@pytest.mark.parametrize(
    ("count", "parts", "expected"),
    [
        (23, 5, [4, 4, 4, 4, 7]),
        (10, 5, [2, 2, 2, 2, 2]),
        (9, 5, [1, 1, 1, 1, 5]),
        (7, 1, [7]),
        (300, 7, [42] * 6 + [48]),
    ],
)
def test_as_released_the_last_part_has_the_remainder_besides(count: int, parts: int, expected: list[int]) -> None:
    assert sizes(count, parts, remainder_last=True) == expected


@pytest.mark.parametrize("remainder_last", [False, True])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_fewer_instances_than_parts_give_one_part_per_instance(count: int, remainder_last: bool) -> None:
    assert sizes(count, 4, remainder_last=remainder_last) == [1] * count


@pytest.mark.parametrize("remainder_last", [False, True])
def test_the_draw_is_random_and_follows_the_generator(remainder_last: bool) -> None:
    first, again, other = (draw_parts(50, 3, seeded(s), CPU, remainder_last=remainder_last)[0] for s in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert first.tolist() != sorted(first.tolist())


@pytest.mark.parametrize("remainder_last", [False, True])
def test_every_instance_comes_equally_often_into_every_part(remainder_last: bool) -> None:
    generator, draws = seeded(8), 3000
    seen = torch.zeros(7, 3)
    for _ in range(draws):
        part, _ = draw_parts(7, 3, generator, CPU, remainder_last=remainder_last)
        seen[torch.arange(7), part] += 1
    share = torch.tensor([2, 2, 3] if remainder_last else [3, 2, 2]) / 7
    # the sd of a share is at most sqrt(.25 / 3000) = 0.009; the bound is 5 of them
    assert (seen / draws - share).abs().max() < 0.046
