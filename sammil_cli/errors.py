"""Everything that can go wrong, each with a stable code and the fix. docs/errors.md lists the codes."""

import errno
import os
import re
from pathlib import Path
from typing import ClassVar


class SammilError(Exception):
    """Base of all expected errors: the command line prints them without a traceback.

    Args:
        message: what is wrong and where.
        remedy: the exact thing to do about it.
        code: stable code such as `E_MIXED`, for scripts and for docs/errors.md; empty where there is no need for one.
    """

    exit_code: ClassVar[int] = 2

    def __init__(self, message: str, *, remedy: str = "", code: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy
        self.code = code
        if remedy:
            self.add_note(f"fix: {remedy}")  # below the traceback of a script of the user's own

    def __reduce__(self) -> tuple[object, ...]:
        # Exceptions travel from worker processes; keyword arguments would be lost by the default.
        return _error, (type(self), self.message, self.remedy, self.code)


class InputError(SammilError):
    """The user's input is wrong: a setting, a table, a path."""

    exit_code = 2


class MissingError(SammilError):
    """Something that the work needs is not there: weights, a library, a device."""

    exit_code = 3


class SlideError(SammilError):
    """One slide cannot be done; the others go on.

    Args:
        code: stable code such as `E_MPP`, for scripts and for docs/errors.md.
        message: what is wrong with the slide.
        remedy: what to do about it.
        set_aside: True when the slide itself is at fault and a new attempt without a fix is pointless;
            False when the computation failed.
    """

    exit_code = 1

    def __init__(self, code: str, message: str, *, remedy: str, set_aside: bool = True) -> None:
        super().__init__(message, remedy=remedy, code=code)
        self.set_aside = set_aside

    def __reduce__(self) -> tuple[object, ...]:
        return _slide_error, (self.code, self.message, self.remedy, self.set_aside)


def as_slide_error(error: SammilError) -> SlideError:
    """An error that costs one slide only: of a file that it needs, say."""
    if isinstance(error, SlideError):
        return error
    return SlideError(error.code or "E_INPUT", error.message, remedy=error.remedy, set_aside=False)


def _error(kind: type[SammilError], message: str, remedy: str, code: str) -> SammilError:
    return kind(message, remedy=remedy, code=code)


def _slide_error(code: str, message: str, remedy: str, set_aside: bool) -> SlideError:
    return SlideError(code, message, remedy=remedy, set_aside=set_aside)


_GO_ON = "then run the same command to go on"
_LIMITS = {  # what the system says -> code, in words, the fix; whichever library passes it on
    errno.ENOSPC: ("E_DISK", "the disk is full", f"free some space, {_GO_ON}"),
    errno.EDQUOT: ("E_DISK", "your quota on this disk is used up", f"free some space (see quota -s), {_GO_ON}"),
    errno.EFBIG: ("E_DISK", "a file grew larger than is allowed here", f"raise the limit (ulimit -f), {_GO_ON}"),
    errno.EIO: ("E_DISK", "the disk, or the way to it, failed", f"see to it (dmesg), {_GO_ON}"),
    errno.ESTALE: ("E_DISK", "the file server has lost sight of a file", f"mount the disk again, {_GO_ON}"),
    errno.EMFILE: ("E_FILES", "no more files may be opened at once", f"raise the limit (ulimit -n 4096), {_GO_ON}"),
    errno.ENFILE: ("E_FILES", "this machine may open no more files", f"end other programs, {_GO_ON}"),
    errno.ENOMEM: ("E_MEMORY", "not enough memory", f"end other programs, or raise the limit (ulimit -v), {_GO_ON}"),
    errno.ENAMETOOLONG: ("E_NAME", "a name is longer than the file system allows", "use a shorter one"),
}
_NUMBERS = re.compile(r"(?:errno = |os error |\[Errno )(\d+)")  # in the texts of HDF5, of Rust, of Python
_NO_THREAD = ("can't start new thread", "failed to map segment", "cannot allocate memory")
_DENIED = (errno.EACCES, errno.EPERM, errno.EROFS)
_LONGEST = 300  # characters of a library's own words
_LEAST_ADDRESS_SPACE = 1 << 30  # bytes
ROOT_ALLOWED = "SAMMIL_ALLOW_ROOT"
IMAGE_VARIABLE = "SAMMIL_IMAGE"  # set in the image: what it was built from


def limit_met(error: BaseException) -> MissingError | None:
    """What the system has no more of (room, files, memory), in words; None where the error is of something else."""
    if isinstance(error, SammilError):
        return None
    number = _number_of(error)
    if number in _LIMITS:
        code, words, remedy = _LIMITS[number]
        text = _one_line(error)
        if isinstance(error, OSError) and error.filename:
            text = f"{os.fsdecode(error.filename)} ({error.strerror})"
        return MissingError(f"{words}: {text}", remedy=remedy, code=code)
    cause = error.__cause__ or error.__context__
    return None if cause is None else limit_met(cause)


def _number_of(error: BaseException) -> int | None:
    """The system's number of an error, which many libraries have in their text only."""
    if isinstance(error, OSError) and error.errno:
        return error.errno
    if isinstance(error, MemoryError) or any(sign in str(error).lower() for sign in _NO_THREAD):
        return errno.ENOMEM
    found = _NUMBERS.search(str(error))
    return int(found[1]) if found else None


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def refused_by_system(error: OSError) -> MissingError | None:
    """What the system refused, in words: see `limit_met`, or a place that may not be written; None for all else."""
    if met := limit_met(error):
        return met
    if error.errno in _DENIED and error.filename:
        path, message = Path(os.fsdecode(error.filename)).absolute(), error.strerror or "denied"
    elif error.errno == errno.EROFS or not os.access(Path(), os.W_OK):  # libraries that want a cache, or name no path
        path, message = Path().absolute(), f"nothing can be written here ({error})"
    else:
        return None
    there = next(place for place in (path, *path.parents) if _is_seen(place))
    owner, user = there.stat().st_uid, os.geteuid()
    if error.errno == errno.EROFS:
        remedy = "mount it writable (docker run -v without :ro), or give the command another folder"
    elif owner == user:
        remedy = f"chmod u+rwX {there}"
    elif owner == 0:  # Docker makes mounted folders that are missing, as root
        remedy = f'{there} belongs to root; make it yours: sudo chown -R "$(id -u):$(id -g)" its folder on the host'
    else:
        remedy = (
            f"you are user {user}, {there} belongs to user {owner}. In a container: docker run --user "
            f'{owner}:{there.stat().st_gid} (yours: --user "$(id -u):$(id -g)"); elsewhere: chown -R {user} {there}'
        )
    return MissingError(f"{message}: {path}", remedy=remedy, code="E_DENIED")


def _is_seen(path: Path) -> bool:
    """Whether it exists and may be looked at: below a folder that may not be searched nothing is seen."""
    try:
        return path.exists()
    except PermissionError:
        return False


def check_address_space() -> None:
    """Refuses to begin where libraries would crash while they are loaded, some of them without a word.

    Raises:
        MissingError: `E_MEMORY`, the limit of the process (`ulimit -v`) is too small for any command.
    """
    try:
        import resource
    except ImportError:  # Windows
        return
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit not in (resource.RLIM_INFINITY, -1) and limit < _LEAST_ADDRESS_SPACE:
        raise MissingError(
            f"this process may use {limit / 2**20:,.0f} MiB of address space, at which libraries do not even load",
            remedy="ulimit -v unlimited; slide_memory_gib in params.yaml limits what one slide may take",
            code="E_MEMORY",
        )


def check_root(folder: Path) -> None:
    """Refuses to be root in a container on somebody's folder: what is written there could not be deleted by its owner.

    Raises:
        InputError: with the user to run as; never outside of containers, where `IMAGE_VARIABLE` is not set.
    """
    if IMAGE_VARIABLE not in os.environ or os.geteuid() != 0 or os.environ.get(ROOT_ALLOWED):
        return
    facts = folder.stat()
    if facts.st_uid != 0:
        raise InputError(
            f"this container runs as root, but {folder.absolute()} belongs to user {facts.st_uid}, who could not "
            "delete what root writes",
            remedy=f'docker run --user {facts.st_uid}:{facts.st_gid} (yours: --user "$(id -u):$(id -g)"), '
            f"or -e {ROOT_ALLOWED}=1 to go on",
        )
