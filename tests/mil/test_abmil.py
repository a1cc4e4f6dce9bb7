"""AB-MIL in each of its forms (docs/methods.md §3) against plain tensor arithmetic."""

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from sammil_cli.errors import InputError
from sammil_cli.mil.contract import Bag, MILModel
from sammil_cli.mil.model_spec import ModelSpec
from sammil_cli.mil.recipe import COMMON
from sammil_cli.testing.models import DIM, make_bag
from sammil_cli.training.published_weights import architectures
from sammil_cli.training.trained_model import build_model, model_class

FORMS: list[dict[str, Any]] = [
    {"gated": gated, "released": released} for gated, released in itertools.product((False, True), repeat=2)
]
every_form = pytest.mark.parametrize("form", FORMS, ids=str)
MIL_LAB = {"gated": True, "attention": 384}


def make(form: dict[str, Any], **changes: Any) -> MILModel:
    """A small model in float64 whose every parameter is drawn."""
    spec = ModelSpec(**{"dim": DIM, "classes": 3, "group_features": True, "dropout": 0.0, **changes})
    model = build_model("abmil", spec, {"embedding": 11, "attention": 5, **form}).double()
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) / parameter.shape[-1] ** 0.5)
    return model


def exact_bag() -> Bag:
    bag = make_bag()
    return Bag(**{**vars(bag), "features": bag.features.double(), "group_features": bag.group_features.double()})


def by_hand(model: MILModel, form: dict[str, Any], instances: Tensor) -> tuple[Tensor, Tensor]:
    """Logits and attention, instance by instance, as docs/methods.md §3 has them."""
    own = dict(model.named_parameters())
    embedded, scores = [], []
    for x in instances:
        h = torch.relu(own["feature.0.weight"] @ x + own["feature.0.bias"])
        if form.get("released"):
            inner = torch.relu(own["attention_v.0.weight"] @ h)
        else:
            inner = torch.tanh(own["attention_v.0.weight"] @ h + own["attention_v.0.bias"])
        if form.get("gated"):
            gate = own["attention_u.0.weight"] @ h
            inner = inner / (1 + torch.exp(-(gate if form.get("released") else gate + own["attention_u.0.bias"])))
        scores.append(own["attention_w.weight"][0] @ inner)
        embedded.append(h)
    raised = torch.stack(scores).exp()
    attention = raised / raised.sum()
    bag = sum(a * h for a, h in zip(attention, embedded, strict=True))
    return own["classifier.weight"] @ bag + own["classifier.bias"], attention


@every_form
@pytest.mark.parametrize("group_features", [True, False])
def test_logits_and_attention_follow_the_equations(form: dict[str, Any], group_features: bool) -> None:
    model, bag = make(form, group_features=group_features).eval(), exact_bag()
    output = model(bag)
    logits, attention = by_hand(model, form, bag.instances(group_features))
    assert torch.allclose(output.logits, logits, rtol=1e-11)
    assert torch.allclose(output.attention, attention, rtol=1e-11)
    weighted = attention[:, None] * torch.relu(
        bag.instances(group_features) @ model.get_parameter("feature.0.weight").T
        + model.get_parameter("feature.0.bias")
    )
    evidence = torch.softmax(weighted @ model.get_parameter("classifier.weight").T, 1)
    assert torch.allclose(output.evidence, evidence, rtol=1e-11)


@every_form
@pytest.mark.parametrize("loss", ["cross-entropy", "binary"])
@pytest.mark.parametrize("group_features", [True, False])
def test_training_minimises_the_loss_of_the_equations(form: dict[str, Any], loss: str, group_features: bool) -> None:
    model, bag = make(form, loss=loss, group_features=group_features), exact_bag()
    own = dict(model.named_parameters())
    logits, _ = by_hand(model, form, bag.instances(group_features))
    if loss == "binary":
        probability = torch.sigmoid(logits)
        expected = -torch.log(torch.stack([1 - probability[0], 1 - probability[1], probability[2]])).mean()
    else:
        expected = torch.log(logits.exp().sum()) - logits[2]
    found = model.losses(bag, torch.tensor(2), torch.Generator())
    assert list(found) == ["bag"]
    assert found["bag"].item() == pytest.approx(expected.item(), rel=1e-11)
    named = [name for name in own if name != "attention_w.bias"]  # which changes no attention, and stays
    slopes = torch.autograd.grad(found["bag"], [own[name] for name in named])
    for name, one, other in zip(
        named, slopes, torch.autograd.grad(expected, [own[name] for name in named]), strict=True
    ):
        assert torch.allclose(one, other, rtol=1e-9, atol=1e-12), name
        assert float(one.abs().sum()) > 0, name


def test_dropout_of_training_comes_from_the_generator_alone() -> None:
    model, bag = make({}, dropout=0.5).train(), exact_bag()

    def loss(seed: int, torch_seed: int) -> float:
        torch.manual_seed(torch_seed)
        return model.losses(bag, torch.tensor(2), torch.Generator().manual_seed(seed))["bag"].item()

    assert loss(1, 1) == loss(1, 2)
    assert loss(1, 1) != loss(2, 1)
    found = model.eval().losses(bag, torch.tensor(2), torch.Generator())["bag"]
    expected = torch.nn.functional.cross_entropy(model(bag).logits[None], torch.tensor([2]))
    assert found.item() == pytest.approx(expected.item(), rel=1e-11)


@pytest.mark.parametrize(
    ("options", "count"),
    [
        ({}, 591_619),
        ({"gated": True}, 657_283),
        ({"gated": True, "released": True}, 657_026),
        ({"released": True}, 591_490),  # the core of SAM-MIL and MHIM-MIL
        (MIL_LAB, 920_195),
    ],
    ids=str,
)
def test_parameter_counts(options: dict[str, Any], count: int) -> None:
    """docs/methods.md §16."""
    model = build_model("abmil", ModelSpec(dim=1024, classes=2, group_features=False), options)
    assert sum(parameter.numel() for parameter in model.parameters()) == count


def test_published_weights_without_golden_numbers_follow_the_equations() -> None:
    """Drawn by the rule of the golden numbers, under the published names."""
    architecture = next(one for one in architectures() if one.title == "AB-MIL of MIL-Lab (FEATHER)")
    names = architecture.names(2)
    spec = ModelSpec(dim=64, classes=2, group_features=False)
    model = build_model("abmil", spec, architecture.options).double().eval()
    state = {}
    for number, name in enumerate(sorted(names)):
        shape = model.get_parameter(names[name]).shape
        drawn = np.random.RandomState(1000 + number).standard_normal(tuple(shape))
        state[names[name]] = torch.from_numpy(drawn * (drawn[0].size ** -0.5 if drawn.ndim > 1 else 0.1))
    model.load_state_dict(state)
    features = torch.from_numpy(np.random.RandomState(7).standard_normal((40, 64)))
    none = torch.empty(0, dtype=torch.int64)
    output = model(
        Bag(
            features=features,
            group_features=features[:0],
            region=torch.full((40,), -1),
            group_region=none,
            region_area=none,
        )
    )
    logits, attention = by_hand(model, dict(architecture.options), features)
    assert output.logits.tolist() == pytest.approx(logits.tolist(), abs=1e-9)
    assert output.attention.tolist() == pytest.approx(attention.tolist(), abs=1e-9)


def test_it_is_trained_by_the_common_recipe() -> None:
    """docs/methods.md §3 says why, and how to have the other."""
    assert model_class("abmil").recipe == COMMON


@pytest.mark.parametrize(
    "options", [{"embedding": 0}, {"attention": -1}, {"attention": 1.5}, {"released": "perhaps"}], ids=str
)
def test_a_form_that_cannot_be_is_refused(options: dict[str, Any]) -> None:
    (name,) = options
    with pytest.raises(InputError, match=rf"model_options\.{name} of abmil"):
        build_model("abmil", ModelSpec(dim=4, classes=2, group_features=False), options)
