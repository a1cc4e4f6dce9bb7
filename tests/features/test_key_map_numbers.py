"""Small networks with weights under published names compute what their authors' definitions say."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from published_forward import (
    State,
    drawn,
    gelu,
    linear,
    meta_vit,
    open_clip_image,
    transformers_dinov2,
    transformers_vit,
)

from sammil_cli.features.encoder_row import EncoderRow, encoder_row
from sammil_cli.features.key_maps import KEY_MAPS
from sammil_cli.features.network_parts import ConvStem
from sammil_cli.features.published_network import load_network
from sammil_cli.regions.light_torchvision import import_torchvision

WIDTH, DEPTH, HEADS, DIM = 24, 2, 3, 5
Shapes = dict[str, tuple[int, ...]]


def small(word: str) -> EncoderRow:
    """The row of an encoder, its network few and narrow; all else that the row says of it stays."""
    row = encoder_row(word)
    options = {**row.network.options, "embed_dim": WIDTH, "depth": DEPTH, "num_heads": HEADS}
    if options["num_classes"]:
        options["num_classes"] = DIM
    return replace(row, network=replace(row.network, options=options))


def found(row: EncoderRow, state: State, images: torch.Tensor) -> torch.Tensor:
    """Features of the network that sammil makes of a file with such weights."""
    named = KEY_MAPS[row.network.keys]({name: value.float() for name, value in state.items()})
    with torch.inference_mode():
        features: torch.Tensor = load_network(row, named, Path("published.bin")).double()(images)
    return features


def pictures(row: EncoderRow) -> torch.Tensor:
    px = row.preparation.input_px
    return torch.randn(2, 3, px, px, generator=torch.Generator().manual_seed(1)).double()


def linears(**sizes: tuple[int, int]) -> Shapes:
    """Weights and biases by names with __ for a dot: (out, in) each."""
    named = {name.replace("__", "."): size for name, size in sizes.items()}
    return {f"{name}.weight": size for name, size in named.items()} | {f"{n}.bias": s[:1] for n, s in named.items()}


def norms(*names: str) -> Shapes:
    return {f"{name}.{kind}": (WIDTH,) for name in names for kind in ("weight", "bias")}


def layered(beginning: str, one: Shapes) -> Shapes:
    return {f"{beginning}{number}.{name}": shape for number in range(DEPTH) for name, shape in one.items()}


def transformers_shapes(patch: int, places: int, one: Shapes, registers: int = 0) -> Shapes:
    square = (WIDTH, WIDTH)
    attention = {f"attention.attention.{part}": square for part in ("query", "key", "value")}
    extra = {"embeddings.register_tokens": (1, registers, WIDTH)} if registers else {}
    return {
        "embeddings.cls_token": (1, 1, WIDTH),
        "embeddings.mask_token": (1, WIDTH),
        "embeddings.position_embeddings": (1, 1 + places, WIDTH),
        "embeddings.patch_embeddings.projection.weight": (WIDTH, 3, patch, patch),
        "embeddings.patch_embeddings.projection.bias": (WIDTH,),
        **norms("layernorm"),
        **layered("encoder.layer.", one | linears(**attention, attention__output__dense=square)),
        **extra,
    }


def dinov2_layer(hidden: int, *, swiglu: bool) -> Shapes:
    perceptron = (
        linears(mlp__weights_in=(2 * hidden, WIDTH), mlp__weights_out=(WIDTH, hidden))
        if swiglu
        else linears(mlp__fc1=(hidden, WIDTH), mlp__fc2=(WIDTH, hidden))
    )
    scales = {f"layer_scale{number}.lambda1": (WIDTH,) for number in (1, 2)}
    return norms("norm1", "norm2") | scales | perceptron


def meta_shapes(patch: int, places: int, one: Shapes, registers: int = 0) -> Shapes:
    extra = {"register_tokens": (1, registers, WIDTH)} if registers else {}
    return {
        "cls_token": (1, 1, WIDTH),
        "pos_embed": (1, 1 + places, WIDTH),
        "patch_embed.proj.weight": (WIDTH, 3, patch, patch),
        "patch_embed.proj.bias": (WIDTH,),
        **norms("norm"),
        **layered("blocks.", one | norms("norm1", "norm2") | meta_attention()),
        **extra,
    }


def meta_attention() -> Shapes:
    return linears(attn__qkv=(3 * WIDTH, WIDTH), attn__proj=(WIDTH, WIDTH))


SCALES = {f"ls{number}.gamma": (WIDTH,) for number in (1, 2)}
MLP = linears(mlp__fc1=(4 * WIDTH, WIDTH), mlp__fc2=(WIDTH, 4 * WIDTH))
SWIGLU = linears(mlp__w12=(4 * WIDTH + 32, WIDTH), mlp__w3=(WIDTH, 2 * WIDTH + 16))  # 24 x 5.33334 = 128


def test_phikon() -> None:
    row = small("phikon")
    layer = norms("layernorm_before", "layernorm_after") | linears(
        intermediate__dense=(4 * WIDTH, WIDTH), output__dense=(WIDTH, 4 * WIDTH)
    )
    shapes = transformers_shapes(16, 14 * 14, layer) | linears(pooler__dense=(WIDTH, WIDTH))
    state, images = drawn(shapes), pictures(row)
    expected = transformers_vit(state, images, HEADS)[:, 0]
    torch.testing.assert_close(found(row, state, images), expected, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize(
    ("word", "patch", "side", "hidden", "registers"),
    [
        ("phikon_v2", 16, 14, 96, 0),
        ("phikon_v2", 16, 18, 96, 0),  # were its places for another side, they are interpolated as published
        ("midnight", 14, 16, 64, 0),
        ("midnight", 14, 37, 64, 0),
        ("hibou_b", 14, 16, 64, 4),
        ("hibou_l", 14, 16, 64, 4),
    ],
)
def test_transformers_dinov2(word: str, patch: int, side: int, hidden: int, registers: int) -> None:
    row = small(word)
    shapes = transformers_shapes(patch, side * side, dinov2_layer(hidden, swiglu=word != "phikon_v2"), registers)
    state, images = drawn(shapes), pictures(row)
    tokens = transformers_dinov2(state, images, HEADS)
    expected = tokens[:, 0]
    if row.pooling == "cls-mean":
        expected = torch.cat([expected, tokens[:, 1 + registers :].mean(1)], dim=1)
    tolerance = 1e-7 if side * patch == 224 else 1e-5  # places are interpolated in float32
    torch.testing.assert_close(found(row, state, images), expected, rtol=tolerance, atol=tolerance)


def as_teacher(state: State) -> State:
    """As a checkpoint of DINOv2's training holds it: blocks in chunks, other parts beside."""
    chunked = {re.sub(r"^blocks\.(\d+)\.", r"blocks.\1.\1.", name): value for name, value in state.items()}
    beside = {"teacher.dino_head.last_layer.weight": torch.zeros(2, 2), "teacher.ibot_head.mlp.0.bias": torch.zeros(2)}
    return {f"teacher.backbone.{name}": value for name, value in chunked.items()} | beside


def as_it_is(state: State) -> State:
    return state | {"mask_token": torch.zeros(1, WIDTH).double()}


@pytest.mark.parametrize(
    ("word", "perceptron", "registers", "form"),
    [
        ("openpath", SWIGLU, 4, as_teacher),
        ("openmidnight", SWIGLU, 4, as_it_is),
        ("gpfm", MLP, 0, as_it_is),
        ("gpfm", MLP, 0, dict),
    ],
)
def test_dinov2_of_its_authors(word: str, perceptron: Shapes, registers: int, form: Callable[[State], State]) -> None:
    row = small(word)
    state = drawn(meta_shapes(14, 16 * 16, perceptron | SCALES, registers))
    images = pictures(row)
    expected = meta_vit(state, images, HEADS)[:, 0]
    torch.testing.assert_close(found(row, form(state), images), expected, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("prefix", ["teacher.backbone.", "teacher.module.backbone."])
def test_hipt_sees_256_px_with_places_for_224(prefix: str) -> None:
    row = small("hipt")
    state = drawn(meta_shapes(16, 14 * 14, MLP))
    images = pictures(row)
    assert images.shape == (2, 3, 256, 256)
    file = {f"{prefix}{name}": value for name, value in state.items()}
    file |= {"teacher.head.mlp.0.weight": torch.zeros(2, 2), "student.module.backbone.cls_token": torch.zeros(1)}
    file |= {"dino_loss.center": torch.zeros(1, 2)}
    expected = meta_vit(state, images, HEADS)[:, 0]
    torch.testing.assert_close(found(row, file, images), expected, rtol=1e-5, atol=1e-5)


def test_sp22m() -> None:
    row = small("sp22m")
    state = drawn(meta_shapes(16, 14 * 14, MLP))
    images = pictures(row)
    file = {f"encoder.{name}": value for name, value in state.items()}
    expected = meta_vit(state, images, HEADS)[:, 0]
    torch.testing.assert_close(found(row, file, images), expected, rtol=1e-7, atol=1e-7)


TEXT = {
    "positional_embedding": (7, WIDTH),
    "text_projection": (WIDTH, DIM),
    "logit_scale": (),
    "token_embedding.weight": (9, WIDTH),
    "ln_final.weight": (WIDTH,),
    "transformer.resblocks.0.ln_1.weight": (WIDTH,),
}


def test_quiltnet() -> None:
    row = small("quiltnet")
    block = norms("ln_1", "ln_2") | linears(
        attn__out_proj=(WIDTH, WIDTH), mlp__c_fc=(4 * WIDTH, WIDTH), mlp__c_proj=(WIDTH, 4 * WIDTH)
    )
    block |= {"attn.in_proj_weight": (3 * WIDTH, WIDTH), "attn.in_proj_bias": (3 * WIDTH,)}
    shapes = {
        "visual.class_embedding": (WIDTH,),
        "visual.positional_embedding": (50, WIDTH),
        "visual.conv1.weight": (WIDTH, 3, 32, 32),
        "visual.proj": (WIDTH, DIM),
        **norms("visual.ln_pre", "visual.ln_post"),
        **layered("visual.transformer.resblocks.", block),
    }
    state, images = drawn(shapes), pictures(row)
    expected = open_clip_image(state, images, HEADS)
    torch.testing.assert_close(found(row, state | drawn(TEXT), images), expected, rtol=1e-7, atol=1e-7)
    assert (expected.norm(dim=1) - 1).abs().min() > 0.01


def test_biomedclip() -> None:
    row = small("biomedclip")
    state = drawn(meta_shapes(16, 14 * 14, MLP))
    images = pictures(row)
    projection = drawn({"visual.head.proj.weight": (DIM, WIDTH)})
    text = drawn(
        {"text.transformer.embeddings.LayerNorm.weight": (3,), "text.proj.0.weight": (2, 2), "logit_scale": ()}
    )
    file = {f"visual.trunk.{name}": value for name, value in state.items()} | projection | text
    expected = meta_vit(state, images, HEADS)[:, 0] @ projection["visual.head.proj.weight"].T
    torch.testing.assert_close(found(row, file, images), expected, rtol=1e-7, atol=1e-7)


def test_keep() -> None:
    row = small("keep")
    state = drawn(meta_shapes(16, 14 * 14, MLP | SCALES))
    images = pictures(row)
    head = drawn({f"visual_head.{n}": s for n, s in linears(**{"0": (768, WIDTH), "2": (768, 768)}).items()}, seed=2)
    file = {f"visual.{name.replace('.gamma', '.weight')}": value for name, value in state.items()} | head
    file |= drawn({"text.encoder.layer.0.output.dense.weight": (2, 2), "logit_scale": ()})
    pooled = meta_vit(state, images, HEADS)[:, 0]
    projected = linear(head, "visual_head.2", gelu(linear(head, "visual_head.0", pooled)))
    expected = projected / projected.norm(dim=1, keepdim=True)
    torch.testing.assert_close(found(row, file, images), expected, rtol=1e-6, atol=1e-6)


def test_ctranspaths_stem() -> None:
    stem = ConvStem(img_size=8, patch_size=4, in_chans=3, embed_dim=16, norm_layer=torch.nn.LayerNorm).double().eval()
    shapes = {name: tuple(value.shape) for name, value in stem.state_dict().items() if value.ndim}
    assert {name: shape for name, shape in shapes.items() if len(shape) == 4} == {
        "proj.0.weight": (2, 3, 3, 3),
        "proj.3.weight": (4, 2, 3, 3),
        "proj.6.weight": (16, 4, 1, 1),
    }
    w = drawn(shapes)
    w |= {name: value.abs() + 0.1 for name, value in w.items() if name.endswith("running_var")}
    stem.load_state_dict(w, strict=False)
    x = images = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(3)).double()
    for convolution, norm in ((0, 1), (3, 4)):
        x = torch.nn.functional.conv2d(x, w[f"proj.{convolution}.weight"], stride=2, padding=1)
        scale = w[f"proj.{norm}.weight"] / torch.sqrt(w[f"proj.{norm}.running_var"] + 1e-5)
        shifted = x - w[f"proj.{norm}.running_mean"][:, None, None]
        x = torch.relu(shifted * scale[:, None, None] + w[f"proj.{norm}.bias"][:, None, None])
    x = torch.einsum("oi,bihw->bhwo", w["proj.6.weight"][:, :, 0, 0], x) + w["proj.6.bias"]
    expected = torch.nn.functional.layer_norm(x, (16,), w["norm.weight"], w["norm.bias"])
    torch.testing.assert_close(stem(images), expected, rtol=1e-9, atol=1e-9)


def test_ctranspaths_network_is_torchvisions_swin_with_the_stem() -> None:
    row = encoder_row("ctranspath")
    theirs = import_torchvision().models.swin_t().eval()
    theirs.features[0] = ConvStem(img_size=224, patch_size=4, in_chans=3, embed_dim=96, norm_layer=torch.nn.LayerNorm)
    theirs.head = torch.nn.Identity()
    theirs.eval()
    published = {}  # by the names of timm before 0.9: a grid is shrunk after the stage
    for name, value in theirs.state_dict().items():
        name = re.sub(r"^features\.0\.", "patch_embed.", name)
        name = re.sub(r"^features\.([1357])\.", lambda m: f"layers.{int(m[1]) // 2}.blocks.", name)
        name = re.sub(r"^features\.([246])\.", lambda m: f"layers.{int(m[1]) // 2 - 1}.downsample.", name)
        published[name.replace(".mlp.0.", ".mlp.fc1.").replace(".mlp.3.", ".mlp.fc2.")] = value
    generator = torch.Generator().manual_seed(0)
    for name, value in published.items():
        if name.endswith(("relative_position_bias_table", "running_mean", "bias")):
            value.normal_(0, 0.5, generator=generator)
    images = torch.randn(1, 3, 224, 224, generator=generator)
    ours = load_network(row, KEY_MAPS[row.network.keys](published), Path("ctranspath.pth"))
    with torch.inference_mode():
        torch.testing.assert_close(ours(images), theirs(images), rtol=1e-4, atol=1e-5)


def test_lunits_and_retccls_networks_are_torchvisions() -> None:
    theirs = import_torchvision().models.resnet50()
    theirs.fc = torch.nn.Identity()
    generator = torch.Generator().manual_seed(0)
    for name, value in theirs.state_dict().items():
        if name.endswith(("running_mean", "running_var")):
            value.uniform_(0.5, 1.5, generator=generator)
    images = torch.randn(2, 3, 64, 64, generator=generator)
    for word in ("lunit_bt", "lunit_mocov2", "lunit_swav", "retccl"):
        assert encoder_row(word).network == encoder_row("lunit_bt").network
    ours = load_network(encoder_row("lunit_bt"), theirs.state_dict(), Path("bt_rn50_ep200.torch"))
    with torch.inference_mode():
        torch.testing.assert_close(ours(images), theirs.eval()(images), rtol=1e-5, atol=1e-5)
