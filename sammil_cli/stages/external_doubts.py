"""Whether slides of an external cohort may be known to the models all the same: same content, same patients."""

from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from sammil_cli import console
from sammil_cli.bundles.models import Models
from sammil_cli.cohort.cohort import Member
from sammil_cli.errors import SammilError
from sammil_cli.features.bag import FeatureBag, read_bag
from sammil_cli.storage.paths import BagPath
from sammil_cli.training.bag_content import read_contents, same_content
from sammil_cli.training.bags import BagFolder
from sammil_cli.training.fold import labels_of_folds

_NAMED = 3


def doubts(models: Models, members: Sequence[Member], bags: BagFolder) -> list[str]:
    """What makes it doubtful that the models have not seen these slides, in words; as far as it can be known here.

    Args:
        members: slides that count as not seen, by their names.
    """
    run = models.folders[0].resolve().parents[1]
    seen = {slide for fold in models.folds for slide in fold.seen or ()}
    return [*_same_patients(run / "splits.csv", seen, members), *_same_content(run, seen, members, bags)]


def _same_patients(splits: Path, seen: Collection[str], members: Sequence[Member]) -> list[str]:
    """By their ids, where the folds of the training are here."""
    if not splits.is_file():
        return []
    trained = {patient for slide, (_, patient) in (labels_of_folds(splits) or {}).items() if slide in seen}
    found = sorted({member.patient_id for member in members} & trained)
    new = [name for name in found if not {m.slide_id for m in members if m.patient_id == name} & set(seen)]
    if not new:
        return []
    return [
        f"{len(new)} patients have the id of a patient of the training ({_named(new)}): if they are the same people, "
        "delete their rows"
    ]


def _same_content(run: Path, seen: Collection[str], members: Sequence[Member], bags: BagFolder) -> list[str]:
    """By the bags, where those of the training lie in the project of the models, or among these."""
    external = {member.slide_id for member in members}
    there = run.parent / "artifacts" / "bags"
    paths = {path.stem: BagPath(path) for path in there.glob("*.h5")} if there.is_dir() else {}
    trained = {
        slide: path for slide, path in {**bags.paths, **paths}.items() if slide in seen and slide not in external
    }
    if not trained:
        return []
    read: Callable[[str], FeatureBag] = lambda slide: read_bag(trained[slide]) if slide in trained else bags.read(slide)  # noqa: E731
    try:
        with console.counted(read, len(external) + len(trained), "compare bags") as counted:
            pairs = same_content(read_contents(counted, [*external, *trained]))
    except (SammilError, OSError):  # a bag of the training that cannot be read any more is no reason to stop
        return []
    alike = sorted(pair.slides for pair in pairs if len(external & set(pair.slides)) == 1)
    if not alike:
        return []
    named = [" and ".join(pair) for pair in alike]
    return [
        f"{len(alike)} pairs of a slide here and a slide of the training have the same content ({_named(named)}): "
        "delete the rows of those that are one slide"
    ]


def _named(names: Sequence[str]) -> str:
    return ", ".join(names[:_NAMED]) + (", …" if len(names) > _NAMED else "")
