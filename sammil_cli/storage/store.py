"""The per-slide result store: what was computed once is not computed again.

DVC empties a stage's outs before it runs the stage. So results live here, keyed by everything that determines
them, and are copied into the outs. The store lies in DVC's cache directory (`.dvc/cache` or what `cache.dir` says),
which temporary and queued experiments share; without DVC it lies in `.sammil/store`.
"""

import configparser
import json
import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sammil_cli.storage.files import sha256_file

_MANIFEST = "manifest.json"


def find_store(project: Path) -> Path:
    """The folder of the result store that serves a project folder."""
    for folder in (project, *project.parents):
        if (folder / ".dvc").is_dir():
            return _dvc_cache(folder / ".dvc") / "sammil"
    return project / ".sammil" / "store"


def _dvc_cache(dvc: Path) -> Path:
    cache = dvc / "cache"
    for name in ("config", "config.local"):
        config = configparser.ConfigParser(interpolation=None)
        config.read(dvc / name, encoding="utf-8")
        value = config.get("cache", "dir", fallback=None)
        if value:
            cache = dvc / value.strip("'\"")  # relative paths are relative to the config file; absolute ones win
    return cache.resolve()


@dataclass(frozen=True)
class ResultStore:
    """Finished per-slide results of one step: a folder of files for each key."""

    root: Path

    def fetch(self, key: str, out: Path) -> list[str] | None:
        """Copies the result of `key` into `out` and returns its notes; None when there is none or it is damaged."""
        entry = self._entry(key)
        if not entry.exists():
            return None
        try:
            manifest = json.loads((entry / _MANIFEST).read_text(encoding="utf-8"))
            files: dict[str, str] = manifest["files"]
            notes: list[str] = manifest["notes"]
            if any(sha256_file(entry / name) != expected for name, expected in files.items()):
                raise ValueError("checksum")
        except (ValueError, OSError, KeyError, TypeError):
            shutil.rmtree(entry, ignore_errors=True)  # a damaged result is made anew
            return None
        out.mkdir(parents=True, exist_ok=True)
        for name in files:
            temporary = out / f".{name}.{os.getpid()}"
            shutil.copyfile(entry / name, temporary)
            temporary.replace(out / name)
        return notes

    def put(self, key: str, folder: Path, notes: Sequence[str] = ()) -> None:
        """Moves the files of `folder` into the store under `key`, all or nothing, with notes on the slide."""
        files = {file.name: sha256_file(file) for file in sorted(folder.iterdir())}
        manifest = {"files": files, "notes": list(notes)}
        (folder / _MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")
        entry = self._entry(key)
        entry.parent.mkdir(parents=True, exist_ok=True)
        try:
            folder.rename(entry)
        except OSError:  # another process was first with the same result
            shutil.rmtree(folder)

    def workspace(self) -> Path:
        """A fresh folder on the store's own file system, to be filled and given to `put`."""
        self.root.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(prefix=".work-", dir=self.root))

    def _entry(self, key: str) -> Path:
        return self.root / key[:2] / key
