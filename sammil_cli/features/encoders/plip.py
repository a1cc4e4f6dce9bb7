"""PLIP, CLIP's ViT-B/32 trained on captioned pathology: 512 features, as SAM-MIL offers them (docs/methods.md §13)."""

from pathlib import Path
from typing import TYPE_CHECKING

from sammil_cli.choices import Named
from sammil_cli.errors import InputError, MissingError
from sammil_cli.storage.files import sha256_file
from sammil_cli.storage.weights import WantedWeights, WeightFile, find_weights

if TYPE_CHECKING:
    import torch

    from sammil_cli.features.torch_encoder import TorchEncoder

DIM = 512
INPUT_PX = 224  # one position embedding for each of 7 x 7 tiles of 32 px

WEIGHTS = WeightFile(
    word="plip",
    used_by="encoder: plip",
    file_name="plip-93491cf9.bin",
    url="https://huggingface.co/vinid/plip/resolve/93491cf95091bbd92c439b36972fffb58312dc4d/pytorch_model.bin",
    sha256="98a7f8d2a1f4a8fc8f6dedb3a16ff7efbe02a7ef67c93904c80bca9767c69630",
    megabytes=605.0,
    licence="none stated by its authors",
    page="https://huggingface.co/vinid/plip",
)


def wanted_weights(settings: Named) -> WantedWeights:
    """The published file, or `encoder_weights`."""
    return WantedWeights.of_encoder(settings, WEIGHTS)


def random_weights(settings: Named) -> "dict[str, torch.Tensor]":
    """Random values under the names of the published file, of its image tower: for tests."""
    from sammil_cli.features.clip import ImageTower

    del settings
    return ImageTower().state_dict()


def build(*, weights: Path | None, device: str, backbone: str | None, input_px: int) -> "TorchEncoder":
    """Loads the encoder.

    `weights`: a state dict of a CLIP ViT-B/32 in transformers' key names; None = the published PLIP.

    Raises:
        InputError: another `input_px` than 224. MissingError: no weights, or they are another model's.
    """
    del backbone
    if input_px != INPUT_PX:
        raise InputError(
            f"plip sees {INPUT_PX} px, for which it has position embeddings, not {input_px}",
            remedy=f"set encoder_input_px: {INPUT_PX}",
        )
    path = weights or find_weights(WEIGHTS)
    if not path.is_file():
        raise MissingError(f"{path} does not exist", remedy="correct encoder_weights; null = the published file")
    from sammil_cli.features.clip import COLOURS, ClipEncoder, load_tower  # torch takes seconds to load

    tower, sha256 = load_tower(path), sha256_file(path)
    return ClipEncoder(tower, name="plip", dim=DIM, input_px=input_px, device=device, sha256=sha256, colours=COLOURS)
