"""CLAM by its equations (docs/methods.md §5), written out in loops."""

import itertools
import math
from typing import Any

import pytest
import torch
from torch import Tensor

from sammil_cli.mil.contract import Bag, MILModel
from sammil_cli.mil.instance_branch import smooth_svm
from sammil_cli.mil.model_spec import ModelSpec
from sammil_cli.mil.recipe import Recipe
from sammil_cli.training.trained_model import build_model, model_class

DIM, CLASSES = 6, 3

both = pytest.mark.parametrize("word", ["clam-sb", "clam-mb"])


def make_bag(patches: int) -> Bag:
    return Bag(
        features=torch.randn(patches, DIM, generator=torch.Generator().manual_seed(3), dtype=torch.float64),
        group_features=torch.empty(0, DIM, dtype=torch.float64),
        region=torch.full((patches,), -1),
        group_region=torch.empty(0, dtype=torch.int64),
        region_area=torch.empty(0),
    )


def build(word: str, options: dict[str, object] | None = None, **changes: Any) -> MILModel:
    """In double precision, its weights drawn as torch does."""
    torch.manual_seed(0)
    spec = ModelSpec(**{"dim": DIM, "classes": CLASSES, "group_features": False, "dropout": 0.0, **changes})
    return build_model(word, spec, options or {}).double()


def affine(model: MILModel, name: str, x: Tensor) -> Tensor:
    return x @ model.get_parameter(f"{name}.weight").T + model.get_parameter(f"{name}.bias")


def streams(model: MILModel, bag: Bag) -> tuple[Tensor, list[Tensor], Tensor]:
    """Embedding (N, 512), the attention (N,) of each branch, and the bag's logits (C,)."""
    embedded = torch.relu(affine(model, "embed", bag.features))
    gated = torch.tanh(affine(model, "attention_a", embedded)) * torch.sigmoid(affine(model, "attention_b", embedded))
    scores = affine(model, "attention_c", gated)
    attention = [torch.exp(column) / torch.exp(column).sum() for column in scores.T]
    means = [torch.stack([a * row for a, row in zip(weights, embedded, strict=True)]).sum(0) for weights in attention]
    if len(attention) == 1:
        return embedded, attention, affine(model, "classifiers", means[0])
    logits = [affine(model, f"classifiers.{c}", means[c])[0] for c in range(CLASSES)]
    return embedded, attention, torch.stack(logits)


def instances_by_hand(model: MILModel, bag: Bag, label: int, *, svm: bool, subtyping: bool) -> Tensor:
    """The loss of the instance branch, instance by instance."""
    embedded, attention, _ = streams(model, bag)
    count, losses = min(8, len(embedded)), []
    for c in range(CLASSES):
        weights = attention[c if len(attention) > 1 else 0]
        order = sorted(range(len(embedded)), key=lambda n, weights=weights: weights[n].item())
        most, least = order[-count:], order[:count]
        if c == label:
            samples = [(n, 1) for n in most] + [(n, 0) for n in least]
        elif subtyping:
            samples = [(n, 0) for n in most]
        else:
            continue
        terms = []
        for n, target in samples:
            scores = affine(model, f"instance_classifiers.{c}", embedded[n])
            terms.append(svm_by_hand(scores, target) if svm else torch.log(torch.exp(scores).sum()) - scores[target])
        losses.append(torch.stack(terms).mean())
    return torch.stack(losses).sum() / (CLASSES if subtyping else 1)


def svm_by_hand(scores: Tensor, target: int) -> Tensor:
    margins = torch.stack([s + (0 if j == target else 1) - scores[target] for j, s in enumerate(scores)])
    far = abs((scores[0] - scores[1]).item()) >= math.log(1000)
    return margins.max() if far else torch.log(torch.exp(margins).sum())


@both
@pytest.mark.parametrize("patches", [30, 5])
@pytest.mark.parametrize("svm", [True, False])
@pytest.mark.parametrize("subtyping", [True, False])
def test_answer_losses_and_gradients_are_those_of_the_equations(
    word: str, patches: int, svm: bool, subtyping: bool
) -> None:
    """Five patches are fewer than the 8 that the instance branch looks at: it takes all of them."""
    options = {"instance_loss": "svm" if svm else "cross-entropy", "subtyping": subtyping}
    model, bag = build(word, options), make_bag(patches)
    for label in range(CLASSES):
        _, attention, logits = streams(model, bag)
        found = model(bag)
        assert torch.allclose(found.logits, logits, rtol=0, atol=1e-12)
        row = attention[int(logits.argmax()) if len(attention) > 1 else 0]
        assert torch.allclose(found.attention, row, rtol=0, atol=1e-12)
        wanted = {
            "bag": 0.7 * (torch.log(torch.exp(logits).sum()) - logits[label]),
            "instance": 0.3 * instances_by_hand(model, bag, label, svm=svm, subtyping=subtyping),
        }
        terms = model.losses(bag, torch.tensor(label), torch.Generator())
        assert terms.keys() == wanted.keys()
        assert all(torch.allclose(terms[name], wanted[name], rtol=1e-12) for name in wanted)
        weights = list(model.parameters())
        ours = torch.autograd.grad(sum(terms.values()), weights)
        theirs = torch.autograd.grad(sum(wanted.values()), weights, allow_unused=True)
        for one, other in zip(ours, theirs, strict=True):
            assert torch.allclose(one, torch.zeros_like(one) if other is None else other, rtol=1e-9, atol=1e-12)


def test_the_smooth_svm_of_two_scores() -> None:
    scores = torch.tensor([[0.0, 0.0], [2.0, 0.5], [2.0, 0.5], [7.0, 0.0], [7.0, 0.0]], dtype=torch.float64)
    found = smooth_svm(scores, torch.tensor([0, 0, 1, 0, 1]))
    wanted = [
        math.log(1 + math.e),
        math.log(1 + math.exp(0.5 + 1 - 2)),
        math.log(1 + math.exp(2 + 1 - 0.5)),
        0.0,  # far apart and right: no loss
        8.0,  # far apart and wrong: 7 + 1
    ]
    assert found.tolist() == pytest.approx(wanted, rel=1e-12)


@pytest.mark.parametrize("gap", [math.log(1000) - 1e-6, math.log(1000) + 1e-6])
def test_the_smooth_svm_is_the_maximum_from_a_gap_of_ln_1000_on(gap: float) -> None:
    scores = torch.tensor([[gap, 0.0]], dtype=torch.float64)
    found = smooth_svm(scores, torch.tensor([1])).item()
    assert (found == pytest.approx(gap + 1, abs=1e-12)) == (gap > math.log(1000))


@both
def test_both_gates_are_dropped_by_one_draw_and_what_is_left_is_scaled(word: str) -> None:
    """A product of two values, each kept with probability 0.75, is kept with 0.5625."""
    model, bag = build(word, dropout=0.25), make_bag(3000)
    with torch.no_grad():
        for name in ("attention_a", "attention_b"):
            model.get_parameter(f"{name}.weight").zero_()
            model.get_parameter(f"{name}.bias").fill_(1.0)
        model.get_parameter("attention_c.bias").zero_()
        model.get_parameter("attention_c.weight").zero_()[:, 0] = 1.0
    torch.manual_seed(2)
    scores = model.train().attend(bag)[1][0].detach()
    value = math.tanh(1) / (1 + math.exp(-1))
    kept = scores != 0
    assert kept.double().mean().item() == pytest.approx(0.5625, abs=0.03)
    assert scores[kept].tolist() == pytest.approx([value / 0.5625] * int(kept.sum()), rel=1e-9)


@both
def test_the_evidence_is_the_softmax_of_what_an_instance_adds_to_the_logits(word: str) -> None:
    model, bag = build(word), make_bag(9)
    embedded, attention, _ = streams(model, bag)
    weight, _ = model.class_weights()
    for n, c in itertools.product(range(9), range(CLASSES)):
        adds = torch.stack([attention[k % len(attention)][n] * (weight[k] @ embedded[n]) for k in range(CLASSES)])
        assert model(bag).evidence[n, c].item() == pytest.approx(torch.softmax(adds, 0)[c].item(), abs=1e-12)


@pytest.mark.parametrize(
    ("word", "size", "count"),  # docs/methods.md §5
    [
        ("clam-sb", "small", 790_791),
        ("clam-mb", "small", 791_048),
        ("clam-sb", "big", 922_247),
        ("clam-mb", "big", 922_632),
    ],
)
def test_it_has_as_many_parameters_as_the_published_one(word: str, size: str, count: int) -> None:
    model = build(word, {"size": size}, dim=1024, classes=2)
    assert sum(weight.numel() for weight in model.parameters()) == count


@both
def test_its_recipe_is_the_official_one(word: str) -> None:
    kind = model_class(word)
    assert kind.recipe == Recipe(
        optimiser="adam",
        learning_rate=2e-4,
        weight_decay=1e-5,
        schedule="constant",
        epochs=200,
        patience=20,
        min_epochs=50,
        chosen_by="loss",
        sampling="balanced",
        loss="cross-entropy",
        dropout=0.25,
    )
    assert kind.least_instances == 8
