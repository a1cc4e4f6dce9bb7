"""SAM checkpoints in the forms that people have them (docs/sam-weights.md): read, or refused by their name.

Published, fine-tuned (MedSAM, micro-sam, PathoSAM), wrapped by those who trained them, of MobileSAM, of transformers.
"""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from sammil_cli.errors import MissingError
from sammil_cli.regions.sam_models.tiny_vit import of_published
from sammil_cli.storage.state_dict import load_state

State = dict[str, Tensor]

_ENCODER = "image_encoder."
_TABLES = ("model_state.", "state_dict.", "model.")  # the model's part of a file that holds other tables, too
_WRAPPERS = ("module.", "sam.")  # of several GPUs; of micro-sam's training
_COMPILED = "_orig_mod."
_WITH_CODE = (
    "ask its author for the tensors alone; a checkpoint of micro-sam's or PathoSAM's training is exported by "
    "micro_sam.util.export_custom_sam_model"
)

# How a model's size shows: MobileSAM's first convolution, or the width of a ViT's.
_TINY = f"{_ENCODER}patch_embed.seq.0.c.weight"
_PATCHES = (f"{_ENCODER}patch_embed.proj.weight", "vision_encoder.patch_embed.projection.weight")
_WORDS = {768: "vit_b", 1024: "vit_l", 1280: "vit_h"}


@dataclass(frozen=True, kw_only=True)
class _Form:
    """A form that does not load: what it is, how a key of it looks, and what to do."""

    what: str
    key: str
    remedy: str


_PLAIN = "give a checkpoint of the plain SAM (image_encoder., prompt_encoder., mask_decoder.)"
_REFUSED = (  # the first that a key matches
    _Form(
        what="of SAM with LoRA: its attention has layers that SAM's does not have",
        key=r"\.qkv\.(qkv_proj|w_[abqv]_linear)|\.lora_[AB]\.",
        remedy="merge the LoRA layers into the weights where it was trained, and save the plain state dict",
    ),
    _Form(
        what="of SAM-HQ: its mask decoder has parts that SAM's does not have",
        key=r"^mask_decoder\.(hf_|compress_|embedding_)",
        remedy=_PLAIN,
    ),
    _Form(
        what="of WSI-SAM: a mask decoder with the tokens that were added to it, without the SAM around",
        key=r"^hf_token\.",
        remedy="sam_checkpoint is the SAM that the tokens were trained on: for the published ones mobile_sam.pt",
    ),
    _Form(
        what="of SAM 2.1, another architecture",
        key=r"(^|\.)(no_obj_embed_spatial|obj_ptr_tpos_proj)(\.|$)",
        remedy=_PLAIN,
    ),
    _Form(
        what="of SAM 2, another architecture", key=r"^(image_encoder\.trunk|vision_encoder\.backbone)\.", remedy=_PLAIN
    ),
    _Form(
        what="a decoder for instances, such as micro-sam's, without the SAM that it was trained with",
        key=r"^decoder_state\.",
        remedy=_PLAIN,
    ),
    _Form(
        what="a model for semantic segmentation, such as PathoSAM's: of SAM it holds the image encoder only",
        key=r"^encoder\.patch_embed\.",
        remedy="give the checkpoint for prompts of the same publisher, which holds all of SAM",
    ),
    _Form(
        what="a mask decoder without the SAM around",
        key=r"^(transformer\.layers|iou_token|mask_tokens)\.",
        remedy=_PLAIN,
    ),
)

_SHARED = "shared_image_embedding.positional_embedding"
_TWIN = "prompt_encoder.shared_embedding.positional_embedding"  # the same tensor, which some files hold twice
# transformers' SamModel: its names, and ours; applied one after the other.
_TRANSFORMERS = tuple(
    (re.compile(pattern), ours)
    for pattern, ours in (
        (rf"^{re.escape(_SHARED)}$", "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"),
        (r"^vision_encoder\.neck\.conv1\.", "image_encoder.neck.0."),
        (r"^vision_encoder\.neck\.layer_norm1\.", "image_encoder.neck.1."),
        (r"^vision_encoder\.neck\.conv2\.", "image_encoder.neck.2."),
        (r"^vision_encoder\.neck\.layer_norm2\.", "image_encoder.neck.3."),
        (r"^vision_encoder\.layers\.", "image_encoder.blocks."),
        (r"^vision_encoder\.patch_embed\.projection\.", "image_encoder.patch_embed.proj."),
        (r"^vision_encoder\.", "image_encoder."),
        (r"\.mask_embed\.conv1\.", ".mask_downscaling.0."),
        (r"\.mask_embed\.layer_norm1\.", ".mask_downscaling.1."),
        (r"\.mask_embed\.conv2\.", ".mask_downscaling.3."),
        (r"\.mask_embed\.layer_norm2\.", ".mask_downscaling.4."),
        (r"\.mask_embed\.conv3\.", ".mask_downscaling.6."),
        (r"\.point_embed\.", ".point_embeddings."),
        (r"\.upscale_conv1\.", ".output_upscaling.0."),
        (r"\.upscale_layer_norm\.", ".output_upscaling.1."),
        (r"\.upscale_conv2\.", ".output_upscaling.3."),
        (r"\.layer_norm(\d|_final_attn)\.", r".norm\1."),
        (r"(_mlps\.\d|iou_prediction_head)\.proj_out\.", r"\1.layers.2."),
        (r"(_mlps\.\d|iou_prediction_head)\.layers\.0\.", r"\1.layers.1."),
        (r"(_mlps\.\d|iou_prediction_head)\.proj_in\.", r"\1.layers.0."),
    )
)


def sam_state(path: Path, word: str) -> State:
    """The weights of a checkpoint under the names of the model `word` (`build.SAM_MODELS`), in float32.

    Names and shapes are checked where the weights are loaded into a model.

    Raises:
        MissingError: it cannot be read, it is of a form that does not load, or of another model.
    """
    state = _unwrapped(load_state(path, if_code=_WITH_CODE), path)
    for form in _REFUSED:
        if any(re.search(form.key, name) for name in state):
            raise MissingError(f"{path} does not fit {word}: it is {form.what}", remedy=form.remedy)
    found = _word_of(state)
    if found not in (None, word):
        raise MissingError(f"{path} does not fit {word}: it holds {found}", remedy=f"set sam_model: {found}")
    if _TINY in state:
        state = _of_mobile_sam(state)
    elif _PATCHES[1] in state:
        state = _of_transformers(state)
    # Counts, such as those of batch norms, stay whole numbers.
    return {name: value.float() if value.is_floating_point() else value for name, value in state.items()}


def _unwrapped(state: Mapping[str, Tensor], path: Path) -> State:
    """The model's part of a file, its names without what was put around the model."""
    state = {str(name): value for name, value in state.items()}
    for table in _TABLES:
        part = {name.removeprefix(table): value for name, value in state.items() if name.startswith(table)}
        state = part or state
    plain = {_bare(name): value for name, value in state.items()}
    if len(plain) < len(state):
        (twice, _), *_ = Counter(map(_bare, state)).most_common(1)
        raise MissingError(f"{path} holds {twice} twice, in two models", remedy="save the one that is meant alone")
    return plain


def _bare(name: str) -> str:
    name = name.replace(_COMPILED, "")
    while name.startswith(_WRAPPERS):
        for wrapper in _WRAPPERS:
            name = name.removeprefix(wrapper)
    return name


def _word_of(state: Mapping[str, Tensor]) -> str | None:
    """The model that a checkpoint is of, as far as it shows."""
    if _TINY in state:
        return "vit_t"
    patches = next((state[name] for name in _PATCHES if name in state), None)
    return _WORDS.get(len(patches)) if patches is not None and patches.ndim else None


def _of_mobile_sam(state: State) -> State:
    encoder = {name.removeprefix(_ENCODER): value for name, value in state.items() if name.startswith(_ENCODER)}
    others = {name: value for name, value in state.items() if not name.startswith(_ENCODER)}
    return {_ENCODER + name: value for name, value in of_published(encoder).items()} | others


def _of_transformers(state: State) -> State:
    """The names of `segment_anything`."""
    if _TWIN in state and torch.equal(state[_TWIN], state.get(_SHARED, state[_TWIN])):
        state = {_SHARED: state[_TWIN]} | {name: value for name, value in state.items() if name != _TWIN}
    renamed = {}
    for name, value in state.items():
        for pattern, ours in _TRANSFORMERS:
            name = pattern.sub(ours, name)
        renamed[name] = value
    return renamed
