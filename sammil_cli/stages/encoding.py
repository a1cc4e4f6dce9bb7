"""What the stages that encode begin with: the encoder, ready or refused before any work, and its part of each key."""

from collections.abc import Collection
from typing import TypeVar

from sammil_cli import choices
from sammil_cli.config import EncodeSettings, Tolerance
from sammil_cli.console import download_progress
from sammil_cli.jobs.encoder_settings import settled
from sammil_cli.jobs.extract import build_encoder
from sammil_cli.project.project import RunOptions
from sammil_cli.storage.weight_download import download

_Settings = TypeVar("_Settings", bound=EncodeSettings)


def encoder_in_use(
    settings: _Settings, options: RunOptions, local: Collection[str] = ()
) -> tuple[_Settings, dict[str, object]]:
    """The settings without `auto`, and what each key holds of them and of the encoder.

    Args:
        local: settings that do not change the features, besides those of any encoder.

    Raises:
        InputError: what the settings ask for does not exist. MissingError: the encoder's weights are not here.
    """
    own = settled(settings)
    module = choices.load(choices.ENCODERS, own.encoder)
    wanted = module.wanted_weights(own.model_dump()) if hasattr(module, "wanted_weights") else None
    if options.download and wanted and wanted.to_fetch:
        download(wanted.to_fetch, download_progress())
    # Fails here, when something is missing; the device may be that of another machine.
    encoder = build_encoder(own, "cpu")
    facts = own.model_dump(exclude={"encoder_weights", "batch_size", *local, *Tolerance.model_fields})
    if own.encoder_pooling == "auto":  # earlier versions knew no other
        del facts["encoder_pooling"]
    return own, {"settings": facts, "weights": encoder.weights_sha256}
