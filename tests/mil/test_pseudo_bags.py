"""Pseudo-bags: a partition of the bag."""

import pytest
import torch

from sammil_cli.mil.pseudo_bags import split

CPU = torch.device("cpu")


def seeded(seed: int = 3) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(
    ("count", "parts", "sizes"),
    [(23, 5, [4, 4, 5, 5, 5]), (10, 5, [2, 2, 2, 2, 2]), (5, 5, [1, 1, 1, 1, 1]), (7, 1, [7])],
)
def test_a_split_is_a_partition_into_parts_of_nearly_equal_size(count: int, parts: int, sizes: list[int]) -> None:
    found = split(count, parts, seeded(), CPU)
    assert sorted(len(part) for part in found) == sizes
    assert sorted(torch.cat(found).tolist()) == list(range(count))


@pytest.mark.parametrize("count", [1, 2, 3])
def test_fewer_instances_than_parts_give_one_part_per_instance(count: int) -> None:
    found = split(count, 4, seeded(), CPU)
    assert [len(part) for part in found] == [1] * count
    assert sorted(torch.cat(found).tolist()) == list(range(count))


def test_the_split_is_random_and_follows_the_generator() -> None:
    first = torch.cat(split(50, 3, seeded(1), CPU))
    assert torch.equal(first, torch.cat(split(50, 3, seeded(1), CPU)))
    assert not torch.equal(first, torch.cat(split(50, 3, seeded(2), CPU)))
    assert first.tolist() != list(range(50))


def test_every_instance_comes_into_every_part() -> None:
    generator = seeded(8)
    seen = [set[int](), set[int](), set[int]()]
    for _ in range(200):
        for part, members in zip(split(7, 3, generator, CPU), seen, strict=True):
            members.update(part.tolist())
    assert seen == [set(range(7))] * 3
