"""What `sammil_mode: released` trains: the loss of the published code (docs/methods.md §10.6)."""

import dataclasses

import pytest
import torch
from sam_mil_by_hand import LABEL, build, by_hand, cross_entropy, gradient, make_bag, parts_of, seeded, total, values

from sammil_cli.mil.contract import Bag


@pytest.fixture
def bag() -> Bag:
    return make_bag()


def test_released_mode_trains_the_last_pseudo_bag_and_the_mean_of_all(bag: Bag) -> None:
    # docs/methods.md §10.6, α = 0.5, 4 parts: weights .125, .125, .125, 1.125 of the parts' cross-entropies.
    model = build(sammil_mode="released", pseudo_bag_weight=0.5)
    instances = torch.cat([bag.features, bag.group_features])
    parts = parts_of(len(instances), 4, seeded(), remainder_last=True)
    assert [len(part) for part in parts] == [10, 10, 10, 13]
    entropy = [cross_entropy(by_hand(model, instances[part])) for part in parts]
    expected = 0.125 * (entropy[0] + entropy[1] + entropy[2]) + 1.125 * entropy[3]
    found = model.losses(bag, LABEL, seeded())
    assert list(found) == ["last_pseudo_bag", "pseudo_bags"]
    assert found["last_pseudo_bag"].item() == pytest.approx(entropy[3].item(), rel=1e-5)
    one, other = gradient(model, total(found)), gradient(model, expected)
    for name in one:
        assert float(one[name].abs().sum()) > 0
        assert torch.allclose(one[name], other[name], rtol=1e-3, atol=1e-6), name


@pytest.mark.parametrize(
    "change",
    [
        {"mask_strategy": "none"},
        {"mask_strategy": "random"},
        {"mask_ratio": 0.1},
        {"mask_ratio_function": "constant"},
        {"sigmoid_slope": 1.0},
        {"sigmoid_center": 0.0},
        {"grouping": "area"},
        {"consistency_weight": 0.0},
        {"consistency_weight": 1000.0},
        {"consistency_form": "eq12"},
    ],
    ids=str,
)
def test_in_released_mode_masks_and_consistency_change_nothing(bag: Bag, change: dict[str, object]) -> None:
    bag = dataclasses.replace(bag, region_area=torch.tensor([9000.0, 300.0, 9000.0]))  # regions 0 and 2 merge by area
    found = []
    for changes in ({}, change):
        model = build(sammil_mode="released", dropout=0.25, **changes)
        terms = model.losses(bag, LABEL, seeded())
        found.append((values(terms), gradient(model, total(terms))))
    assert found[0][0] == found[1][0]
    assert all(torch.equal(found[0][1][name], found[1][1][name]) for name in found[0][1])
    # the same change does matter in paper mode
    paper = [values(build(dropout=0.25, **changes).losses(bag, LABEL, seeded())) for changes in ({}, change)]
    assert paper[0] != paper[1]


@pytest.mark.parametrize("change", [{"pseudo_bags": 2}, {"pseudo_bag_weight": 0.1}], ids=str)
def test_in_released_mode_pseudo_bags_matter(bag: Bag, change: dict[str, object]) -> None:
    found = [values(build(sammil_mode="released", **c).losses(bag, LABEL, seeded())) for c in ({}, change)]
    assert found[0] != found[1]


def test_released_mode_runs_where_the_released_code_crashes(bag: Bag) -> None:
    for change in ({"pseudo_bag_weight": 0.0}, {"pseudo_bags": 1}):
        terms = build(sammil_mode="released", **change).losses(bag, LABEL, seeded())
        assert torch.isfinite(total(terms))
