"""Tensors and facts of ours in one safetensors file, with a sum of all of it: what was changed is refused."""

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from sammil_cli.errors import InputError
from sammil_cli.storage.files import atomic_path
from sammil_cli.storage.guarded_json import Parsed, parse_json
from sammil_cli.storage.sums import sum_of_array, sum_of_facts


def write_tensors(path: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, object]) -> None:
    """Writes atomically; the same tensors and facts, which are JSON, give the same bytes."""
    # Clones: a tensor that shares its memory with another is refused.
    content = {n: t.detach().cpu().clone(memory_format=torch.contiguous_format) for n, t in tensors.items()}
    with atomic_path(path) as temporary:
        # One entry: safetensors writes several in any order.
        text = json.dumps({**facts, "sum": _sum_of(facts, content)})
        temporary.write_bytes(save(content, metadata={"facts": text}))


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Parsed]]:
    """What `write_tensors` wrote.

    Raises:
        InputError: it is damaged, or was not written by it.
        OSError: it is not there, or cannot be read.
    """
    try:
        with safe_open(path, framework="pt") as file:
            facts = parse_json((file.metadata() or {})["facts"], path, with_nan=True)
            # Clones: the tensors are mapped from a file that may be replaced.
            content = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118 - it is no mapping
        if facts.pop("sum") == _sum_of(facts, content):
            return content, facts
    except (SafetensorError, KeyError, ValueError, TypeError, AttributeError):
        pass
    raise InputError(f"{path} is damaged, or no file of sammil's tensors", remedy="copy it again, or make it anew")


def _sum_of(facts: Mapping[str, object], content: Mapping[str, Tensor]) -> str:
    # As bytes: numpy has no bfloat16.
    sums = {name: sum_of_array(tensor.reshape(-1).view(torch.uint8).numpy()) for name, tensor in content.items()}
    forms = {name: [str(tensor.dtype), list(tensor.shape)] for name, tensor in content.items()}
    return sum_of_facts({"facts": facts, "sums": sums, "forms": forms})
