"""What a site, or the brightness of a slide, says of its class."""

import numpy as np
import pytest

from sammil_cli.cohort.cohort import Member
from sammil_cli.training.fold import Fold
from sammil_cli.training.site_baseline import judge_by_brightness, judge_by_site, judge_confounders, site_shares


def members_of(*slides: tuple[int, str | None]) -> dict[str, Member]:
    return {
        f"s{i}": Member(slide_id=f"s{i}", label=label, patient_id=f"P{i}", site=site)
        for i, (label, site) in enumerate(slides)
    }


def fold_of(train: int, val: int, test: int) -> Fold:
    names = [f"s{i}" for i in range(train + val + test)]
    return Fold(repeat=0, fold=0, train=(*names[:train],), val=(*names[train : train + val],), test=(*names[-test:],))


def test_shares_by_hand() -> None:
    found = site_shares(["A", "A", "A", "B", None], np.array([1, 1, 1, 0, 0]), 2)
    # As if two more slides had the shares 2/5 and 3/5 of all.
    assert found.keys() == {"A", "B"}
    assert found["A"] == pytest.approx([0.8 / 5, 4.2 / 5])
    assert found["B"] == pytest.approx([1.8 / 3, 1.2 / 3])


def test_a_site_that_is_the_class_is_ranked_and_called_right() -> None:
    members = members_of(*[(i % 2, "AB"[i % 2]) for i in range(14)])
    said = judge_by_site(fold_of(6, 4, 4), members, 2)
    assert said.predicted.tolist() == [0, 1, 0, 1]
    assert said.scores.sum(axis=1) == pytest.approx(1)
    assert said.scores[0, 1] == said.scores[2, 1] < 0.5 < said.scores[1, 1]


def test_an_unseen_site_is_called_as_the_commonest_class_and_ranks_nothing() -> None:
    train = [(0, "A"), (0, "A"), (0, "B"), (1, "B")]
    members = members_of(*train, (0, "A"), (1, "B"), (0, "Z"), (1, None))
    said = judge_by_site(fold_of(4, 2, 2), members, 2)
    assert said.predicted.tolist() == [0, 0]
    assert said.scores == pytest.approx(np.full((2, 2), 0.5))


def test_three_classes_are_called_by_the_largest_share() -> None:
    train = [(0, "A"), (1, "B"), (2, "C")] * 2
    members = members_of(*train, (0, "A"), (1, "B"), (2, "C"), (2, "C"), (0, "A"), (1, "B"))
    assert judge_by_site(fold_of(6, 3, 3), members, 3).predicted.tolist() == [2, 0, 1]


def test_brightness_that_shows_the_class_is_learned() -> None:
    members = members_of(*[(i % 2, None) for i in range(20)])
    looks = {slide: np.array([0.5 + 0.2 * m.label, 0.4 - 0.1 * m.label]) for slide, m in members.items()}
    said = judge_by_brightness(fold_of(10, 4, 6), members, looks, 2)
    assert said.predicted.tolist() == [0, 1, 0, 1, 0, 1]


def test_what_cannot_be_had_is_left_out() -> None:
    fold, one_site = fold_of(4, 2, 2), members_of(*[(i % 2, "A") for i in range(8)])
    looks = {slide: np.zeros(2) for slide in one_site}
    assert judge_confounders(fold, one_site, None, 2) == {}
    assert list(judge_confounders(fold, one_site, looks, 2)) == ["brightness-only"]
    two = members_of(*[(i % 2, "AB"[i % 2]) for i in range(8)])
    assert list(judge_confounders(fold, two, looks, 2)) == ["site-only", "brightness-only"]
