"""DVC's site cache, a folder of pickles: whoever can write there runs code as the one who starts DVC.

DVC opens it to everybody, by default in /var/tmp/dvc. In the image it lies in the project, to outlast a container, and
the command `dvc` begins with `main`, which makes it its owner's alone.
"""

import configparser
import contextlib
import os
import stat
import sys
from pathlib import Path

from sammil_cli import console
from sammil_cli.errors import MissingError, SammilError
from sammil_cli.storage.store import dvc_configs

VARIABLE = "DVC_SITE_CACHE_DIR"
_DEFAULT = Path("/var/tmp/dvc")  # noqa: S108 - DVC's own
_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_SHUT = 0o744  # others get in no more; not yet `is_private`, since nobody knows what is in it
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


def site_cache(dvc: Path) -> Path:
    """Where DVC keeps it, by environment and configuration; `dvc` is the project's `.dvc`."""
    config = configparser.ConfigParser(interpolation=None, strict=False)
    with contextlib.suppress(configparser.Error, OSError, UnicodeDecodeError):  # DVC itself says what is wrong with it
        config.read(dvc_configs(dvc), encoding="utf-8")
    named = os.environ.get(VARIABLE) or config.get("core", "site_cache_dir", fallback="").strip("'\"")
    return Path(named) if named else _DEFAULT


def is_private(folder: Path) -> bool:
    """Whether it is this user's and nobody else can look into it; False where it is not there yet."""
    try:
        facts = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(facts.st_mode) and facts.st_uid == os.geteuid() and not facts.st_mode & _OTHERS


def make_private(folder: Path) -> None:
    """Makes the cache, or shuts it to others, before DVC reads it.

    Raises:
        MissingError: `E_OWNER`, it is somebody else's, a link, or something in it is of somebody else.
    """
    if is_private(folder):
        return
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
    except OSError:
        if not folder.is_symlink() and not folder.exists():
            return  # nothing there that DVC could read; whether it can work without, it says itself
    if not folder.is_symlink() and folder.lstat().st_uid == os.geteuid():
        folder.chmod(_SHUT)  # before it is looked through: nobody else puts anything in after that
    if stranger := stranger_in(folder):
        raise MissingError(
            f"{stranger}, and DVC would run what is in it",
            remedy=f"rm -r {folder} (DVC then reads each slide once more), as that user or as root on the host; "
            f"or leave it there, and keep none: docker run -e {VARIABLE}=/tmp/dvc",
            code="E_OWNER",
        )
    folder.chmod(0o700)
    if not folder.parent.is_symlink() and folder.parent.stat().st_uid == os.geteuid():
        mode = folder.parent.stat().st_mode
        if mode & _OTHERS_WRITE:  # DVC has made it so: they could put another folder in its place
            folder.parent.chmod(stat.S_IMODE(mode) & ~_OTHERS_WRITE)


def stranger_in(folder: Path) -> str:
    """What in the cache, which was open to others, is not this user's; empty where all of it is."""
    user = os.geteuid()
    if folder.is_symlink():
        return f"{folder} is a link"
    places = [folder, *(Path(top, name) for top, folders, files in os.walk(folder) for name in (*folders, *files))]
    for path in places:
        with contextlib.suppress(FileNotFoundError):  # another dvc is at work
            if (owner := path.lstat().st_uid) != user:
                return f"{path} belongs to user {owner}, and you are user {user}"
    return ""


def main() -> int:
    """Shuts the cache that the environment names to others; the exit code says whether DVC may start."""
    named = os.environ.get(VARIABLE)
    try:
        if named:
            make_private(Path(named))
    except SammilError as error:
        console.print_error(f"{error.code}: {error.message}", error.remedy)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
