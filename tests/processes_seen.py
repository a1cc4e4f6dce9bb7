"""Which processes there are, read from /proc."""

import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

from sammil_cli.storage.claims import host_id


def dead_owner() -> str:
    """The tag that a process of this machine, which has ended, has left on its claims and temporary files."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    return f"{host_id()}-{process.pid}"


def descendants(pid: int) -> list[int]:
    """All processes below `pid`, zombies too; without multiprocessing's own resource tracker."""
    parents: dict[int, int] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                fields = (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()
                command = (folder / "cmdline").read_bytes()
            except OSError:
                continue  # it ended meanwhile
            if b"resource_tracker" not in command:
                parents[int(folder.name)] = int(fields[1])
    below, found = {pid}, set()
    while below:
        below = {child for child, parent in parents.items() if parent in below} - found
        found |= below
    return sorted(found)


def gone(pids: Iterable[int], seconds: float = 10.0) -> bool:
    """Whether all of them end within a time; a zombie has not ended."""
    left, deadline = list(pids), time.monotonic() + seconds
    while left and time.monotonic() < deadline:
        left = [pid for pid in left if Path(f"/proc/{pid}").exists()]
        time.sleep(0.02)
    return not left
