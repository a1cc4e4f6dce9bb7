"""Prompts of WSI-SAM: the same place on HR and on LR, and as SAM's prompt encoder is given it."""

import numpy as np
import pytest
import torch
from sam_pair import INPUT_PX, small_sam
from wsi_sam_small import GRID, prompts_of

from sammil_cli.regions.wsi_sam.field import Field, to_low
from sammil_cli.regions.wsi_sam.prompts import Prompts, encode, for_low


def test_the_published_box_is_mapped_as_published() -> None:
    found = for_low(Prompts(boxes=torch.tensor([[0.0, 100, 1024, 512]])), 1024).boxes
    assert found is not None
    assert found.tolist() == [[256, 306, 768, 512]]


def test_points_and_corners_lie_at_the_same_level_0_point_on_lr() -> None:
    field = Field(corner_px=(-301, 77), side_px0=2 * INPUT_PX + 6, out_px=INPUT_PX)
    points, boxes = prompts_of("points", 4), prompts_of("boxes", 4)
    for given in (points.points, boxes.boxes):
        low = for_low(points if given is points.points else boxes, INPUT_PX)
        moved = low.points if given is points.points else low.boxes
        assert given is not None
        assert moved is not None
        flat, flat_low = given.reshape(-1, 2).double().numpy(), moved.reshape(-1, 2).double().numpy()
        np.testing.assert_allclose(flat_low, to_low(flat, INPUT_PX), atol=1e-4)
        np.testing.assert_allclose(field.low.to_slide(flat_low), field.to_slide(flat), atol=1e-3)
    assert torch.equal(for_low(points, INPUT_PX).labels, points.labels)


def test_a_mask_lies_in_the_middle_of_lr_at_half_its_size_and_around_it_is_0() -> None:
    mask = torch.full((1, 1, 64, 64), -4.0)
    mask[0, 0, 8:24, 32:60] = 6.0
    low = for_low(Prompts(masks=mask), INPUT_PX).masks
    assert low is not None
    wanted = torch.zeros(64, 64)
    wanted[16:48, 16:48] = -4
    wanted[16 + 4 : 16 + 12, 16 + 16 : 16 + 30] = 6
    assert torch.equal(low[0, 0], wanted)


def test_sam_is_given_the_points_themselves() -> None:
    """SAM adds half a pixel to what it is given: the middle of the picture's first pixel is its 0, 0."""
    encoder = small_sam().prompt_encoder
    labels = torch.tensor([[1.0, 0.0]])
    points = Prompts(points=torch.tensor([[[0.5, 0.5], [12.5, 200.5]]]), labels=labels)
    wanted, _ = encoder((torch.tensor([[[0.0, 0], [12, 200]]]), labels), None, None)
    assert torch.equal(encode(points, encoder)[0], wanted)
    boxes = Prompts(boxes=torch.tensor([[10.0, 20, 110, 220]]))
    wanted, _ = encoder(None, torch.tensor([[9.5, 19.5, 109.5, 219.5]]), None)
    assert torch.equal(encode(boxes, encoder)[0], wanted)


def test_masks_are_encoded_for_each_prompt_and_their_absence_once() -> None:
    encoder = small_sam().prompt_encoder
    assert encode(prompts_of("boxes", 5), encoder)[1].shape == (1, 64, GRID, GRID)
    sparse, dense = encode(prompts_of("masks", 5), encoder)
    assert sparse.shape == (5, 0, 64)
    assert dense.shape == (5, 64, GRID, GRID)


def test_a_part_of_prompts_is_prompts() -> None:
    points = prompts_of("points", 5)
    part = points[1:3].to("cpu")
    assert (len(points), len(part)) == (5, 2)
    assert torch.equal(part.points, points.points[1:3])
    assert torch.equal(part.labels, points.labels[1:3])


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"boxes": torch.zeros(1, 4), "masks": torch.zeros(1, 1, 64, 64)},
        {"points": torch.zeros(1, 1, 2)},
        {"boxes": torch.zeros(1, 4), "labels": torch.zeros(1, 1)},
        {"boxes": torch.zeros(0, 4)},
    ],
    ids=["nothing", "two kinds", "no labels", "labels of boxes", "none of them"],
)
def test_what_is_no_prompt_is_refused(given: dict[str, torch.Tensor]) -> None:
    with pytest.raises(ValueError, match=r"prompts|labels"):
        Prompts(**given)
