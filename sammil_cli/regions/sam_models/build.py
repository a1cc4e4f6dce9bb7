"""SAM in the four sizes that `sam_model` names, with random weights or those of a file."""

from pathlib import Path
from typing import Literal

import torch
from segment_anything import sam_model_registry
from segment_anything.modeling import MaskDecoder, PromptEncoder, Sam, TwoWayTransformer
from torch import Tensor
from torch.nn import functional

from sammil_cli.errors import MissingError
from sammil_cli.regions.sam_models.checkpoint_forms import sam_state
from sammil_cli.regions.sam_models.tiny_vit import EARLY_CHANNELS, TinyViTEncoder

Colours = Literal["sam", "min-max"]
SAM_MODELS = ("vit_h", "vit_l", "vit_b", "vit_t")
MOBILE_SAM = "vit_t"
EARLY_WIDTH = {"vit_h": 1280, "vit_l": 1024, "vit_b": 768, MOBILE_SAM: EARLY_CHANNELS}  # channels of the early feature

_MEAN, _SD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)  # colours of ImageNet, as the official builder has them
_WIDTH = 256  # of SAM's embeddings
_TOKEN_PX = 16
_FLAT = 1e-8  # a picture of one colour is divided by it
_MOST_CHARACTERS = 160  # of torch's list of what does not fit


class MinMaxSam(Sam):  # type: ignore[misc]  # segment_anything is not typed
    """A SAM that is shown each picture stretched, from its darkest value (0) to its brightest (1), as MedSAM is."""

    def preprocess(self, x: Tensor) -> Tensor:
        """One picture (1, 3, h, w) -> (1, 3, s, s), zeros at the right and below."""
        low, high = x.min().float(), x.max().float()
        side, (rows, columns) = self.image_encoder.img_size, x.shape[-2:]
        stretched = (x - low) / (high - low).clamp(min=_FLAT)
        return functional.pad(stretched, (0, side - columns, 0, side - rows))


def colours_of(sam: Sam) -> Colours:
    """What a SAM's pictures are before they are encoded, see `load_sam`."""
    return "min-max" if isinstance(sam, MinMaxSam) else "sam"


def build_sam(word: str) -> Sam:
    """The model of one of `SAM_MODELS`, in eval mode, with random weights on torch's default device."""
    return build_mobile_sam() if word == MOBILE_SAM else sam_model_registry[word](checkpoint=None)


def build_mobile_sam(img_size: int = 1024) -> Sam:
    """MobileSAM: SAM's prompt encoder and mask decoder behind a TinyViT, for pictures of a side of `img_size`."""
    side = img_size // _TOKEN_PX
    model = Sam(
        image_encoder=TinyViTEncoder(img_size),
        prompt_encoder=PromptEncoder(
            embed_dim=_WIDTH, image_embedding_size=(side, side), input_image_size=(img_size, img_size), mask_in_chans=16
        ),
        mask_decoder=MaskDecoder(
            num_multimask_outputs=3,
            transformer=TwoWayTransformer(depth=2, embedding_dim=_WIDTH, mlp_dim=2048, num_heads=8),
            transformer_dim=_WIDTH,
            iou_head_depth=3,
            iou_head_hidden_dim=256,
        ),
        pixel_mean=list(_MEAN),
        pixel_std=list(_SD),
    )
    return model.eval()


def load_sam(path: Path, word: str, colours: Colours = "sam") -> Sam:
    """The model of one of `SAM_MODELS` with the weights of a file, in float32, in eval mode, on the CPU.

    Args:
        colours: what its pictures are before they are encoded: `sam` (ImageNet's mean and deviation taken off), or
            `min-max` (see `MinMaxSam`).

    Raises:
        MissingError: the file is no checkpoint of this model; the message says of which, as far as that shows.
    """
    state = sam_state(path, word)
    with torch.device("meta"):  # weights are neither drawn at random first nor held twice
        model = build_sam(word)
    places = model.state_dict()
    odd = [name for name, value in state.items() if name in places and value.dtype != places[name].dtype]
    if odd:
        raise _unfit(path, word, f"{odd[0]} holds {state[odd[0]].dtype}")
    try:
        model.load_state_dict(state, assign=True)
    except RuntimeError as error:
        first, *_ = [line.strip() for line in str(error).splitlines()[1:]] or [str(error)]
        raise _unfit(path, word, first[:_MOST_CHARACTERS]) from None
    # No checkpoint holds these.
    model.pixel_mean, model.pixel_std = (torch.tensor(colour).view(3, 1, 1) for colour in (_MEAN, _SD))
    if colours == "min-max":
        model = MinMaxSam(model.image_encoder, model.prompt_encoder, model.mask_decoder)
    return model.eval()


def _unfit(path: Path, word: str, why: str) -> MissingError:
    return MissingError(
        f"{path} does not fit {word}: {why}",
        remedy="set sam_model to the model the checkpoint belongs to (docs/sam-weights.md: which files load)",
    )
