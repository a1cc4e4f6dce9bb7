"""Published encoders at work: preparation as published, the network with its weights."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from sammil_cli.features.encoder_details import EncoderDetails, preparation_words
from sammil_cli.features.encoder_row import EncoderRow, Preparation
from sammil_cli.features.key_maps import KEY_MAPS
from sammil_cli.features.published_network import load_network
from sammil_cli.features.torch_encoder import TorchEncoder
from sammil_cli.slides.pixels import RGB
from sammil_cli.storage.state_dict import load_state

_METHODS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


class PublishedEncoder(TorchEncoder):
    """The encoder of a row, with its own preparation: what torchvision's Resize and CenterCrop make of PIL pictures."""

    def __init__(
        self,
        module: torch.nn.Module,
        preparation: Preparation,
        *,
        name: str,
        dim: int,
        device: str,
        sha256: str,
        known: EncoderDetails = EncoderDetails(),  # noqa: B008 - frozen
    ) -> None:
        super().__init__(
            module,
            name=name,
            dim=dim,
            input_px=preparation.input_px,
            device=device,
            sha256=sha256,
            colours=(preparation.mean, preparation.sd),
            known=known,
        )
        self._preparation = preparation

    @property
    def preparation(self) -> str:
        """See `encoder_details.preparation_words`."""
        return preparation_words(**vars(self._preparation))

    def fitted(self, patch: RGB) -> RGB:
        """Resized by Pillow (over an area where the patch is larger), unless it has the side, and cropped."""
        side, crop = self._preparation.resize_px, self._preparation.input_px
        if patch.shape[:2] != (side, side):
            method = _METHODS[self._preparation.interpolation]
            patch = np.asarray(Image.fromarray(patch).resize((side, side), method), np.uint8)
        start = round((side - crop) / 2)
        return patch[start : start + crop, start : start + crop]


def load_encoder(
    row: EncoderRow, path: Path, sha256: str, *, device: str, pooling: str | None, input_px: int | None
) -> PublishedEncoder:
    """The encoder of a row with the weights of a file, by their published names.

    Args:
        pooling: another than the row's. input_px: another side; patches are then resized to it, and none is cropped.

    Raises:
        InputError: it does not have that pooling or side. MissingError: the file is another model's.
    """
    preparation = row.preparation.at(input_px or row.preparation.input_px)
    chosen = row.pooling_or(pooling)
    state = KEY_MAPS[row.network.keys](load_state(path))
    network = load_network(row, state, path, pooling=chosen, input_px=preparation.input_px)
    return PublishedEncoder(
        network,
        preparation,
        name=row.word if chosen == row.pooling else f"{row.word}:{chosen}",
        dim=row.dim_with(chosen),
        device=device,
        sha256=sha256,
        known=EncoderDetails(revision=row.revision_of(sha256), pooling=chosen, mpp=row.mpp.value),
    )
