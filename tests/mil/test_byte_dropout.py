"""Dropout by random bytes against torch's own operations, with the mask that was drawn."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from sammil_cli.mil.byte_dropout import gated_dropout, in_bytes, relu_dropout

ROWS, COLUMNS = 40, 9


def drawn(seed: int, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(ROWS, COLUMNS, generator=generator, dtype=torch.float64).to(dtype).requires_grad_()


def relu(values: tuple[Tensor, ...], share: float) -> Tensor:
    return relu_dropout(*values, share, torch.Generator().manual_seed(7))


def gated(values: tuple[Tensor, ...], share: float) -> Tensor:
    return gated_dropout(*values, share, torch.Generator().manual_seed(7))


KINDS = [(relu, lambda x: torch.relu(x), 1), (gated, lambda a, b: torch.tanh(a) * torch.sigmoid(b), 2)]
each = pytest.mark.parametrize(("ours", "plain", "inputs"), KINDS, ids=["relu", "gated"])


@each
@pytest.mark.parametrize("share", [0.0, 0.25, 0.4375, 0.9])
def test_values_and_gradients_are_those_of_the_activation_under_the_mask(
    ours: Callable[..., Tensor], plain: Callable[..., Tensor], inputs: int, share: float
) -> None:
    values = tuple(drawn(seed) for seed in range(inputs))
    found, outer = ours(values, share), drawn(5).detach()
    drop, scale = in_bytes(share)
    mask = (found != 0).double()  # the activation itself is 0 nowhere that its gradient is not
    wanted = plain(*values) * mask * scale
    assert scale == 256 / (256 - drop)
    assert torch.allclose(found, wanted, rtol=1e-12)
    for one, other in zip(
        torch.autograd.grad(found, values, outer, retain_graph=True),
        torch.autograd.grad(wanted, values, outer),
        strict=True,
    ):
        assert torch.allclose(one, other, rtol=1e-10, atol=1e-14)
    again = torch.autograd.grad(found, values, outer)  # of one step several backward passes may be asked
    assert all(torch.isfinite(one).all() for one in again)


@each
@pytest.mark.parametrize("share", [0.25, 0.4375])
def test_so_many_values_are_zeroed_and_the_mean_stays(
    ours: Callable[..., Tensor], plain: Callable[..., Tensor], inputs: int, share: float
) -> None:
    values = tuple(torch.full((4000, 50), 0.7) for _ in range(inputs))
    found, value = ours(values, share), plain(*(torch.tensor(0.7) for _ in range(inputs))).item()
    assert (found == 0).float().mean().item() == pytest.approx(share, abs=5e-3)
    assert found.mean().item() == pytest.approx(value, rel=1e-2)


@each
def test_one_seed_gives_one_mask_and_torchs_own_numbers_are_used_where_no_generator_is_given(
    ours: Callable[..., Tensor], plain: Callable[..., Tensor], inputs: int
) -> None:
    values = tuple(drawn(seed) for seed in range(inputs))
    before = torch.get_rng_state()
    assert torch.equal(ours(values, 0.5), ours(values, 0.5))
    assert torch.equal(torch.get_rng_state(), before)
    free = relu_dropout if inputs == 1 else gated_dropout
    torch.manual_seed(1)
    one, other = free(*values, 0.5), free(*values, 0.5)
    torch.manual_seed(1)
    assert not torch.equal(one, other)
    assert torch.equal(free(*values, 0.5), one)


@each
def test_half_precision_stays_half_precision(
    ours: Callable[..., Tensor], plain: Callable[..., Tensor], inputs: int
) -> None:
    values = tuple(drawn(seed, torch.bfloat16) for seed in range(inputs))
    found = ours(values, 0.25)
    assert found.dtype == torch.bfloat16
    mask = found != 0
    assert torch.allclose(found[mask], (plain(*values) / 0.75)[mask], rtol=0.02)


@pytest.mark.parametrize(("share", "drop"), [(0.0, 0), (0.25, 64), (0.5, 128), (0.001, 0), (0.9999, 255), (1.0, 255)])
def test_shares_are_in_steps_and_something_is_always_left(share: float, drop: int) -> None:
    assert in_bytes(share) == (drop, pytest.approx(256 / (256 - drop)))
    assert math.isfinite(in_bytes(share)[1])
