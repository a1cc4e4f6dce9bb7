"""torchvision and timm without torch's compiler, which they load for what sammil never asks: two seconds a process.

`torchvision.ops.roi_align` imports `is_compile_supported` from `torch._dynamo.utils`, and with it all of
`torch._dynamo`. Who loads torchvision, or a library that does, as segment-anything, calls `import_torchvision` first.
What needs the compiler still gets it.
timm keeps it away from a few functions of one model, NaFlexViT, by `torch.compiler.disable`, which loads it to do so.
"""

import importlib
import sys
from collections.abc import Callable
from types import ModuleType
from typing import TypeVar

Function = TypeVar("Function", bound=Callable[..., object])
_COMPILER = "torch._dynamo.utils"


class _StandIn(ModuleType):
    """What torchvision imports of the compiler; the real one answers when it is asked."""

    @staticmethod
    def is_compile_supported(device_type: str) -> bool:
        from torch._dynamo.utils import is_compile_supported

        return bool(is_compile_supported(device_type))


def import_torchvision() -> ModuleType:
    """The package `torchvision`."""
    if _COMPILER in sys.modules:
        return importlib.import_module("torchvision")
    sys.modules[_COMPILER] = _StandIn(_COMPILER)
    try:
        return importlib.import_module("torchvision")
    finally:
        del sys.modules[_COMPILER]


def import_timm() -> ModuleType:
    """The package `timm`."""
    import_torchvision()
    import torch.compiler

    disable = torch.compiler.disable
    torch.compiler.disable = _as_it_is  # type: ignore[assignment]
    try:
        return importlib.import_module("timm")
    finally:
        torch.compiler.disable = disable


def _as_it_is(function: Function) -> Function:
    return function
