"""torchvision without torch's compiler, which it loads for a question that sammil never asks: two seconds a process.

`torchvision.ops.roi_align` imports `is_compile_supported` from `torch._dynamo.utils`, and with it all of
`torch._dynamo`. Who loads torchvision, or a library that does, as segment-anything, calls `import_torchvision` first.
What needs the compiler still gets it, as timm does.
"""

import importlib
import sys
from types import ModuleType

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
