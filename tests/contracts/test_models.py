"""What every MIL model keeps, whatever file of `mil/models/` it comes from."""

import dataclasses
from pathlib import Path

import pytest
import torch
from torch import Tensor

from sammil_cli import choices
from sammil_cli.errors import InputError
from sammil_cli.features.bag import EncoderFacts
from sammil_cli.mil.contract import Bag, MILModel, ModelSpec
from sammil_cli.training.bundle import BundleFacts, build_model, read_bundle, write_bundle
from sammil_cli.training.loop import predict

MODELS = choices.names(choices.MODELS)
PATCHES, GROUPS, DIM = 13, 4, 7

every_model = pytest.mark.parametrize("name", MODELS)


def make_bag(patches: int = PATCHES, groups: int = GROUPS, seed: int = 1) -> Bag:
    """`groups` of the 5 regions have a group feature; some patches lie in no region."""
    generator = torch.Generator().manual_seed(seed)
    return Bag(
        features=torch.randn(patches, DIM, generator=generator),
        group_features=torch.randn(groups, DIM, generator=generator),
        region=torch.randint(-1, groups, (patches,), generator=generator),
        group_region=torch.arange(groups),
        region_area=torch.tensor([9000.0, 12.0, 700.0, 40_000.0, 3.0])[: groups + 1 if groups else 0],
    )


def build(name: str, seed: int = 0, **changes: object) -> MILModel:
    spec = ModelSpec(**{"dim": DIM, "classes": 2, "group_features": True, **changes})
    torch.manual_seed(seed)
    model = build_model(name, spec, {})
    model.initialise()
    return model


def total_loss(model: MILModel, bag: Bag, label: int = 1) -> Tensor:
    terms = model.losses(bag, torch.tensor(label), torch.Generator().manual_seed(4))
    return torch.stack(list(terms.values())).sum()


def facts_of(model: MILModel, name: str) -> BundleFacts:
    return BundleFacts(
        model=name,
        model_options={},
        spec=model.spec,
        classes=("normal", "tumour"),
        threshold=0.4,
        temperature=1.5,
        protocol="honest",
        encoder=EncoderFacts(
            name="texture", weights_sha256=None, dim=DIM, patch_px=64, patch_mpp=0.5, patch_px_level0=128
        ),
        repeat=0,
        fold=1,
        seed=3,
        epoch=2,
        val_auc=None,
        provenance={},
    )


def test_the_folder_holds_the_models_of_this_release() -> None:
    assert {"mean", "max", "abmil", "sam-mil"} <= set(MODELS)


@every_model
@pytest.mark.parametrize("group_features", [True, False])
def test_the_output_has_one_row_per_instance_and_one_column_per_class(name: str, group_features: bool) -> None:
    output = build(name, group_features=group_features).eval()(make_bag())
    instances = PATCHES + GROUPS if group_features else PATCHES
    assert output.logits.shape == (2,)
    assert output.attention.shape == (instances,)
    assert output.evidence.shape == (instances, 2)


@every_model
def test_attention_is_a_distribution_over_instances_and_evidence_one_over_classes(name: str) -> None:
    output = build(name).eval()(make_bag())
    assert float(output.attention.detach().sum()) == pytest.approx(1, abs=1e-5)
    assert bool((output.attention >= 0).all())
    assert torch.allclose(output.evidence.sum(1), torch.ones(PATCHES + GROUPS), atol=1e-5)
    assert bool((output.evidence >= 0).all())


@every_model
def test_a_bag_of_one_patch_can_be_classified_and_learned_from(name: str) -> None:
    model, bag = build(name), make_bag(patches=1, groups=0)
    assert torch.isfinite(total_loss(model, bag))
    output = model.eval()(bag)
    assert torch.isfinite(output.logits).all()
    assert output.attention.tolist() == pytest.approx([1.0])


@every_model
def test_a_bag_without_regions_and_group_features_can_be_classified_and_learned_from(name: str) -> None:
    model, bag = build(name), make_bag(groups=0)
    assert bag.region.unique().tolist() == [-1]
    total_loss(model, bag).backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)
    output = model.eval()(bag)
    assert torch.isfinite(output.logits).all()
    assert output.attention.shape == (PATCHES,)


@every_model
def test_the_order_of_the_patches_does_not_matter(name: str) -> None:
    model, bag = build(name).eval(), make_bag()
    order = torch.randperm(PATCHES, generator=torch.Generator().manual_seed(2))
    shuffled = dataclasses.replace(bag, features=bag.features[order], region=bag.region[order])
    one, other = model(bag), model(shuffled)
    assert torch.allclose(one.logits, other.logits, atol=1e-5)
    assert torch.allclose(one.attention[:PATCHES][order], other.attention[:PATCHES], atol=1e-6)
    assert torch.allclose(one.attention[PATCHES:], other.attention[PATCHES:], atol=1e-6)
    assert torch.allclose(one.evidence[:PATCHES][order], other.evidence[:PATCHES], atol=1e-5)


@every_model
def test_patches_change_the_answer(name: str) -> None:
    model, bag = build(name).eval(), make_bag()
    other = dataclasses.replace(bag, features=bag.features * 3 + 1)
    assert not torch.allclose(model(bag).logits, model(other).logits, atol=1e-3)


@every_model
def test_group_features_change_the_answer_only_where_they_are_wanted(name: str) -> None:
    bag = make_bag()
    other = dataclasses.replace(bag, group_features=bag.group_features * 3 + 4)
    for wanted in (True, False):
        model = build(name, group_features=wanted).eval()
        assert torch.allclose(model(bag).logits, model(other).logits, atol=1e-3) != wanted


@every_model
@pytest.mark.parametrize("group_features", [True, False])
def test_the_gradient_reaches_the_first_layer(name: str, group_features: bool) -> None:
    model = build(name, group_features=group_features, dropout=0.0)
    total_loss(model, make_bag()).backward()
    first = next(model.parameters())
    assert first.shape[-1] == DIM
    assert first.grad is not None
    assert float(first.grad.abs().sum()) > 0


@every_model
def test_learning_one_bag_lowers_its_loss(name: str) -> None:
    model, bag = build(name, dropout=0.0), make_bag()
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3)
    before = total_loss(model, bag).item()
    for _ in range(20):
        optimiser.zero_grad()
        total_loss(model, bag).backward()
        optimiser.step()
    assert total_loss(model, bag).item() < 0.8 * before


@every_model
def test_a_saved_and_loaded_model_gives_the_same_logits(name: str, tmp_path: Path) -> None:
    model, bag = build(name, dropout=0.5), make_bag()
    write_bundle(tmp_path / "fold", model.state_dict(), facts_of(model, name))
    loaded, facts = read_bundle(tmp_path / "fold", "cpu")
    assert facts == facts_of(model, name)
    assert torch.equal(loaded(bag).logits, model.eval()(bag).logits)


@every_model
def test_the_same_seed_builds_the_same_model_and_another_one_does_not(name: str) -> None:
    bag = make_bag()
    logits = [build(name, seed=seed).eval()(bag).logits for seed in (1, 1, 2)]
    assert torch.equal(logits[0], logits[1])
    assert not torch.equal(logits[0], logits[2])


@every_model
def test_dropout_acts_in_training_and_never_in_prediction(name: str) -> None:
    model, bag = build(name, dropout=0.9), make_bag()
    model.train()
    assert not torch.equal(model(bag).logits, model(bag).logits)
    model.eval()
    assert torch.equal(model(bag).logits, model(bag).logits)
    first = predict(model.train(), lambda _: bag, ["a"])
    assert (first == predict(model.train(), lambda _: make_bag(), ["a"])).all()


@every_model
def test_predicting_neither_changes_parameters_nor_leaves_gradients(name: str) -> None:
    model = build(name)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    found = predict(model, lambda _: make_bag(), ["a", "b"])
    assert found.shape == (2, 2)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())


@every_model
def test_losses_neither_change_the_bag_nor_the_weights(name: str) -> None:
    model, bag = build(name), make_bag()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    total_loss(model, bag)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    fresh = make_bag()
    for field in dataclasses.fields(Bag):
        assert torch.equal(getattr(bag, field.name), getattr(fresh, field.name))


@every_model
def test_an_unknown_option_is_refused_and_the_known_ones_are_named(name: str) -> None:
    spec = ModelSpec(dim=DIM, classes=2, group_features=True)
    known = choices.load(choices.MODELS, name).Model.options_type.model_fields
    with pytest.raises(InputError, match="nonsense") as caught:
        build_model(name, spec, {"nonsense": 1})
    assert all(option in caught.value.remedy for option in known or ("none",))


@every_model
@pytest.mark.parametrize("stored", [torch.float16, torch.bfloat16])
def test_features_of_half_precision_are_read_as_numbers_of_single_precision(name: str, stored: torch.dtype) -> None:
    bag = make_bag()
    half = dataclasses.replace(bag, features=bag.features.to(stored), group_features=bag.group_features.to(stored))
    wide = dataclasses.replace(half, features=half.features.float(), group_features=half.group_features.float())
    model = build(name, dropout=0.0)
    assert torch.allclose(total_loss(model, half), total_loss(model, wide), rtol=1e-5)
    model.eval()
    assert torch.allclose(model(half).logits, model(wide).logits, atol=1e-5)


@every_model
def test_products_in_bfloat16_can_be_learned_from(name: str) -> None:
    model, bag = build(name, dropout=0.0), make_bag()
    exact = total_loss(model, bag).item()
    with torch.autocast("cpu", torch.bfloat16):
        rough = total_loss(model, bag)
    rough.backward()
    assert rough.item() == pytest.approx(exact, rel=0.05)
    assert all(p.grad.dtype == torch.float32 and torch.isfinite(p.grad).all() for p in model.parameters())


@every_model
def test_a_bag_can_be_learned_from_after_it_was_predicted_and_the_other_way_round(name: str) -> None:
    model, bag = build(name), make_bag()
    first = predict(model, lambda _: bag, ["a"])
    total_loss(model.train(), bag).backward()
    assert (predict(model, lambda _: bag, ["a"]) == first).all()
    total_loss(model.train(), bag).backward()


@every_model
def test_three_classes_can_be_learned_and_predicted(name: str) -> None:
    model, bag = build(name, classes=3), make_bag()
    losses = [total_loss(model, bag, label).item() for label in range(3)]
    assert len(set(losses)) == 3
    found = predict(model, lambda _: bag, ["a"])
    assert found.shape == (1, 3)
    assert float(found.sum()) == pytest.approx(1)
    assert model.eval()(bag).evidence.shape == (PATCHES + GROUPS, 3)


def test_the_gated_option_of_abmil_adds_a_gate() -> None:
    spec = ModelSpec(dim=1024, classes=2, group_features=True)
    sizes = [sum(p.numel() for p in build_model("abmil", spec, o).parameters()) for o in ({}, {"gated": True})]
    assert sizes == [591_619, 591_619 + 512 * 128 + 128]  # METHODS §16; one more Linear(512, 128)


def test_a_wrong_value_of_an_option_is_refused() -> None:
    with pytest.raises(InputError, match=r"model_options\.gated of abmil"):
        build_model("abmil", ModelSpec(dim=DIM, classes=2, group_features=True), {"gated": "perhaps"})


def test_an_unknown_model_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(InputError, match="unknown model 'sam_mill'") as caught:
        build_model("sam_mill", ModelSpec(dim=DIM, classes=2, group_features=True), {})
    assert "did you mean sam-mil?" in caught.value.remedy
    assert all(name in caught.value.remedy for name in MODELS)


def test_mean_and_max_pool_the_instance_logits() -> None:
    bag = make_bag()
    for name in ("mean", "max"):
        model = build(name).eval()
        logits = model.head(bag.instances(True))
        pooled = logits.mean(0) if name == "mean" else torch.stack([logits[:, c].max() for c in range(2)])
        assert torch.allclose(model(bag).logits, pooled)


def test_the_attention_of_max_is_the_share_of_classes_that_an_instance_decides() -> None:
    model, bag = build("max", classes=3).eval(), make_bag()
    winners = model.head(bag.instances(True)).argmax(0).tolist()
    expected = [winners.count(i) / 3 for i in range(PATCHES + GROUPS)]
    assert model(bag).attention.tolist() == pytest.approx(expected)
