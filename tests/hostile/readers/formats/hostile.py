"""A slide format whose readers do what the file's suffix says: crash, hang, flood the memory, give nonsense."""

import ctypes
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np

PRIORITY = 0
SUFFIXES = (".crash", ".hang", ".flood", ".nan", ".raise")


class HostileReader:
    """See `slides.slide.Reader`; good until it is read."""

    size_px = (1024, 1024)
    downsamples = (1.0,)
    tiles_px = ((256, 256),)
    mpp = (2.0, 2.0)
    mpp_source = kind = "hostile"
    objective = None
    bounds_px = (0, 0, 1024, 1024)
    remarks = ()

    def __init__(self, path: Path) -> None:
        self._does = path.suffix

    def read(self, xy: tuple[int, int], level: int, size_px: tuple[int, int]) -> Any:
        if self._does == ".crash":
            ctypes.string_at(0)
        elif self._does == ".hang":
            signal.pthread_sigmask(signal.SIG_BLOCK, set(signal.Signals) - {signal.SIGKILL})
            time.sleep(3600)
        elif self._does == ".flood":
            held = []
            while True:
                held.append(b"\1" * (16 << 20))
        elif self._does == ".raise":
            raise RuntimeError("the library gave up")
        return np.full((size_px[1], size_px[0], 3), np.nan, np.float32)

    def close(self) -> None:
        pass


def open_slide(path: Path) -> HostileReader:
    return HostileReader(path)
