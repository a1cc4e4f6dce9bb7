"""Small decisions about a run: device, processes, tolerated share of failures."""

from types import ModuleType

from sammil_cli.errors import InputError, MissingError
from sammil_cli.runner.machine import usable_cores

_SLIDES_PER_GPU = 2  # at once: one is read and decoded while the other one is on the GPU


def choose_device(text: str, *, here: bool = True) -> str:
    """`auto`, `cpu`, `cuda` or `cuda:i` -> a torch device that is there.

    Args:
        here: False where other machines compute: then only `auto` looks at this one.

    Raises:
        InputError: another word. MissingError: the GPU is not there.
    """
    check_device_word(text)
    if text == "cpu":
        return "cpu"
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


def check_device_word(text: str) -> None:
    """Refuses what names no device, without torch, which takes seconds to load.

    Raises:
        InputError: it is neither `auto` nor what torch would know.
    """
    if text not in ("auto", "cpu", "cuda") and not (text.startswith("cuda:") and text[5:].isdigit()):
        raise InputError(f"--device {text!r} is unknown", remedy="use auto, cpu, cuda or cuda:1")


def device_for(choice: ModuleType, text: str, *, here: bool = True) -> str:
    """The device for a proposer or encoder: see `choose_device`; one that says `USES_GPU = False` takes none.

    Raises:
        InputError, MissingError: see `choose_device`.
    """
    uses_gpu = getattr(choice, "USES_GPU", True)
    return choose_device(text, here=here) if uses_gpu or text not in ("auto", "cuda") else "cpu"


def devices(device: str) -> list[str]:
    """The devices that slides or folds are shared out among: `cuda` is every GPU, `cuda:1` that one."""
    if device != "cuda":
        return [device]
    import torch

    return [f"cuda:{index}" for index in range(torch.cuda.device_count())]


def choose_workers(workers: int | None, device: str) -> int:
    """Processes: as many as asked for; else one on a GPU, all cores (16 at most) on a CPU."""
    return workers or (1 if device.startswith("cuda") else min(16, usable_cores()))


def slides_at_once(device: str) -> int | None:
    """Processes on this machine's GPUs, two for each; None on a CPU, where `choose_workers` knows."""
    return _SLIDES_PER_GPU * len(devices(device)) if device.startswith("cuda") else None


def describe_place(choice: ModuleType, device: str, executor: str = "local") -> str:
    """Where a proposer or encoder runs and why there: that a GPU is not used shall be seen."""
    if executor != "local":
        return f"on {'GPUs' if device.startswith('cuda') else 'CPUs'} of the {executor} workers"
    if device.startswith("cuda"):
        found = devices(device)
        return f"on {', '.join(found)} ({len(found)} GPU{'' if len(found) == 1 else 's'})"
    if not getattr(choice, "USES_GPU", True):
        return f"on the CPU ({choice.__name__.rsplit('.', 1)[1].replace('_', '-')} uses no GPU)"
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return f"on the CPU ({f'{count} GPU(s) are left alone, as asked' if count else 'no GPU is visible to torch'})"


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
