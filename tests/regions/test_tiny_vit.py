"""MobileSAM's image encoder, against its equations written down anew; weights are random."""

from itertools import product

import pytest
import torch
from published_mobile_sam import HEAD, embed, encoder_shapes, published_state
from timm.models.tiny_vit import Attention

from sammil_cli.regions.sam_models.build import build_sam
from sammil_cli.regions.sam_models.tiny_vit import TinyViTEncoder, of_published

SIDE = 160  # windows of 7 and 14 are padded at 20 and 10 tokens


def weights() -> dict[str, torch.Tensor]:
    prefix = "image_encoder."
    return {name.removeprefix(prefix): value for name, value in published_state().items() if name.startswith(prefix)}


def pictures(count: int = 1, side: int = SIDE) -> torch.Tensor:
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(5))


def encoder(*, meta: bool = True) -> TinyViTEncoder:
    with torch.device("meta" if meta else "cpu"):
        module = TinyViTEncoder(SIDE)
    module.load_state_dict(of_published(weights()), assign=True)
    return module.eval()


def test_the_published_model_has_its_published_size() -> None:
    """The classifier's part, which is not loaded, included."""
    shapes = dict(encoder_shapes())
    counted = {name for name in shapes if "running_" not in name and "num_batches" not in name}
    sizes = {name: torch.Size(shapes[name]).numel() for name in counted}
    assert sum(sizes.values()) == 6_065_532
    model = build_sam("vit_t")
    parts = {name: sum(p.numel() for p in part.parameters()) for name, part in model.named_children()}
    left_out = sum(size for name, size in sizes.items() if name.startswith(HEAD))
    assert parts == {"image_encoder": 6_065_532 - left_out, "prompt_encoder": 6_220, "mask_decoder": 4_058_340}
    assert sum(parts.values()) + left_out == 10_130_092


def test_every_published_name_has_one_place_and_every_place_a_name() -> None:
    published = weights()
    renamed = of_published(published)
    left_out = {name for name in published if name.startswith(HEAD)}
    assert len(left_out) == 4
    assert len(renamed) == len(published) - len(left_out)
    places = TinyViTEncoder().state_dict()
    assert renamed.keys() == places.keys()
    assert {name: value.shape for name, value in renamed.items()} == {name: v.shape for name, v in places.items()}


def test_embeddings_and_the_early_feature_are_those_of_the_equations() -> None:
    state = {name: value.double() for name, value in weights().items()}
    module, pixels = encoder().double(), pictures(2)
    with torch.no_grad():
        found, early = module.see(pixels.double())
        expected, expected_early = embed(state, pixels.double())
        alone = module(pixels.double())
    assert found.shape == (2, 256, 10, 10)
    assert early.shape == (2, 160, 10, 10)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-11)
    torch.testing.assert_close(early, expected_early, rtol=0, atol=1e-11)
    assert torch.equal(alone, found)


def test_each_part_counts_in_these_weights() -> None:
    """Otherwise the test above could not see it go wrong."""
    state, pixels = weights(), pictures()
    before = embed(state, pixels)[0]
    for part in ("attention_biases", "local_conv.c.weight", "layers.2.downsample.conv2.c.weight", "running_mean"):
        changed = {name: value * 0 if name.endswith(part) else value for name, value in state.items()}
        assert (embed(changed, pixels)[0] - before).norm() > 1e-2 * before.norm(), part


@pytest.mark.parametrize("meta", [True, False])
def test_biases_are_those_of_the_weights_whatever_was_there_before(meta: bool) -> None:
    """MobileSAM's own builder leaves them at 0 until eval() is called once more."""
    module = TinyViTEncoder(SIDE).eval()
    with torch.no_grad():
        module(pictures())  # keeps the biases of the first weights, which are 0
        module.load_state_dict(of_published(weights()))
        expected, _ = embed(weights(), pictures())
        for found in (module(pictures()), encoder(meta=meta)(pictures())):
            torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    attentions = [part for part in module.modules() if isinstance(part, Attention)]
    assert len(attentions) == 10
    for part in attentions:
        biases = part.get_attention_biases(torch.device("cpu"))
        tokens = list(product(range(part.resolution[0]), range(part.resolution[1])))
        for first, second in product((0, 5, len(tokens) - 1), range(len(tokens))):
            down, across = (abs(a - b) for a, b in zip(tokens[first], tokens[second], strict=True))
            assert torch.equal(biases[:, first, second], part.attention_biases[:, down * part.resolution[1] + across])


def test_nothing_is_left_on_the_meta_device() -> None:
    module = encoder(meta=True)
    assert {value.device.type for value in (*module.parameters(), *module.buffers())} == {"cpu"}


def test_it_learns_nothing_in_a_model_that_is_trained() -> None:
    """Batch norms would: each picture would move their means, without any gradient."""
    model = torch.nn.Sequential(encoder()).eval()
    expected = model(pictures())
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert torch.equal(model.train()(pictures(2))[:1], model(pictures(2))[:1])
    assert torch.equal(model(pictures()), expected)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
