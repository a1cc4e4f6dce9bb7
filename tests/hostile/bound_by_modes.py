"""Root without the right to pass over the modes of files: what may not be read is tested as root, too."""

import ctypes
import os
import sys

_VERSION, _OVERRIDE, _READ_SEARCH = 0x20080522, 1, 2  # of linux/capability.h
_Words = ctypes.c_uint32 * 6  # effective, permitted, inheritable; then the same of the capabilities from 32 on


def bind_by_modes() -> None:
    """For this thread and those that it starts, for good; others than root are bound by modes as they are.

    Raises:
        OSError: the system does not let this process give rights up.
    """
    if os.geteuid() != 0 or sys.platform != "linux":
        return
    libc = ctypes.CDLL(None, use_errno=True)
    head, words = (ctypes.c_uint32 * 2)(_VERSION, 0), _Words()
    _check(libc.capget(head, words))
    given_up = 1 << _OVERRIDE | 1 << _READ_SEARCH
    _check(libc.capset(head, _Words(*(word & ~given_up for word in words[:3]), *words[3:])))


def _check(failed: int) -> None:
    if failed:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
