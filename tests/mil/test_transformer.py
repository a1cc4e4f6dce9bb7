"""The plain transformer (docs/methods.md §17) against plain tensor arithmetic."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from sammil_cli.errors import InputError
from sammil_cli.mil.contract import Bag, MILModel
from sammil_cli.mil.model_spec import ModelSpec
from sammil_cli.testing.models import DIM, make_bag
from sammil_cli.training.trained_model import build_model, model_class

HIDDEN = 512


def make(options: dict[str, Any], **changes: Any) -> MILModel:
    """A model in float64 whose every parameter is drawn."""
    spec = ModelSpec(**{"dim": DIM, "classes": 3, "group_features": True, "dropout": 0.0, **changes})
    model = build_model("transformer", spec, options).double()
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            drawn = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            scaled = drawn / parameter.shape[-1] ** 0.5 if parameter.ndim > 1 else 0.1 * drawn
            parameter.copy_(scaled + 1 if "norm.weight" in name or name.endswith("feed_forward.0.weight") else scaled)
    return model


def exact_bag() -> Bag:
    bag = make_bag()
    return replace(bag, features=bag.features.double(), group_features=bag.group_features.double())


def norm(tokens: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Layer normalisation of the rows."""
    centred = tokens - tokens.mean(1, keepdim=True)
    return centred / torch.sqrt((centred**2).mean(1, keepdim=True) + 1e-5) * weight + bias


def by_hand(model: MILModel, heads: int, instances: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Logits, attention and evidence: every token goes through every layer, head by head."""
    own = dict(model.named_parameters())
    embedded = torch.relu(instances @ own["embedding.0.weight"].T + own["embedding.0.bias"])
    tokens = torch.cat([own["class_token"], embedded])
    names = [f"layers.{number}" for number in range(len(list(model.get_submodule("layers").children())))] + ["last"]
    width = HIDDEN // heads
    for name in names:
        before = tokens
        normed = norm(tokens, own[f"{name}.norm.weight"], own[f"{name}.norm.bias"])
        parts, looks = [], []
        for head in range(heads):
            rows = [slice(part * HIDDEN + head * width, part * HIDDEN + (head + 1) * width) for part in range(3)]
            q, k, v = (normed @ own[f"{name}.to_qkv.weight"][row].T for row in rows)
            raised = (q @ k.T / width**0.5).exp()
            look = raised / raised.sum(1, keepdim=True)
            looks.append(look)
            parts.append(look @ v)
        tokens = tokens + torch.cat(parts, 1) @ own[f"{name}.to_out.weight"].T + own[f"{name}.to_out.bias"]
        inner = norm(tokens, own[f"{name}.feed_forward.0.weight"], own[f"{name}.feed_forward.0.bias"])
        inner = inner @ own[f"{name}.feed_forward.1.weight"].T + own[f"{name}.feed_forward.1.bias"]
        inner = inner * (1 + torch.erf(inner / 2**0.5)) / 2
        tokens = tokens + inner @ own[f"{name}.feed_forward.3.weight"].T + own[f"{name}.feed_forward.3.bias"]
    attention = torch.stack(looks).mean(0)[0, 1:]
    attention = attention / attention.sum()
    read = norm(torch.cat([tokens[:1], before[1:]]), own["norm.weight"], own["norm.bias"])
    logits = read[0] @ own["classifier.weight"].T + own["classifier.bias"]
    evidence = torch.softmax((attention[:, None] * read[1:]) @ own["classifier.weight"].T, 1)
    return logits, attention, evidence


@pytest.mark.parametrize(("layers", "heads"), [(1, 8), (2, 8), (3, 1), (2, 32)])
@pytest.mark.parametrize("group_features", [True, False])
def test_it_follows_the_equations(layers: int, heads: int, group_features: bool) -> None:
    model, bag = make({"layers": layers, "heads": heads}, group_features=group_features).eval(), exact_bag()
    output = model(bag)
    logits, attention, evidence = by_hand(model, heads, bag.instances(group_features))
    assert torch.allclose(output.logits, logits, rtol=1e-9, atol=1e-12)
    assert torch.allclose(output.attention, attention, rtol=1e-9)
    assert torch.allclose(output.evidence, evidence, rtol=1e-9)
    assert output.attention.max() > 1.05 * output.attention.min()


def test_training_has_the_gradient_of_the_equations() -> None:
    model, bag = make({}), exact_bag()
    own = dict(model.named_parameters())
    logits, _, _ = by_hand(model, 8, bag.instances(True))
    expected = torch.log(logits.exp().sum()) - logits[2]
    found = model.losses(bag, torch.tensor(2), torch.Generator())["bag"]
    assert found.item() == pytest.approx(expected.item(), rel=1e-10)
    slopes = [torch.autograd.grad(loss, list(own.values())) for loss in (found, expected)]
    for name, one, other in zip(own, *slopes, strict=True):
        assert torch.allclose(one, other, rtol=1e-7, atol=1e-11), name
        assert float(one.abs().sum()) > 0, name


def test_attention_is_finite_where_the_class_token_looks_at_itself_alone() -> None:
    model, bag = make({"layers": 1}).float().eval(), make_bag()
    with torch.no_grad():
        model.get_parameter("class_token").mul_(1e4)
        model.get_parameter("last.to_qkv.weight")[:1024].mul_(1e3)
        output = model(bag)
    assert torch.isfinite(output.attention).all()
    assert output.attention.sum().item() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(("layers", "count"), [(1, 2_103_810), (2, 3_680_258)])
def test_parameter_counts(layers: int, count: int) -> None:
    """docs/methods.md §16."""
    model = build_model("transformer", ModelSpec(dim=1024, classes=2, group_features=False), {"layers": layers})
    assert sum(parameter.numel() for parameter in model.parameters()) == count


def test_it_is_trained_as_wagner_et_al_train_it() -> None:
    recipe = model_class("transformer").recipe
    assert (recipe.optimiser, recipe.learning_rate, recipe.weight_decay) == ("adamw", 2e-5, 2e-5)
    assert (recipe.epochs, recipe.schedule, recipe.dropout, recipe.chosen_by) == (8, "constant", 0.0, "loss")
    assert recipe.patience >= recipe.epochs  # never stopped early


def test_the_class_token_starts_small_and_by_the_seed() -> None:
    model = build_model("transformer", ModelSpec(dim=8, classes=2, group_features=False), {})
    tokens = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        model.initialise()
        tokens.append(model.get_parameter("class_token").detach().clone())
    assert torch.equal(tokens[0], tokens[1])
    assert not torch.equal(tokens[0], tokens[2])
    assert float(tokens[0].std()) == pytest.approx(0.02, rel=0.15)  # 512 draws: sd of the sd 3 %


def test_no_table_of_all_pairs_is_kept() -> None:
    """Of 4000 patches: the attention of all pairs would be 8 x 4001 x 4001 numbers in each layer."""
    model = build_model("transformer", ModelSpec(dim=8, classes=2, group_features=False), {}).train()
    largest = 0

    def kept(tensor: Tensor) -> Tensor:
        nonlocal largest
        largest = max(largest, tensor.numel())
        return tensor

    features = torch.randn(4000, 8, generator=torch.Generator().manual_seed(0))
    none = torch.empty(0, dtype=torch.int64)
    bag = Bag(
        features=features,
        group_features=features[:0],
        region=torch.full((4000,), -1),
        group_region=none,
        region_area=none,
    )
    with torch.autograd.graph.saved_tensors_hooks(kept, lambda tensor: tensor):
        model.losses(bag, torch.tensor(1), torch.Generator())
    assert 4000 * HIDDEN <= largest <= 4001 * 3 * HIDDEN


@pytest.mark.parametrize("options", [{"layers": 0}, {"heads": 7}, {"heads": 64}], ids=str)
def test_a_shape_that_cannot_be_is_refused(options: dict[str, Any]) -> None:
    (name,) = options
    with pytest.raises(InputError, match=rf"model_options\.{name} of transformer"):
        build_model("transformer", ModelSpec(dim=4, classes=2, group_features=False), options)
