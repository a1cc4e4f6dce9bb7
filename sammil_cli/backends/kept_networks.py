"""Converted networks in the user's cache: each is made once, by one process, and read by all."""

import contextlib
import hashlib
import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from platformdirs import user_cache_path

from sammil_cli.storage.claims import Claims
from sammil_cli.storage.files import atomic_path

log = logging.getLogger(__name__)

_LOOK_SECONDS = 0.5  # between looks at what another process is converting
_UNUSED_SECONDS = 90 * 86400.0  # a network that nobody has used for so long is removed
_SUM_BYTES = hashlib.sha256().digest_size
_SUFFIX = ".network"


def kept_folder() -> Path:
    """Where they lie: beside the weights in the user's cache."""
    return user_cache_path("sammil") / "networks"


def kept_or_made(key: str, make: Callable[[], bytes]) -> bytes:
    """The network that is kept under a key, or else the one that `make` gives, which is kept from now on.

    While one process makes it the others wait. A file that is damaged is made anew. Where nothing can be kept, each
    process makes its own.

    Args:
        key: of all that the bytes follow from, as a file name.
    """
    folder = kept_folder()
    path = folder / f"{key}{_SUFFIX}"
    if (found := _read(path)) is not None:
        return found
    with contextlib.ExitStack() as stack:
        try:
            claims = stack.enter_context(Claims(folder / "claims"))
            while not claims.take(key):
                time.sleep(_LOOK_SECONDS)
        except OSError:
            return make()
        if (found := _read(path)) is not None:  # another process has made it in the meantime
            return found
        made = make()
        try:
            _write(path, made)
        except OSError as error:
            log.warning("the converted network cannot be kept in %s: %s", folder, error.strerror)
        return made


def forget(key: str) -> None:
    """Removes a network that turned out to be of no use."""
    with contextlib.suppress(OSError):
        (kept_folder() / f"{key}{_SUFFIX}").unlink(missing_ok=True)


def _read(path: Path) -> bytes | None:
    """A network that is there and whole; that it was used is noted as the file's time."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    network, found = content[:-_SUM_BYTES], content[-_SUM_BYTES:]
    if hashlib.sha256(network).digest() != found:
        return None
    with contextlib.suppress(OSError):
        path.touch()
    return network


def _write(path: Path, network: bytes) -> None:
    for old in _unused(path.parent):
        with contextlib.suppress(OSError):
            old.unlink(missing_ok=True)
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        stream.write(network)
        stream.write(hashlib.sha256(network).digest())


def _unused(folder: Path) -> Iterator[Path]:
    for path in folder.glob(f"*{_SUFFIX}"):
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime > _UNUSED_SECONDS:
                yield path
