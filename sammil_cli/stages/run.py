"""Small decisions about a run: device, processes, tolerated share of failures."""

import os

from sammil_cli.errors import InputError, MissingError


def choose_device(text: str, *, here: bool = True) -> str:
    """`auto`, `cpu`, `cuda` or `cuda:i` -> a torch device that is there.

    Args:
        here: False where other machines compute: then only `auto` looks at this one.

    Raises:
        InputError: another word. MissingError: the GPU is not there.
    """
    if text == "cpu":
        return "cpu"
    if text != "auto" and not (text == "cuda" or (text.startswith("cuda:") and text[5:].isdigit())):
        raise InputError(f"--device {text!r} is unknown", remedy="use auto, cpu, cuda or cuda:1")
    if text != "auto" and not here:
        return text
    import torch

    if text == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    index = int(text[5:]) if ":" in text else 0
    if index >= count:
        raise MissingError(f"--device {text}: torch sees {count} GPU(s)", remedy="use --device cpu")
    return text


def devices(device: str) -> list[str]:
    """The devices that folds are shared out among: `cuda` is every GPU, `cuda:1` that one."""
    if device != "cuda":
        return [device]
    import torch

    return [f"cuda:{index}" for index in range(torch.cuda.device_count())]


def choose_workers(workers: int | None, device: str) -> int:
    """Processes: as many as asked for; else one on a GPU, all cores (16 at most) on a CPU."""
    return workers or (1 if device.startswith("cuda") else min(16, os.cpu_count() or 1))


def read_share(text: str) -> float:
    """`5%` or `0.05` -> 0.05.

    Raises:
        InputError: no share.
    """
    try:
        value = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise InputError(f"--fail-over {text!r} is no share", remedy="give 5% or 0.05")
    return value
