"""Inside a worker process: its share of the machine, one slide at a time, every error told as a `SlideError`."""

import contextlib
import ctypes
import importlib
import os
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from sammil_cli.errors import SammilError, SlideError, as_slide_error, limit_met, refused_by_system
from sammil_cli.runner.machine import usable_cores
from sammil_cli.runner.spent import Spent, take
from sammil_cli.storage.files import Record
from sammil_cli.storage.light_scipy import leave_docstrings

Job = TypeVar("Job")
# What is done with one slide (see `sammil_cli.jobs`): where to write, what to record, the job. It returns remarks for
# the process list; those that begin with a word and a colon are flags, which a person should look at.
Work = Callable[[Path, Record, Job], Sequence[str]]

# Exit codes of a process that ended itself; those of crashes are other ones.
OUT_OF_MEMORY, ORPHANED = 113, 114

_LOOK_SECONDS = 0.05
_MOST_CHARACTERS = 500
_ROOM_BYTES = 1 << 20  # what a disk must have room for before a slide is begun
_STATM, _STATUS = Path("/proc/self/statm"), Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")
# Read when they are imported, the first one by torch, OpenBLAS and MKL (unless those have one of their own).
_THREADS = ("OMP_NUM_THREADS", "OPENCV_FOR_THREADS_NUM")
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # as malloc.h has them
_GPU_FAILURES = ("cuda error", "cudnn", "cublas", "cuda driver", "no cuda gpus", "nvml", "hip error")
_GPU_REMEDY = "run again; if it stays: look at nvidia-smi, take another GPU (--device cuda:1), or --device cpu"

_at_work = threading.Event()
_ending = threading.Lock()


@dataclass(frozen=True, kw_only=True)
class Place:
    """A process among those of its machine: its number, the same for its whole life, and how many work at once."""

    slot: int = 0
    processes: int = 1


_state = {"place": Place()}
_started = time.monotonic()  # this module is the first of ours that a worker process imports


def start_up(folder: Path | None, memory_bytes: int | None, place: Place) -> None:
    """Runs first in a worker process, before anything large is imported.

    Takes the process's share of the cores (unless the user's environment says how many threads), goes to `folder`
    (None = stays) and starts to watch memory and parent.
    """
    _state["place"] = place
    keep_freed_memory()
    leave_docstrings()
    for name in _THREADS:
        os.environ.setdefault(name, str(threads()))
    # The default action ends the process even while C code never comes back to Python.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if folder is not None:
        os.chdir(folder)
    threading.Thread(target=_watch, args=(os.getppid(), memory_bytes), daemon=True).start()


def keep_freed_memory() -> None:
    """Has the C library keep what is freed, up to 64 MiB, for the arrays of the next patch.

    Otherwise it gives them back to the system each time, and to get them anew takes longer than many a computation.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None  # glibc's
    if mallopt is not None:
        mallopt(_TRIM_THRESHOLD, 64 << 20)
        mallopt(_MMAP_THRESHOLD, 32 << 20)


def threads() -> int:
    """How many threads this process may keep busy: its share of the cores that it can use."""
    return max(1, usable_cores() // _state["place"].processes)


def age_seconds() -> float:
    """How long ago this process started."""
    return time.monotonic() - _started


def own_device(device: str) -> str:
    """`cuda` -> the GPU of this process, `cuda:0` for the first one, and so on; any other device is taken as it is.

    The GPU is the current one of torch from now on. One that does not answer is passed over for the next one.

    Raises:
        SlideError: `E_DEVICE`, there is no such GPU on this machine, or none that answers.
    """
    if not device.startswith("cuda"):
        return device
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    first = int(device[5:]) if ":" in device else _state["place"].slot
    found = [first] if ":" in device else [(first + step) % count for step in range(count)]
    trouble = ""
    for index in (index for index in found if index < count):
        try:
            torch.cuda.set_device(index)
            torch.zeros(1, device=f"cuda:{index}")
        except RuntimeError as error:
            if isinstance(error, torch.OutOfMemoryError):
                raise
            trouble = f": {_one_line(error)}"
            continue
        return f"cuda:{index}"
    message = f"no GPU for --device {device}; torch sees {count} in the process that computes{trouble}"
    raise SlideError("E_DEVICE", message, remedy=_GPU_REMEDY, set_aside=False)


def _watch(parent: int, memory_bytes: int | None) -> None:
    """Ends the process when it is too large, or when its parent was killed and nobody wants its answer any more."""
    while True:
        time.sleep(_LOOK_SECONDS)
        if os.getppid() != parent:
            os._exit(ORPHANED)
        with _ending:  # never while an answer is being sent: its locks would stay locked
            if memory_bytes is not None and _at_work.is_set() and resident_bytes() > memory_bytes:
                os._exit(OUT_OF_MEMORY)


def resident_bytes() -> int:
    """This process's memory in bytes; where there is no /proc its peak, or 0 where that is not known either."""
    try:
        return int(_STATM.read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except FileNotFoundError:
        pass
    return peak_bytes()


def peak_bytes() -> int:
    """The most memory that this process has ever held, bytes; 0 where that is not known."""
    with contextlib.suppress(FileNotFoundError):
        # Not ru_maxrss, which begins with what the parent held when it started this process.
        lines = _STATUS.read_text(encoding="ascii", errors="replace").splitlines()
        return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
    try:
        import resource
    except ImportError:  # Windows
        return 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def forget_peak() -> bool:
    """Makes `peak_bytes` count from now on; False where the system cannot do that (it is Linux that can)."""
    try:
        _CLEAR.write_text("5", encoding="ascii")
    except OSError:
        return False
    return True


class Attempt(NamedTuple):
    """What a call gave, the seconds it took, the bytes of memory held after it, and what the time went into."""

    value: Any
    seconds: float
    resident: int
    spent: Spent


def attempt(function: tuple[str, str], arguments: tuple[Any, ...]) -> Attempt:
    """Calls a function, given as module and name.

    Raises:
        SlideError: whatever went wrong, with place and remedy.
    """
    start = time.perf_counter()
    take()  # what a call that failed has left
    _at_work.set()
    try:
        importlib.import_module("openslide")  # before torch, see slides/formats/openslide.py
        value = getattr(importlib.import_module(function[0]), function[1])(*arguments)
    except (Exception, SystemExit) as error:
        raise trouble_of(error) from error
    finally:
        with _ending:
            _at_work.clear()
    return Attempt(value, time.perf_counter() - start, resident_bytes(), take())


def in_fresh_folder(work: Work[Job], folder: Path, record: Record, job: Job) -> tuple[Path, list[str]]:
    """Does one slide's work in a fresh folder below `folder`, which a second attempt does not share.

    On a disk that is full already it fails at once, not after the minutes or hours that the work takes.
    """
    fresh = Path(tempfile.mkdtemp(dir=folder))
    with tempfile.TemporaryFile(dir=fresh) as trial, contextlib.suppress(AttributeError):  # macOS has no such call
        os.posix_fallocate(trial.fileno(), 0, _ROOM_BYTES)
    return fresh, list(work(fresh, record, job))


def trouble_of(error: BaseException) -> SlideError:
    """Whatever went wrong with a slide, with code, place and remedy."""
    if isinstance(error, SammilError):
        return as_slide_error(error)
    if _is_out_of_memory(error):
        on_gpu = not isinstance(error, MemoryError) and "DefaultCPUAllocator" not in str(error)
        return SlideError(
            "E_MEMORY",
            "not enough memory on the GPU" if on_gpu else "not enough memory",
            remedy=(
                "fewer --workers (1: only one process holds the model), or " if _state["place"].processes > 1 else ""
            )
            + "a smaller batch_size in params.yaml"
            + ("; or --device cpu" if on_gpu else ""),
            set_aside=False,
        )
    if refused := refused_by_system(error) if isinstance(error, OSError) else limit_met(error):
        return as_slide_error(refused)
    if isinstance(error, RuntimeError) and any(sign in str(error).lower() for sign in _GPU_FAILURES):
        return SlideError("E_DEVICE", f"the GPU failed: {_one_line(error)}", remedy=_GPU_REMEDY, set_aside=False)
    place = traceback.extract_tb(error.__traceback__)[-1]
    return SlideError(
        "E_BUG",
        f"{type(error).__name__}: {_one_line(error)} ({Path(place.filename).name}:{place.lineno})",
        remedy="please report this line with the slide's format",
        set_aside=False,
    )


def _is_out_of_memory(error: BaseException) -> bool:
    if isinstance(error, MemoryError):
        return True
    if "torch" not in sys.modules:
        return False
    from sammil_cli.regions.sam_engine.batching import is_out_of_memory

    return is_out_of_memory(error)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:_MOST_CHARACTERS]
