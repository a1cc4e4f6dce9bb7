"""Models that judge together, wherever they lie: one fold, the folds of a run, a project."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sammil_cli.bundles.ensemble import TrainedFold, folders_in, read_trained
from sammil_cli.config import Settings, check
from sammil_cli.project.run_record import read_record
from sammil_cli.storage.paths import ModelPath

_PLACES = (Path(), Path("models"), Path("runs/models"))  # of the models in a folder of them, a run, a project


@dataclass(frozen=True, kw_only=True)
class Models:
    """Trained models, and what is known of how the bags that they learned from were made.

    `folders`: of each of `folds`, in their order. `settings`: all of the run's; None where nothing says them (imported
    weights, one fold without its run).
    """

    source: Path
    folders: Sequence[ModelPath]
    folds: Sequence[TrainedFold]
    settings: Settings | None


def open_models(source: Path, device: str) -> Models:
    """The models of a trained model's folder, of a folder of these, of what `sammil train` wrote, or of a project.

    Raises:
        InputError: there are none; `E_DAMAGED`, they are not as they were written; or of different classes.
    """
    found = next((source / place for place in _PLACES if folders_in(source / place)), source)
    folds = read_trained(found, device)
    return Models(source=source, folders=folders_in(found), folds=folds, settings=_settings_beside(found))


def _settings_beside(models: Path) -> Settings | None:
    """Those of the run record beside the models; a setting that it does not know has its default."""
    record = models.resolve().parent / "record.json"
    return check(read_record(record).params, str(record)) if record.is_file() else None
