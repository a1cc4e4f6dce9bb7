"""Which operations torch runs, and which of them make the host wait for a GPU; used by tests of the training step."""

from collections import Counter
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

# Their result, or the shape of it, is known on the device only.
_WAITS = {
    "_local_scalar_dense",
    "item",
    "is_nonzero",
    "equal",
    "nonzero",
    "masked_select",
    "bincount",
    "histc",
    "unique_consecutive",
    "unique_dim",
    "_unique",
    "_unique2",
}
_COPIES = {"lift_fresh", "_pin_memory", "_to_cpu"}  # a tensor made on the host: on a GPU a copy, which is waited for


class OpWatch(TorchDispatchMode):
    """Counts operations (views left out) while it is entered, forward and backward alike."""

    def __init__(self) -> None:
        super().__init__()
        self.ops: Counter[str] = Counter()
        self.waits: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = func.overloadpacket.__name__
        if not func.is_view:
            self.ops[name] += 1
        if name in _WAITS | _COPIES or _has_unknown_length(name, args, kwargs):
            self.waits[name] += 1
        return func(*args, **kwargs)


def _has_unknown_length(name: str, args: Any, kwargs: Any) -> bool:
    if name == "repeat_interleave":
        return kwargs.get("output_size") is None
    if name in ("index", "index_put", "index_put_", "_index_put_impl_"):
        return any(index is not None and index.dtype in (torch.bool, torch.uint8) for index in args[1])
    if name in ("_to_copy", "copy_"):  # between devices
        target = kwargs.get("device") or args[0].device
        source = args[1] if name == "copy_" else args[0]
        return torch.device(target) != source.device
    return False
