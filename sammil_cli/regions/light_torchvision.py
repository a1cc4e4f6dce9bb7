"""torchvision without torch's compiler, which it loads for a question that sammil never asks: two seconds a process.

`torchvision.ops.roi_align` imports `is_compile_supported` from `torch._dynamo.utils`, and with it all of
`torch._dynamo`. Whoever imports torchvision, or a library that does, imports this module first. What needs the compiler
still gets it, as timm does.
"""

import contextlib
import sys
from collections.abc import Iterator
from types import ModuleType

__all__ = ["torchvision"]
_COMPILER = "torch._dynamo.utils"


class _StandIn(ModuleType):
    """What torchvision imports of the compiler; the real one answers when it is asked."""

    @staticmethod
    def is_compile_supported(device_type: str) -> bool:
        from torch._dynamo.utils import is_compile_supported

        return bool(is_compile_supported(device_type))


@contextlib.contextmanager
def _without_compiler() -> Iterator[None]:
    if _COMPILER in sys.modules:
        yield
        return
    sys.modules[_COMPILER] = _StandIn(_COMPILER)
    try:
        yield
    finally:
        del sys.modules[_COMPILER]


with _without_compiler():
    import torchvision
