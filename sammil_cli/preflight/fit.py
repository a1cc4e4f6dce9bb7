"""Whether processes fit into memory, and durations and sizes in words: what both estimates say."""

from collections.abc import Iterator
from typing import Protocol

from sammil_cli.console import size_words


class Memory(Protocol):
    """Bytes that a process took, in memory and on its GPU, and what was free on that GPU before."""

    @property
    def peak_bytes(self) -> int:
        """In memory."""
        ...

    @property
    def gpu_bytes(self) -> int:
        """On the GPU."""
        ...

    @property
    def gpu_free_bytes(self) -> int:
        """On the GPU, before; 0 without one."""
        ...


def too_large(costs: Memory, processes: int, per_gpu: int, free: int | None, smaller: str) -> Iterator[str]:
    """What does not fit, with the number of processes that would.

    Args:
        free: bytes of memory, None where the system does not say.
        smaller: what helps where not even one process fits on a GPU.
    """
    if free is not None and processes * costs.peak_bytes > free:
        fit = max(1, free // costs.peak_bytes)
        yield (
            f"{processes} processes of {size_words(costs.peak_bytes)} do not fit into the {size_words(free)} of memory "
            f"that are free: --workers {fit}"
        )
    if per_gpu * costs.gpu_bytes > costs.gpu_free_bytes > 0:
        fit = costs.gpu_free_bytes // max(1, costs.gpu_bytes)
        gpus = -(-processes // per_gpu)
        yield (
            f"{per_gpu} processes of {size_words(costs.gpu_bytes)} do not fit into the "
            f"{size_words(costs.gpu_free_bytes)} that are free on a GPU: "
            f"{f'--workers {fit * gpus}' if fit else smaller}"
        )


def memory_rows(costs: Memory, processes: int, per_gpu: int, free: int | None) -> Iterator[tuple[str, str]]:
    """What is needed and what is free, as rows of a table."""
    left = "" if free is None else f"; {size_words(free)} are free"
    needed = size_words(processes * costs.peak_bytes)
    yield "memory", f"{size_words(costs.peak_bytes)} a process, {needed} in all{left}"
    if costs.gpu_bytes:
        on_each, free_there = size_words(per_gpu * costs.gpu_bytes), size_words(costs.gpu_free_bytes)
        yield "GPU memory", f"{size_words(costs.gpu_bytes)} a process, {on_each} on each GPU; {free_there} are free"


def time_words(seconds: float) -> str:
    """A duration in the unit that suits it."""
    for limit, unit, size in ((0.001, "µs", 1e-6), (1, "ms", 0.001), (90, "s", 1.0), (5400, "min", 60.0)):
        if seconds < limit:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 3600:,.1f} h"
