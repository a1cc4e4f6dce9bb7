"""Published encoders by their rows (`encoder_row`): what a module in `features/encoders/` has, made of a row."""

from functools import cache
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from sammil_cli.choices import Named
from sammil_cli.errors import MissingError
from sammil_cli.features.encoder_row import EncoderRow, HubSource, encoder_row
from sammil_cli.features.own_patches import OwnPatches
from sammil_cli.storage.files import sha256_file
from sammil_cli.storage.weights import WantedWeights, WeightFile, find_weights

if TYPE_CHECKING:
    import torch

    from sammil_cli.features.torch_encoder import TorchEncoder


class PublishedChoice(ModuleType):
    """The choice of a row, with the names that the module of an encoder has; see `features/encoders/resnet50.py`."""

    HINT = ""

    def __init__(self, row: EncoderRow) -> None:
        super().__init__(f"sammil_cli.features.encoders.{row.word}", row.about)
        self.row = row
        self.INPUT_PX = row.preparation.input_px
        self.WEIGHTS = _weight_file(row)
        self.POOLINGS = tuple(dict.fromkeys((row.pooling, *row.poolings)))
        self.PATCHES = OwnPatches(px=row.patch_px, mpp=row.mpp.value, other_mpps=row.mpp.others)

    def wanted_weights(self, settings: Named) -> WantedWeights:
        """The published file, or `encoder_weights`."""
        return WantedWeights.of_encoder(settings, self.WEIGHTS)

    def random_weights(self, settings: Named) -> "dict[str, torch.Tensor]":
        """Random values under the names of the published file: for tests."""
        import torch

        from sammil_cli.features.key_maps import PUBLISHED_NAMES
        from sammil_cli.features.published_network import build_network

        del settings
        drawn = {}
        for name, empty in build_network(self.row).network.state_dict().items():
            if not empty.is_floating_point():  # the number of batches that a norm has seen
                drawn[name] = torch.zeros(empty.shape, dtype=empty.dtype)
                continue
            centre = 1.0 if empty.ndim == 1 and name.endswith(("weight", "running_var")) else 0.0
            drawn[name] = centre + 0.02 * torch.randn(empty.shape)
        return PUBLISHED_NAMES[self.row.network.keys](drawn)

    def build(
        self,
        *,
        weights: Path | None,
        device: str,
        backbone: str | None,
        input_px: int | None,
        pooling: str | None = None,
    ) -> "TorchEncoder":
        """Loads the encoder.

        `weights`: a state dict in the published names; None = the published file.
        `input_px`: the side that its network sees; None = the row's. `pooling`: another than the row's.

        Raises:
            InputError: a pooling or side that it does not have. MissingError: no weights, or they are another model's.
        """
        del backbone
        path = weights or find_weights(self.WEIGHTS)
        if not path.is_file():
            raise MissingError(f"{path} does not exist", remedy="correct encoder_weights; null = the published file")
        from sammil_cli.features.published_torch_encoder import load_encoder  # torch takes seconds to load

        sha256 = sha256_file(path) if weights else self.WEIGHTS.sha256
        return load_encoder(self.row, path, sha256, device=device, pooling=pooling, input_px=input_px)


@cache
def choice(word: str) -> PublishedChoice:
    """The published encoder of a word.

    Raises:
        InputError: see `encoder_row`.
    """
    return PublishedChoice(encoder_row(word))


def _weight_file(row: EncoderRow) -> WeightFile:
    """The published file, under a name of its own: many are called pytorch_model.bin."""
    source = row.source
    return WeightFile(
        word=row.word,
        used_by=f"encoder: {row.word}",
        file_name=source.kept_as or f"{row.word}-{source.sha256[:8]}{Path(source.file).suffix}",
        url=source.url,
        sha256=source.sha256,
        megabytes=source.megabytes,
        licence=row.licence.name,
        commercial=row.licence.commercial,
        hub=source.hub if isinstance(source, HubSource) else None,
        gated=row.access == "gated",
        page=source.page,
    )
