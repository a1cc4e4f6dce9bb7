"""The training loss of SAM-MIL (eq. 13), term by term."""

import copy
import dataclasses

import pytest
import torch
from op_watch import OpWatch
from sam_mil_by_hand import (
    ATTENTION,
    DIM,
    EMBEDDING,
    GROUPS,
    LABEL,
    PATCHES,
    PREDICTOR,
    RATIO_FUNCTIONS,
    STRATEGIES,
    build,
    by_hand,
    cross_entropy,
    gradient,
    kept,
    make_bag,
    parts_of,
    seeded,
    total,
    values,
)
from torch import nn
from torch.nn.functional import pad

from sammil_cli.mil.consistency import FORMS
from sammil_cli.mil.contract import Bag, Options
from sammil_cli.mil.model_spec import ModelSpec
from sammil_cli.mil.models.sam_mil import Model


@pytest.fixture
def bag() -> Bag:
    return make_bag()


def test_the_terms_are_those_of_equation_13(bag: Bag) -> None:
    assert list(build().losses(bag, LABEL, seeded())) == ["bag", "pseudo_bags", "consistency"]


def test_a_weight_of_zero_drops_its_term(bag: Bag) -> None:
    assert set(build(pseudo_bag_weight=0.0).losses(bag, LABEL, seeded())) == {"bag", "consistency"}
    assert set(build(consistency_weight=0.0).losses(bag, LABEL, seeded())) == {"bag", "pseudo_bags"}
    assert set(build(pseudo_bag_weight=0.0, consistency_weight=0.0).losses(bag, LABEL, seeded())) == {"bag"}


def test_the_weights_of_the_terms_are_applied(bag: Bag) -> None:
    once = values(build(pseudo_bag_weight=1.0, consistency_weight=1.0).losses(bag, LABEL, seeded()))
    more = values(build(pseudo_bag_weight=0.3, consistency_weight=7.0).losses(bag, LABEL, seeded()))
    assert more["bag"] == pytest.approx(once["bag"], rel=1e-6)
    assert more["pseudo_bags"] == pytest.approx(0.3 * once["pseudo_bags"], rel=1e-5)
    assert more["consistency"] == pytest.approx(7 * once["consistency"], rel=1e-5)


@pytest.mark.parametrize("grouping", ["region", "area"])
@pytest.mark.parametrize("form", FORMS)
def test_the_whole_loss_and_its_gradient_are_those_of_equation_13(bag: Bag, grouping: str, form: str) -> None:
    bag = dataclasses.replace(bag, region_area=torch.tensor([9000.0, 300.0, 9000.0]))  # regions 0 and 2 merge by area
    model = build(pseudo_bag_weight=0.25, consistency_weight=3.0, grouping=grouping, consistency_form=form)
    found = model.losses(bag, LABEL, seeded())
    generator, instances = seeded(), torch.cat([bag.features, bag.group_features])
    keep = kept(bag, model.spec, generator)
    masked = cross_entropy(by_hand(model, instances[keep]))
    parts = parts_of(len(instances), 4, generator)
    pseudo = torch.stack([cross_entropy(by_hand(model, instances[part])) for part in parts]).mean()
    groups = bag.groups(grouping)
    assert (bag.region < 0).any()
    region = torch.cat([bag.region, bag.group_region])
    inside = (region >= 0).nonzero()[:, 0]  # patches in no region are no region
    group = groups.instance[inside]
    consistent = FORMS[form](model(bag).attention[inside].log(), group, torch.bincount(group, minlength=4))
    expected = masked + 0.25 * pseudo + 3 * consistent
    assert total(found).item() == pytest.approx(expected.item(), rel=1e-5)
    one, other = gradient(model, total(found)), gradient(model, expected)
    for name in one:
        assert torch.allclose(one[name], other[name], rtol=1e-3, atol=1e-6), name


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("function", RATIO_FUNCTIONS)
def test_the_masked_bag_is_classified_from_the_kept_instances_only(bag: Bag, strategy: str, function: str) -> None:
    model = build(mask_strategy=strategy, mask_ratio_function=function)
    keep = kept(bag, model.spec, seeded())
    assert (int(keep.sum()) == len(keep)) == (strategy == "none")
    assert keep.any()
    instances = torch.cat([bag.features, bag.group_features])[keep]
    found = model.losses(bag, LABEL, seeded())["bag"]
    assert found.item() == pytest.approx(cross_entropy(by_hand(model, instances)).item(), rel=1e-5)


def test_dropped_patches_have_no_say_in_the_masked_bag(bag: Bag) -> None:
    model = build()
    keep = kept(bag, model.spec, seeded())[:PATCHES]
    before = model.losses(bag, LABEL, seeded())["bag"].item()
    for chosen, same in ((~keep, True), (keep, False)):
        features = bag.features.clone()
        features[chosen] += 5
        after = model.losses(dataclasses.replace(bag, features=features), LABEL, seeded())["bag"].item()
        assert (abs(after - before) < 1e-6) == same


def test_pseudo_bags_are_parts_of_the_whole_bag_with_the_label_of_the_slide(bag: Bag) -> None:
    model = build(pseudo_bag_weight=0.25)
    generator = seeded()
    kept(bag, model.spec, generator)  # what is drawn before
    instances = torch.cat([bag.features, bag.group_features])
    parts = parts_of(len(instances), 4, generator)
    expected = torch.stack([cross_entropy(by_hand(model, instances[part])) for part in parts]).mean()
    found = model.losses(bag, LABEL, seeded())["pseudo_bags"]
    assert found.item() == pytest.approx(0.25 * expected.item(), rel=1e-5)


HELD = ([0, 3, 4, 17, 39], [3, 8, 9, 17, 20, 21, 22], [5, 17], [])  # three patches lie in two regions, one in three


@pytest.mark.parametrize(("stored", "flagged"), [(torch.float32, False), (torch.float16, False), (torch.float32, True)])
def test_eq_6_to_the_letter_gives_each_pseudo_bag_the_means_of_its_own_patches(
    bag: Bag, stored: torch.dtype, flagged: bool
) -> None:
    bag = dataclasses.replace(
        bag,
        flagged=flagged,
        features=bag.features.to(stored),
        region_area=torch.tensor([9000.0, 300.0, 40_000.0, 7.0]),
        member_start=torch.tensor([0, *map(len, HELD)]).cumsum(0),
        member_patch=torch.tensor([patch for patches in HELD for patch in patches], dtype=torch.int32),
    )
    shape = {"pseudo_bag_weight": 0.25, "group_feature_flag": flagged, "dim": DIM + flagged}
    model, generator = build(group_features_of="pseudo-bag", **shape), seeded()
    kept(bag, model.spec, generator)  # what is drawn before
    features, entropies, means = bag.features.float(), [], 0
    for part in parts_of(PATCHES, 4, generator):
        own = [[patch for patch in patches if patch in part.tolist()] for patches in HELD]
        groups = [features[patches].mean(0, keepdim=True) for patches in own if patches]
        means += len(groups)
        blocks = (pad(features[part], (0, int(flagged))), *(pad(one, (0, int(flagged)), value=1) for one in groups))
        entropies.append(cross_entropy(by_hand(model, torch.cat(blocks))))
    assert GROUPS < means < 4 * GROUPS  # more than the bag has; and not each part has patches of each region
    found, expected = model.losses(bag, LABEL, seeded()), 0.25 * torch.stack(entropies).mean()
    assert found["pseudo_bags"].item() == pytest.approx(expected.item(), rel=1e-5)
    one, other = gradient(model, found["pseudo_bags"]), gradient(model, expected)
    assert all(torch.allclose(one[name], other[name], rtol=1e-3, atol=1e-6) for name in one)
    plain = build(**shape).losses(bag, LABEL, seeded())
    assert {name: plain[name].item() == found[name].item() for name in plain} == {
        "bag": True,
        "pseudo_bags": False,
        "consistency": True,
    }


def test_without_group_features_eq_6_has_one_reading(bag: Bag) -> None:
    terms = [
        values(build(group_features=False, group_features_of=of).losses(bag, LABEL, seeded()))
        for of in ("bag", "pseudo-bag")
    ]
    assert terms[0] == terms[1]


def test_a_bag_that_names_no_pairs_has_each_patch_in_its_own_region(bag: Bag) -> None:
    patch, group = bag.pairs
    assert dict(zip(patch.tolist(), group.tolist(), strict=True)) == {
        place: region for place, region in enumerate(bag.region.tolist()) if region >= 0
    }


@pytest.mark.parametrize("group_features", [True, False])
@pytest.mark.parametrize("form", FORMS)
def test_consistency_is_that_of_the_attention_of_the_whole_bag(bag: Bag, form: str, group_features: bool) -> None:
    model = build(consistency_weight=2.0, consistency_form=form, group_features=group_features)
    exact = dataclasses.replace(bag, features=bag.features.double(), group_features=bag.group_features.double())
    attention = copy.deepcopy(model).double().eval()(exact).attention
    members = bag.groups("region").members(group_features)
    expected = 2 * FORMS[form](attention[members.place].log(), members.group, members.size)
    found = model.train().losses(bag, LABEL, seeded())["consistency"]
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize("dropout", [0.0, 0.25])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("term", ["bag", "pseudo_bags", "consistency"])
def test_each_term_alone_moves_every_weight_that_it_should(bag: Bag, term: str, form: str, dropout: float) -> None:
    model = build(consistency_form=form, dropout=dropout)
    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3)
    model.losses(bag, LABEL, seeded())[term].backward()
    reached = {name for name, p in model.named_parameters() if p.grad is not None and float(p.grad.abs().sum()) > 0}
    optimiser.step()
    moved = {name for name, weight in model.named_parameters() if not torch.equal(weight, before[name])}
    assert reached == moved == {*EMBEDDING, *ATTENTION, *(PREDICTOR if term != "consistency" else ())}


@pytest.mark.parametrize(("form", "weight"), [("divergence", 1.0), ("distance", 100.0), ("variance", 10_000.0)])
def test_training_on_the_consistency_term_evens_attention_out_inside_regions(
    bag: Bag, form: str, weight: float
) -> None:
    model = build(pseudo_bag_weight=0.0, consistency_weight=weight, consistency_form=form)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.05)
    before = model.losses(bag, LABEL, seeded())["consistency"].item()
    for _ in range(20):
        optimiser.zero_grad()
        model.losses(bag, LABEL, seeded())["consistency"].backward()
        optimiser.step()
    assert model.losses(bag, LABEL, seeded())["consistency"].item() < 0.5 * before


def test_training_on_eq12_moves_the_attention_of_regions_apart(bag: Bag) -> None:
    model = build(pseudo_bag_weight=0.0, consistency_weight=100.0, consistency_form="eq12")
    optimiser = torch.optim.SGD(model.parameters(), lr=0.05)

    def apart() -> float:
        return 100 - model.losses(bag, LABEL, seeded())["consistency"].item()

    before = apart()
    for _ in range(20):
        optimiser.zero_grad()
        model.losses(bag, LABEL, seeded())["consistency"].backward()
        optimiser.step()
    assert apart() > 1.5 * before > 0


def test_without_group_features_only_patches_are_instances(bag: Bag) -> None:
    model = build(group_features=False, mask_strategy="none")
    found = model.losses(bag, LABEL, seeded())["bag"]
    assert found.item() == pytest.approx(cross_entropy(by_hand(model, bag.features)).item(), rel=1e-5)


def test_prediction_sees_the_whole_bag(bag: Bag) -> None:
    model = build().eval()
    expected = by_hand(model, torch.cat([bag.features, bag.group_features]))
    assert torch.allclose(model(bag).logits, expected, atol=1e-5)


@pytest.mark.parametrize("mode", ["paper", "released"])
def test_the_same_generator_state_gives_the_same_losses(bag: Bag, mode: str) -> None:
    model = build(sammil_mode=mode, dropout=0.25)
    first, again, other = (values(model.losses(bag, LABEL, seeded(seed))) for seed in (5, 5, 6))
    assert first == again
    assert all(first[name] != other[name] for name in first)


@pytest.mark.parametrize("mode", ["paper", "released"])
def test_all_randomness_of_the_losses_is_the_generators(bag: Bag, mode: str) -> None:
    model = build(sammil_mode=mode, dropout=0.25)
    found = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        found.append(values(model.losses(bag, LABEL, seeded())))
    assert found[0] == found[1]


def test_without_masks_and_pseudo_bags_the_order_of_the_patches_does_not_matter(bag: Bag) -> None:
    model = build(mask_strategy="none", pseudo_bag_weight=0.0)
    order = torch.randperm(PATCHES, generator=seeded(2))
    shuffled = dataclasses.replace(bag, features=bag.features[order], region=bag.region[order])
    one, other = (values(model.losses(b, LABEL, seeded())) for b in (bag, shuffled))
    assert one == pytest.approx(other, rel=1e-5)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_on_average_over_draws_the_order_of_the_patches_does_not_matter(bag: Bag, strategy: str) -> None:
    model, draws = build(mask_strategy=strategy, mask_ratio=0.6), 300
    order = torch.argsort(bag.features[:, 0])  # an order that knows the features
    shuffled = dataclasses.replace(bag, features=bag.features[order], region=bag.region[order])
    found = []
    for seed, one in enumerate((bag, shuffled)):
        generator = seeded(seed)
        with torch.no_grad():
            losses = [list(model.losses(one, LABEL, generator).values()) for _ in range(draws)]
        found.append(torch.tensor(losses, dtype=torch.float64))
    error = ((found[0].var(0) + found[1].var(0)) / draws).sqrt()
    assert ((found[0].mean(0) - found[1].mean(0)).abs() < 4 * error + 1e-6).all()


def test_a_region_without_patches_changes_neither_prediction_nor_losses(bag: Bag) -> None:
    wider = dataclasses.replace(bag, region_area=torch.cat([bag.region_area, torch.tensor([77.0])]))
    model = build(dropout=0.25)
    assert values(model.losses(wider, LABEL, seeded())) == values(model.losses(bag, LABEL, seeded()))
    model.eval()
    assert torch.equal(model(wider).logits, model(bag).logits)
    assert torch.equal(model(wider).attention, model(bag).attention)


def test_region_numbers_do_not_matter_to_prediction(bag: Bag) -> None:
    model, other = build().eval(), dataclasses.replace(bag, region=torch.full((PATCHES,), -1))
    assert torch.equal(model(other).logits, model(bag).logits)


def test_dropout_is_off_in_prediction_and_on_in_training(bag: Bag) -> None:
    still, dropping = build(), build(dropout=0.5)
    assert values(dropping.losses(bag, LABEL, seeded())) != values(still.losses(bag, LABEL, seeded()))
    assert values(dropping.eval().losses(bag, LABEL, seeded())) == values(still.losses(bag, LABEL, seeded()))


@pytest.mark.parametrize("mode", ["paper", "released"])
def test_bfloat16_products_change_losses_and_gradients_little(mode: str) -> None:
    bag = make_bag(regions=12, patches=1500, dim=256)
    # As an encoder gives them: none below 0. On centred noise the gradients of a mean cancel, and errors stand out.
    bag = dataclasses.replace(bag, features=bag.features.abs(), group_features=bag.group_features.abs())
    model = build(dim=256, dropout=0.25, sammil_mode=mode)
    exact = model.losses(bag, LABEL, seeded())
    with torch.autocast("cpu", torch.bfloat16):
        rough = model.losses(bag, LABEL, seeded())
    assert values(rough) == pytest.approx(values(exact), rel=1e-2)
    assert values(rough) != values(exact)
    one, other = gradient(model, total(rough)), gradient(model, total(exact))
    error = {name: (one[name] - other[name]).norm() for name in one}
    assert torch.stack(list(error.values())).norm() < 2e-2 * torch.stack([g.norm() for g in other.values()]).norm()
    for name, size in error.items():
        assert size < 5e-2 * other[name].norm(), name  # 0.03 is what torch's own autocast does here


@pytest.mark.parametrize("mode", ["paper", "released"])
@pytest.mark.parametrize("patches", [1, 2, 4])
def test_fewer_instances_than_pseudo_bags_can_be_learned_from(mode: str, patches: int) -> None:
    bag = make_bag(regions=0, patches=patches) if patches == 1 else make_bag(regions=1, patches=patches)
    model = build(sammil_mode=mode, pseudo_bags=9)
    found = gradient(model, total(model.losses(bag, LABEL, seeded())))
    assert all(torch.isfinite(grad).all() for grad in found.values())
    # a softmax over one instance is 1 whatever its score, and the released loss is of bags of one
    flat = set(ATTENTION) if patches == 1 or mode == "released" else set()
    assert {name for name, grad in found.items() if grad.abs().max() < 1e-6} == flat


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_step_has_as_many_operations_for_a_thousand_regions_as_for_one(strategy: str, form: str) -> None:
    seen = []
    for regions in (1, 20, 1000):
        bag = make_bag(regions=regions, patches=1200)
        model = build(mask_strategy=strategy, consistency_form=form, dropout=0.25)
        bag.groups("region")  # once for a bag
        with OpWatch() as watch:
            total(model.losses(bag, LABEL, seeded())).backward()
        assert not watch.waits, watch.waits
        assert watch.ops["threshold_backward"] >= 3  # those of the backward pass written by hand
        seen.append(watch.ops)
    assert seen[0] == seen[1] == seen[2]


def test_the_model_is_the_published_core(bag: Bag) -> None:
    model = Model(ModelSpec(dim=1024, classes=2, group_features=True), Options())
    assert sum(p.numel() for p in model.parameters()) == 591_490  # docs/methods.md §16
    assert [m.bias is None for m in model.attention if isinstance(m, nn.Linear)] == [True, True]
