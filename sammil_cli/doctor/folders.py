"""The project's folders: write, rename and lock as the stages do; whose they are; on which disk they lie."""

import errno
import fcntl
import itertools
import os
import shlex
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from sammil_cli.doctor.causes import in_container, is_apptainer, one_line
from sammil_cli.doctor.finding import Asked, Finding, note, ok, wrong
from sammil_cli.doctor.machine_limits import existing
from sammil_cli.errors import SammilError, check_root, refused_by_system
from sammil_cli.storage.claims import TEMPORARY, Claims, owner_tag
from sammil_cli.storage.files import write_text
from sammil_cli.storage.store import find_store

GROUP = "Folders"
_MOUNTS = Path("/proc/mounts")
_PARTS = ("artifacts", "runs", "report")
_NETWORK = ("nfs", "nfs4", "lustre", "cifs", "smb3", "beegfs", "gpfs", "ceph", "9p", "fuse.sshfs", "afs")
_LITTLE_SPACE_GIB = 5.0
_LOOKED_AT = 2000  # files of a folder whose owner is asked for


def project(asked: Asked) -> Iterator[Finding]:
    """Whether the working folder is a project, and on what it lies."""
    here = Path.cwd()
    if not asked.in_project:
        remedy = "sammil init my-study && cd my-study"
        if in_container() and not is_apptainer() and not any(here.iterdir()):
            remedy = 'docker run -v "$PWD":/project …, from within your project; or: ' + remedy
        yield note(GROUP, "project", f"{here} is none: it has no {asked.params}", remedy, path=str(here))
    kind, mount = file_system(here)
    free = shutil.disk_usage(here).free
    facts: dict[str, object] = {"path": str(here), "file_system": kind, "mount": mount, "free_bytes": free}
    found = f"{here}, {free / 2**30:.1f} GiB free" + (f", on {kind}" if kind else "")
    if kind in _NETWORK:
        found += ": works (HDF5 files are opened without locks, claims need none); slower with many small files"
        yield note(GROUP, "disk", found, **facts)
    elif kind == "overlay" and in_container():
        remedy = 'docker run -v "$PWD":/project …'
        yield note(GROUP, "disk", f"{here} is part of the container and goes with it", remedy, **facts)
    elif free < _LITTLE_SPACE_GIB * 2**30:
        remedy = "free some: dvc gc --all-commits --all-experiments; or move DVC's cache: dvc cache dir /larger/disk"
        yield note(GROUP, "disk", found, remedy, **facts)
    else:
        yield ok(GROUP, "disk", found, **facts)


def writing(asked: Asked) -> Iterator[Finding]:
    """Each folder in which stages write: a file is written, synced, renamed, read, claimed and locked."""
    here = Path.cwd()
    store = find_store(here)
    folders = {"project": here}
    if asked.in_project:
        folders |= {name: here / name for name in _PARTS if (here / name).exists()}
        folders |= {"DVC cache": store.parent, "result store": store}
    fine: dict[str, Path] = {}
    tried: set[Path] = set()
    for name, folder in folders.items():
        place = existing(folder)
        if place in tried:  # not there yet; the folder above it has been tried
            continue
        tried.add(place)
        if fault := _fault(name, place):
            yield fault
        else:
            fine[name] = place
    if fine:
        found = f"write, rename and claim work in {', '.join(fine)}"
        yield ok(GROUP, "writing", found, uid=os.geteuid(), **{name: str(path) for name, path in fine.items()})
    if asked.in_project:
        yield _locking(here)


def _fault(name: str, folder: Path) -> Finding | None:
    """What is wrong with writing in a folder: it fails, or what is written, or lies there, is somebody else's."""
    facts = folder.stat()
    known = {"path": str(folder), "owner": facts.st_uid, "uid": os.geteuid()}
    try:
        _exercise(folder)
        check_root(folder)
    except SammilError as error:
        return wrong(GROUP, name, error.message, error.remedy, **known)
    except OSError as error:
        refused = refused_by_system(OSError(error.errno, error.strerror, str(folder)))
        if refused is None:
            found = f"{folder} cannot be used: {error.strerror or error}"
            return wrong(GROUP, name, found, f"df -h {folder}; dmesg", **known)
        return wrong(GROUP, name, f"cannot be written: {refused.message}", refused.remedy, **known)
    foreign = None if name == "project" else next(_foreign(folder), None)
    if foreign is None:
        return None
    owner, place = foreign.stat().st_uid, shlex.quote(str(folder))
    if owner == os.geteuid():
        return wrong(GROUP, name, f"{foreign} may not be written", f"chmod -R u+rwX {place}", **known)
    found = f"{foreign} belongs to user {owner}, and you are user {os.geteuid()}: it cannot be replaced"
    return wrong(GROUP, name, found, f'sudo chown -R "$(id -u):$(id -g)" {place}', **known)


def _foreign(folder: Path) -> Iterator[Path]:
    """Folders inside that this process may not write, such as those of an earlier run as root."""
    for path in itertools.islice(folder.rglob("*"), _LOOKED_AT):
        if path.is_dir() and not path.is_symlink() and not os.access(path, os.W_OK):
            yield path


def _exercise(folder: Path) -> None:
    """What stages do with a folder: replace a file in one go, claim a key exclusively; leaves nothing behind.

    Raises:
        OSError: it cannot be done, or the content is another one afterwards.
    """
    with tempfile.TemporaryDirectory(prefix=f"{TEMPORARY}{owner_tag()}-doctor-", dir=folder) as name:
        path = Path(name) / "tried.txt"
        for text in ("first", "second"):
            write_text(path, text)
        if path.read_text(encoding="utf-8") != "second":
            raise OSError(errno.EIO, "a file that was replaced has its old content")
        with Claims(Path(name) / "claims") as one, Claims(Path(name) / "claims") as two:
            if not one.take("tried") or two.take("tried"):
                raise OSError(errno.EIO, "a file can be created twice")


def _locking(folder: Path) -> Finding:
    """The lock that DVC takes; sammil itself takes none."""
    try:
        with tempfile.TemporaryFile(prefix=".sammil-doctor-", dir=folder) as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except PermissionError:
        return note(GROUP, "locks", "not tried: the folder cannot be written")
    except OSError as error:
        found = f"this file system has none, which DVC needs: {one_line(error)}"
        return wrong(GROUP, "locks", found, "dvc config --local core.hardlink_lock true")
    return ok(GROUP, "locks", "DVC's file lock works")


def file_system(path: Path) -> tuple[str, str]:
    """Kind and mount point of the file system that holds a path; empty where the system does not say."""
    try:
        lines = _MOUNTS.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return "", ""
    best = ("", "")
    for line in lines:
        _, mount, kind, *_ = line.split()
        mount = mount.replace("\\040", " ")
        if path.resolve().is_relative_to(mount) and len(mount) >= len(best[1]):
            best = (kind, mount)
    return best
