"""What killed runs leave behind in a project is removed by the next command that writes there.

Files that are not finished are called `.work-<host>-<process>-…`, so that it is known whether their owner is alive. The
hidden folder of a training in `runs/models` may hold the learning curves of the one before: they are brought back.
"""

import contextlib
import shutil
import time
from collections import defaultdict
from pathlib import Path

from sammil_cli.project.project import Project
from sammil_cli.storage.claims import TEMPORARY, is_dead
from sammil_cli.storage.store import ResultStore, find_store, sweep
from sammil_cli.training.fold import FOLD_NAME

REPRODUCE = Path(".sammil/reproduce")  # ignored by Git and DVC; on the disk that has room for the project's results
UNFINISHED = "unfinished"  # beside the entries of a stage's store: what a killed training goes on from
_FORGOTTEN_SECONDS = 30 * 86400.0  # since a training was last worked on; then it begins anew
CURVES = "curves"  # in a training's hidden folder: the earlier learning curves, while they may be wanted again


def tidy(project: Project, *also: Path, store: Path | None = None) -> None:
    """Removes leftovers of dead processes from the project, its result store and where `reproduce` works.

    Checkpoints stay for a month, so that a training can go on, unless its result is there. Where nothing may be
    written, nothing is done.

    Args:
        also: folders besides those of the project.
        store: the root of the result store, as in `RunOptions`.
    """
    folders = {_folder_of(place) for place in vars(project).values() if place} | {Path(), *also}
    folders |= {path for path in project.new_predictions.glob("*") if path.is_dir()}
    root = store or find_store(Path.cwd())
    try:
        _recover_curves(project)
    except OSError:  # on a full disk, say: they wait for the next command
        folders.discard(project.models)
    for folder in (root, REPRODUCE, *sorted(folders)):
        with contextlib.suppress(OSError):
            sweep(folder)
    for stage in sorted(root.iterdir()) if root.is_dir() else ():
        with contextlib.suppress(OSError):
            ResultStore(stage).bury()
            sweep(stage / UNFINISHED)
            _forget_unfinished(stage)
    for empty in (REPRODUCE, REPRODUCE.parent):
        with contextlib.suppress(OSError):  # of another run, or the result store's
            empty.rmdir()


def bring_back(hidden: Path, curves: Path) -> None:
    """Puts the learning curves that a training set aside in its hidden folder back into their place.

    After a kill or an error in between it can be done once more.
    """
    waiting = hidden / CURVES
    if not waiting.is_dir():
        return
    found = sorted(waiting.iterdir())
    for curve in own_curves(curves):
        if curve.name not in {earlier.name for earlier in found}:
            curve.unlink()
    curves.mkdir(parents=True, exist_ok=True)
    for curve in found:
        shutil.copy2(curve, curves)
    waiting.rename(hidden / "brought_back")


def _folder_of(place: Path) -> Path:
    """A place of the project that is a folder, or else the folder that it lies in."""
    with contextlib.suppress(OSError):
        if place.is_dir():
            return place
    return place.parent


def own_curves(curves: Path) -> list[Path]:
    """The learning curves that `sammil train` has written."""
    return [curve for curve in sorted(curves.glob("*.csv")) if FOLD_NAME.fullmatch(curve.stem)]


def _recover_curves(project: Project) -> None:
    for left in project.models.glob(f"{TEMPORARY}*"):
        if is_dead("-".join(left.name.removeprefix(TEMPORARY).split("-")[:2])):
            bring_back(left, project.learning_curves)


def _forget_unfinished(stage: Path) -> None:
    """Removes the checkpoints that nothing will go on from: old ones, and those of finished results."""
    files = defaultdict[str, list[Path]](list)
    for path in (stage / UNFINISHED).glob("[!.]*"):
        files[path.stem].append(path)
    for name, paths in files.items():
        newest = max(path.stat().st_mtime for path in paths)
        if time.time() - newest > _FORGOTTEN_SECONDS or ResultStore(stage).look(name) is not None:
            for path in paths:
                path.unlink(missing_ok=True)
