"""Inside a worker process: one slide at a time, watched for memory, every error told as a `SlideError`."""

import importlib
import os
import signal
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Any

from sammil_cli.errors import SammilError, SlideError

# Exit codes of a process that ended itself; those of crashes are other ones.
OUT_OF_MEMORY, ORPHANED = 113, 114

_LOOK_SECONDS = 0.05
_MOST_CHARACTERS = 500
_STATM = Path("/proc/self/statm")

_at_work = threading.Event()
_ending = threading.Lock()


def start_up(folder: Path | None, memory_bytes: int | None) -> None:
    """Runs first in a worker process: goes to `folder` (None = stays) and starts to watch memory and parent."""
    # The default action ends the process even while C code never comes back to Python.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if folder is not None:
        os.chdir(folder)
    threading.Thread(target=_watch, args=(os.getppid(), memory_bytes), daemon=True).start()


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
    try:
        import resource
    except ImportError:  # Windows
        return 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def attempt(function: tuple[str, str], arguments: tuple[Any, ...]) -> tuple[Any, float, int]:
    """Calls a function, given as module and name. Returns its value, the seconds it took and the memory held after it.

    Raises:
        SlideError: whatever went wrong, with place and remedy.
    """
    start = time.perf_counter()
    _at_work.set()
    try:
        importlib.import_module("openslide")  # before torch, see slides/formats/openslide.py
        value = getattr(importlib.import_module(function[0]), function[1])(*arguments)
    except (Exception, SystemExit) as error:
        raise _slide_error(error) from error
    finally:
        with _ending:
            _at_work.clear()
    return value, time.perf_counter() - start, resident_bytes()


def _slide_error(error: BaseException) -> SlideError:
    if isinstance(error, SlideError):
        return error
    if isinstance(error, SammilError):  # a damaged file of an earlier stage, say: this slide's trouble only
        return SlideError("E_INPUT", error.message, remedy=error.remedy, set_aside=False)
    if isinstance(error, MemoryError):
        remedy = "fewer --workers, or a smaller batch_size in params.yaml"
        return SlideError("E_MEMORY", "not enough memory", remedy=remedy, set_aside=False)
    if type(error).__name__ == "OutOfMemoryError":  # torch's
        remedy = "a smaller batch_size in params.yaml, --workers 1, or --device cpu"
        return SlideError("E_MEMORY", "not enough memory on the GPU", remedy=remedy, set_aside=False)
    place = traceback.extract_tb(error.__traceback__)[-1]
    text = " ".join(str(error).split())[:_MOST_CHARACTERS]
    return SlideError(
        "E_BUG",
        f"{type(error).__name__}: {text} ({Path(place.filename).name}:{place.lineno})",
        remedy="please report this line with the slide's format",
        set_aside=False,
    )
