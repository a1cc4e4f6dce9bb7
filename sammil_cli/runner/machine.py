"""What this machine gives to a process: cores and memory, as far as limits of containers and jobs let it."""

import os
from pathlib import Path

_CGROUP = Path("/sys/fs/cgroup")
_OWN_CGROUP = Path("/proc/self/cgroup")
_MEMINFO = Path("/proc/meminfo")


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
