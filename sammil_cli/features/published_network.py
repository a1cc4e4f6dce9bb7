"""The network of a published encoder, built by its library from a row's call, and the pooling of its tokens."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from torch.overrides import TorchFunctionMode

from sammil_cli.errors import InputError, MissingError
from sammil_cli.features.encoder_row import EncoderRow, NetworkCall, Pooling
from sammil_cli.features.network_parts import HEADS, LAYERS
from sammil_cli.regions.light_torchvision import import_timm
from sammil_cli.storage.shown_text import shortened, shown

State = dict[str, torch.Tensor]
_NOT_USED = ("head.weight", "head.bias", "mask_token")  # of training: a classifier, the token of masked patches


# What fills tensors in place; on the meta device they have no values.
_FILLS = {"uniform_", "normal_", "trunc_normal_", "kaiming_uniform_", "xavier_uniform_", "constant_"}
_FILLS |= {"erfinv_", "mul_", "add_", "clamp_", "fill_", "zero_"}


class _Unfilled(TorchFunctionMode):
    """Draws no values on the meta device, where there are none: torch would load its compiler for it, for seconds."""

    def __torch_function__(
        self,
        func: Callable[..., object],
        types: Sequence[type],
        args: Sequence[object] = (),
        kwargs: Mapping[str, object] | None = None,
    ) -> object:
        given = kwargs or {}
        filled = args[0] if args else given.get("tensor")  # as functions of torch.nn.init hand themselves on
        if isinstance(filled, torch.Tensor) and filled.is_meta and func.__name__ in _FILLS:
            return filled
        return func(*args, **given)


class PublishedNetwork(torch.nn.Module):
    """Images (b, 3, s, s), normalised -> features (b, dim)."""

    def __init__(self, network: torch.nn.Module, pooling: Pooling) -> None:
        super().__init__()
        self.network, self.pooling = network, pooling
        self._first = int(getattr(network, "num_prefix_tokens", 0))  # of the patch tokens: after class and registers

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """See the class."""
        if self.pooling == "pooled":
            pooled: torch.Tensor = self.network(images)
            return pooled
        tokens: torch.Tensor = self.network.forward_features(images)  # type: ignore[operator]
        if self.pooling == "cls":
            return tokens[:, 0]
        mean = tokens[:, self._first :].mean(1)
        return mean if self.pooling == "mean" else torch.cat([tokens[:, 0], mean], dim=1)


def build_network(
    row: EncoderRow, pooling: str | None = None, *, input_px: int | None = None, device: str = "meta"
) -> PublishedNetwork:
    """The network, without weights.

    Args:
        pooling: another than the row's. input_px: another side than the row's, for which position embeddings are
            interpolated.
        device: "meta" = no memory is taken; tables that no weight file holds are then missing, too.

    Raises:
        InputError: the encoder has no such pooling, or its network cannot see that side.
    """
    chosen = row.pooling_or(pooling)
    network = timm_network(row.network, device)
    if input_px not in (None, row.preparation.input_px):
        look_at(network, int(input_px or 0), row.word)
    return PublishedNetwork(network.eval().requires_grad_(False), chosen)


def load_network(
    row: EncoderRow, state: State, path: Path, *, pooling: str | None = None, input_px: int | None = None
) -> PublishedNetwork:
    """The network with the weights of a file: float32, each held once.

    Args:
        state: by the library's names. path: the file, for messages.

    Raises:
        InputError: see `build_network`. MissingError: weights are missing, unknown or of another shape.
    """
    built = build_network(row, pooling, input_px=input_px)
    if {name for name, _ in built.network.named_buffers()} - set(built.network.state_dict()):
        built = build_network(row, pooling, input_px=input_px, device="cpu")  # with its tables, such as Swin's
    fill(built.network, state, path, row.title)
    return built


_REMEDY = "give encoder_weights a file of this encoder, in its published names; null = the published file"


def fill(network: torch.nn.Module, state: State, path: Path, title: str, *, remedy: str = _REMEDY) -> None:
    """Gives a network the weights of a file: see `load_network`. Position embeddings are fitted to its grid."""
    shapes = {key: value.shape for key, value in network.state_dict().items()}
    given = {key: value for key, value in state.items() if key in shapes or key not in _NOT_USED}
    if "pos_embed" in given and "pos_embed" in shapes:
        given["pos_embed"] = _on_grid(network, given["pos_embed"])
    missing = [key for key in shapes if key not in given]
    wrong = [key for key in shapes if key in given and given[key].shape != shapes[key]]
    unknown = sorted(set(given) - set(shapes))
    if unfit := [*missing, *wrong, *unknown]:
        raise MissingError(
            f"{path} is no {title}: of {len(shapes)} weights {len(missing)} are missing and {len(wrong)} have another "
            f"shape, {len(unknown)} are unknown (the first: {shown(shortened(unfit[0], 100))})",
            remedy=remedy,
        )
    whole = {key: value.float() if value.is_floating_point() else value for key, value in given.items()}
    network.load_state_dict(whole, assign=True)
    network.requires_grad_(False)


def timm_network(call: NetworkCall, device: str) -> torch.nn.Module:
    """The network of a call of timm, without weights; `device`: see `build_network`."""
    timm, options = import_timm(), _with_layers(call.options)
    with torch.device(device), _Unfilled():
        network: torch.nn.Module = timm.create_model(call.name, pretrained=False, **options)
        if call.head:
            network.head = HEADS[call.head](int(network.num_features))  # type: ignore[arg-type]
    return network


def _with_layers(options: Mapping[str, object]) -> dict[str, object]:
    """The options, with layers in place of their names: ours, those of timm, or else of torch."""
    import timm.layers

    return {
        key: LAYERS.get(str(value)) or getattr(timm.layers, str(value), None) or getattr(torch.nn, str(value))
        if key.endswith("_layer")
        else value
        for key, value in options.items()
    }


def look_at(network: torch.nn.Module, input_px: int, word: str) -> None:
    """Has a network see images of another side.

    Raises:
        InputError: it is no multiple of the network's tiles.
    """
    if not hasattr(network, "set_input_size"):
        return  # convolutions see any
    step = int(network.patch_embed.patch_size[0])  # type: ignore[union-attr,index]
    if input_px % step:
        raise InputError(
            f"{word} sees tiles of {step} px, and {input_px} px is no multiple of that",
            remedy=f"set encoder_input_px: {round(input_px / step) * step}; or auto, its own",
        )
    network.set_input_size(img_size=input_px)  # type: ignore[operator]


def tiles_of(network: torch.nn.Module, embedding: torch.Tensor) -> int:
    """How many tiles a side position embeddings (1, n, d) are for; 0 where that does not show."""
    tiles = embedding.shape[1] - _placed_prefix(network) if embedding.ndim == 3 else 0
    side = round(tiles**0.5) if tiles > 0 else 0
    return side if side * side == tiles else 0


def _placed_prefix(network: torch.nn.Module) -> int:
    """How many tokens before those of the tiles have a position embedding."""
    return 0 if getattr(network, "no_embed_class", False) else int(getattr(network, "num_prefix_tokens", 1))


def _on_grid(network: torch.nn.Module, embedding: torch.Tensor) -> torch.Tensor:
    """Position embeddings (1, n, d), interpolated by timm's own function where the network has another grid."""
    from timm.layers.pos_embed import resample_abs_pos_embed

    place: torch.Tensor = network.pos_embed  # type: ignore[assignment]
    if embedding.shape == place.shape or not tiles_of(network, embedding):
        return embedding
    prefix = _placed_prefix(network)
    grid = network.patch_embed.grid_size  # type: ignore[union-attr]
    fitted: torch.Tensor = resample_abs_pos_embed(embedding.float(), new_size=grid, num_prefix_tokens=prefix)
    return fitted
