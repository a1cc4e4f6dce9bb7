"""Cohorts and folds, as `sammil check` sees and `sammil train` draws them."""

from collections.abc import Collection
from pathlib import Path

from sammil_cli.cohort.cohort import Cohort, read_labels
from sammil_cli.config import Settings, TrainSettings
from sammil_cli.training.fold import Fold


def read_cohort(
    labels: str | Path, settings: Settings | None = None, *, slides: Collection[str] | None = None
) -> Cohort:
    """Reads a table of labels: which slides carry which label and belong to which patient.

    Args:
        slides: ids of the slides; needed where the table labels patients.

    Raises:
        InputError: the table is wrong, and the message names the line; or `positive_class` is none of two classes.
    """
    chosen = settings or Settings()
    return read_labels(Path(labels), chosen.classes, slides, positive_class=chosen.positive_class)


def draw_folds(cohort: Cohort, settings: Settings | None = None) -> list[Fold]:
    """The folds that `train` draws of a cohort with these settings, ids of slides by role; the same with the same seed.

    Raises:
        InputError: a class has too few patients, or the given folds contradict themselves.
    """
    from sammil_cli.jobs.drawn_folds import drawn_folds  # scikit-learn takes a second

    return drawn_folds(cohort, (settings or Settings()).stage(TrainSettings))
