"""The per-slide result store: what was computed once is not computed again.

DVC empties a stage's outs before it runs the stage. So results live here, keyed by everything that determines
them, and are copied into the outs. The store lies in DVC's cache directory (`.dvc/cache` or what `cache.dir` says at
any of DVC's levels), which temporary and queued experiments share; without DVC it lies in `.sammil/store`.

An entry is a folder of files with a manifest, which carries a sum of itself. Files that DVC's cache holds as well are
dropped from the entry and read from there: they are copied, never linked, so that nothing done to an out can reach
DVC's cache.
"""

import configparser
import contextlib
import hashlib
import json
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import BinaryIO

import platformdirs

from sammil_cli.errors import InputError, limit_met
from sammil_cli.storage.claims import ABANDONED_SECONDS, TEMPORARY, Claims, clock, is_dead, owner_tag
from sammil_cli.storage.files import Key, as_stored, digest
from sammil_cli.storage.guarded_json import read_json

_MANIFEST = "manifest.json"
_CHUNK = 1 << 20
_OWNED = re.compile(re.escape(TEMPORARY) + r"([0-9a-f]{12}-\d+)-")


def find_store(project: Path) -> Path:
    """The folder of the result store that serves a project folder."""
    for folder in (project, *project.parents):
        if (folder / ".dvc").is_dir():
            return _dvc_cache(folder / ".dvc") / "sammil"
    return project / ".sammil" / "store"


def _dvc_cache(dvc: Path) -> Path:
    """The cache directory that DVC uses, found without importing DVC, which is slow."""
    cache = dvc / "cache"
    for file in dvc_configs(dvc):
        config = configparser.ConfigParser(interpolation=None, strict=False)
        try:
            config.read(file, encoding="utf-8")
        except (OSError, ValueError, configparser.Error):
            continue  # DVC itself says what is wrong with it
        value = config.get("cache", "dir", fallback="").strip("'\"")
        if value:
            cache = file.parent / Path(value).expanduser()  # relative to the config file; absolute ones win
    try:
        return cache.resolve()
    except ValueError:  # NUL in the config: DVC says it
        return (dvc / "cache").resolve()


def dvc_configs(dvc: Path) -> list[Path]:
    """The config files of DVC, each overruling the ones before: the system's, the user's, the project's, local."""
    system = os.environ.get("DVC_SYSTEM_CONFIG_DIR") or platformdirs.site_config_dir("dvc", "iterative")
    user = os.environ.get("DVC_GLOBAL_CONFIG_DIR") or platformdirs.user_config_dir("dvc", "iterative")
    return [Path(system, "config"), Path(user, "config"), dvc / "config", dvc / "config.local"]


@dataclass(frozen=True)
class FileFacts:
    """What is known of one file of a result; `md5` is its name in DVC's cache."""

    sha256: str
    md5: str
    bytes: int


@dataclass(frozen=True, kw_only=True)
class Result:
    """What the store knows of one finished result.

    `remarks`: what a person should know of the slide; `key`: what it was made with; `libraries`: that computed it.
    """

    files: Mapping[str, FileFacts] = field(default_factory=dict)
    remarks: Sequence[str] = ()
    slide_id: str = ""
    key: Key = field(default_factory=dict)
    libraries: Mapping[str, str] = field(default_factory=dict)


class _DamagedError(Exception):
    """A stored file is not what it was, or is gone."""


@dataclass(frozen=True)
class ResultStore:
    """Finished results of one stage: a folder of files for each, named by the digest of its key."""

    root: Path

    def look(self, name: str) -> Result | None:
        """What is known of a result; None if it is not stored, or damaged. Its files are not looked at."""
        try:
            manifest = read_json(self._entry(name) / _MANIFEST, with_nan=True)
            if manifest.pop("sum") != digest([name, manifest]):
                return None
            files = {str(file): FileFacts(**facts) for file, facts in manifest["files"].items()}
            known = {field: manifest[field] for field in ("slide_id", "key", "libraries")}
            return Result(files=files, remarks=tuple(manifest["remarks"]), **known)
        except (OSError, InputError, KeyError, TypeError, AttributeError):
            return None

    def fetch(self, name: str, out: Path, before: Callable[[], object] | None = None) -> Result | None:
        """Brings the files of a result into `out`; None if it is missing or damaged.

        What `out` holds already stays as it is. Everything else is checked after it was copied, and replaces what
        there was in one go. A damaged result is forgotten, to be made anew.

        Args:
            before: called before anything in `out` is touched, and not at all where nothing is.
        """
        result = self.look(name)
        if result is None:
            return None
        out.mkdir(parents=True, exist_ok=True)
        try:
            lacking = {file: facts for file, facts in result.files.items() if not is_content(out / file, facts)}
            if lacking and before is not None:
                before()
            for file, facts in lacking.items():
                self._deliver(name, file, facts, out)
        except _DamagedError:
            self._forget(name)
            return None
        return result

    def has_files(self, name: str) -> bool:
        """Whether the files of a result are there in full length; their content is checked on fetching only."""
        result = self.look(name)
        return result is not None and all(
            any(_size(place) == facts.bytes for place in self._places(name, file, facts))
            for file, facts in result.files.items()
        )

    def put(self, name: str, folder: Path, result: Result | None = None) -> None:
        """Moves the files of `folder` into the store under `name`, all or nothing.

        Args:
            folder: lies in a `workspace` of this store.
            result: what is known of it; its `files` are measured here.
        """
        files = {file.name: measure(file) for file in sorted(folder.iterdir())}
        self._enter(name, folder, replace(result or Result(), files=files))

    def enter(self, name: str, result: Result) -> None:
        """Notes a result under `name` whose files DVC's cache holds."""
        self._enter(name, self.workspace(), result)

    def _enter(self, name: str, folder: Path, result: Result) -> None:
        manifest = as_stored({**asdict(result), "remarks": list(result.remarks)})
        text = json.dumps({**manifest, "sum": digest([name, manifest])})  # with the name: a copied entry is none
        (folder / _MANIFEST).write_text(text, encoding="utf-8")
        entry = self._entry(name)
        entry.parent.mkdir(parents=True, exist_ok=True)
        for _ in range(2):
            try:
                folder.rename(entry)
                return
            except OSError as error:  # there is one: of another process with the same result, or a damaged one
                if limit_met(error):
                    raise
                if self.has_files(name):
                    break
                self._forget(name)
        shutil.rmtree(folder)

    def workspace(self) -> Path:
        """A fresh folder on the store's own file system, to be filled and given to `put`."""
        self.root.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(prefix=f"{TEMPORARY}{owner_tag()}-", dir=self.root))

    def claims(self) -> Claims:
        """The claims on this store's keys, for processes that share it."""
        return Claims(self.root / "claims")

    def bury(self) -> None:
        """Removes what dead processes left behind."""
        sweep(self.root)
        sweep(self.root / "claims")
        self.claims().clear()

    def tidy(self) -> None:
        """Removes what dead processes left behind, and the files that DVC's cache holds as well.

        Of an entry that is slim already only the folder is listed.
        """
        self.bury()
        if not self.dvc_files.is_dir():
            return
        for entry in self.root.glob("??/*"):
            with contextlib.suppress(OSError):  # another process is at it, too
                stored = [file.name for file in os.scandir(entry) if file.name != _MANIFEST]
                result = self.look(entry.name) if stored else None
                for file, facts in result.files.items() if result else ():
                    if file in stored and _size(self.in_dvc(facts)) == facts.bytes:
                        (entry / file).unlink()

    def _deliver(self, name: str, file: str, facts: FileFacts, out: Path) -> None:
        temporary = out / f"{TEMPORARY}{owner_tag()}-{secrets.token_hex(4)}"
        try:
            for place in self._places(name, file, facts):
                try:
                    reading = place.open("rb")
                except OSError as error:
                    if limit_met(error):  # that says nothing of the entry, which would be forgotten
                        raise
                    continue
                with reading:
                    _copy(reading, temporary)
                if is_content(temporary, facts):
                    temporary.replace(out / file)
                    return
        finally:
            temporary.unlink(missing_ok=True)
        raise _DamagedError

    def _places(self, name: str, file: str, facts: FileFacts) -> tuple[Path, Path]:
        """Where a file may lie: in the entry, or in DVC's cache."""
        return self._entry(name) / file, self.in_dvc(facts)

    def in_dvc(self, facts: FileFacts) -> Path:
        """Where DVC's cache holds a file, if it does."""
        return self.dvc_files / facts.md5[:2] / facts.md5[2:]

    @property
    def dvc_files(self) -> Path:
        """The files of DVC's cache (version 3 on), which a store that `find_store` found under DVC lies in."""
        return self.root.parent.parent / "files" / "md5"

    def _entry(self, name: str) -> Path:
        return self.root / name[:2] / name

    def _forget(self, name: str) -> None:
        """Removes an entry: out of sight in one go, then piece by piece, so that half of one is never seen."""
        grave = self.workspace()
        with contextlib.suppress(OSError):
            self._entry(name).rename(grave / "entry")
        shutil.rmtree(grave, ignore_errors=True)


def open_store(stage: str, root: Path | None = None) -> ResultStore:
    """The results of a stage in the store `root`; None = the one that serves the project in the working directory."""
    return ResultStore((root or find_store(Path.cwd())) / stage)


def sweep(folder: Path) -> None:
    """Removes the temporary files and folders in `folder` whose process is dead, or not heard of for a week."""
    left = [path for path in folder.glob(f"{TEMPORARY}*") if (tag := _owner_of(path)) and tag != owner_tag()]
    now = clock(folder) if left else 0.0
    for path in left:
        with contextlib.suppress(OSError):
            if is_dead(_owner_of(path)) or now - path.stat().st_mtime > ABANDONED_SECONDS:
                if path.is_dir():
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    path.unlink()


def _owner_of(path: Path) -> str:
    """The tag of the process that gave a file its temporary name; empty where none did: it is a user's."""
    found = _OWNED.match(path.name)
    return found[1] if found else ""


def is_temporary(path: Path) -> bool:
    """Whether a file in an out folder is one that a process is about to put in its place."""
    return path.name.startswith(TEMPORARY)


def measure(path: Path) -> FileFacts:
    """Reads a file once for all its check sums."""
    sha256, md5, size = hashlib.sha256(), hashlib.md5(usedforsecurity=False), 0
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            sha256.update(chunk)
            md5.update(chunk)
            size += len(chunk)
    return FileFacts(sha256.hexdigest(), md5.hexdigest(), size)


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None


def is_content(path: Path, facts: FileFacts) -> bool:
    """Whether a file holds that very content; it is read only when its length is right."""
    if _size(path) != facts.bytes:
        return False
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest() == facts.sha256


def _copy(reading: BinaryIO, target: Path) -> None:
    """Copies a file's content; where the file system can, the copy shares its blocks until one of the two changes."""
    with target.open("wb") as writing:
        left = os.fstat(reading.fileno()).st_size
        with contextlib.suppress(OSError, AttributeError):  # another file system, or a system without this call
            while left and (copied := os.copy_file_range(reading.fileno(), writing.fileno(), left)):
                left -= copied
        if left:
            reading.seek(0)
            writing.seek(0)
            writing.truncate()
            shutil.copyfileobj(reading, writing, _CHUNK)
