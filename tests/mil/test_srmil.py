"""SRMIL: its losses against the definition written out node by node, its parts, and what it keeps."""

import math
from dataclasses import replace

import pytest
import torch
from op_watch import OpWatch
from torch import Tensor
from torch.nn.functional import layer_norm

from sammil_cli.errors import InputError
from sammil_cli.mil.contract import Bag, MILModel
from sammil_cli.mil.graph_attention import Dropout, GraphAttention
from sammil_cli.mil.model_spec import ModelSpec
from sammil_cli.mil.models.srmil import PUBLISHED, Model, SrmilOptions
from sammil_cli.mil.recipe import Recipe
from sammil_cli.testing.models import DIM, GROUPS, PATCHES, make_bag
from sammil_cli.training.loop import trained_state
from sammil_cli.training.trained_model import build_model

NO_DROPOUT = {"attention_dropout": 0.0, "classifier_dropout": 0.0}
LABEL = torch.tensor(1)


def exact_bag() -> Bag:
    bag = make_bag()
    return replace(bag, features=bag.features.double(), group_features=bag.group_features.double())


def build(*, group_features: bool = True, classes: int = 3, **options: float) -> MILModel:
    """Random weights in all places, in float64, without dropout where `options` do not say otherwise."""
    torch.manual_seed(0)
    spec = ModelSpec(dim=DIM, classes=classes, group_features=group_features, dropout=0.0)
    model = build_model("srmil", spec, {**NO_DROPOUT, **options}).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return model


def losses(model: MILModel, bag: Bag, seed: int = 4) -> dict[str, Tensor]:
    return model.losses(bag, LABEL, torch.Generator().manual_seed(seed))


# ------------------------------------------------------------------------------------- the definition, node by node


class ByHand:
    """SRMIL as docs/methods.md §11 has it: a list of neighbours for every node, three separate passes."""

    def __init__(self, model: MILModel, bag: Bag, group_features: bool) -> None:
        self.weights = dict(model.named_parameters())
        self.features = bag.instances(group_features)
        places = bag.instance_places(group_features).tolist()
        self.near = [[j for j, other in enumerate(places) if math.dist(one, other) <= 2.84] for one in places]

    def layer(self, name: str, nodes: list[Tensor], near: list[list[int]], heads: int = 4) -> list[Tensor]:
        of = {key.removeprefix(f"{name}."): value for key, value in self.weights.items() if key.startswith(f"{name}.")}
        values = [(of["fc.weight"] @ node).view(heads, -1) for node in nodes]
        found = []
        for node, neighbours in enumerate(near):
            parts = []
            for head in range(heads):
                a_l, a_r = of["attn_l"][0, head], of["attn_r"][0, head]
                scores = [a_l @ values[j][head] + a_r @ values[node][head] for j in neighbours]
                weights = torch.softmax(torch.stack([s if s > 0 else 0.2 * s for s in scores]), 0)
                parts.append(sum(w * values[j][head] for w, j in zip(weights, neighbours, strict=True)))
            said = torch.cat(parts) + of["bias"]
            if "res_fc.weight" in of:
                said = said + of["res_fc.weight"] @ nodes[node]
            if "norm.weight" in of:
                said = layer_norm(said, said.shape, of["norm.weight"], of["norm.bias"])
                said = torch.where(said > 0, said, of["activation.weight"] * said)
            found.append(said)
        return found

    def reform(self, rows: list[Tensor]) -> list[Tensor]:
        return [self.weights["reformer.weight"] @ row + self.weights["reformer.bias"] for row in rows]

    def classify(self, rows: list[Tensor]) -> Tensor:
        """Logits, with the super-node as one more node behind the others."""
        count = len(rows)
        near = [[*neighbours, count] for neighbours in self.near] + [list(range(count))]
        nodes = self.reform([*rows, self.weights["super_tokens"][0]])
        for name in ("first_encoder", "second_encoder"):
            nodes = self.layer(name, nodes, near)
        mean = nodes[-1].view(4, -1).mean(0)
        inner = torch.relu(self.weights["condense.weight"] @ mean + self.weights["condense.bias"])
        return self.weights["classifier.weight"] @ inner + self.weights["classifier.bias"]

    def entropy(self, rows: list[Tensor]) -> Tensor:
        return -torch.log_softmax(self.classify(rows), 0)[LABEL]

    def masked(self, hidden: list[int]) -> list[Tensor]:
        token = self.weights["enc_mask_token"][0]
        return [token if node in hidden else row for node, row in enumerate(self.features)]

    def reconstruction(self, hidden: list[int]) -> Tensor:
        nodes = self.reform(self.masked(hidden))
        for name in ("first_encoder", "second_encoder"):
            nodes = self.layer(name, nodes, self.near)
        nodes = [self.weights["encoder_to_decoder.weight"] @ node for node in nodes]
        nodes = [self.weights["dec_mask_token"][0] if node in hidden else row for node, row in enumerate(nodes)]
        nodes = self.layer("first_decoder", nodes, self.near)
        nodes = self.layer("second_decoder", nodes, self.near, heads=1)
        cosines = [
            nodes[node] @ self.features[node] / (nodes[node].norm() * self.features[node].norm()) for node in hidden
        ]
        return torch.stack([1 - cosine for cosine in cosines]).mean()


@pytest.mark.parametrize("group_features", [True, False])
def test_losses_and_gradients_are_those_of_the_definition(group_features: bool) -> None:
    model, bag = build(group_features=group_features, reconstruction_weight=1.3, unmasked_weight=0.6), exact_bag()
    count = PATCHES + GROUPS * group_features
    hidden = torch.randperm(count, generator=torch.Generator().manual_seed(4))[: int(0.7 * count)].tolist()
    by_hand = ByHand(model, bag, group_features)
    wanted = {  # (2 − w_gen) [(2 − w_ce) CE_mask + w_ce CE_full] + w_gen L_rec
        "bag": 0.7 * 0.6 * by_hand.entropy(list(by_hand.features)),
        "masked": 0.7 * 1.4 * by_hand.entropy(by_hand.masked(hidden)),
        "reconstruction": 1.3 * by_hand.reconstruction(hidden),
    }
    found = losses(model, bag)
    assert list(found) == list(wanted)
    for name, value in wanted.items():
        assert found[name].item() == pytest.approx(value.item(), rel=1e-9), name
    weights = list(model.parameters())
    for name, value in wanted.items():
        ours, theirs = (
            torch.autograd.grad(one, weights, retain_graph=True, allow_unused=True, materialize_grads=True)
            for one in (found[name], value)
        )
        for (weight, _), one, other in zip(model.named_parameters(), ours, theirs, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-7, atol=1e-10, msg=f"{weight} of {name}")


def test_prediction_is_the_pass_over_all_nodes() -> None:
    model, bag = build().eval(), exact_bag()
    wanted = ByHand(model, bag, True).classify(list(bag.instances(True)))
    torch.testing.assert_close(model(bag).logits, wanted, rtol=1e-9, atol=1e-12)


def test_by_default_the_weights_are_the_published_ones() -> None:
    published, plain = build(), build(reconstruction_weight=1.0, unmasked_weight=1.0)
    found, terms = losses(published, exact_bag()), losses(plain, exact_bag())
    factors = {"bag": 0.2, "masked": 0.2, "reconstruction": 1.8}
    assert {name: (found[name] / terms[name]).item() for name in found} == pytest.approx(factors)


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({"reconstruction_weight": 0.0}, {"bag", "masked"}),
        ({"unmasked_weight": 0.0}, {"masked", "reconstruction"}),
        ({"unmasked_weight": 2.0}, {"bag", "reconstruction"}),
        ({"unmasked_weight": 2.0, "reconstruction_weight": 0.0}, {"bag"}),
        ({"unmasked_weight": 0.0, "reconstruction_weight": 0.0}, {"masked"}),
    ],
)
def test_a_term_of_weight_zero_is_not_computed(options: dict[str, float], names: set[str]) -> None:
    found = losses(build(**options), exact_bag())
    assert set(found) == names
    assert all(value > 0 for value in found.values())


# ------------------------------------------------------------------------------------- what is hidden


def test_what_is_hidden_stays_hidden_from_two_of_the_losses() -> None:
    model, bag = build(group_features=False), exact_bag()
    hidden = torch.randperm(PATCHES, generator=torch.Generator().manual_seed(4))[: int(0.7 * PATCHES)]
    features = bag.features.clone()
    features[hidden] *= 3  # in length: the target of the reconstruction is a direction
    one, other = losses(model, bag), losses(model, replace(bag, features=features))
    assert other["masked"].item() == pytest.approx(one["masked"].item(), rel=1e-12)
    assert other["reconstruction"].item() == pytest.approx(one["reconstruction"].item(), rel=1e-12)
    assert other["bag"].item() != pytest.approx(one["bag"].item(), rel=1e-3)


@pytest.mark.parametrize(("share", "count"), [(0.7, 9), (0.3, 3), (0.99, 12), (0.01, 1)])
def test_the_share_that_is_hidden_is_rounded_down_and_never_nothing(share: float, count: int) -> None:
    model = build(group_features=False, mask_share=share)
    assert isinstance(model, Model)
    hidden, shown = model._draw(PATCHES, torch.Generator().manual_seed(1))
    assert len(hidden) == count
    assert sorted([*hidden.tolist(), *shown.tolist()]) == list(range(PATCHES))
    again = model._draw(PATCHES, torch.Generator().manual_seed(2))[0]
    assert count in (1, 12) or hidden.tolist() != again.tolist()


def test_dropout_comes_from_the_generator_alone() -> None:
    spec = ModelSpec(dim=DIM, classes=2, group_features=True, dropout=0.11)
    model, bag = build_model("srmil", spec, {}).train(), make_bag()
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first = losses(model, bag)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    assert {name: value.item() for name, value in losses(model, bag).items()} == {
        name: value.item() for name, value in first.items()
    }
    assert losses(model, bag, seed=5)["bag"].item() != first["bag"].item()


@pytest.mark.parametrize(
    ("options", "dropout"), [({"attention_dropout": 0.6}, 0.0), ({"classifier_dropout": 0.6}, 0.0), ({}, 0.6)]
)
def test_each_dropout_acts_in_training_and_not_in_prediction(options: dict[str, float], dropout: float) -> None:
    model = build(**options)
    model.spec = replace(model.spec, dropout=dropout)
    bag = exact_bag()
    values = {losses(model.train(), bag, seed)["bag"].item() for seed in range(4)}
    assert len(values) == 4
    assert len({model.eval()(bag).logits[0].item() for _ in range(3)}) == 1


def test_dropout_zeroes_its_share_and_keeps_the_mean() -> None:
    dropout, ones = Dropout(0.11, 0.15, torch.Generator().manual_seed(0)), torch.ones(1000, 200)
    for found, share in ((dropout.of_inputs(ones), 0.11), (dropout.of_attention(ones), 0.15)):
        assert float((found == 0).float().mean()) == pytest.approx(share, abs=0.005)
        assert sorted(set(found.flatten().tolist())) == pytest.approx([0, 1 / (1 - share)])
    assert Dropout().of_inputs(ones) is ones
    assert Dropout().factors(ones) is None


# ------------------------------------------------------------------------------------- attention and evidence


def test_evidence_is_what_the_classifier_says_of_an_instance_by_itself() -> None:
    model, bag = build(), exact_bag()
    found = model.eval()(bag)
    assert len(found.attention) == PATCHES + GROUPS
    # A lone patch has all of the super-node's attention: its evidence is the verdict.
    lone = make_bag(1, 0)
    alone = model(replace(lone, features=lone.features.double(), group_features=lone.group_features.double()))
    assert alone.attention.tolist() == pytest.approx([1.0])
    torch.testing.assert_close(alone.evidence[0], torch.softmax(alone.logits, 0), rtol=1e-12, atol=1e-12)


def test_a_patch_far_away_is_no_neighbour_and_joined_by_the_super_node_only() -> None:
    layer = GraphAttention(DIM, 4, 64).double()
    bag = exact_bag()
    assert bag.places is not None
    places = bag.places.clone()
    places[5] = torch.tensor([300.0, 300.0])
    apart = replace(bag, places=places)
    changed = bag.features.clone()
    changed[5] += 1
    for one, moves in ((bag, True), (apart, False)):
        said = [layer(features, one.neighbours(False), Dropout()) for features in (bag.features, changed)]
        others = [node for node in range(PATCHES) if node != 5]
        assert torch.equal(said[0][others], said[1][others]) != moves
    model = build(group_features=False).eval()
    moved = replace(apart, features=changed)
    assert not torch.allclose(model(apart).attention, model(moved).attention, atol=1e-4)


def test_bags_without_places_are_refused() -> None:
    with pytest.raises(ValueError, match="the places of this bag's patches are not known"):
        build()(replace(exact_bag(), places=None))


# ------------------------------------------------------------------------------------- recipe, sizes, what is kept


def test_the_recipe_is_the_published_one() -> None:
    assert Model.recipe == Recipe(
        epochs=100,
        patience=100,
        min_epochs=100,
        learning_rate=5e-4,
        final_learning_rate=0.0,
        weight_decay=1e-5,
        optimiser="adamw",
        schedule="cosine",
        sampling="fixed",
        chosen_by="accuracy",
        choose_last=39,
        dropout=0.11,
    )
    assert SrmilOptions() == SrmilOptions(
        mask_share=0.7, reconstruction_weight=1.8, unmasked_weight=1.0, attention_dropout=0.15, classifier_dropout=0.059
    )


@pytest.mark.parametrize(
    "options", [{"mask_share": 1.0}, {"mask_share": 0}, {"reconstruction_weight": 2}, {"unmasked_weight": 2.1}]
)
def test_options_out_of_range_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(InputError, match=next(iter(options))):
        build_model("srmil", ModelSpec(dim=DIM, classes=2, group_features=False), options)


def test_the_parameters_are_the_published_ones_without_those_that_no_pass_uses() -> None:
    model = build_model("srmil", ModelSpec(dim=1024, classes=2, group_features=False), {})
    sizes = {name: parameter.numel() for name, parameter in model.named_parameters()}
    kept = sum(size for name, size in sizes.items() if not name.startswith(Model.training_only))
    mask_tokens = (1024 + 256) + (256 + 256)  # one of each layer's input, in the encoder and in the decoder
    assert sum(sizes.values()) == 2_050_437
    assert kept == 1_651_588  # docs/methods.md §11: what prediction needs
    assert sum(sizes.values()) + 17_091 + mask_tokens == 2_069_320  # with the attender: docs/methods.md §16


def test_what_is_kept_of_a_training_is_what_is_published_for_prediction() -> None:
    (architecture,) = PUBLISHED
    assert set(trained_state(build())) == set(architecture.names(3).values())


def test_a_trained_model_predicts_without_its_decoder() -> None:
    model, bag = build().eval(), exact_bag()
    torch.manual_seed(9)
    other = build_model("srmil", model.spec, NO_DROPOUT).double().eval()
    lost, unknown = other.load_state_dict(trained_state(model), strict=False)
    assert all(name.startswith(Model.training_only) for name in lost)
    assert not unknown
    assert torch.equal(model(bag).logits, other(bag).logits)


def test_the_initialisation_is_the_published_one() -> None:
    torch.manual_seed(0)
    model = build_model("srmil", ModelSpec(dim=1024, classes=2, group_features=False), {})
    model.initialise()
    weights = {name: parameter.detach() for name, parameter in model.named_parameters()}
    for token in ("super_tokens", "enc_mask_token"):
        assert float(weights[token].std()) == pytest.approx(0.01, rel=0.1)
    normal = {
        "first_encoder.fc.weight": 2 / 1280,
        "first_encoder.res_fc.weight": 2 / 1280,
        "second_encoder.fc.weight": 2 / 512,
        "second_decoder.fc.weight": 2 / 1280,
    }
    for name, variance in normal.items():
        assert float(weights[name].std()) == pytest.approx((2 * variance) ** 0.5, rel=0.02), name
    assert float(weights["encoder_to_decoder.weight"].std()) == pytest.approx(1.414 * (2 / 512) ** 0.5, rel=0.02)
    assert float(weights["reformer.weight"].abs().max()) == pytest.approx(1.414 * (6 / 2048) ** 0.5, rel=0.01)
    zero = [name for name in weights if name.endswith(("reformer.bias", "coder.bias", "norm.bias"))]
    assert len(zero) == 8
    assert all(not weights[name].any() for name in zero)
    assert float(weights["first_decoder.activation.weight"]) == 0.25
    assert float(weights["condense.weight"].abs().max()) == pytest.approx(1 / 8, rel=0.01)  # torch's own


def test_a_step_never_makes_the_host_wait() -> None:
    model, bag = build(**{"attention_dropout": 0.15, "classifier_dropout": 0.059}), exact_bag()
    assert bag.neighbours(True)  # once for a bag
    with OpWatch() as watch:
        torch.stack(list(losses(model, bag).values())).sum().backward()
    assert watch.ops["_embedding_bag_forward_only"] > 0
    assert watch.waits.total() == 0
