"""Any network of timm with the weights of a file, as an encoder; see `encoders/timm.py`."""

from pathlib import Path

import torch

from sammil_cli.errors import InputError
from sammil_cli.features.encoder_details import EncoderDetails
from sammil_cli.features.published_network import State, fill, look_at, tiles_of, timm_network
from sammil_cli.features.published_torch_encoder import PublishedEncoder
from sammil_cli.features.timm_config import TimmConfig
from sammil_cli.storage.state_dict import load_state


def input_px_of(config: TimmConfig, path: Path) -> int:
    """The side that weights were trained at, by their position embeddings; without any, the usual one of the network.

    Raises:
        InputError, MissingError: see `load_encoder`.
    """
    state, network = load_state(path), _build(config, "meta")
    tiles = tiles_of(network, state["pos_embed"]) if "pos_embed" in state and hasattr(network, "patch_embed") else 0
    if not tiles:
        return config.preparation.input_px
    return int(tiles * network.patch_embed.patch_size[0])  # type: ignore[union-attr,index]


def load_encoder(config: TimmConfig, path: Path, *, device: str, sha256: str, input_px: int) -> PublishedEncoder:
    """The encoder with the weights of a file, in timm's names; those of a classifier are not used.

    Raises:
        InputError: the network cannot be built so, cannot see that side, or gives no vector.
        MissingError: the file is another model's.
    """
    name, preparation = config.call.name, config.preparation.at(input_px)
    state = {key: value for key, value in load_state(path).items() if not key.startswith(config.unused)}
    network = _build(config, "meta", input_px)
    dim = _dim(network, input_px, name)
    if {buffer for buffer, _ in network.named_buffers()} - set(network.state_dict()):
        network = _build(config, "cpu", input_px)  # with tables that no file holds
    remedy = f"give encoder_weights a state dict of {name} in timm's names, or set encoder_backbone to what the file is"
    fill(network, state, path, name, remedy=remedy)
    known = EncoderDetails(pooling="pooled")
    return PublishedEncoder(
        network, preparation, name=f"timm:{name}", dim=dim, device=device, sha256=sha256, known=known
    )


def random_state(config: TimmConfig) -> State:
    """Random values under the names of a file: for tests."""
    state: State = _build(config, "cpu").state_dict()
    return state


def _build(config: TimmConfig, device: str, input_px: int | None = None) -> torch.nn.Module:
    try:
        network = timm_network(config.call, device).eval()
    except (TypeError, ValueError, RuntimeError, AttributeError) as error:
        raise InputError(
            f"timm cannot build {config.call.name}: {error}", remedy="mend model_args in config.json beside the weights"
        ) from None
    if input_px not in (None, config.preparation.input_px):
        look_at(network, int(input_px or 0), config.call.name)
    return network


def _dim(network: torch.nn.Module, input_px: int, name: str) -> int:
    with torch.inference_mode():
        shape = network(torch.zeros(1, 3, input_px, input_px, device="meta")).shape
    if len(shape) != 2:
        raise InputError(
            f"{name} gives {' x '.join(map(str, shape[1:]))} numbers for a patch, and no vector",
            remedy="leave global_pool out of model_args in config.json beside the weights, or take another backbone",
        )
    return int(shape[1])
