"""The settings that DVC's stages last ran with, by its lock file: what the numbers beside a params.yaml are of."""

import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from sammil_cli.errors import InputError
from sammil_cli.storage.files import canonical
from sammil_cli.storage.guarded_yaml import parse_yaml

_LOCK, _PARAMS = "dvc.lock", "params.yaml"
_REVISION = re.compile("[0-9a-f]{7,64}")
_LATER = "visualize"  # the stage that no number comes from


def locked_here() -> dict[str, object]:
    """The settings of the project in the working directory; empty where nothing ran under DVC."""
    path = Path(_LOCK)
    return _settings(path.read_bytes()) if path.is_file() else {}


def locked_at(revision: str) -> dict[str, object]:
    """The settings at a revision of Git; empty where that is not known."""
    git = shutil.which("git")
    if git is None or not _REVISION.fullmatch(revision):
        return {}
    words = [git, "show", f"{revision}:./{_LOCK}"]
    done = subprocess.run(words, capture_output=True, check=False)  # noqa: S603 - fixed words
    return {} if done.returncode else _settings(done.stdout)


def changed_since(params: Mapping[str, object], locked: Mapping[str, object]) -> str:
    """The settings that are not those which ran, in words; empty where all are."""
    keys = [key for key, value in locked.items() if key in params and params[key] != value]
    return ", ".join(f"{key} is {canonical(params[key])}, and {canonical(locked[key])} ran" for key in keys)


def _settings(lock: bytes) -> dict[str, object]:
    try:
        loaded = parse_yaml(lock, _LOCK)
    except InputError:  # somebody has changed it: nothing is known
        return {}
    stages = loaded.get("stages") if isinstance(loaded, dict) else None
    found: dict[str, object] = {}
    for name, stage in stages.items() if isinstance(stages, dict) else ():
        files = stage.get("params") if isinstance(stage, dict) and name != _LATER else None
        settings = files.get(_PARAMS) if isinstance(files, dict) else None
        found |= settings if isinstance(settings, dict) else {}
    return found
