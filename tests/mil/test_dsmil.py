"""DSMIL by its equations (docs/methods.md §4), written out in loops."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from sammil_cli.errors import InputError
from sammil_cli.mil.contract import Bag, MILModel
from sammil_cli.mil.model_spec import ModelSpec
from sammil_cli.mil.recipe import Recipe
from sammil_cli.training.trained_model import build_model, model_class

PATCHES, DIM = 11, 6
LABEL = torch.tensor(1)


def make_bag(patches: int = PATCHES) -> Bag:
    return Bag(
        features=torch.randn(patches, DIM, generator=torch.Generator().manual_seed(3), dtype=torch.float64),
        group_features=torch.empty(0, DIM, dtype=torch.float64),
        region=torch.full((patches,), -1),
        group_region=torch.empty(0, dtype=torch.int64),
        region_area=torch.empty(0),
    )


def build(options: dict[str, object] | None = None, **changes: Any) -> MILModel:
    """In double precision, its weights drawn as torch does."""
    torch.manual_seed(0)
    spec = ModelSpec(**{"dim": DIM, "classes": 2, "group_features": False, "dropout": 0.0, "loss": "binary", **changes})
    return build_model("dsmil", spec, options or {}).double()


def affine(model: MILModel, name: str, x: Tensor) -> Tensor:
    return x @ model.get_parameter(f"{name}.weight").T + model.get_parameter(f"{name}.bias")


def by_hand(model: MILModel, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Largest instance logits (K,), attention (N, K), bag logits (K,), one number after the other."""
    options: Any = model.options
    if options.embedding:
        x = torch.relu(affine(model, "embed", x))
    instance = affine(model, "head.instance", x)
    query = affine(model, "head.query.0", x)
    if not options.linear_query:
        query = torch.tanh(affine(model, "head.query.2", torch.relu(query)))
    value = torch.relu(affine(model, "head.value.1", x)) if options.passing_value else x
    outputs = instance.shape[1]
    largest, attention, means = [], [], []
    for k in range(outputs):
        best = max(range(len(x)), key=lambda n, k=k: instance[n, k].item())
        largest.append(instance[best, k])
        likeness = torch.stack([(query[n] * query[best]).sum() / math.sqrt(128) for n in range(len(x))])
        weights = torch.exp(likeness) / torch.exp(likeness).sum()
        attention.append(weights)
        means.append(torch.stack([weights[n] * value[n] for n in range(len(x))]).sum(0))
    kernel, bias = model.get_parameter("head.bag.weight"), model.get_parameter("head.bag.bias")
    logits = [
        bias[k] + torch.stack([(kernel[k, c] * means[c]).sum() for c in range(outputs)]).sum() for k in range(outputs)
    ]
    return torch.stack(largest), torch.stack(attention, 1), torch.stack(logits)


def binary(logits: Tensor, label: int) -> Tensor:
    terms = [-torch.log(torch.sigmoid(one if c == label else -one)) for c, one in enumerate(logits)]
    return torch.stack(terms).mean()


def entropy(logits: Tensor, label: int) -> Tensor:
    return torch.log(torch.exp(logits).sum()) - logits[label]


FORMS: list[dict[str, object]] = [
    {},
    {"linear_query": True},
    {"passing_value": True},
    {"embedding": 5},
    {"embedding": 5, "linear_query": True, "passing_value": True},
]


@pytest.mark.parametrize("options", FORMS, ids=str)
@pytest.mark.parametrize("loss", ["binary", "cross-entropy"])
def test_answer_loss_and_gradient_are_those_of_the_equations(options: dict[str, object], loss: str) -> None:
    model, bag = build(options, classes=3, loss=loss), make_bag()
    largest, attention, logits = by_hand(model, bag.features)
    found = model(bag)
    assert torch.allclose(found.logits, logits, rtol=0, atol=1e-12)
    assert torch.allclose(found.attention, attention[:, int(logits.argmax())], rtol=0, atol=1e-12)
    formula = binary if loss == "binary" else entropy
    wanted = {"bag": formula(logits, 1) / 2, "instance": formula(largest, 1) / 2}
    terms = model.losses(bag, LABEL, torch.Generator())
    assert terms.keys() == wanted.keys()
    assert all(torch.allclose(terms[name], wanted[name], rtol=1e-12) for name in wanted)
    weights = list(model.parameters())
    for one, other in zip(
        torch.autograd.grad(sum(terms.values()), weights),
        torch.autograd.grad(sum(wanted.values()), weights),
        strict=True,
    ):
        assert torch.allclose(one, other, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("loss", ["binary", "cross-entropy"])
@pytest.mark.parametrize("label", [0, 1])
def test_a_single_output_is_a_sigmoid_for_the_positive_class(loss: str, label: int) -> None:
    model, bag = build({"one_output": True}, loss=loss), make_bag()
    largest, attention, logits = by_hand(model, bag.features)
    said = model(bag)
    assert said.logits[0].item() == 0
    assert torch.softmax(said.logits, 0)[1].item() == pytest.approx(torch.sigmoid(logits[0]).item(), rel=1e-12)
    assert torch.allclose(said.attention, attention[:, 0], rtol=0, atol=1e-12)
    terms = model.losses(bag, torch.tensor(label), torch.Generator())
    sign = 1 if label else -1
    for name, output in (("bag", logits[0]), ("instance", largest[0])):
        assert terms[name].item() == pytest.approx(-math.log(torch.sigmoid(sign * output).item()) / 2, rel=1e-12)


def test_a_single_output_does_not_tell_three_classes_apart() -> None:
    with pytest.raises(InputError, match="two classes apart, and there are 3"):
        build({"one_output": True}, classes=3)


@pytest.mark.parametrize("options", [*FORMS, {"one_output": True}], ids=str)
def test_the_evidence_is_the_softmax_of_what_an_instance_adds_to_the_logits(options: dict[str, object]) -> None:
    model, bag = build(options), make_bag()
    said = model.streams(bag)
    shares = model.head.shares(said)
    assert torch.allclose(shares.sum(0) + model.head.bag.bias, said.logits, rtol=0, atol=1e-12)
    padded = torch.cat([torch.zeros(PATCHES, 1), shares], 1) if shares.shape[1] == 1 else shares
    assert torch.allclose(model(bag).evidence, torch.softmax(padded.double(), 1), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("dim", "classes", "options", "count"),  # docs/methods.md §4
    [
        (512, 2, {"one_output": True}, 83_202),
        (512, 2, {}, 85_252),
        (1024, 2, {"one_output": True}, 149_762),
        (1024, 2, {}, 153_860),
        (512, 2, {"one_output": True, "linear_query": True}, 66_690),
        (1024, 2, {"embedding": 512, "linear_query": True}, 593_540),
    ],
)
def test_it_has_as_many_parameters_as_the_published_one(
    dim: int, classes: int, options: dict[str, object], count: int
) -> None:
    model = build(options, dim=dim, classes=classes)
    assert sum(weight.numel() for weight in model.parameters()) == count


def test_it_starts_from_orthogonal_weights_and_zero_biases() -> None:
    model = build(dim=200)
    model.initialise()
    for name, weight in model.named_parameters():
        if name.endswith("bias"):
            assert weight.tolist() == [0.0] * len(weight)
        else:
            rows = weight.detach().flatten(1)
            assert torch.allclose(rows @ rows.T, torch.eye(len(rows), dtype=rows.dtype), atol=1e-5), name


def test_with_an_embedding_it_starts_as_the_code_that_this_form_is_from() -> None:
    model = build({"embedding": 512, "linear_query": True}, dim=1024)
    before = model.head.bag.weight.detach().clone()
    model.initialise()
    assert float(model.embed.weight.detach().std()) == pytest.approx((2 / 1536) ** 0.5, rel=0.02)
    assert torch.equal(model.head.bag.weight, before)  # no linear layer: as torch makes it


def test_where_no_layer_has_a_dropout_it_leaves_out_patches() -> None:
    model, bag = build(dropout=0.5), make_bag(400)
    torch.manual_seed(1)
    weights = [model.train()(bag).attention for _ in range(20)]
    left_out = torch.stack([one == 0 for one in weights]).double().mean().item()
    assert left_out == pytest.approx(0.5, abs=0.02)
    kept = weights[0] > 0
    alone = model.eval()(Bag(**{**vars(make_bag()), "features": bag.features[kept], "region": bag.region[kept]}))
    assert torch.allclose(weights[0][kept], alone.attention, rtol=0, atol=1e-12)
    assert bool((model(bag).attention > 0).all())


def test_the_last_patch_is_never_left_out() -> None:
    model, bag = build(dropout=0.99).train(), make_bag(2)
    for _ in range(50):
        said = model(bag)
        assert said.attention.sum().item() == pytest.approx(1)
        assert torch.isfinite(said.logits).all()


@pytest.mark.parametrize("options", [{"embedding": 5}, {"passing_value": True}], ids=str)
def test_where_a_layer_has_a_dropout_every_patch_takes_part(options: dict[str, object]) -> None:
    model, bag = build(options, dropout=0.5).train(), make_bag()
    assert bool((model(bag).attention > 0).all())
    assert not torch.equal(model(bag).logits, model(bag).logits)


def test_its_recipe_is_the_official_one() -> None:
    assert model_class("dsmil").recipe == Recipe(
        optimiser="adam",
        learning_rate=1e-4,
        betas=(0.5, 0.9),
        weight_decay=1e-3,
        schedule="cosine",
        final_learning_rate=5e-6,
        epochs=50,
        patience=10,
        min_epochs=0,
        chosen_by="auc-and-accuracy",
        loss="binary",
        dropout=0.0,
    )
