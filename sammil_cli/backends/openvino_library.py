"""OpenVINO, imported so that it tells nobody: see `load_openvino`."""

import sys
from collections.abc import Iterable, Mapping
from io import BytesIO
from types import ModuleType
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Config = Mapping[str, object]

_TELEMETRY = "openvino_telemetry"
_CONVERTER = "openvino.tools.ovc"


class Compiled(Protocol):
    """What is used of `openvino.CompiledModel`."""

    def __call__(self, pictures: NDArray[np.float32]) -> Mapping[object, NDArray[np.float32]]:
        """The outputs in their order."""
        ...

    def export_model(self) -> BytesIO:
        """The network as `Core.import_model` takes it."""
        ...


class Core(Protocol):
    """What is used of `openvino.Core`."""

    def get_property(self, device: str, name: str) -> Iterable[str]:
        """A fact of a device."""
        ...

    def compile_model(self, model: object, device: str, config: Config) -> Compiled:
        """A converted model, made ready to run."""
        ...

    def import_model(self, network: bytes, device: str, config: Config) -> Compiled:
        """A network that was exported; RuntimeError where it is none, or another version's."""
        ...


def load_openvino() -> ModuleType:
    """The package `openvino`, without its telemetry.

    As it is imported, and at every conversion, it reports to Google Analytics through the package openvino_telemetry,
    which takes a home folder without a consent file for consent (`OptInChecker.check` gives NO_FILE,
    `Telemetry.init` goes on). Where that package cannot be imported, OpenVINO uses a stub of its own that does nothing
    (`openvino/tools/ovc/telemetry_stub.py`). So it is hidden, in this process and before the import; no file is
    written in the user's home.
    """
    sys.modules[_TELEMETRY] = None  # type: ignore[assignment]  # importing it raises ImportError from now on
    import openvino
    from openvino.tools.ovc import telemetry_stub

    for name, module in list(sys.modules.items()):  # where somebody else has imported openvino before
        if name.startswith(_CONVERTER) and hasattr(module, "tm"):
            module.tm = telemetry_stub  # type: ignore[attr-defined]
    library: ModuleType = openvino
    return library
