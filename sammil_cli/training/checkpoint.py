"""The state of an unfinished training on disk: one safetensors file, replaced after each epoch."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from sammil_cli.errors import InputError
from sammil_cli.storage.files import atomic_path
from sammil_cli.storage.guarded_json import parse_json
from sammil_cli.storage.sums import sum_of_array, sum_of_facts

_BEST, _RUN = "best.", "run."
_FACTS = ("best_epoch", "history", "first_stage")


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
    """Replaces the file at once: a kill leaves the one of the epoch before."""
    tensors = {f"{_RUN}{name}": tensor for name, tensor in checkpoint.tensors.items()}
    tensors |= {f"{_BEST}{name}": tensor for name, tensor in checkpoint.best.items()}
    tensors["probabilities"] = torch.from_numpy(np.array(checkpoint.probabilities))
    facts = {name: getattr(checkpoint, name) for name in _FACTS}
    # Clones: a tensor that shares its memory with another is refused.
    content = {n: t.detach().cpu().clone(memory_format=torch.contiguous_format) for n, t in tensors.items()}
    with atomic_path(path) as temporary:
        # One entry: safetensors writes several in any order.
        text = json.dumps({**facts, "sum": _sum_of(facts, content)})
        temporary.write_bytes(save(content, metadata={"facts": text}))


def read_checkpoint(path: Path) -> Checkpoint | None:
    """What `write_checkpoint` wrote; None if it is missing or damaged."""
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            facts = parse_json((file.metadata() or {})["facts"], path, with_nan=True)
            # Clones: the tensors are mapped from a file that the next epoch replaces.
            content = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118 - it is no mapping
            if facts.pop("sum") != _sum_of(facts, content):
                return None
            return Checkpoint(
                tensors={n.removeprefix(_RUN): t for n, t in content.items() if n.startswith(_RUN)},
                best={n.removeprefix(_BEST): t for n, t in content.items() if n.startswith(_BEST)},
                **{name: facts[name] for name in _FACTS},
                probabilities=list(content["probabilities"].numpy()),
            )
    except (SafetensorError, InputError, KeyError, ValueError, TypeError, AttributeError):
        return None


def _sum_of(facts: Mapping[str, object], content: Mapping[str, Tensor]) -> str:
    # As bytes: numpy has no bfloat16.
    sums = {name: sum_of_array(tensor.reshape(-1).view(torch.uint8).numpy()) for name, tensor in content.items()}
    forms = {name: [str(tensor.dtype), list(tensor.shape)] for name, tensor in content.items()}
    return sum_of_facts({"facts": facts, "sums": sums, "forms": forms})
