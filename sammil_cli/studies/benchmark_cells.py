"""What a benchmark compares: models with their settings, each on a folder of bags; and slide embeddings."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sammil_cli.config import TrainSettings, assigned, check
from sammil_cli.errors import InputError
from sammil_cli.storage.guarded_yaml import parse_yaml
from sammil_cli.training.baselines import MEAN_POOL
from sammil_cli.training.trained_model import check_model

LOGISTIC = "logistic regression"  # what judges slide embeddings
OTHER_SEED = "other seed"
_RESEED = 1  # as in sammil ablate: both take the same trainings from the store
_EXAMPLE = "--models abmil,sam-mil,abmil:model_options.gated=true"


@dataclass(frozen=True, kw_only=True)
class Source:
    """A folder of bags or of slide embeddings. `label`: what tables call it."""

    label: str
    path: Path
    embeddings: bool = False


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One row: a model on a source. `name`: of its folder; `model`: as the user named it.

    `kind`: a model is trained on bags, or logistic regression is fitted on one vector of each slide. `reseed`: see
    `stages.train.plan_folds`.
    """

    name: str
    model: str
    source: Source
    settings: TrainSettings
    kind: Literal["model", "vectors"] = "model"
    reseed: int = 0

    @property
    def label(self) -> str:
        """The row in messages and figures."""
        return f"{self.model} @ {self.source.label}"


def read_sources(folders: Sequence[str], *, embeddings: bool = False) -> list[Source]:
    """Folders as the user names them: a path, or `name=path`.

    Raises:
        InputError: one does not exist.
    """
    found = []
    for word in folders:
        name, equals, path = word.partition("=")
        source = Source(label=name, path=Path(path if equals else name), embeddings=embeddings)
        if not source.path.is_dir():
            raise InputError(
                f"there is no folder {source.path}",
                remedy="name folders of slide embeddings" if embeddings else "name folders of bags, as extract makes",
            )
        found.append(source)
    return found


def make_cells(
    settings: TrainSettings, models: Sequence[str], bags: Sequence[Source], embeddings: Sequence[Source]
) -> list[Cell]:
    """Every model on every folder of bags, and every folder of embeddings.

    Args:
        models: names, each with settings after colons: `abmil:model_options.gated=true`; `mean-pool` is logistic
            regression on the mean of the patches.

    Raises:
        InputError: nothing to compare, an unknown model or setting, or two rows of one name.
    """
    cells = [_cell(settings, model, source) for source in bags for model in models]
    cells += [
        Cell(name=_slug(LOGISTIC, source), model=LOGISTIC, source=source, settings=settings, kind="vectors")
        for source in embeddings
    ]
    if not cells:
        raise InputError("there is nothing to compare", remedy=f"name models and folders: {_EXAMPLE} --bags DIR,DIR")
    by_name: dict[str, Cell] = {}
    for cell in cells:
        if cell.name in by_name:
            other = by_name[cell.name]
            raise InputError(
                f"{other.label} and {cell.label} would have the same folder, {cell.name}",
                remedy="give the folders names: --bags one=DIR,two=DIR",
            )
        by_name[cell.name] = cell
    return cells


def _cell(settings: TrainSettings, model: str, source: Source) -> Cell:
    name, *assignments = model.split(":")
    if name == MEAN_POOL:
        if assignments:
            raise InputError(f"{MEAN_POOL} has no settings, {assignments[0]!r} was given", remedy=f"--models {name}")
        return Cell(name=_slug(model, source), model=model, source=source, settings=settings, kind="vectors")
    values: dict[str, object] = settings.model_dump()
    if name != settings.model:
        values = {**values, "model": name, "model_options": {}}
    for text in assignments:
        key, equals, value = text.partition("=")
        if not equals or key.partition(".")[0] not in TrainSettings.model_fields:
            raise InputError(f"--models {model}: {text!r} sets nothing of training", remedy=f"for example {_EXAMPLE}")
        values = assigned(values, key, parse_yaml(value, "the value"))
    own = check(values, f"--models {model}").stage(TrainSettings)
    if own.model_copy(update={"seed": settings.seed, **_of_folds(settings)}) != own:
        raise InputError(f"--models {model}: all rows have the same folds", remedy="set folds and seed for all: -S")
    check_model(own.model, own.model_options)
    return Cell(name=_slug(model, source), model=model, source=source, settings=own)


def _of_folds(settings: TrainSettings) -> dict[str, object]:
    """What decides which slide is in which part, and of which class."""
    names = ("folds", "repeats", "val_fraction", "published_folds", "protocol", "classes", "positive_class")
    return {name: getattr(settings, name) for name in names}


def find_reference(cells: Sequence[Cell], word: str | None) -> Cell:
    """The row that all others are compared with: `MODEL` (on the first folder) or `MODEL@FOLDER`; None = the first.

    Raises:
        InputError: there is no such row.
    """
    if word is None:
        return cells[0]
    model, at, label = word.partition("@")
    found = [cell for cell in cells if cell.model == model.strip() and label.strip() in ("", cell.source.label)]
    if not found:
        known = ", ".join(dict.fromkeys(f"{cell.model}@{cell.source.label}" if at else cell.model for cell in cells))
        raise InputError(f"--reference {word}: there is no such row", remedy=f"one of: {known}")
    return found[0]


def with_other_seed(cell: Cell) -> Cell | None:
    """The same row trained with another seed on the same folds; None for logistic regression, which has no seed."""
    if cell.kind == "vectors":
        return None
    return Cell(
        name=f"{cell.name}-other-seed",
        model=f"{cell.model}, {OTHER_SEED}",
        source=cell.source,
        settings=cell.settings,
        reseed=_RESEED,
    )


def _slug(model: str, source: Source) -> str:
    return f"{file_name(model)}@{file_name(source.label)}"


def file_name(text: str) -> str:
    """A word of the user as the name of a folder: letters, digits, points and dashes."""
    return re.sub(r"[^A-Za-z0-9.]+", "-", text).strip("-.") or "x"
