"""Which backends there are, and what each of them needs; nothing large is imported to look."""

import importlib
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from sammil_cli.errors import InputError, MissingError

if TYPE_CHECKING:
    import torch

Backend = Literal["torch", "openvino"]
Precision = Literal["float32", "bfloat16", "float16"]
INSTALL = "pip install 'sammil-cli[openvino]'"
_MODULES = {"openvino": "sammil_cli.backends.openvino_network"}


# A network that a backend runs: pictures (b, 3, s, s) -> what the torch module gives for them, each output an array.
Network = Callable[[NDArray[np.float32]], Sequence[NDArray[np.float32]]]


def check_backend(backend: str, setting: str, device: str) -> None:
    """Refuses a backend that cannot run here.

    Args:
        setting: the key of params.yaml that names it. device: that the network is to run on.

    Raises:
        InputError: it knows no such device. MissingError: it is not installed.
    """
    if backend == "torch":
        return
    if device not in ("auto", "cpu"):
        raise InputError(
            f"{setting} {backend} computes on the CPU only, and --device is {device}",
            remedy=f"set {setting}: torch, or run with --device cpu",
        )
    if not is_installed(backend):
        raise MissingError(
            f"{setting} {backend}: OpenVINO is not installed", remedy=f"{INSTALL}; or set {setting}: torch"
        )


def is_installed(backend: str) -> bool:
    """Whether the library of a backend is here."""
    return backend == "torch" or find_spec(backend) is not None


def modules_of(backend: str) -> list[str]:
    """The code of a backend: results that it computes depend on it, besides what all of them depend on."""
    return [_MODULES[backend]] if backend in _MODULES else []


def check_precision_of(backend: str, setting: str, precision: Precision) -> None:
    """Refuses a precision that a backend cannot compute in on this processor.

    Args:
        setting: the key of params.yaml that asks for it.

    Raises:
        InputError: the processor has no instructions for it.
    """
    if backend != "torch" and precision != "float32":
        importlib.import_module(_MODULES[backend]).check_precision(setting, precision)


def network_by(
    backend: str, module: "torch.nn.Module", *, name: str, setting: str, px: int, precision: Precision, one_by_one: bool
) -> Network:
    """The network that runs a module by a backend other than torch; converted when it is first used.

    Args:
        module: takes pictures (b, 3, px, px), gives a tensor or several; in eval mode, on the CPU.
        name: of the network, for people. setting: the key of params.yaml that names the backend.
        one_by_one: whether it is given one picture at a time, or any number.
    """
    made: Network = importlib.import_module(_MODULES[backend]).OpenVinoNetwork(
        module, name=name, setting=setting, px=px, precision=precision, one_by_one=one_by_one
    )
    return made
