"""Work in batches that shrink when memory runs out."""

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import torch

from sammil_cli.errors import SlideError

Item = TypeVar("Item")
Result = TypeVar("Result")

_SIGNS = ("out of memory", "can't allocate memory", "not enough memory", "alloc_failed")


class Batches:
    """Cuts work into batches of `size`; a batch that does not fit into memory is tried again with half as much.

    The smaller size stays: what did not fit once will not fit the next time.
    """

    def __init__(self, size: int, what: str) -> None:
        self.size, self._what = size, what

    def map(self, work: Callable[[Sequence[Item]], Result], items: Sequence[Item]) -> Iterator[Result]:
        """Yields what `work` gives for each batch of items, in their order.

        Raises:
            SlideError: `E_MEMORY`, not even one item fits.
        """
        begin = 0
        while begin < len(items):
            batch = items[begin : begin + self.size]
            try:
                result = work(batch)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                if len(batch) == 1:
                    on_gpu = not isinstance(error, MemoryError) and "DefaultCPUAllocator" not in str(error)
                    raise SlideError(
                        "E_MEMORY",
                        f"not enough memory for one {self._what} at a time",
                        remedy="fewer --workers, a smaller sam_canvas_px or sam_model"
                        + (", or --device cpu" if on_gpu else ""),
                        set_aside=False,
                    ) from error
                result = None
            if result is None:  # outside of the handler: there the failed batch's tensors are still held
                self.size = max(1, len(batch) // 2)
                if torch.cuda.is_available():
                    torch.cuda.empty_cache()
                continue
            yield result
            begin += len(batch)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, on a GPU or here: torch says so in several ways."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error).lower() for sign in _SIGNS)
