"""What this machine, or the container or job on it, lets a process have."""

import multiprocessing
import os
import resource
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from platformdirs import user_cache_path

from sammil_cli.doctor.causes import in_container, one_line
from sammil_cli.doctor.finding import Asked, Finding, note, ok, wrong
from sammil_cli.runner.machine import available_bytes, usable_cores

GROUP = "Machine"
_SHARED = Path("/dev/shm")  # noqa: S108 - where Linux keeps semaphores
_LITTLE_MEMORY_GIB = 4.0  # for a worker that encodes; SAM ViT-H takes more
_LITTLE_SPACE_GIB = 1.0
_FEW_FILES = 1024  # a training process maps every bag, each of them an open file


def cores_and_memory(_: Asked) -> Iterator[Finding]:
    """Cores and memory after the limits of containers and jobs, and the limit of open files."""
    cores, there = usable_cores(), os.cpu_count() or 1
    yield ok(GROUP, "cores", f"{cores} of {there}", usable=cores, there=there)
    left = available_bytes()
    if left is not None:
        gib = left / 2**30
        if gib < _LITTLE_MEMORY_GIB:
            remedy = "give --workers 1; ask for more (--mem of the job)"
            yield note(GROUP, "memory", f"{gib:.1f} GiB left", remedy, bytes=left)
        else:
            yield ok(GROUP, "memory", f"{gib:.1f} GiB left", bytes=left)
    files, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if 0 <= files < _FEW_FILES:
        wanted = 4096 if most < 0 else min(4096, most)
        yield note(GROUP, "open files", f"{files} at once", f"ulimit -n {wanted}", limit=files, most=most)
    else:
        yield ok(GROUP, "open files", f"{files if files >= 0 else 'any number'} at once", limit=files, most=most)


def shared_memory(_: Asked) -> Iterator[Finding]:
    """Shared memory: worker processes need a semaphore in /dev/shm and nothing else, so that a small one does."""
    try:
        size = shutil.disk_usage(_SHARED).total if _SHARED.is_dir() else None
        with multiprocessing.get_context("spawn").Semaphore():
            pass
    except (OSError, ImportError) as error:
        remedy = "docker run --shm-size 64m …" if in_container() else "sudo mount -t tmpfs -o mode=1777 tmpfs /dev/shm"
        yield wrong(GROUP, "shared memory", f"worker processes cannot start: {one_line(error)}", remedy)
        return
    told = "" if size is None else f"{_SHARED}, {size / 2**20:,.0f} MiB, "
    yield ok(GROUP, "shared memory", f"{told}semaphores work; sammil needs no more", bytes=size)


def temporary_folder(_: Asked) -> Iterator[Finding]:
    """Where temporary files go."""
    try:
        with tempfile.TemporaryDirectory(prefix="sammil-doctor-") as name:
            (Path(name) / "x").write_text("x", encoding="ascii")
            free = shutil.disk_usage(name).free
    except OSError as error:
        remedy = "docker run --tmpfs /tmp …" if in_container() else "export TMPDIR=/a/folder/that/you/may/write"
        yield wrong(GROUP, "temporary files", f"cannot be written: {one_line(error)}", remedy)
        return
    folder, gib = tempfile.gettempdir(), free / 2**30
    if gib < _LITTLE_SPACE_GIB:
        remedy = "export TMPDIR=/a/folder/with/space"
        yield note(GROUP, "temporary files", f"{folder} has {gib:.1f} GiB left", remedy, path=folder, free_bytes=free)
    else:
        yield ok(GROUP, "temporary files", f"{folder}, {gib:.1f} GiB free", path=folder, free_bytes=free)


def home(_: Asked) -> Iterator[Finding]:
    """HOME and the caches: weights that are fetched, and what Git, DVC, torch and Matplotlib keep."""
    try:
        places = {"HOME": Path.home(), "cache": user_cache_path("sammil")}
    except RuntimeError:
        found = f"HOME is not set, and user {os.geteuid()} has none: caches would lie in a folder named ~"
        yield note(GROUP, "home", found, "export HOME=/a/folder/that/you/may/write")
        return
    if given := os.environ.get("MPLCONFIGDIR"):
        places["MPLCONFIGDIR"] = Path(given)
    shut = [f"{name} ({path})" for name, path in places.items() if not os.access(existing(path), os.W_OK)]
    facts = {name: str(path) for name, path in places.items()}
    if shut:
        remedy = (
            "docker run --tmpfs /tmp -e HOME=/tmp …" if in_container() else "export HOME=/a/folder/that/you/may/write"
        )
        yield note(GROUP, "home", f"cannot be written: {', '.join(shut)}", remedy, **facts)
    else:
        yield ok(GROUP, "home", f"{places['HOME']}, caches in {places['cache'].parent}", **facts)


def existing(path: Path) -> Path:
    """A path, or the nearest folder above it that is there."""
    path = path.absolute()
    return next((place for place in (path, *path.parents) if place.exists()), Path("/"))
