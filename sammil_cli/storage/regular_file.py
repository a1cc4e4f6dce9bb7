"""Whether a path leads to what can be read to its end: opening a pipe waits, and /dev/zero has no end."""

import os
import stat
from pathlib import Path

from sammil_cli.errors import InputError

REMEDY = "put a file in its place"


def is_endless(path: Path) -> bool:
    """Whether it is a pipe, a socket or a device; not so of what is missing, or may not be looked at."""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):  # NUL in a name
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def check_regular(path: Path) -> None:
    """Refuses what is not read to its end, before it is opened.

    Raises:
        InputError: it is a pipe, a socket or a device.
    """
    if is_endless(path):
        raise InputError(f"{path} is no file but a pipe, a socket or a device", remedy=REMEDY)


def is_file(entry: "os.DirEntry[str]") -> bool:
    """Whether what a folder lists is a file, or a link to one; costs nothing but for links."""
    return Path(entry.path).is_file() if entry.is_symlink() else entry.is_file(follow_symlinks=False)
