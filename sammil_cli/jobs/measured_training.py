"""train, one fold, with the memory that it took."""

from dataclasses import dataclass, replace

import torch

from sammil_cli.jobs.train import TrainJob
from sammil_cli.jobs.train import work as train_fold
from sammil_cli.runner.worker import forget_peak, own_device, peak_bytes


@dataclass(frozen=True, kw_only=True)
class Peak:
    """The most memory that a process held while it worked, bytes; None where that cannot be known.

    `resident`: of the machine, with the libraries and the pages of bags that are mapped; `gpu`: what torch allocated.
    """

    resident: int | None
    gpu: int | None


def work(job: TrainJob) -> Peak:
    """Trains one fold as `jobs.train.work` does."""
    device = own_device(job.device)
    on_gpu = device.startswith("cuda")
    counted = forget_peak()  # of what this process did before
    if on_gpu:
        torch.cuda.reset_peak_memory_stats(device)
    train_fold(replace(job, device=device))
    return Peak(
        resident=(peak_bytes() or None) if counted else None,
        gpu=torch.cuda.max_memory_allocated(device) if on_gpu else None,
    )
