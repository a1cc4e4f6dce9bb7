"""MHIM-MIL's masks: which instances they hide, and how many."""

import math
from collections import Counter

import pytest
import torch
from torch import Tensor

from sammil_cli.mil.attention_masks import MaskShares, kept, most

N = 1000


def weights(heads: int = 1, count: int = N, seed: int = 0) -> Tensor:
    return torch.softmax(torch.randn(heads, count, generator=torch.Generator().manual_seed(seed)), 1)


def hidden(given: Tensor, *, seed: int = 0, by_vote: bool = True, high_share: float = 1.0, **shares: float) -> set[int]:
    asked = MaskShares(**{"random": 0, "low": 0, "high": 0, **shares}, high_share=high_share, by_vote=by_vote)
    left = kept(given, asked, torch.Generator().manual_seed(seed)).tolist()
    assert left == sorted(set(left))
    return set(range(given.shape[1])) - set(left)


def ranked(given: Tensor) -> list[int]:
    """From the highest attention to the lowest."""
    found: list[int] = torch.argsort(given[0], descending=True).tolist()
    return found


def test_high_attention_masking_hides_exactly_the_highest() -> None:
    assert hidden(weights(), high=0.01) == set(ranked(weights())[:10])
    assert len(hidden(weights(count=333), high=0.01)) == 4  # rounded up


def test_low_attention_masking_hides_exactly_the_lowest() -> None:
    assert hidden(weights(), low=0.2) == set(ranked(weights())[-200:])
    assert len(hidden(weights(count=333), low=0.01)) == 4


def test_half_random_masking_hides_half_of_the_top_twenty() -> None:
    top = ranked(weights())[:20]
    drawn = Counter(one for seed in range(200) for one in hidden(weights(), high=0.01, high_share=0.5, seed=seed))
    assert set(drawn) == set(top)
    assert sum(drawn.values()) == 200 * 10
    assert all(60 < number < 140 for number in drawn.values())  # any of them, as often as another: 100 ± 7


def test_where_more_would_be_drawn_from_than_there_are_all_are() -> None:
    drawn = [hidden(weights(count=100), high=0.6, high_share=0.1, seed=seed) for seed in range(60)]
    assert {len(one) for one in drawn} == {60}
    assert set().union(*drawn) == set(range(100))


def test_random_masking_hides_any() -> None:
    drawn = Counter(one for seed in range(200) for one in hidden(weights(count=50), random=0.5, seed=seed))
    assert sum(drawn.values()) == 200 * 25
    assert all(60 < drawn[one] < 140 for one in range(50))


def test_hybrids_hide_the_union() -> None:
    order = ranked(weights())
    found = [hidden(weights(), random=0.7, low=0.2, high=0.02, seed=seed) for seed in range(100)]
    assert all(one >= {*order[:20], *order[-200:]} for one in found)
    left = sum(N - len(one) for one in found) / len(found)
    assert left == pytest.approx(0.3 * (N - 220), abs=3)  # docs/methods.md §9: about 236 in one draw


def test_shares_of_whole_numbers_stay_whole() -> None:
    assert len(hidden(weights(count=100), low=0.07)) == 7  # 0.07 * 100 is a little over 7
    for count in (1, 7, 100, 333):
        for share in (0.01, 0.1, 0.29, 0.5):
            assert len(hidden(weights(count=count), low=share)) % count == math.ceil(round(share * count, 6)) % count


def test_a_mask_that_would_hide_everything_hides_nothing() -> None:
    assert hidden(weights(count=1), random=0.5) == set()
    assert hidden(weights(count=10), random=1.0) == set()
    assert hidden(weights(count=2), low=0.5, high=0.5) == set()


def test_nothing_asked_hides_nothing() -> None:
    assert hidden(weights(8)) == set()


def test_heads_vote_and_ties_go_to_the_higher_mean() -> None:
    given = torch.tensor([[5.0, 4, 3, 2, 1, 0], [0, 5, 4, 3, 2, 1], [3, 0, 2, 5, 4, 1]])
    # The three highest of each head: 0 1 2, 1 2 3, 3 4 0. Votes 2 2 2 2 1 0; means 8/3, 3, 3, 10/3.
    assert set(most(given, 3, by_vote=True).tolist()) == {3, 1, 2}
    assert hidden(given, high=0.5) == {3, 1, 2}
    # The three lowest of each head: 3 4 5, 0 4 5, 1 2 5.
    assert hidden(given, low=0.5) >= {5, 4}


def test_without_a_vote_each_head_finds_its_part() -> None:
    given = torch.tensor([[9.0, 1, 2, 3, 4, 5], [1, 9, 2, 3, 4, 5]])
    assert hidden(given, high=0.5, by_vote=False) == {0, 1}  # 3 // 2 of each
    assert hidden(given, low=0.5, by_vote=False) == {0, 1}
    assert hidden(torch.eye(6)[:4], high=0.5, by_vote=False) == set()  # 3 // 4


def test_the_same_generator_draws_the_same_mask() -> None:
    masks = [hidden(weights(), random=0.5, high=0.1, high_share=0.5, seed=seed) for seed in (1, 1, 2)]
    assert masks[0] == masks[1] != masks[2]
