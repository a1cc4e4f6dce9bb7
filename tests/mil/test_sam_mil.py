"""The training loss of SAM-MIL (eq. 13), term by term."""

import dataclasses

import pytest
import torch
from torch import Tensor, nn

from sammil_cli.mil.consistency import region_consistency
from sammil_cli.mil.contract import Bag, ModelSpec, Options
from sammil_cli.mil.masking import keep_instances
from sammil_cli.mil.models.sam_mil import Model
from sammil_cli.mil.pseudo_bags import split

PATCHES, GROUPS, DIM = 40, 3, 6
SPEC = ModelSpec(dim=DIM, classes=2, group_features=True, dropout=0.0, pseudo_bags=4)
LABEL = torch.tensor(1)


def seeded(seed: int = 5) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def bag() -> Bag:
    generator = seeded(1)
    return Bag(
        features=torch.randn(PATCHES, DIM, generator=generator),
        group_features=torch.randn(GROUPS, DIM, generator=generator),
        region=torch.randint(-1, GROUPS, (PATCHES,), generator=generator),
        group_region=torch.arange(GROUPS),
        region_area=torch.tensor([9000.0, 300.0, 40_000.0]),
    )


def build(**changes: object) -> Model:
    torch.manual_seed(0)
    model = Model(dataclasses.replace(SPEC, **changes), Options())
    model.initialise()
    return model


def kept(bag: Bag, spec: ModelSpec, generator: torch.Generator) -> Tensor:
    """The mask that `losses` draws first from the generator."""
    return keep_instances(
        spec.mask_strategy,
        bag.instance_region(spec.group_features),
        len(bag.features),
        bag.region_area,
        target=spec.mask_ratio,
        function=spec.mask_ratio_function,
        slope=spec.sigmoid_slope,
        center=spec.sigmoid_center,
        generator=generator,
    )


def by_hand(model: Model, instances: Tensor) -> Tensor:
    """Logits of a bag of these instances: e = relu(W0 x + b0), s = W2 relu(W1 e), z = softmax(s) e, W z + b."""
    state = model.state_dict()
    embedded = torch.relu(instances @ state["patch_to_emb.0.weight"].T + state["patch_to_emb.0.bias"])
    scores = torch.relu(embedded @ state["attention.0.weight"].T) @ state["attention.2.weight"][0]
    pooled = torch.softmax(scores, 0) @ embedded
    return pooled @ state["predictor.weight"].T + state["predictor.bias"]


def cross_entropy(logits: Tensor) -> float:
    return -torch.log_softmax(logits, 0)[int(LABEL)].item()


def test_the_terms_are_those_of_equation_13(bag: Bag) -> None:
    assert list(build().losses(bag, LABEL, seeded())) == ["bag", "pseudo_bags", "consistency"]


def test_a_weight_of_zero_drops_its_term(bag: Bag) -> None:
    assert set(build(pseudo_bag_weight=0.0).losses(bag, LABEL, seeded())) == {"bag", "consistency"}
    assert set(build(consistency_weight=0.0).losses(bag, LABEL, seeded())) == {"bag", "pseudo_bags"}


def test_the_weights_of_the_terms_are_applied(bag: Bag) -> None:
    once = build(pseudo_bag_weight=1.0, consistency_weight=1.0).losses(bag, LABEL, seeded())
    more = build(pseudo_bag_weight=0.3, consistency_weight=7.0).losses(bag, LABEL, seeded())
    assert more["bag"].item() == pytest.approx(once["bag"].item(), rel=1e-6)
    assert more["pseudo_bags"].item() == pytest.approx(0.3 * once["pseudo_bags"].item(), rel=1e-5)
    assert more["consistency"].item() == pytest.approx(7 * once["consistency"].item(), rel=1e-5)


def test_the_masked_bag_is_classified_from_the_kept_instances_only(bag: Bag) -> None:
    model = build()
    keep = kept(bag, model.spec, seeded())
    assert 0 < int(keep.sum()) < len(keep)
    instances = torch.cat([bag.features, bag.group_features])[keep]
    found = model.losses(bag, LABEL, seeded())["bag"]
    assert found.item() == pytest.approx(cross_entropy(by_hand(model, instances)), rel=1e-5)


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
    parts = split(len(instances), 4, generator, instances.device)
    expected = sum(cross_entropy(by_hand(model, instances[part])) for part in parts) / 4
    found = model.losses(bag, LABEL, seeded())["pseudo_bags"]
    assert found.item() == pytest.approx(0.25 * expected, rel=1e-5)


def test_consistency_is_that_of_the_attention_of_the_whole_bag(bag: Bag) -> None:
    model = build(consistency_weight=2.0)
    attention = model.eval()(bag).attention
    expected = 2 * region_consistency(attention, torch.cat([bag.region, bag.group_region]), GROUPS)
    found = model.train().losses(bag, LABEL, seeded())["consistency"]
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize(("term", "moves_predictor"), [("bag", True), ("pseudo_bags", True), ("consistency", False)])
def test_each_term_alone_moves_the_trained_weights(bag: Bag, term: str, moves_predictor: bool) -> None:
    model = build()
    model.losses(bag, LABEL, seeded())[term].backward()
    moved = {name for name, p in model.named_parameters() if p.grad is not None and float(p.grad.abs().sum()) > 0}
    expected = {name for name, _ in model.named_parameters() if moves_predictor or not name.startswith("predictor")}
    assert moved == expected


def test_training_on_the_consistency_term_evens_attention_out_inside_regions(bag: Bag) -> None:
    model = build(pseudo_bag_weight=0.0, consistency_weight=100.0)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.05)
    before = model.losses(bag, LABEL, seeded())["consistency"].item()
    for _ in range(20):
        optimiser.zero_grad()
        model.losses(bag, LABEL, seeded())["consistency"].backward()
        optimiser.step()
    assert model.losses(bag, LABEL, seeded())["consistency"].item() < 0.5 * before


def test_without_group_features_only_patches_are_instances(bag: Bag) -> None:
    model = build(group_features=False, mask_strategy="none")
    found = model.losses(bag, LABEL, seeded())["bag"]
    assert found.item() == pytest.approx(cross_entropy(by_hand(model, bag.features)), rel=1e-5)


def test_prediction_sees_the_whole_bag(bag: Bag) -> None:
    model = build().eval()
    expected = by_hand(model, torch.cat([bag.features, bag.group_features]))
    assert torch.allclose(model(bag).logits, expected, atol=1e-5)


def test_the_same_generator_state_gives_the_same_losses(bag: Bag) -> None:
    model = build()
    first, again, other = (model.losses(bag, LABEL, seeded(seed)) for seed in (5, 5, 6))
    assert {name: value.item() for name, value in first.items()} == {n: v.item() for n, v in again.items()}
    assert first["bag"].item() != other["bag"].item()


def test_the_model_is_the_published_core(bag: Bag) -> None:
    model = Model(ModelSpec(dim=1024, classes=2, group_features=True), Options())
    assert sum(p.numel() for p in model.parameters()) == 591_490  # METHODS §16
    assert [m.bias is None for m in model.attention if isinstance(m, nn.Linear)] == [True, True]
