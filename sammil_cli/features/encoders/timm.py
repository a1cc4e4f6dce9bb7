"""Any backbone of timm by name, with a weights file of one's own: no classifier, the network's own pooling."""

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from sammil_cli.choices import Named
from sammil_cli.features.timm_config import config_file, timm_config
from sammil_cli.storage.weights import WantedWeights

if TYPE_CHECKING:
    import torch

    from sammil_cli.features.torch_encoder import TorchEncoder

HINT = "weights of your own"


def wanted_weights(settings: Named) -> WantedWeights:
    """`encoder_weights`, and timm's config.json beside them, if there is one."""
    own = settings["encoder_weights"]
    return _wanted(Path(own) if own else None)


def own_input_px(settings: Named) -> int:
    """The side that the weights were trained at, as far as they show it; else the usual one of the network."""
    own = settings["encoder_weights"]
    path = Path(own) if own else None
    changed = path.stat().st_mtime_ns if path and path.is_file() else None
    return _own_input_px(settings["encoder_backbone"], path, changed)


@lru_cache(maxsize=1)  # a plan is made several times, and the file may be large
def _own_input_px(backbone: str | None, path: Path | None, changed: int | None) -> int:
    config = timm_config(backbone, path)
    if path is None or changed is None:
        return config.preparation.input_px
    from sammil_cli.features.timm_encoder import input_px_of  # torch takes seconds to load

    return input_px_of(config, path)


def random_weights(settings: Named) -> "dict[str, torch.Tensor]":
    """Random values under the names of a file of `encoder_backbone`: for tests."""
    from sammil_cli.features.timm_encoder import random_state

    return random_state(timm_config(settings["encoder_backbone"], None))


def build(*, weights: Path | None, device: str, backbone: str | None, input_px: int) -> "TorchEncoder":
    """Loads the encoder.

    `backbone`: a name of timm's, such as `vit_small_patch16_224`, with a tag if you like (`….dino`).
    `weights`: a state dict in timm's key names; the classifier's part may be missing.

    Raises:
        InputError: no such backbone, or it cannot see that side. MissingError: no weights, or they are another model's.
    """
    config = timm_config(backbone, weights)
    wanted = _wanted(weights)
    (path, _), *_ = wanted.files()
    from sammil_cli.features.timm_encoder import load_encoder  # torch takes seconds to load

    return load_encoder(config, path, device=device, sha256=wanted.identify(), input_px=input_px)


def _wanted(weights: Path | None) -> WantedWeights:
    config = config_file(weights)
    beside = WantedWeights(published=None, key="encoder_weights", own=config) if config else None
    return WantedWeights(published=None, key="encoder_weights", own=weights, beside=beside)
