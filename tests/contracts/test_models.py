"""Our own models keep what every model keeps (`sammil_cli.testing.models`), and what each of them promises besides."""

from pathlib import Path

import pytest
import torch

from sammil_cli import choices
from sammil_cli.config import TrainSettings
from sammil_cli.errors import InputError
from sammil_cli.features.bag import EncoderFacts
from sammil_cli.mil.contract import MILModel
from sammil_cli.mil.model_spec import ModelSpec
from sammil_cli.stages.settled import settled
from sammil_cli.testing.models import DIM, GROUPS, PATCHES, ModelContract, build, make_bag, total_loss
from sammil_cli.training.loop import predict
from sammil_cli.training.model_facts import ModelFacts
from sammil_cli.training.trained_model import build_model, read_model, write_model

MODELS = choices.names(choices.MODELS)
SPEC = ModelSpec(dim=DIM, classes=2, group_features=True)

every_model = pytest.mark.parametrize("name", MODELS)


def facts_of(model: MILModel, name: str) -> ModelFacts:
    return ModelFacts(
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


class TestOwnModels(ModelContract):
    @pytest.fixture(params=MODELS)
    def word(self, request: pytest.FixtureRequest) -> str:
        return str(request.param)


def test_the_folder_holds_the_models_of_this_release() -> None:
    assert {"mean", "max", "abmil", "sam-mil"} <= set(MODELS)


def test_the_bags_of_the_contract_have_patches_in_no_region_and_regions_without_a_feature() -> None:
    assert {-1, *range(GROUPS)} == set(make_bag().region.tolist())
    assert len(make_bag().region_area) == GROUPS + 1
    assert set(make_bag(groups=0).region.tolist()) == {-1}


@every_model
@pytest.mark.parametrize("group_features", [True, False])
def test_the_gradient_reaches_the_first_layer(name: str, group_features: bool) -> None:
    model = build(name, group_features=group_features, dropout=0.0)
    total_loss(model, make_bag()).backward()
    first = next(weight for weight in model.parameters() if DIM in weight.shape)  # a class token may stand before it
    assert first.grad is not None
    assert float(first.grad.abs().sum()) > 0


@every_model
def test_all_of_it_learns_that_prediction_needs(name: str) -> None:
    model = build(name)
    learning = {key: one.requires_grad for key, one in model.named_parameters()}
    assert all(learns or key.startswith(model.training_only or ("\0",)) for key, learns in learning.items())


@every_model
def test_a_saved_and_loaded_model_gives_the_same_logits(name: str, tmp_path: Path) -> None:
    model, bag = build(name, dropout=0.5), make_bag()
    write_model(tmp_path / "fold", model.state_dict(), facts_of(model, name))
    loaded, facts = read_model(tmp_path / "fold", "cpu")
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
def test_predictions_are_probabilities(name: str) -> None:
    found = predict(build(name, classes=3), lambda _: make_bag(), ["a", "b"])
    assert found.shape == (2, 3)
    assert found.sum(1).tolist() == pytest.approx([1, 1])


@every_model
def test_an_unknown_option_is_refused_and_the_known_ones_are_named(name: str) -> None:
    known = choices.load(choices.MODELS, name).Model.options_type.model_fields
    with pytest.raises(InputError, match="nonsense") as caught:
        build_model(name, SPEC, {"nonsense": 1})
    assert all(option in caught.value.remedy for option in known or ("none",))


@every_model
def test_auto_gives_group_features_to_sam_mil_alone_and_a_word_goes_before_it(name: str) -> None:
    settings = {setting: TrainSettings(model=name, group_features=setting) for setting in ("auto", True, False)}
    found = {setting: settled(one).group_features for setting, one in settings.items()}
    assert found == {"auto": name == "sam-mil", True: True, False: False}


def test_the_gated_option_of_abmil_adds_a_gate() -> None:
    spec = ModelSpec(dim=1024, classes=2, group_features=True)
    sizes = [sum(p.numel() for p in build_model("abmil", spec, o).parameters()) for o in ({}, {"gated": True})]
    assert sizes == [591_619, 591_619 + 512 * 128 + 128]  # docs/methods.md §16; one more Linear(512, 128)


def test_a_wrong_value_of_an_option_is_refused() -> None:
    with pytest.raises(InputError, match=r"model_options\.gated of abmil"):
        build_model("abmil", SPEC, {"gated": "perhaps"})


def test_an_unknown_model_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(InputError, match="unknown model 'sam_mill'") as caught:
        build_model("sam_mill", SPEC, {})
    assert "did you mean sam-mil?" in caught.value.remedy
    assert all(name in caught.value.remedy for name in MODELS)


def test_a_word_longer_than_any_name_is_refused_and_cut() -> None:
    with pytest.raises(InputError, match=r"unknown model 'x{100}'\n"):
        build_model("x" * 5000, SPEC, {})


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
