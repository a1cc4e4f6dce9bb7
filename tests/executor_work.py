"""What slides do to their process in the tests of the executors; imported in worker processes."""

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from sammil_cli.errors import InputError, SlideError

_STEP_BYTES = 16 * 2**20


def value(slide: str, seconds: float = 0.0) -> tuple[str, int]:
    """The slide's name and the process that did it."""
    time.sleep(seconds)
    return slide.upper(), os.getpid()


def working_folder(slide: str) -> str:
    return str(Path.cwd())


def trouble(slide: str) -> None:
    """Does what the slide's name says."""
    if slide == "exits":
        os._exit(9)
    elif slide == "segfaults":
        os.kill(os.getpid(), signal.SIGSEGV)
    elif slide == "is-killed":
        os.kill(os.getpid(), signal.SIGKILL)
    elif slide == "hangs":
        signal.pthread_sigmask(signal.SIG_BLOCK, set(signal.Signals) - {signal.SIGKILL})
        time.sleep(3600)
    elif slide == "floods":
        held = []
        while True:
            held.append(b"\1" * _STEP_BYTES)
            time.sleep(0.002)
    elif slide == "raises":
        raise ZeroDivisionError("one over\nnothing")
    elif slide == "lacks-memory":
        raise MemoryError
    elif slide == "leaves":
        sys.exit(3)
    elif slide == "is-damaged":
        raise InputError("its file is damaged", remedy="write it again")
    elif slide == "is-set-aside":
        raise SlideError("E_TEST", "it is upside down", remedy="turn it round")


def hold(slide: str, mebibytes: int) -> int:
    """Keeps so much memory for ever; returns the process."""
    globals().setdefault("_held", []).append(b"\1" * (mebibytes * 2**20))
    return os.getpid()


def note_and_wait(slide: str, folder: str, seconds: float) -> str:
    """Writes into `folder` that the slide was begun, and by whom, then takes its time."""
    name = f"{slide}.{os.getpid()}.{time.time_ns()}"
    (Path(folder) / name).touch()
    time.sleep(seconds)
    return slide


def parent(slide: str) -> int:
    """The process that started this one."""
    return os.getppid()


def has_module(name: str) -> bool:
    """Whether this process has imported a module."""
    return name in sys.modules


def gpu_trouble(slide: str, message: str) -> None:
    """What torch raises when a GPU is lost; the slide `fine` has none."""
    if slide != "fine":
        raise RuntimeError(message)


def process(slide: str) -> int:
    return os.getpid()


def share(slide: str) -> tuple[int, int, int, int]:
    """The threads of torch, of OpenCV, of the process, and its slot."""
    import cv2
    import torch

    from sammil_cli.runner import worker

    return torch.get_num_threads(), cv2.getNumThreads(), worker.threads(), worker._state["place"].slot


async def forget_runs(dask_worker: Any) -> None:
    """Leaves a Dask worker as it is when its nanny starts it anew at the same address."""
    for name in [name for name in dask_worker.plugins if name.startswith("sammil-")]:
        await dask_worker.plugin_remove(name=name)
