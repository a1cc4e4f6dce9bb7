"""The bag and what all models share."""

import dataclasses

import pytest
import torch
from torch import nn

from sammil_cli.mil.contract import Bag, MILModel, Options, attention_evidence
from sammil_cli.mil.model_spec import ModelSpec


@pytest.fixture
def bag() -> Bag:
    return Bag(
        features=torch.arange(6.0).reshape(3, 2),
        group_features=torch.tensor([[10.0, 11.0]]),
        region=torch.tensor([1, -1, 0]),
        group_region=torch.tensor([1]),
        region_area=torch.tensor([4.0, 9.0]),
    )


def test_composite_features_are_the_patches_and_then_the_group_features(bag: Bag) -> None:
    assert bag.instances(True).tolist() == [[0, 1], [2, 3], [4, 5], [10, 11]]
    assert bag.groups("region").members(True).place.tolist() == [0, 2, 3]


def test_without_group_features_the_instances_are_the_patches(bag: Bag) -> None:
    assert bag.instances(False).tolist() == [[0, 1], [2, 3], [4, 5]]
    assert bag.groups("region").members(False).place.tolist() == [0, 2]


def test_blocks_are_the_bags_own_tensors_without_a_copy(bag: Bag) -> None:
    assert [block.data_ptr() for block in bag.blocks(True)] == [bag.features.data_ptr(), bag.group_features.data_ptr()]
    assert [block.data_ptr() for block in bag.blocks(False)] == [bag.features.data_ptr()]
    alone = dataclasses.replace(bag, group_features=torch.empty(0, 2), group_region=bag.group_region[:0])
    assert len(alone.blocks(True)) == 1


@pytest.mark.parametrize(
    ("stored", "seen"),
    [
        (torch.float16, torch.float32),
        (torch.bfloat16, torch.float32),
        (torch.float32, torch.float32),
        (torch.float64, torch.float64),
    ],
)
def test_instances_are_of_single_precision_or_better(bag: Bag, stored: torch.dtype, seen: torch.dtype) -> None:
    other = dataclasses.replace(bag, features=bag.features.to(stored), group_features=bag.group_features.to(stored))
    assert other.instances(True).dtype == seen
    assert other.instances(True).tolist() == bag.instances(True).tolist()


def test_a_flagged_bag_says_in_a_last_column_what_an_instance_is(bag: Bag) -> None:
    flagged = dataclasses.replace(bag, flagged=True)
    assert flagged.instances(True).tolist() == [[0, 1, 0], [2, 3, 0], [4, 5, 0], [10, 11, 1]]
    assert flagged.instances(False).tolist() == [[0, 1, 0], [2, 3, 0], [4, 5, 0]]
    assert flagged.as_group_features(torch.tensor([[6.0, 7.0]])).tolist() == [[6, 7, 1]]
    assert bag.as_group_features(bag.group_features) is bag.group_features
    alone = dataclasses.replace(flagged, group_features=torch.empty(0, 2), group_region=bag.group_region[:0])
    assert [block.shape for block in alone.blocks(True)] == [(3, 3)]
    half = dataclasses.replace(flagged, features=bag.features.half(), group_features=bag.group_features.half())
    assert {block.dtype for block in half.blocks(True)} == {torch.float16}


@pytest.fixture
def placed(bag: Bag) -> Bag:
    """The bag with places, three regions, and patches that lie in several of them."""
    return dataclasses.replace(
        bag,
        group_features=torch.tensor([[8.0, 9.0], [10.0, 11.0], [12.0, 13.0]]),
        group_region=torch.tensor([0, 1, 2]),
        region_area=torch.tensor([4.0, 9.0, 1.0]),
        member_start=torch.tensor([0, 1, 3, 6]),
        member_patch=torch.tensor([2, 0, 1, 0, 1, 2], dtype=torch.int32),
        places=torch.tensor([[0.0, 0.0], [4.0, 1.0], [5.0, 2.0]]),
    )


def test_a_group_feature_stands_at_the_centroid_of_all_patches_of_its_region(placed: Bag) -> None:
    assert placed.instance_places(True).tolist() == [[0, 0], [4, 1], [5, 2], [5, 2], [2, 0.5], [3, 1]]
    assert len(placed.instance_places(True)) == len(placed.instances(True))


def test_without_group_features_the_places_are_those_of_the_patches(placed: Bag) -> None:
    assert placed.instance_places(False) is placed.places
    alone = dataclasses.replace(placed, group_features=torch.empty(0, 2), group_region=placed.group_region[:0])
    assert alone.instance_places(True) is placed.places


def test_where_a_patch_lies_in_one_region_only_that_region_counts(placed: Bag) -> None:
    one = dataclasses.replace(placed, region=torch.tensor([2, 1, 1]), member_start=None, member_patch=None)
    assert one.instance_places(True).tolist()[4:] == [[4.5, 1.5], [0, 0]]


def test_a_group_feature_whose_region_has_no_patch_has_a_place_all_the_same(placed: Bag) -> None:
    empty = dataclasses.replace(
        placed, member_start=torch.tensor([0, 1, 1, 4]), member_patch=torch.tensor([2, 0, 1, 2])
    )
    assert torch.isfinite(empty.instance_places(True)).all()


@pytest.mark.parametrize("group_features", [True, False])
def test_places_that_are_not_known_are_not_made_up(bag: Bag, group_features: bool) -> None:
    for ask in (bag.instance_places, bag.neighbours):
        with pytest.raises(ValueError, match="the places of this bag's patches are not known"):
            ask(group_features)


def test_a_model_that_does_not_say_how_it_classifies_is_named(bag: Bag) -> None:
    class Unfinished(MILModel):
        pass

    with pytest.raises(TypeError, match="Unfinished"):
        Unfinished(ModelSpec(dim=2, classes=2, group_features=True), Options())(bag)


def test_initialise_draws_every_linear_layer_xavier_normal_with_zero_bias() -> None:
    class Wide(MILModel):
        def __init__(self) -> None:
            super().__init__(ModelSpec(dim=300, classes=2, group_features=True), Options())
            self.inner = nn.Sequential(nn.Linear(300, 500), nn.Linear(500, 4, bias=False))

    torch.manual_seed(0)
    model = Wide()
    model.initialise()
    first, second = (layer for layer in model.inner if isinstance(layer, nn.Linear))
    assert float(first.weight.detach().std()) == pytest.approx((2 / 800) ** 0.5, rel=0.02)
    assert float(second.weight.detach().std()) == pytest.approx((2 / 504) ** 0.5, rel=0.1)
    assert first.bias.tolist() == [0.0] * 500


def test_evidence_is_the_softmax_of_the_weighted_embedding_without_bias() -> None:
    head = nn.Linear(2, 2)
    with torch.no_grad():
        head.weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 2.0]]))
        head.bias.copy_(torch.tensor([100.0, -100.0]))
        found = attention_evidence(torch.tensor([0.5, 0.25]), torch.tensor([[2.0, 1.0], [0.0, 4.0]]), head)
    # row 0: a e = (1, 0.5), W a e = (1, 1); row 1: a e = (0, 1), W a e = (0, 2)
    assert found[0].tolist() == pytest.approx([0.5, 0.5])
    assert found[1].tolist() == pytest.approx([0.119203, 0.880797], abs=1e-6)
