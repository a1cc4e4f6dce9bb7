"""The fused pooling against the same written plainly for autograd, and against finite differences."""

import math
from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from sammil_cli.mil.pooling import AttentionWeights, pool

CPU = torch.device("cpu")


def seeded(seed: int = 3) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def make_weights(dim: int, hidden: int, inner: int, dtype: torch.dtype = torch.float64, seed: int = 1) -> list[Tensor]:
    """W0, b0, W1, w2, with gradients."""
    generator = seeded(seed)
    shapes = [(hidden, dim), (hidden,), (inner, hidden), (1, inner)]
    scale = [dim**-0.5, 0.3, hidden**-0.5, 1.0]
    return [
        (torch.randn(shape, generator=generator, dtype=torch.float64) * s).to(dtype).requires_grad_()
        for shape, s in zip(shapes, scale, strict=True)
    ]


def weights_of(values: Sequence[Tensor]) -> AttentionWeights:
    return AttentionWeights(embed=values[0], embed_bias=values[1], hidden=values[2], score=values[3])


# Every form of attention: activation, biases, gate.
FORMS = [
    (activation, biased, gated)
    for activation in ("relu", "tanh")
    for biased in (False, True)
    for gated in (False, True)
]
OPTIONAL = ("hidden_bias", "gate", "gate_bias")  # in the order of `make_form`
every_form = pytest.mark.parametrize("form", FORMS, ids=lambda form: "-".join(map(str, form)))
Form = tuple[str, bool, bool]


def make_form(
    form: Form, dim: int, hidden: int, inner: int, dtype: torch.dtype = torch.float64
) -> tuple[AttentionWeights, list[Tensor]]:
    """Weights of a form, and all of them in a list, with gradients."""
    activation, biased, gated = form
    values = make_weights(dim, hidden, inner, dtype)
    more = {"hidden_bias": (inner,)} if biased else {}
    more |= {"gate": (inner, hidden)} if gated else {}
    more |= {"gate_bias": (inner,)} if gated and biased else {}
    generator = seeded(9)
    named = {
        name: (torch.randn(shape, generator=generator, dtype=torch.float64) / math.sqrt(shape[-1]))
        .to(dtype)
        .requires_grad_()
        for name, shape in more.items()
    }
    weights = AttentionWeights(
        embed=values[0],
        embed_bias=values[1],
        hidden=values[2],
        score=values[3],
        activation="tanh" if activation == "tanh" else "relu",
        **named,
    )
    return weights, [*values, *named.values()]


def plain_form(
    blocks: Sequence[Tensor], members: Tensor, weights: AttentionWeights, gate: Tensor | None = None
) -> list[Tensor]:
    """`plain`, of any form of attention."""
    embedded = torch.relu(torch.nn.functional.linear(torch.cat(list(blocks)), weights.embed, weights.embed_bias))
    if gate is not None:
        embedded = embedded * gate
    inner = torch.nn.functional.linear(embedded, weights.hidden, weights.hidden_bias)
    inner = torch.tanh(inner) if weights.activation == "tanh" else torch.relu(inner)
    if weights.gate is not None:
        inner = inner * torch.sigmoid(torch.nn.functional.linear(embedded, weights.gate, weights.gate_bias))
    scores = inner @ weights.score[0]
    pooled = [torch.softmax(scores[chosen], 0) @ embedded[chosen] for chosen in members]
    return [torch.stack(pooled), scores]


def make_blocks(
    sizes: Sequence[int], dim: int, dtype: torch.dtype = torch.float64, seed: int = 2
) -> tuple[Tensor, ...]:
    generator = seeded(seed)
    return tuple(torch.randn(size, dim, generator=generator, dtype=torch.float64).to(dtype) for size in sizes)


def make_members(bags: int, count: int, seed: int = 4) -> Tensor:
    """Random bags, the first of all instances, the last of a single one."""
    members = torch.rand(bags, count, generator=seeded(seed)) < 0.4
    members[0], members[-1] = True, False
    members[-1, count // 2] = True
    members[:, 0] |= ~members.any(dim=1)
    return members


def plain(
    blocks: Sequence[Tensor], members: Tensor, values: Sequence[Tensor], gate: Tensor | None = None
) -> list[Tensor]:
    """What `pool` says, in torch's own operations: `gate` (N, h) is what dropout multiplies the embedding by."""
    w0, b0, w1, w2 = values
    embedded = torch.relu(torch.cat(list(blocks)).to(w0.dtype) @ w0.T + b0)
    if gate is not None:
        embedded = embedded * gate
    scores = torch.relu(embedded @ w1.T) @ w2[0]
    pooled = [torch.softmax(scores[chosen], 0) @ embedded[chosen] for chosen in members]
    return [torch.stack(pooled), scores]


def gate_of(count: int, hidden: int, dropout: float, seed: int, sizes: Sequence[int] | None = None) -> Tensor:
    """(N, h) what dropout multiplies by. With W0 = 0 and b0 = 1 every embedding is 1; a bag of one shows it."""
    values = [torch.zeros(hidden, 2), torch.ones(hidden), torch.zeros(1, hidden), torch.zeros(1, 1)]
    blocks = make_blocks(sizes or [count], 2, torch.float32)
    return pool(blocks, torch.eye(count, dtype=torch.bool), weights_of(values), dropout, seeded(seed))[0]


def probe(outputs: Sequence[Tensor], seed: int = 8) -> Tensor:
    """A number on which every output has an influence of its own."""
    generator = seeded(seed)
    parts = [
        (torch.randn(out.shape, generator=generator, dtype=torch.float64).to(out.dtype) * out).sum() for out in outputs
    ]
    return torch.stack(parts).sum()


def gradients(outputs: Sequence[Tensor], values: Sequence[Tensor]) -> list[Tensor]:
    return list(torch.autograd.grad(probe(outputs), list(values)))


@pytest.mark.parametrize("dropout", [0.0, 0.25, 0.6])
def test_the_gradient_is_that_of_finite_differences(dropout: float) -> None:
    blocks, members = make_blocks([7, 3], 4), make_members(4, 10)
    values = make_weights(4, 6, 5)

    def pooled(*weights: Tensor) -> tuple[Tensor, Tensor]:
        return pool(blocks, members, weights_of(weights), dropout, seeded())

    assert torch.autograd.gradcheck(pooled, values, eps=1e-6, atol=1e-6)


@every_form
def test_every_form_of_attention_has_the_gradient_of_finite_differences(form: Form) -> None:
    blocks, members = make_blocks([7, 3], 4), make_members(4, 10)
    weights, values = make_form(form, 4, 6, 5)
    names = ["embed", "embed_bias", "hidden", "score", *(n for n in OPTIONAL if getattr(weights, n) is not None)]

    def pooled(*tensors: Tensor) -> tuple[Tensor, Tensor]:
        return pool(blocks, members, replace(weights, **dict(zip(names, tensors, strict=True))), 0.25, seeded())

    assert torch.autograd.gradcheck(pooled, values, eps=1e-6, atol=1e-6)


@every_form
@pytest.mark.parametrize("sizes", [[1], [2049], [2500, 7]])
def test_every_form_of_attention_is_that_of_plain_operations(form: Form, sizes: list[int]) -> None:
    blocks, members = make_blocks(sizes, 9), make_members(5, sum(sizes))
    weights, values = make_form(form, 9, 12, 5)
    gate = gate_of(sum(sizes), 12, 0.25, seed=6, sizes=sizes)
    found = pool(blocks, members, weights, 0.25, seeded(6))
    expected = plain_form(blocks, members, weights, (gate > 0).double() / 0.75)
    for one, other in zip(found, expected, strict=True):
        assert torch.allclose(one, other, rtol=1e-10, atol=1e-12)
    for one, other in zip(gradients(found, values), gradients(expected, values), strict=True):
        assert torch.allclose(one, other, rtol=1e-9, atol=1e-11)


@every_form
def test_every_form_of_attention_in_bfloat16_is_close_to_single_precision(form: Form) -> None:
    blocks, members = make_blocks([900, 20], 256, torch.float32), make_members(6, 920)
    weights, values = make_form(form, 256, 128, 32, torch.float32)
    exact = pool(blocks, members, weights, 0.25, seeded())
    with torch.autocast("cpu", torch.bfloat16):
        rough = pool(blocks, members, weights, 0.25, seeded())
    for one, other in zip(gradients(rough[:1], values), gradients(exact[:1], values), strict=True):
        assert one.dtype == torch.float32
        assert (one - other).norm() < 4e-2 * other.norm()


def test_a_gate_has_a_bias_where_the_hidden_layer_has_one() -> None:
    weights, _ = make_form(("tanh", True, True), 4, 6, 5)
    for name in ("hidden_bias", "gate_bias"):
        with pytest.raises(ValueError, match="both V and U"):
            pool(make_blocks([3], 4), make_members(1, 3), replace(weights, **{name: None}), 0.0, seeded())


@pytest.mark.parametrize("sizes", [[1], [5], [40, 6], [2048], [2049], [2500, 7], [4100, 1, 30]])
def test_values_and_gradients_are_those_of_plain_operations(sizes: list[int]) -> None:
    blocks, members, values = make_blocks(sizes, 9), make_members(6, sum(sizes)), make_weights(9, 12, 5)
    found, expected = pool(blocks, members, weights_of(values), 0.0, seeded()), plain(blocks, members, values)
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == torch.float64
        assert torch.allclose(one, other, rtol=1e-10, atol=1e-12)
    for one, other in zip(gradients(found, values), gradients(expected, values), strict=True):
        assert torch.allclose(one, other, rtol=1e-9, atol=1e-11)


def test_with_dropout_values_and_gradients_are_those_of_plain_operations_on_what_is_left() -> None:
    sizes = [2100, 20]
    blocks, members, values = make_blocks(sizes, 9), make_members(5, 2120), make_weights(9, 12, 5)
    gate = gate_of(2120, 12, 0.25, seed=6, sizes=sizes)
    found = pool(blocks, members, weights_of(values), 0.25, seeded(6))
    expected = plain(blocks, members, values, (gate > 0).double() / 0.75)
    for one, other in zip(found, expected, strict=True):
        assert torch.allclose(one, other, rtol=1e-10, atol=1e-12)
    for one, other in zip(gradients(found, values), gradients(expected, values), strict=True):
        assert torch.allclose(one, other, rtol=1e-9, atol=1e-11)


def test_each_output_alone_has_its_gradient() -> None:
    blocks, members, values = make_blocks([30], 4), make_members(3, 30), make_weights(4, 6, 5)
    for index in (0, 1):
        found = gradients([pool(blocks, members, weights_of(values), 0.0, seeded())[index]], values)
        expected = gradients([plain(blocks, members, values)[index]], values)
        for one, other in zip(found, expected, strict=True):
            assert torch.allclose(one, other, rtol=1e-9, atol=1e-12)
            assert float(one.abs().sum()) > 0


def test_how_instances_are_cut_into_blocks_does_not_matter() -> None:
    (whole,), members, values = make_blocks([50], 4), make_members(3, 50), make_weights(4, 6, 5)
    one = pool([whole], members, weights_of(values), 0.0, seeded())[0]
    other = pool([whole[:13], whole[13:49], whole[49:]], members, weights_of(values), 0.0, seeded())[0]
    assert torch.allclose(one, other, rtol=1e-12)


@pytest.mark.parametrize("stored", [torch.float16, torch.bfloat16])
def test_features_of_half_precision_are_taken_as_they_are(stored: torch.dtype) -> None:
    blocks, members, values = make_blocks([60, 5], 8, stored), make_members(3, 65), make_weights(8, 6, 5, torch.float32)
    wide = [block.float() for block in blocks]
    found = pool(blocks, members, weights_of(values), 0.25, seeded())
    expected = pool(wide, members, weights_of(values), 0.25, seeded())
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))
    assert all(map(torch.equal, gradients(found, values), gradients(expected, values)))


def test_blocks_may_differ_in_precision() -> None:
    (patches, groups), members = make_blocks([60, 5], 8), make_members(3, 65)
    values = make_weights(8, 6, 5, torch.float32)
    found = pool([patches.half(), groups.float()], members, weights_of(values), 0.0, seeded())[0]
    assert torch.allclose(found, plain([patches.half().float(), groups.float()], members, values)[0], atol=1e-5)


@pytest.mark.parametrize(("dropout", "share"), [(0.25, 0.25), (0.5, 0.5), (0.9, 230 / 256), (0.1, 26 / 256)])
def test_dropout_zeroes_its_share_and_keeps_the_mean(dropout: float, share: float) -> None:
    gate = gate_of(600, 64, dropout, seed=1)
    assert sorted(set(gate.flatten().tolist())) == pytest.approx([0, 1 / (1 - share)])
    # 38 400 values: sd of the share at most 0.0026; of the mean sqrt(s / (1 - s)) / 196, at most 0.0152; bounds 5 sd
    assert float((gate == 0).double().mean()) == pytest.approx(share, abs=0.013)
    assert float(gate.double().mean()) == pytest.approx(1, abs=5 * (share / (1 - share)) ** 0.5 / 196)


def test_dropout_of_neighbours_is_independent() -> None:
    zero = (gate_of(600, 64, 0.25, seed=1) == 0).double()
    for step in range(1, 9):  # eight values come from one 64-bit draw
        both = (zero.flatten()[:-step] * zero.flatten()[step:]).mean()
        assert float(both) == pytest.approx(0.0625, abs=0.007)  # sd 0.0012


def test_dropout_differs_between_blocks_and_between_draws() -> None:
    gate = gate_of(4096, 8, 0.5, seed=1)  # two blocks of 2048
    assert not torch.equal(gate[:2048], gate[2048:])
    generator = seeded()
    values = [torch.zeros(8, 2), torch.ones(8), torch.zeros(1, 8), torch.zeros(1, 1)]
    one, other = (
        pool(make_blocks([9], 2, torch.float32), torch.eye(9, dtype=torch.bool), weights_of(values), 0.5, generator)[0]
        for _ in range(2)
    )
    assert not torch.equal(one, other)


def test_no_dropout_draws_nothing() -> None:
    generator = seeded()
    before = generator.get_state()
    assert bool((gate_of(20, 8, 0.0, seed=1) == 1).all())
    pool(make_blocks([9], 4), make_members(2, 9), weights_of(make_weights(4, 6, 5)), 0.0, generator)
    assert torch.equal(generator.get_state(), before)


@pytest.mark.parametrize("dropout", [0.997, 0.999, 0.99999])
def test_dropout_of_nearly_everything_stays_finite(dropout: float) -> None:
    gate = gate_of(600, 64, dropout, seed=1)
    assert torch.isfinite(gate).all()
    assert 0 < float((gate > 0).double().mean()) < 0.01


def test_all_bags_share_one_draw() -> None:
    blocks, values = make_blocks([40], 4), make_weights(4, 16, 5)
    members = make_members(3, 40)[[0, 1, 1, 0]]
    pooled = pool(blocks, members, weights_of(values), 0.5, seeded())[0]
    assert torch.equal(pooled[1], pooled[2])
    assert torch.equal(pooled[0], pooled[3])
    alone = pool(blocks, members[1:2], weights_of(values), 0.5, seeded())[0]
    assert torch.allclose(alone[0], pooled[1], rtol=1e-12)


@pytest.mark.parametrize("dropout", [0.0, 0.25])
def test_products_in_bfloat16_are_close_to_single_precision(dropout: float) -> None:
    blocks, members = make_blocks([900, 20], 256, torch.float32), make_members(6, 920)
    values = make_weights(256, 128, 32, torch.float32)
    exact = pool(blocks, members, weights_of(values), dropout, seeded())
    with torch.autocast("cpu", torch.bfloat16):
        rough = pool(blocks, members, weights_of(values), dropout, seeded())
    assert not torch.equal(rough[0], exact[0])  # autocast does act
    for one, other in zip(rough, exact, strict=True):
        assert one.dtype == torch.float32
        assert (one - other).norm() < 1e-2 * other.norm()
    for one, other in zip(gradients(rough[:1], values), gradients(exact[:1], values), strict=True):
        assert one.dtype == torch.float32
        assert (one - other).norm() < 2e-2 * other.norm()


@pytest.mark.parametrize("stored", [torch.float16, torch.bfloat16, torch.float32])
def test_bfloat16_takes_features_of_any_precision(stored: torch.dtype) -> None:
    blocks, members = make_blocks([900], 256, stored), make_members(3, 900)
    values = make_weights(256, 128, 32, torch.float32)
    exact = gradients(plain(blocks, members, values)[:1], values)
    with torch.autocast("cpu", torch.bfloat16):
        rough = pool(blocks, members, weights_of(values), 0.0, seeded())
    for one, other in zip(gradients(rough[:1], values), exact, strict=True):
        assert (one - other).norm() < 2e-2 * other.norm()


def test_the_backward_pass_can_be_run_twice() -> None:
    blocks, members, values = make_blocks([2100], 4), make_members(3, 2100), make_weights(4, 6, 5)
    value = probe(pool(blocks, members, weights_of(values), 0.25, seeded()))
    first = torch.autograd.grad(value, values, retain_graph=True)
    second = torch.autograd.grad(value, values)
    assert all(map(torch.equal, first, second))


def test_features_are_data_and_get_no_gradient() -> None:
    (block,), members, values = make_blocks([12], 4), make_members(2, 12), make_weights(4, 6, 5)
    before = block.clone()
    block.requires_grad_()
    probe(pool([block], members, weights_of(values), 0.25, seeded())).backward()
    assert block.grad is None
    assert torch.equal(block.detach(), before)
    assert all(value.grad is not None for value in values)


def test_what_is_kept_for_the_backward_pass_is_the_embedding_and_its_attention_layer() -> None:
    count, dim, hidden, inner, bags = 5000, 40, 32, 8, 3
    blocks, members = make_blocks([count], dim, torch.float32), make_members(bags, count)
    pooled, _ = pool(blocks, members, weights_of(make_weights(dim, hidden, inner, torch.float32)), 0.25, seeded())
    assert pooled.grad_fn is not None
    kept = [tensor.shape for tensor in pooled.grad_fn.saved_tensors if tensor.numel() >= count]
    assert sorted(kept) == [(bags, count), (count, inner), (count, hidden)]


def test_an_empty_bag_is_no_bag() -> None:
    with pytest.raises(ValueError, match="without instances"):
        probe(pool([], torch.ones(1, 0, dtype=torch.bool), weights_of(make_weights(4, 6, 5)), 0.0, seeded())).backward()
