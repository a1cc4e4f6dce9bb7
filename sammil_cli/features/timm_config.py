"""How a network of timm is built and its patches are prepared: by timm, or by a file beside the weights.

That is `config.json` as timm writes it and the Hugging Face hub keeps it: `architecture`, `model_args` and
`pretrained_cfg`. One of another library (without `architecture`) is none of ours, and is left alone.
"""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sammil_cli.errors import InputError
from sammil_cli.features.encoder_row import NetworkCall, Preparation, Side
from sammil_cli.regions.light_torchvision import import_timm
from sammil_cli.storage.guarded_json import read_json

CONFIG_FILE = "config.json"
_MOST_BYTES = 1 << 20
_SUGGESTED = 3
# What timm's create_model takes for itself: where weights come from, and what is not the network's.
_NOT_OF_NETWORKS = {"pretrained", "checkpoint_path", "cache_dir", "scriptable", "exportable", "no_jit"}
_NOT_OF_NETWORKS |= {"pretrained_cfg", "pretrained_cfg_overlay"}

_Share = Annotated[float, Field(ge=0, le=1)]
_Spread = Annotated[float, Field(gt=0, le=1)]


@dataclass(frozen=True, kw_only=True)
class TimmConfig:
    """A network by its name and options; `unused`: beginnings of the names of its classifier's weights."""

    call: NetworkCall
    preparation: Preparation
    unused: tuple[str, ...]


class _Colours(BaseModel):
    """What of `pretrained_cfg` is read."""

    model_config = ConfigDict(frozen=True)
    input_size: tuple[int, Side, Side] | None = None
    interpolation: Literal["bilinear", "bicubic"] | None = None
    mean: tuple[_Share, _Share, _Share] | None = None
    std: tuple[_Spread, _Spread, _Spread] | None = None


class _Beside(BaseModel):
    """What of a config.json is read."""

    model_config = ConfigDict(frozen=True)
    architecture: str
    model_args: dict[str, bool | int | float | str] = {}
    pretrained_cfg: _Colours = _Colours()


def config_file(weights: Path | None) -> Path | None:
    """timm's config.json beside a weights file; None without one.

    Raises:
        InputError: it is no JSON.
    """
    path = weights.parent / CONFIG_FILE if weights else None
    if path is None or not path.is_file():
        return None
    found = _json(path)
    return path if isinstance(found, dict) and "architecture" in found else None


def timm_config(backbone: str | None, weights: Path | None) -> TimmConfig:
    """The network that a name of timm and a weights file ask for.

    Raises:
        InputError: no such name; or the file beside the weights is of another network, or cannot be read.
    """
    timm = import_timm()  # takes seconds
    name = str(backbone or "")
    if name not in timm.list_models() and name not in timm.list_pretrained():
        near = difflib.get_close_matches(name, timm.list_models(), _SUGGESTED)
        hint = f"did you mean {' or '.join(near)}?" if near else "for example vit_small_patch16_224;"
        raise InputError(
            f"encoder_backbone {backbone!r} is no model of timm {timm.__version__}",
            remedy=f"{hint} timm.list_models() in Python has all names",
        )
    own = timm.get_pretrained_cfg(name)
    path = config_file(weights)
    given = _Beside(architecture=name) if path is None else _beside(path, name)
    said = given.pretrained_cfg
    side = int((said.input_size or own.input_size)[-1])
    return TimmConfig(
        call=NetworkCall(library="timm", name=name, options={**given.model_args, "num_classes": 0}, keys="timm"),
        preparation=Preparation(
            input_px=side,
            resize_px=side,
            interpolation=said.interpolation or own.interpolation,
            mean=said.mean or own.mean,
            sd=said.std or own.std,
        ),
        unused=tuple(f"{one}." for one in _names(own.classifier)),
    )


def _beside(path: Path, name: str) -> _Beside:
    try:
        found = _Beside.model_validate(_json(path))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise InputError(
            f"{path}: {where}: {first['msg'].lower()}", remedy="take it away: timm's own settings then count"
        ) from None
    if found.architecture != name.partition(".")[0]:
        raise InputError(
            f"{path} is of {found.architecture!r}, and encoder_backbone is {name!r}",
            remedy=f"set encoder_backbone: {found.architecture}; or take away the file, if it belongs to other weights",
        )
    if odd := sorted(_NOT_OF_NETWORKS & found.model_args.keys()):
        raise InputError(f"{path}: model_args.{odd[0]} is none of a network's", remedy="delete that line")
    return found


def _json(path: Path) -> object:
    try:
        return read_json(path, remedy="take it away, or fetch it again", most_bytes=_MOST_BYTES)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}", remedy="see to its permissions") from None


def _names(classifier: object) -> Mapping[str, None]:
    several = classifier if isinstance(classifier, tuple | list) else (classifier,)
    return dict.fromkeys(str(one) for one in several if one)
