"""Slides of the same content are found by the rows of their bags, in one pass."""

from types import SimpleNamespace

import numpy as np
import pytest

from sammil_cli.training.bag_content import Pair, read_contents, row_sums, same_content


def features(seed: int, rows: int = 40, dim: int = 7, dtype: type = np.float32) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(rows, dim)).astype(dtype)


def pairs_of(**bags: np.ndarray) -> list[Pair]:
    read: list[str] = []

    def reader(slide: str) -> SimpleNamespace:
        read.append(slide)
        return SimpleNamespace(features=bags[slide])

    contents = read_contents(reader, bags)
    assert read == list(bags)  # once each
    assert contents.means["a"] == pytest.approx(bags["a"].mean(axis=0, dtype=np.float64))
    return same_content(contents)


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_a_copy_in_another_order_is_found_and_others_are_not(dtype: type) -> None:
    a = features(1, dtype=dtype)
    found = pairs_of(a=a, b=features(2, dtype=dtype), c=a[::-1].copy(), d=features(3, dtype=dtype))
    assert found == [Pair(slides=("a", "c"), share=1.0)]


def test_the_share_is_that_of_the_smaller_bag() -> None:
    a = features(1)
    part = np.concatenate([a[:12], features(2, 8)])
    less = np.concatenate([a[:9], features(3, 11)])
    assert pairs_of(a=a, part=part, less=less) == [Pair(slides=("a", "part"), share=0.6)]


def test_rows_that_many_slides_share_say_nothing() -> None:
    glass = np.full((1, 7), 0.25, np.float32)
    bags = {f"s{i:02d}": np.concatenate([glass, features(i, 1)]) for i in range(21)}
    assert pairs_of(a=features(99), **bags) == []
    few = {name: bags[name] for name in list(bags)[:3]}
    assert [pair.share for pair in pairs_of(a=features(99), **few)] == [0.5] * 3


def test_equal_means_are_found_where_no_row_is_equal() -> None:
    a = features(1)
    shaken = a.copy()
    shaken[0::2] += np.float32(2**-10)
    shaken[1::2] -= np.float32(2**-10)
    assert pairs_of(a=a, b=shaken, c=a + np.float32(0.01)) == [Pair(slides=("a", "b"), share=0.0)]


def test_bags_of_other_lengths_stand_beside_each_other() -> None:
    a = features(1, dim=5)
    assert pairs_of(a=a, b=features(2, dim=3), c=a.copy()) == [Pair(slides=("a", "c"), share=1.0)]


def test_sums_tell_rows_apart_that_differ_in_one_bit_or_in_order() -> None:
    one = np.zeros((1, 6), np.float16)
    rows = [one]
    for place in range(6):
        other = one.copy()
        other.view(np.uint16)[0, place] = 1
        rows.append(other)
    swapped = np.array([[1, 2, 0, 0, 0, 0], [2, 1, 0, 0, 0, 0]], np.float16)
    assert len(row_sums(np.concatenate([*rows, swapped]))) == 9
    assert len(row_sums(np.concatenate([one, one]))) == 1
