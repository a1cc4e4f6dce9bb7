"""What this machine gives to a run: cores and memory, as far as limits of containers and jobs let it, and devices."""

import ctypes
import os
import sys
from pathlib import Path
from types import ModuleType

from sammil_cli.errors import InputError, MissingError

_CGROUP = Path("/sys/fs/cgroup")
_OWN_CGROUP = Path("/proc/self/cgroup")
_MEMINFO = Path("/proc/meminfo")
_SLIDES_PER_GPU = 2  # at once: one is read and decoded while the other one is on the GPU


def usable_cores() -> int:
    """Cores that this process may use: its affinity (what SLURM or taskset gave it), and its cgroup's quota."""
    try:
        allowed = len(os.sched_getaffinity(0))
    except AttributeError:  # no Linux
        allowed = os.cpu_count() or 1
    quotas = [quota for folder in _own_cgroups() if (quota := _quota(folder)) is not None]
    return max(1, int(min([allowed, *quotas])))


def available_bytes() -> int | None:
    """Memory that can still be taken, bytes; None where the system does not say."""
    free = [left for folder in _own_cgroups() if (left := _left(folder)) is not None]
    for line in _words(_MEMINFO, "\n"):
        if line.startswith("MemAvailable:"):
            free.append(int(line.split()[1]) * 1024)
    return min(free, default=None)


def _own_cgroups() -> list[Path]:
    """The folders of this process's cgroup and of those around it (version 2), and the one of version 1."""
    folders = [_CGROUP, _CGROUP / "cpu", _CGROUP / "memory"]
    for line in _words(_OWN_CGROUP, "\n"):
        if line.startswith("0::/"):
            own = _CGROUP / line.removeprefix("0::/")
            folders += [folder for folder in (own, *own.parents) if folder.is_relative_to(_CGROUP)]
    return list(dict.fromkeys(folders))


def _quota(folder: Path) -> float | None:
    """Cores that a cgroup may use; None without a limit."""
    words = _words(folder / "cpu.max") or [*_words(folder / "cpu.cfs_quota_us"), *_words(folder / "cpu.cfs_period_us")]
    if len(words) != 2 or not words[0].isdigit():  # "max", or -1: no limit
        return None
    return int(words[0]) / int(words[1])


def _left(folder: Path) -> int | None:
    """Bytes that a cgroup's limit leaves; None without a limit."""
    for limit, used in (("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes")):
        words = [*_words(folder / limit), *_words(folder / used)]
        if len(words) == 2 and all(word.isdigit() for word in words):
            return max(0, int(words[0]) - max(0, int(words[1]) - _file_cache(folder)))
    return None


def _file_cache(folder: Path) -> int:
    """Bytes that a cgroup holds of files only because nobody has needed the memory yet."""
    for line in _words(folder / "memory.stat", "\n"):
        name, _, value = line.partition(" ")
        if name == "inactive_file" and value.isdigit():
            return int(value)
    return 0


def _words(path: Path, at: str | None = None) -> list[str]:
    try:
        return path.read_text(encoding="ascii").split(at)
    except (OSError, ValueError):
        return []


def choose_device(text: str, *, here: bool = True, mps: bool = False) -> str:
    """`auto`, `cpu`, `cuda`, `cuda:i` or `mps` -> a torch device that is there.

    `auto` takes no GPU of Apple's, on which nothing of sammil has been measured.

    Args:
        here: False where other machines compute: then only `auto` looks at this one.
        mps: whether Apple's GPUs, which know no float64, can do the work: those of SAM and of encoders.

    Raises:
        InputError: another word, or `mps` where that will not do. MissingError: the GPU is not there.
    """
    check_device_word(text)
    if text == "cpu":
        return "cpu"
    if text == "mps" and not mps:
        raise InputError(
            "--device mps: models are trained and judged in float64 in places, which Apple's GPUs do not have",
            remedy="use --device cpu here; sammil sam, extract and predict take mps for SAM and the encoder",
        )
    if text != "auto" and not here:
        return text
    if text == "auto" and not _may_have_gpu():
        return "cpu"  # without asking torch, which takes seconds to load
    import torch

    if text == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if text == "mps":
        if not torch.backends.mps.is_available():
            raise MissingError("--device mps: torch sees no GPU of Apple's", remedy="use --device cpu")
        return text
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    index = int(text[5:]) if ":" in text else 0
    if index >= count:
        raise MissingError(f"--device {text}: torch sees {count} GPU(s)", remedy="use --device cpu")
    return text


def of_models(device: str) -> str:
    """The device of the models where `device` is that of SAM and the encoder: the CPU beside a GPU of Apple's."""
    return "cpu" if device == "mps" else device


def _may_have_gpu() -> bool:
    """False where the library of NVIDIA's driver cannot be loaded, which torch needs; AMD's GPUs have a device file."""
    if sys.platform != "linux" or Path("/dev/kfd").exists():
        return True
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    return True


def check_device_word(text: str) -> None:
    """Refuses what names no device, without torch, which takes seconds to load.

    Raises:
        InputError: it is neither `auto` nor what torch would know.
    """
    if text not in ("auto", "cpu", "cuda", "mps") and not (text.startswith("cuda:") and text[5:].isdigit()):
        raise InputError(f"--device {text!r} is unknown", remedy="use auto, cpu, cuda, cuda:1 or mps")


def device_for(choice: ModuleType, text: str, *, here: bool = True) -> str:
    """The device for a proposer or encoder: see `choose_device`; one that says `USES_GPU = False` takes none.

    Raises:
        InputError, MissingError: see `choose_device`.
    """
    uses_gpu = getattr(choice, "USES_GPU", True)
    return choose_device(text, here=here, mps=True) if uses_gpu or text not in ("auto", "cuda", "mps") else "cpu"


def devices(device: str) -> list[str]:
    """The devices that slides or folds are shared out among: `cuda` is every GPU, `cuda:1` that one."""
    if device != "cuda":
        return [device]
    import torch

    return [f"cuda:{index}" for index in range(torch.cuda.device_count())]


def choose_workers(workers: int | None, device: str) -> int:
    """Processes: as many as asked for; else one on a GPU, all cores (16 at most) on a CPU."""
    return workers or (1 if is_gpu(device) else min(16, usable_cores()))


def slides_at_once(device: str) -> int | None:
    """Processes on this machine's GPUs, two for each; None on a CPU, where `choose_workers` knows."""
    return _SLIDES_PER_GPU * len(devices(device)) if is_gpu(device) else None


def is_gpu(device: str) -> bool:
    """Whether a device is a GPU, NVIDIA's, AMD's or Apple's."""
    return device.startswith(("cuda", "mps"))


def describe_place(choice: ModuleType, device: str, executor: str = "local", backend: str = "torch") -> str:
    """Where a proposer or encoder runs, and why; a user should notice when no GPU is used."""
    if backend == "openvino":
        return "on the CPU, by OpenVINO" if executor == "local" else f"on CPUs of the {executor} workers, by OpenVINO"
    if executor != "local":
        return f"on {'GPUs' if is_gpu(device) else 'CPUs'} of the {executor} workers"
    if device.startswith("cuda"):
        found = devices(device)
        return f"on {', '.join(found)} ({len(found)} GPU{'' if len(found) == 1 else 's'})"
    if device == "mps":
        return "on mps (Apple's GPU)"
    if not getattr(choice, "USES_GPU", True):
        return f"on the CPU ({choice.__name__.rsplit('.', 1)[1].replace('_', '-')} uses no GPU)"
    import torch

    if torch.backends.mps.is_available():
        return "on the CPU (Apple's GPU is left alone; --device mps takes it)"
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return f"on the CPU ({f'{count} GPU(s) are left alone, as asked' if count else 'no GPU is visible to torch'})"
