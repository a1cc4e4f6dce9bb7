"""The results of a training, which replace those of the one before when all of them are there, and not before.

New folds, their table and the record are gathered in a hidden folder within that of the models, so on its file system.
Only learning curves are written where they belong, to be watched: the earlier ones wait in the hidden folder, and come
back if the training fails; if it was killed, with the next command (`project.leftovers`).

The swap begins with the manifest, which names all that is to come, and ends with the folds. What a kill in between
leaves are the old results, the new ones, or a mixture that every reader refuses (`training.manifest`).
"""

import contextlib
import shutil
from collections.abc import Collection, Iterator
from dataclasses import replace
from pathlib import Path

from sammil_cli.errors import InputError
from sammil_cli.jobs.train import CURVE_FILE
from sammil_cli.project.leftovers import CURVES, bring_back, own_curves
from sammil_cli.project.project import Project
from sammil_cli.storage.claims import TEMPORARY
from sammil_cli.storage.guarded_json import read_json
from sammil_cli.storage.store import ResultStore
from sammil_cli.training.fold import FOLD_NAME
from sammil_cli.training.manifest import MANIFEST_FILE
from sammil_cli.training.model_facts import FACTS_FILE

_SHOWN = 5
_OLD = "old"  # in the hidden folder: what is replaced


class NewModels:
    """What a training has made so far. `place`: the project with models, splits and record in the hidden folder."""

    def __init__(self, project: Project, hidden: Path) -> None:
        self._project, self._hidden = project, hidden
        self.place = replace(
            project, models=hidden / "models", splits=hidden / "splits.csv", record=hidden / "record.json"
        )

    def set_curves_aside(self) -> None:
        """Makes way for the learning curves of this training."""
        copies, curves = self._hidden / f"{CURVES}_copied", own_curves(self._project.learning_curves)
        copies.mkdir()
        for curve in curves:
            shutil.copy2(curve, copies)
        copies.rename(self._hidden / CURVES)  # all of them are there now, or none is to be brought back
        for curve in curves:
            curve.unlink()

    def bring_curves_back(self) -> None:
        """Puts the earlier learning curves back into their place, if they were set aside."""
        bring_back(self._hidden, self._project.learning_curves)

    def take_over(self) -> Iterator[str]:
        """Replaces what the training before has made; a model that came from elsewhere stays, and so do other files.

        Yields:
            What was removed and does not come back, and what stays beside the new folds.
        """
        models, curves, place = self._project.models, self._project.learning_curves, self.place
        coming = {folder.name for folder in place.models.iterdir() if folder.is_dir()}
        present = sorted(folder for folder in models.iterdir() if folder.is_dir() and folder != self._hidden)
        present = [folder for folder in present if not folder.name.startswith(TEMPORARY)]  # another training's
        own = [folder for folder in present if folder.name in coming or _is_own(folder)]
        (self._hidden / _OLD).mkdir()
        with contextlib.suppress(FileNotFoundError):
            (self._hidden / CURVES).rename(self._hidden / _OLD / CURVES)
        (place.models / MANIFEST_FILE).replace(models / MANIFEST_FILE)
        for new, path in ((place.record, self._project.record), (place.splits, self._project.splits)):
            if new.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                shutil.move(new, path)
        for curve in own_curves(curves):
            if curve.stem not in coming:
                curve.unlink()
        for folder in own:
            folder.rename(self._hidden / _OLD / folder.name)
        for name in sorted(coming):
            curves.mkdir(parents=True, exist_ok=True)
            shutil.move(place.models / name / CURVE_FILE, curves / f"{name}.csv")
            (place.models / name).rename(models / name)
        if removed := [folder.name for folder in own if folder.name not in coming]:
            yield f"removed {len(removed)} fold(s) of the training before: {_listed(removed)}"
        if left := [folder.name for folder in present if folder not in own]:
            yield f"left {len(left)} folder(s) that it has not made in {models}: {_listed(left)}"


@contextlib.contextmanager
def new_models(project: Project) -> Iterator[NewModels]:
    """Room for the results of a training; an error in the block leaves everything as it was before."""
    project.models.mkdir(parents=True, exist_ok=True)
    new = NewModels(project, ResultStore(project.models).workspace())
    new.place.models.mkdir()
    try:
        yield new
    except BaseException:
        new.bring_curves_back()
        raise
    finally:
        shutil.rmtree(new.place.models.parent, ignore_errors=True)
        for folder in (project.models, project.learning_curves):
            with contextlib.suppress(OSError):  # it holds something, as it should
                folder.rmdir()


def _is_own(folder: Path) -> bool:
    """Whether train has made a folder: its facts say so, or where none can be read, its name."""
    try:
        record = read_json(folder / FACTS_FILE)
        return bool(record["provenance"]["stage"] == "train")
    except (OSError, InputError, KeyError, TypeError):
        return FOLD_NAME.fullmatch(folder.name) is not None


def _listed(names: Collection[str]) -> str:
    return ", ".join(list(names)[:_SHOWN]) + (", …" if len(names) > _SHOWN else "")
