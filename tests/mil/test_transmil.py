"""TransMIL against its equations written out, and what becomes of its copies and its negative weights."""

import math
from typing import Any

import pytest
import torch
import transmil_by_hand as by_hand
from step_memory import peak_gib
from torch import Tensor
from torch.nn.functional import cross_entropy

from sammil_cli.mil.class_token import squared
from sammil_cli.mil.contract import Bag
from sammil_cli.mil.model_spec import ModelSpec
from sammil_cli.mil.models.transmil import Model, TransmilOptions
from sammil_cli.mil.nystrom import NystromAttention, pseudo_inverse

DIM, LABEL = 9, torch.tensor(1)

# One patch, no square, a square, more tokens than landmarks.
sizes = pytest.mark.parametrize("count", [1, 5, 36, 300])


def make_bag(count: int, dim: int = DIM, groups: int = 0) -> Bag:
    generator = torch.Generator().manual_seed(count)
    features, more = (torch.randn(n, dim, generator=generator, dtype=torch.float64) for n in (count, groups))
    return Bag(
        features=features,
        group_features=more,
        region=torch.zeros(count, dtype=torch.int64),
        group_region=torch.arange(groups),
        region_area=torch.full((groups,), 9.0),
    )


def build(classes: int = 2, dropout: float = 0.0, dim: int = DIM, **options: Any) -> Model:
    torch.manual_seed(3)
    spec = ModelSpec(dim=dim, classes=classes, group_features=True, dropout=dropout)
    model = Model(spec, TransmilOptions(**options)).double()
    for name, tensor in model.named_parameters():  # norms and biases that do something
        if tensor.ndim == 1:
            torch.nn.init.normal_(tensor, float(".norm" in name and name.endswith("weight")), 0.2)
    return model


def plain(model: Model, instances: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Logits, and of the second layer: A1 Z A3 (h, n, n), values (h, n, e), the class token before the last norm."""
    h = by_hand.embedded(model.embed, instances)
    side = math.ceil(math.sqrt(len(h)))
    tokens = torch.cat([model.transformer.cls_token[0], h, h[: side**2 - len(h)]])
    first, second = model.transformer.layer1, model.transformer.layer2
    tokens = tokens + by_hand.nystrom(first.attn, by_hand.normed(first.norm, tokens))[0]
    tokens = torch.cat([tokens[:1], by_hand.positions(model.transformer.position, tokens[1:])])
    taken, maps, values = by_hand.nystrom(second.attn, by_hand.normed(second.norm, tokens))
    last = tokens[0] + taken[0]
    feature = by_hand.normed(model.transformer.norm, last[None])[0]
    return model.classifier.weight @ feature + model.classifier.bias, maps, values, last


@pytest.mark.parametrize("count", [5, *(pytest.param(count, marks=pytest.mark.stress) for count in (1, 36, 300))])
def test_logits_and_gradients_are_those_of_the_equations(count: int) -> None:
    bag, found = make_bag(count, groups=1), []
    for way in ("ours", "plain"):
        model = build(3)
        if way == "ours":
            loss = model.losses(bag, LABEL, torch.Generator())["bag"]
        else:
            loss = cross_entropy(plain(model, bag.instances(True))[0][None], LABEL[None])
        loss.backward()
        found.append((loss.item(), {name: p.grad for name, p in model.named_parameters()}))
    assert found[0][0] == pytest.approx(found[1][0], abs=1e-11)
    for name, gradient in found[0][1].items():
        theirs = found[1][1][name]
        assert gradient is not None
        assert theirs is not None, name
        assert torch.allclose(gradient, theirs, rtol=1e-7, atol=1e-11), name
    assert build(3).eval()(bag).logits.tolist() == pytest.approx(plain(build(3), bag.instances(True))[0].tolist())


@sizes
def test_attention_is_the_class_tokens_share_in_the_second_layer(count: int) -> None:
    model, bag = build().eval(), make_bag(count)
    row = plain(model, bag.features)[1][:, 0, 1:].mean(0).clamp(min=0)
    for copy in range(count, len(row)):
        row[copy - count] += row[copy]
    expected = row[:count] / row[:count].sum()
    assert torch.allclose(model(bag).attention, expected, atol=1e-10)


@sizes
def test_evidence_is_each_instances_share_in_the_logits(count: int) -> None:
    model, bag = build(3).eval(), make_bag(count)
    logits, maps, values, last = plain(model, bag.features)
    out = model.transformer.layer2.attn.get_parameter("to_out.0.weight")
    taken = torch.einsum("hn,hne->nhe", maps[:, 0], values).flatten(1) @ out.T  # (n, width)
    # Without an instance's values the class token is `last - taken`; the deviation stays what it is.
    scale = torch.sqrt(((last - last.mean()) ** 2).mean() + 1e-5)
    centred = taken - taken.mean(1, keepdim=True)
    share = (centred / scale * model.transformer.norm.weight) @ model.classifier.weight.T
    for copy in range(1 + count, len(share)):
        share[copy - count] = share[copy - count] + share[copy]
    assert torch.allclose(model(bag).evidence, torch.softmax(share[1 : 1 + count], 1), atol=1e-10)
    # All shares, and that of what else the token holds, make up the logits.
    rest = (last - taken.sum(0)) - (last - taken.sum(0)).mean()
    whole = model.transformer.norm.bias + rest / scale * model.transformer.norm.weight
    whole = model.classifier.weight @ whole + model.classifier.bias
    total = whole + ((centred / scale * model.transformer.norm.weight) @ model.classifier.weight.T).sum(0)
    assert torch.allclose(total, logits, atol=1e-9)


def test_copies_come_from_the_front_until_there_is_a_square() -> None:
    for count in range(1, 60):
        found = squared(torch.arange(count)[:, None])[:, 0].tolist()
        side = math.ceil(math.sqrt(count))
        assert found == [*range(count), *range(side**2 - count)]


def test_where_every_weight_is_negative_all_instances_weigh_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(NystromAttention, "weights_of_first", lambda self, looked: -torch.ones(8, 5).double())
    assert build().eval()(make_bag(4)).attention.tolist() == [0.25] * 4


def test_the_pseudo_inverse_starts_alike_for_all_heads() -> None:
    generator = torch.Generator().manual_seed(0)
    pair = torch.softmax(3 * torch.randn(2, 20, 20, generator=generator, dtype=torch.float64), -1)
    together, apart = pseudo_inverse(pair), torch.cat([pseudo_inverse(one[None]) for one in pair])
    assert not torch.allclose(together, apart, atol=1e-6)
    assert torch.allclose(together, torch.stack(by_hand.inverse(list(pair))), atol=1e-10)


@pytest.mark.parametrize("alike", [0, 1, 2, 7])
def test_rows_and_columns_that_are_alike_are_inverted_once(alike: int) -> None:
    scores = torch.randn(2, 20, 20, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    place = torch.arange(20).clamp(min=max(alike, 1) - 1)
    matrices = torch.softmax(2 * scores[:, place][:, :, place], -1)
    assert torch.allclose(pseudo_inverse(matrices, alike), pseudo_inverse(matrices), atol=1e-12)


def test_the_pseudo_inverse_is_one_where_the_heads_differ_little() -> None:
    matrices = torch.eye(16, dtype=torch.float64).repeat(3, 1, 1) * 0.9 + 0.1 / 16
    assert torch.allclose(pseudo_inverse(matrices) @ matrices, torch.eye(16, dtype=torch.float64), atol=1e-6)


def test_single_precision_is_near_double() -> None:
    bag, exact = make_bag(300), build().eval()
    wide, single = exact(bag), exact.float()(Bag(**{**vars(bag), "features": bag.features.float()}))
    assert torch.allclose(single.logits.double(), wide.logits, atol=1e-5)
    assert torch.allclose(single.attention.double(), wide.attention, atol=1e-5)


def test_it_has_the_published_size_and_recipe() -> None:
    model = build(dim=1024)
    assert sum(p.numel() for p in model.parameters()) == 2_672_146  # docs/methods.md §16
    recipe = Model.recipe
    assert (recipe.optimiser, recipe.learning_rate, recipe.weight_decay) == ("lookahead-radam", 2e-4, 1e-5)
    assert (recipe.accumulate, recipe.chosen_by, recipe.patience, recipe.epochs) == (2, "loss", 10, 200)
    assert (recipe.schedule, recipe.min_epochs, recipe.dropout) == ("constant", 0, 0.1)


def test_dropout_acts_behind_the_attention_and_behind_the_embedding_where_it_is_asked_for() -> None:
    parts = {name: m.p for name, m in build(dropout=0.3).named_modules() if isinstance(m, torch.nn.Dropout)}
    assert parts == {"embed.2": 0, "transformer.layer1.attn.to_out.1": 0.3, "transformer.layer2.attn.to_out.1": 0.3}
    assert build(embedding_dropout=0.25).embed[2].p == 0.25


def test_it_starts_as_published() -> None:
    model = build(dim=1024).float()
    model.initialise()
    assert model.transformer.cls_token.std().item() == pytest.approx(1, abs=0.1)
    bound = 1 / math.sqrt(1024)  # PyTorch's: uniform
    assert bound * 0.99 < model.embed[0].weight.abs().max().item() <= bound
    assert model.embed[0].bias.abs().max().item() > bound * 0.9
    assert torch.equal(model.transformer.norm.weight, torch.ones(512))
    first = model.embed[0].weight.clone()
    model.initialise()
    assert not torch.equal(first, model.embed[0].weight)


@pytest.mark.slow
@pytest.mark.stress
def test_a_step_on_fifty_thousand_instances_fits_into_six_gigabytes() -> None:
    assert 0.4 < peak_gib("transmil", {}) < 6
