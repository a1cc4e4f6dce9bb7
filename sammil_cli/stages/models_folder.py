"""The folders of trained folds and learning curves: what a new training removes of them, and says so."""

import re
import shutil
from collections.abc import Collection, Iterator
from pathlib import Path

from sammil_cli.errors import InputError
from sammil_cli.storage.guarded_json import read_json
from sammil_cli.training.bundle import FACTS_FILE

_FOLD = re.compile(r"repeat_\d+_fold_\d+")
_SHOWN = 5


def clear(models: Path, curves: Path, coming: Collection[str]) -> Iterator[str]:
    """Removes what `sammil train` has made; a model that came from elsewhere stays, and so do other files.

    Args:
        coming: names of the folds that are about to be there.

    Yields:
        What was removed and does not come back, and what stays beside the new folds.
    """
    removed, left = [], []
    for folder in sorted(models.iterdir()) if models.is_dir() else ():
        if not folder.is_dir():
            continue
        if _is_own(folder):
            shutil.rmtree(folder, ignore_errors=True)
            removed += [] if folder.name in coming else [folder.name]
        else:
            left.append(folder.name)
    for curve in sorted(curves.glob("*.csv")):
        if _FOLD.fullmatch(curve.stem):
            curve.unlink(missing_ok=True)
    if removed:
        yield f"removed {len(removed)} fold(s) of the training before: {_listed(removed)}"
    if left:
        yield f"left {len(left)} folder(s) that it has not made in {models}: {_listed(left)}"


def _is_own(folder: Path) -> bool:
    """Whether train has made a folder: its facts say so, or where none can be read, its name."""
    try:
        record = read_json(folder / FACTS_FILE)
        return bool(record["provenance"]["stage"] == "train")
    except (OSError, InputError, KeyError, TypeError):
        return _FOLD.fullmatch(folder.name) is not None


def _listed(names: Collection[str]) -> str:
    return ", ".join(list(names)[:_SHOWN]) + (", …" if len(names) > _SHOWN else "")
