"""The state of an unfinished training on disk: one safetensors file, replaced as training goes on."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sammil_cli.errors import InputError
from sammil_cli.storage.tensor_file import read_tensors, write_tensors

_BEST, _RUN = "best.", "run."
_FACTS = ("best_epoch", "history", "first_stage")
SHARE = 0.05  # of the time, at most, goes into writing


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """The state after an epoch.

    `tensors`: weights, moments, random numbers. `probabilities`: (v, C) of validation after each epoch.
    `first_stage`: the history of the stage before; None = this is that stage, or the model has one stage only.
    """

    tensors: dict[str, Tensor]
    best: dict[str, Tensor]
    best_epoch: int
    history: list[dict[str, float]]
    probabilities: Sequence[NDArray[np.float64]]
    first_stage: list[dict[str, float]] | None = None


def write_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Replaces the file at once: a kill leaves the earlier one."""
    tensors = {f"{_RUN}{name}": tensor for name, tensor in checkpoint.tensors.items()}
    tensors |= {f"{_BEST}{name}": tensor for name, tensor in checkpoint.best.items()}
    tensors["probabilities"] = torch.from_numpy(np.array(checkpoint.probabilities))
    write_tensors(path, tensors, {name: getattr(checkpoint, name) for name in _FACTS})


class Keeper:
    """Keeps the file: written after the first epoch, and then whenever it costs no more than `SHARE` of the time.

    So epochs of milliseconds are not slowed down by it, and a kill costs at most twenty times what writing takes.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._due = 0.0

    @property
    def is_due(self) -> bool:
        """Whether enough was learned since it was last written."""
        return time.monotonic() >= self._due

    def keep(self, checkpoint: Checkpoint) -> None:
        """Writes it."""
        before = time.monotonic()
        write_checkpoint(self.path, checkpoint)
        now = time.monotonic()
        self._due = now + (now - before) * (1 / SHARE - 1)


def read_checkpoint(path: Path) -> Checkpoint | None:
    """What `write_checkpoint` wrote; None if it is missing or damaged."""
    if not path.exists():
        return None
    try:
        content, facts = read_tensors(path)
        return Checkpoint(
            tensors={n.removeprefix(_RUN): t for n, t in content.items() if n.startswith(_RUN)},
            best={n.removeprefix(_BEST): t for n, t in content.items() if n.startswith(_BEST)},
            **{name: facts[name] for name in _FACTS},
            probabilities=list(content["probabilities"].numpy()),
        )
    except (InputError, KeyError, TypeError):
        return None
