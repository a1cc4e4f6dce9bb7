"""Groups of a bag, worked out by hand."""

import dataclasses
import math

import pytest
import torch

from sammil_cli.mil import contract
from sammil_cli.mil.contract import Bag
from sammil_cli.mil.groups import Groups, Members, make_groups

REGION = torch.tensor([2, -1, 0, 1, 1, 3, 0])
GROUP_REGION = torch.tensor([0, 1, 2, 3])
AREA = torch.tensor([9.0, 4.0, 9.0, 1.0])  # regions 0 and 2 are equally large; region 3 is as large as "none"


def lists(groups: Groups | Members) -> dict[str, object]:
    found = {field.name: getattr(groups, field.name) for field in dataclasses.fields(groups)}
    return {name: lists(value) if isinstance(value, Members) else value.tolist() for name, value in found.items()}


def test_a_group_is_a_region_and_group_0_what_lies_in_none() -> None:
    assert lists(make_groups(REGION, GROUP_REGION, AREA, "region")) == {
        "patch": [3, 0, 1, 2, 2, 4, 1],
        "instance": [3, 0, 1, 2, 2, 4, 1, 1, 2, 3, 4],
        "size": [1, 2, 2, 1, 1],
        "area": [1, 9, 4, 9, 1],
        "median_area": 6.5,
        "sorted_group": [0, 1, 1, 2, 2, 3, 4],
        "sorted_rank": [0, 0, 1, 0, 1, 0, 0],
        "patch_members": {"place": [0, 2, 3, 4, 5, 6], "group": [3, 1, 2, 2, 4, 1], "size": [0, 2, 2, 1, 1]},
        "instance_members": {
            "place": [0, 2, 3, 4, 5, 6, 7, 8, 9, 10],
            "group": [3, 1, 2, 2, 4, 1, 1, 2, 3, 4],
            "size": [0, 3, 3, 2, 2],
        },
    }


def test_by_area_equal_regions_are_one_group_and_area_1_is_that_of_no_region() -> None:
    assert lists(make_groups(REGION, GROUP_REGION, AREA, "area")) == {
        "patch": [2, 0, 2, 1, 1, 0, 2],
        "instance": [2, 0, 2, 1, 1, 0, 2, 2, 1, 2, 0],
        "size": [2, 2, 3],
        "area": [1, 4, 9],
        "median_area": 6.5,
        "sorted_group": [0, 0, 1, 1, 2, 2, 2],
        "sorted_rank": [0, 1, 0, 1, 0, 1, 2],
        # of the group of area 1 only region 3 remains
        "patch_members": {"place": [0, 2, 3, 4, 5, 6], "group": [2, 2, 1, 1, 0, 2], "size": [1, 2, 3]},
        "instance_members": {
            "place": [0, 2, 3, 4, 5, 6, 7, 8, 9, 10],
            "group": [2, 2, 1, 1, 0, 2, 2, 1, 2, 0],
            "size": [2, 3, 5],
        },
    }


@pytest.mark.parametrize("grouping", ["region", "area"])
def test_a_bag_without_regions_is_one_group(grouping: str) -> None:
    groups = make_groups(torch.full((3,), -1), torch.empty(0, dtype=torch.int64), torch.empty(0), grouping)
    assert lists(groups) == {
        "patch": [0, 0, 0],
        "instance": [0, 0, 0],
        "size": [3],
        "area": [1],
        "median_area": math.inf,
        "sorted_group": [0, 0, 0],
        "sorted_rank": [0, 1, 2],
        "patch_members": {"place": [], "group": [], "size": [0]},
        "instance_members": {"place": [], "group": [], "size": [0]},
    }


def test_regions_without_patches_or_without_a_group_feature_are_empty_groups() -> None:
    groups = make_groups(torch.tensor([2, 2]), torch.tensor([1]), torch.tensor([5.0, 6.0, 7.0]), "region")
    assert groups.size.tolist() == [0, 0, 0, 2]
    assert groups.members(True).size.tolist() == [0, 0, 1, 2]
    assert groups.instance.tolist() == [3, 3, 2]
    assert groups.median_area == 7  # that of the region with patches


def test_members_are_those_of_the_instances_that_take_part() -> None:
    groups = make_groups(REGION, GROUP_REGION, AREA, "region")
    assert (groups.members(True), groups.members(False)) == (groups.instance_members, groups.patch_members)


def test_groups_are_made_once_for_a_bag(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def counting(*arguments: object) -> Groups:
        asked.append(str(arguments[-1]))
        return make_groups(*arguments)

    monkeypatch.setattr(contract, "make_groups", counting)
    bag = Bag(
        features=torch.zeros(7, 2),
        group_features=torch.zeros(4, 2),
        region=REGION,
        group_region=GROUP_REGION,
        region_area=AREA,
    )
    assert asked == []
    assert bag.groups("region") is bag.groups("region")
    assert bag.groups("area") is bag.groups("area")
    assert asked == ["region", "area"]
    assert len(bag.groups("region").area) == 5
    assert len(bag.groups("area").area) == 3
