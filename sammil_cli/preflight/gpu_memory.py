"""Memory of a process's GPU, as the calibrations of the estimates need it."""

import sys

_CONTEXT_BYTES = 500 * 2**20  # CUDA's own memory of a process, which torch does not count


def gpu_free(device: str) -> int:
    """Bytes that are free on a GPU; 0 on the CPU."""
    if not device.startswith("cuda"):
        return 0
    import torch

    return int(torch.cuda.mem_get_info(device)[0])


def gpu_peak(device: str) -> int:
    """Bytes that this process has taken on its GPU; 0 on the CPU."""
    torch = sys.modules.get("torch")
    if not device.startswith("cuda") or torch is None:
        return 0
    return int(torch.cuda.max_memory_reserved(device)) + _CONTEXT_BYTES
