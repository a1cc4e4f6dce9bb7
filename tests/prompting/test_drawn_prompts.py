"""Prompts drawn from masks: rough boxes, points in each picture's own mask, frayed coarse masks."""

import numpy as np
import pytest
import torch

from sammil_cli.prompting.drawn_prompts import (
    INSIDE,
    JITTER,
    KINDS,
    POINTS,
    Kind,
    Mask,
    coarse,
    draw_prompt,
    jittered,
    joined,
    tight_box,
)

SIDE = 256


def mask_of(x: slice, y: slice) -> Mask:
    mask = np.zeros((SIDE, SIDE), np.bool_)
    mask[y, x] = True
    return mask


HIGH = mask_of(slice(40, 121), slice(100, 140))
LOW = mask_of(slice(84, 125), slice(114, 134)) | mask_of(slice(0, 30), slice(200, 240))  # more lies around HR


def test_the_box_is_tight_by_the_edges_of_its_pixels_and_of_all_pieces() -> None:
    assert tight_box(HIGH).tolist() == [40, 100, 121, 140]
    assert tight_box(HIGH | mask_of(slice(200, 201), slice(7, 8))).tolist() == [40, 7, 201, 140]


def test_every_edge_moves_and_none_by_more_than_a_fifth_of_the_side() -> None:
    box, rng = tight_box(HIGH), np.random.default_rng(0)
    moved = np.array([jittered(box, SIDE, rng, JITTER) for _ in range(2000)]) - box
    most = np.abs(moved).max(0) / [81, 40, 81, 40]
    assert (most <= JITTER + 1e-6).all()
    assert (most > 0.17).all()
    assert (np.abs(moved.mean(0)) < 0.6).all()


def test_a_jittered_box_stays_in_the_picture() -> None:
    rng = np.random.default_rng(1)
    boxes = np.array([jittered(np.array([0, 0, 256, 256], np.float32), SIDE, rng, JITTER) for _ in range(200)])
    assert boxes.min() == 0
    assert boxes.max() == SIDE
    assert (boxes[:, 2:] > boxes[:, :2]).all()


def test_points_lie_in_each_pictures_own_mask() -> None:
    high, low = draw_prompt("points", HIGH, LOW, np.random.default_rng(2))
    assert low is not None
    for prompt, mask in ((high, HIGH), (low, LOW)):
        assert prompt.points is not None
        assert prompt.labels is not None
        assert prompt.points.shape == (1, POINTS, 2)
        assert prompt.labels.tolist() == [[1] * POINTS]
        columns, rows = (prompt.points[0].numpy() - 0.5).astype(int).T
        assert mask[rows, columns].all()
        assert len(set(zip(columns.tolist(), rows.tolist(), strict=True))) == POINTS
    both = [prompt.points.numpy() for prompt in (high, low) if prompt.points is not None]
    assert not np.allclose(both[0] / 2 + SIDE / 4, both[1])


def test_of_fewer_pixels_than_points_some_are_asked_for_twice() -> None:
    prompt, low = draw_prompt(
        "points", mask_of(slice(3, 6), slice(9, 10)), np.zeros_like(LOW), np.random.default_rng(3)
    )
    assert prompt.points is not None
    assert set(prompt.points[0, :, 0].tolist()) <= {3.5, 4.5, 5.5}
    assert low is None  # nothing of it is seen on LR: HR's points are


def test_a_coarse_mask_is_right_but_for_its_border_and_has_the_published_values() -> None:
    found = coarse(HIGH, np.random.default_rng(4))
    assert found.shape == (SIDE // 4, SIDE // 4)
    assert set(found.unique().tolist()) == {0.0, INSIDE}
    truth = torch.from_numpy(mask_of(slice(40, 121), slice(100, 140))[2::4, 2::4])
    wrong = (found > 0) != truth
    assert 0.005 < wrong.float().mean() < 0.25
    rows, columns = wrong.nonzero().T
    # A block of 8 that the border crosses colours its neighbours to their middles: 12 pixels at most.
    assert rows.min() >= 25 - 12
    assert rows.max() < 35 + 12
    assert columns.max() < 31 + 12
    far = coarse(np.zeros_like(HIGH) | mask_of(slice(0, 128), slice(0, 256)), np.random.default_rng(5))
    assert (far[:, :24] == INSIDE).all()
    assert (far[:, 40:] == 0).all()


def test_a_coarse_mask_of_a_speck_is_not_empty() -> None:
    share = [
        bool((coarse(mask_of(slice(50, 51), slice(80, 81)), np.random.default_rng(i)) > 0).any()) for i in range(9)
    ]
    assert all(share)


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_generator_draws_the_same_prompt(kind: Kind) -> None:
    one, same, other = (draw_prompt(kind, HIGH, LOW, np.random.default_rng(seed))[0] for seed in (6, 6, 7))
    name = {"box": "boxes", "points": "points", "mask": "masks"}[kind]
    assert torch.equal(getattr(one, name), getattr(same, name))
    assert not torch.equal(getattr(one, name), getattr(other, name))


def test_joined_prompts_keep_their_order() -> None:
    drawn = [draw_prompt("box", HIGH, LOW, np.random.default_rng(seed))[0] for seed in range(3)]
    together = joined(drawn)
    assert together.boxes is not None
    assert len(together) == 3
    for number, one in enumerate(drawn):
        assert one.boxes is not None
        assert torch.equal(together.boxes[number], one.boxes[0])
