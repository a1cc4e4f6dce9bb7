"""Weight files: found, verified by sha256, downloaded only when asked for."""

import os
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from platformdirs import user_cache_path

from sammil_cli.errors import MissingError
from sammil_cli.storage.files import sha256_file

FOLDER_VARIABLE = "SAMMIL_WEIGHTS"
Progress = Callable[[int, int], None]  # bytes done, bytes in all


@dataclass(frozen=True, kw_only=True)
class WeightFile:
    """A published weight file, pinned: `sha256` of the content that `url` serves."""

    file_name: str
    url: str
    sha256: str
    licence: str


def weight_folders() -> list[Path]:
    """Where weights are looked for: the folder in SAMMIL_WEIGHTS, then the user's cache."""
    named = os.environ.get(FOLDER_VARIABLE)
    return [*([Path(named)] if named else []), user_cache_path("sammil") / "weights"]


def find_weights(pinned: WeightFile, given: Path | None) -> Path:
    """The verified local file: the one `given`, or else the first one found in `weight_folders()`.

    Raises:
        MissingError: there is none, or its content is not the pinned one.
    """
    places = [given] if given else [folder / pinned.file_name for folder in weight_folders()]
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        looked = "\n  ".join(str(place) for place in places)
        raise MissingError(
            f"the weights {pinned.file_name} are not here; looked for\n  {looked}",
            remedy=f"run again with --download, or fetch {pinned.url} yourself (licence: {pinned.licence}) "
            f"into one of these places, or set {FOLDER_VARIABLE} to the folder that holds it",
        )
    found = sha256_file(path)
    if found != pinned.sha256:
        raise MissingError(
            f"{path} is not the published file: sha256 {found}, expected {pinned.sha256}",
            remedy="delete it and fetch it again",
        )
    return path


def download(pinned: WeightFile, progress: Progress | None = None) -> Path:
    """Fetches the file into the first weight folder; goes on where an earlier attempt stopped.

    Raises:
        MissingError: no network, or the content is not the pinned one (what was fetched is deleted then).
    """
    target = weight_folders()[0] / pinned.file_name
    if target.is_file() and sha256_file(target) == pinned.sha256:
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + ".part")
    done = part.stat().st_size if part.exists() else 0
    if not pinned.url.startswith(("https://", "http://127.0.0.1:")):
        raise MissingError(f"{pinned.url} is no https address", remedy="use the published address")
    request = urllib.request.Request(pinned.url, headers={"Range": f"bytes={done}-"} if done else {})  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310 - the scheme is checked above
            if answer.status != 206:  # the server sends the whole file
                done = 0
            total = done + int(answer.headers.get("Content-Length", 0))
            with part.open("ab" if done else "wb") as stream:
                while block := answer.read(1 << 20):
                    stream.write(block)
                    done += len(block)
                    if progress:
                        progress(done, total)
            if done < total:  # a connection that is closed early ends like a whole answer
                raise ConnectionError(f"the connection was closed after {done} of {total} bytes")
    except urllib.error.HTTPError as error:
        if error.code != 416:  # 416: the part is already whole
            raise MissingError(f"{pinned.url}: {error}", remedy="try again later, or fetch it by hand") from None
    except (OSError, urllib.error.URLError) as error:
        raise MissingError(
            f"{pinned.url} cannot be fetched: {error}",
            remedy=f"run again to go on from {done} bytes, or fetch it by hand into {target.parent}",
        ) from None
    if sha256_file(part) != pinned.sha256:
        part.unlink()
        raise MissingError(f"what {pinned.url} sent is not the published file", remedy="try again")
    part.replace(target)
    return target
