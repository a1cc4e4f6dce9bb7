"""Key maps: there and back for every one, what they leave out, and what they make of files that they do not know."""

import re
from functools import cache
from pathlib import Path

import pytest
import torch

from sammil_cli.choices import ENCODERS, names
from sammil_cli.errors import MissingError
from sammil_cli.features.encoder_row import FOLDER, EncoderRow, encoder_row
from sammil_cli.features.key_maps import KEY_MAPS, PUBLISHED_NAMES
from sammil_cli.features.published_network import build_network, fill
from sammil_cli.features.weight_forms.renaming import State, joined, on_grid, renamed

ROWS = [encoder_row(path.stem) for path in sorted(FOLDER.glob("*.json"))]
KINDS = sorted(KEY_MAPS)
# A name of each published form.
NAMES = {
    "timm": "blocks.1.attn.qkv.bias",
    "timm_encoder": "encoder.blocks.1.attn.qkv.bias",
    "timm_old_swin": "layers.0.downsample.reduction.weight",
    "transformers_vit": "encoder.layer.1.attention.attention.key.bias",
    "transformers_dinov2": "encoder.layer.1.layer_scale2.lambda1",
    "dinov2": "blocks.1.attn.qkv.bias",
    "dinov2_teacher": "teacher.backbone.blocks.3.39.mlp.w12.weight",
    "dino_teacher": "teacher.backbone.blocks.1.attn.qkv.bias",
    "transformers_clip": "vision_model.encoder.layers.1.self_attn.k_proj.bias",
    "open_clip": "visual.transformer.resblocks.1.attn.in_proj_bias",
    "open_clip_timm": "visual.trunk.blocks.1.attn.qkv.bias",
    "keep": "visual.blocks.1.ls2.weight",
}

# Forms that a map reads besides its own, where the lightest networks are of one kind.
ALSO_READ = {
    *(("dinov2_teacher", "dinov2"), ("dinov2", "dinov2_teacher")),
    *(("timm_encoder", "timm"), ("dino_teacher", "timm")),
}

every_kind = pytest.mark.parametrize("kind", KINDS)


def lightest(kind: str) -> EncoderRow:
    """The smallest encoder whose weights have such names."""
    fitting = [row for row in ROWS if row.network.keys == kind and row.network.name != "resnet50"]
    return min(fitting, key=lambda row: row.parameters.count)


@cache
def network(kind: str) -> torch.nn.Module:
    return build_network(lightest(kind)).network


@cache
def _published(kind: str) -> State:
    return PUBLISHED_NAMES[kind](dict(network(kind).state_dict()))


def published(kind: str) -> State:
    """As a file would hold the weights, without memory."""
    return dict(_published(kind))


def test_every_map_has_a_way_back_and_a_row() -> None:
    assert KINDS == sorted(PUBLISHED_NAMES) == sorted(NAMES) == sorted({row.network.keys for row in ROWS})
    assert {row.word for row in ROWS} <= set(names(ENCODERS))


@every_kind
def test_there_and_back_all_weights_have_their_names_and_shapes(kind: str) -> None:
    state = published(kind)
    assert NAMES[kind] in state
    found = {name: value.shape for name, value in KEY_MAPS[kind](state).items()}
    assert found == {name: value.shape for name, value in network(kind).state_dict().items()}


@every_kind
def test_a_file_of_another_form_is_refused_and_nothing_else_fails(kind: str) -> None:
    for other in {*KINDS} - {kind}:
        if (kind, other) in ALSO_READ:
            continue
        with pytest.raises(MissingError, match=r"other\.bin is no .*: of \d+ weights"):
            fill(network(kind), KEY_MAPS[kind](published(other)), Path("other.bin"), lightest(kind).title)


@every_kind
def test_a_file_that_lacks_a_weight_or_has_one_misshapen_keeps_the_rest(kind: str) -> None:
    for name in [*list(published(kind))[:3], NAMES[kind]]:
        lacking, misshapen = published(kind), published(kind)
        del lacking[name]
        misshapen[name] = torch.zeros(3, 5, 7, 2, 2)
        for state in (lacking, misshapen):
            with pytest.raises(MissingError, match=r"weights"):
                fill(network(kind), KEY_MAPS[kind](state), Path("cut.bin"), lightest(kind).title)


def test_queries_keys_and_values_are_joined_in_this_order() -> None:
    state = {
        f"blocks.7.attn.{part}.weight": torch.full((2, 3), value)
        for part, value in (("v", 3.0), ("q", 1.0), ("k", 2.0))
    }
    (name, whole), *others = joined(state).items()
    assert (name, others) == ("blocks.7.attn.qkv.weight", [])
    assert whole[:, 0].tolist() == [1, 1, 2, 2, 3, 3]
    del state["blocks.7.attn.k.weight"]
    assert joined(state).keys() == state.keys()


def test_places_that_are_no_square_stay() -> None:
    state = {"pos_embed": torch.zeros(1, 12, 4), "patch_embed.proj.weight": torch.zeros(4, 3, 16, 16)}
    assert on_grid(state, 224) == state


def test_names_are_changed_at_their_beginning_only() -> None:
    state = {"a.1.b.norm": torch.zeros(1), "x.a.1.b.": torch.zeros(1)}
    assert list(renamed(state, [("a.{}.b.", "c.{}.")])) == ["c.1.norm", "x.a.1.b."]


@pytest.mark.parametrize("old", [True, False])
def test_swins_of_old_and_new_timm_are_read(old: bool) -> None:
    state = published("timm_old_swin") if old else dict(network("timm_old_swin").state_dict())
    state |= {
        "layers.0.blocks.1.attn_mask": torch.zeros(1),
        "layers.1.blocks.0.attn.relative_position_index": torch.zeros(1),
    }
    found = KEY_MAPS["timm_old_swin"](state)
    assert found.keys() == network("timm_old_swin").state_dict().keys()
    shrinking = {int(match[1]) for name in found if (match := re.match(r"layers\.(\d)\.downsample", name))}
    assert shrinking == {1, 2, 3}
