"""The labelled slides that a study is made on, and whether any of them is left to test on."""

from collections.abc import Sequence

from sammil_cli.cohort.cohort import Cohort, read_labels
from sammil_cli.config import TrainSettings
from sammil_cli.errors import InputError
from sammil_cli.project.project import Project
from sammil_cli.runner.earlier_files import check_done
from sammil_cli.training.splits import nothing_tested


def labelled(project: Project, classes: Sequence[str] | None) -> Cohort:
    """The labelled slides that have bags, as `sammil train` takes them.

    Raises:
        InputError: no bags are here, or the labels are wrong.
    """
    bags = {path.stem for path in project.bags.glob("*.h5")}
    check_done(project, project.bags, "extract", bags, None)
    cohort = read_labels(project.labels, classes, bags).only(bags)
    if not cohort.members:
        raise InputError(f"no slide of {project.labels} has a bag in {project.bags}", remedy="run: sammil check")
    return cohort


def check_tested(cohort: Cohort, settings: TrainSettings) -> None:
    """Refuses a study whose models would all be trained on all slides.

    Raises:
        InputError: the folds have no test part.
    """
    if nothing_tested(cohort, settings.folds):
        what = "the labels give every slide to training" if cohort.trains_all else "folds: 1 trains on all slides"
        raise InputError(
            f"{what}, and none is left to compare models on",
            remedy="give slides to test in the column split of the labels"
            if cohort.trains_all
            else "set folds to 2 or more: -S folds=5",
        )
