"""The folds that the settings draw from a cohort."""

from sammil_cli.cohort.cohort import Cohort
from sammil_cli.config import TrainSettings
from sammil_cli.training.fold import Fold
from sammil_cli.training.splits import draw_folds


def drawn_folds(cohort: Cohort, settings: TrainSettings) -> list[Fold]:
    """What `sammil train` trains, and what `sammil check` draws beforehand to look at; raises as `draw_folds`."""
    return draw_folds(
        cohort,
        folds=settings.folds,
        repeats=settings.repeats,
        val_fraction=settings.val_fraction,
        seed=settings.seed,
        protocol=settings.protocol,
        published=settings.published_folds,
        by=settings.folds_by,
    )
