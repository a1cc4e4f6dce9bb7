"""What a run was made of, against the present: data that must be the same, and all else, which is only reported."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sammil_cli import console
from sammil_cli.cohort.cohort import Cohort, read_labels
from sammil_cli.config import Settings
from sammil_cli.errors import InputError
from sammil_cli.project import environment
from sammil_cli.project.project import Project
from sammil_cli.project.run_record import Environment, RunRecord, code_versions, hash_bags
from sammil_cli.slides.files import find_slides, identify
from sammil_cli.storage.files import sha256_file
from sammil_cli.storage.paths import BagPath

Source = Literal["bags", "slides"]


@dataclass(frozen=True, kw_only=True)
class Change:
    """Something that is not as it was. `counts`: it may change numbers, so that the tolerance is the wider one."""

    what: str
    then: str
    now: str
    counts: bool = True


def check_data(project: Project, record: RunRecord, settings: Settings, source: Source) -> None:
    """Refuses data that are not those of the run.

    Args:
        source: with `slides`, bags are not looked at.

    Raises:
        InputError: naming the first slide that is missing, changed or new.
    """
    if source == "slides":
        _check_slides(project, record, _bring_back(record, project.slides))
        known = {slide.slide_id for slide in record.data.slides}
    else:
        known = _check_bags(project, record, _bring_back(record, project.bags, made=True))
    if project.splits.is_file() and sha256_file(project.splits) != record.data.splits_sha256:
        raise InputError(
            f"{project.splits} is not that of the run", remedy=_bring_back(record, project.splits, made=True)
        )
    if record.start is not None:
        weights = Path(str(settings.start_from))
        if not weights.is_file() or sha256_file(weights) != record.start.sha256:
            raise InputError(
                f"{weights} is not the file that the run started from (sha256 {record.start.sha256})",
                remedy=_bring_back(record, weights),
            )
    remedy = _bring_back(record, project.labels)
    if not project.labels.is_file():
        raise InputError(f"{project.labels} does not exist", remedy=remedy)
    if sha256_file(project.labels) == record.data.labels_sha256:
        added = sorted(
            {member.slide_id for member in _labels_now(project, settings, known).members}
            & known - {slide.slide_id for slide in record.data.slides}
        )
        if added:
            raise InputError(
                f"slide {added[0]!r} has a bag in {project.bags} by now, and the run did not know it",
                remedy=_bring_back(record, project.bags, made=True),
            )
        return
    now = _labels_now(project, settings, known)
    label_of = {member.slide_id: (now.classes[member.label], member.patient_id) for member in now.members}
    for slide in record.data.slides:
        found = label_of.get(slide.slide_id)
        if found != (slide.label, slide.patient_id):
            said = "is not in it" if found is None else f"is {found[0]!r} (patient {found[1]})"
            raise InputError(
                f"{project.labels} is not that of the run: slide {slide.slide_id!r} {said}, and was {slide.label!r} "
                f"(patient {slide.patient_id})",
                remedy=remedy,
            )
    raise InputError(
        f"{project.labels} is not that of the run: the labels of the run's slides are the same, but the file is not "
        "(rows, their order, columns or line ends), and folds may follow from that",
        remedy=remedy,
    )


def _labels_now(project: Project, settings: Settings, known: set[str]) -> Cohort:
    return read_labels(project.labels, settings.classes, known, positive_class=settings.positive_class)


def _check_bags(project: Project, record: RunRecord, remedy: str) -> set[str]:
    paths = {path.stem: BagPath(path) for path in project.bags.glob("*.h5")}
    slides = record.data.slides
    if missing := [slide.slide_id for slide in slides if slide.slide_id not in paths]:
        raise InputError(
            f"{len(missing)} of {len(slides)} bags of the run are not in {project.bags}, such as {missing[0]!r}",
            remedy=remedy,
        )
    found = hash_bags(paths, [slide.slide_id for slide in slides])
    if changed := [slide.slide_id for slide in slides if found[slide.slide_id] != slide.bag_sha256]:
        raise InputError(
            f"{len(changed)} of {len(slides)} bags in {project.bags} are not those of the run, such as {changed[0]!r}",
            remedy=remedy,
        )
    return set(paths)


def _check_slides(project: Project, record: RunRecord, remedy: str) -> None:
    slides = record.data.slides
    if other := [slide for slide in slides if slide.made_by != "extract" or slide.slide is None]:
        raise InputError(
            f"the bag of {other[0].slide_id!r} was not made from a slide by sammil extract "
            f"({other[0].made_by or 'unknown'})",
            remedy="use --from bags",
        )
    paths = find_slides(project.slides).paths
    if missing := [slide.slide_id for slide in slides if slide.slide_id not in paths]:
        raise InputError(
            f"{len(missing)} of {len(slides)} slides of the run are not in {project.slides}, such as {missing[0]!r}",
            remedy=remedy,
        )
    with console.counted(identify, len(slides), "look at slides") as identified:
        for slide in slides:
            if identified(paths[slide.slide_id]) != slide.slide:
                raise InputError(f"{paths[slide.slide_id]} is not the file that the run read", remedy=remedy)


def _bring_back(record: RunRecord, path: Path, *, made: bool = False) -> str:
    """What to do about a file or folder that is not that of the run; `made`: sammil wrote it, it was not given."""
    if made:
        way = f"run: dvc checkout {path} (or dvc pull {path}, from a remote), or train anew: sammil train"
    else:
        way = f"bring {path} back from where you keep it: git checkout, dvc checkout or a copy"
    return way + (f"; the run was made on commit {record.git.revision[:12]}" if record.git else "")


def changes_since(
    project: Project, settings: Settings, record: RunRecord, device: str, stages: Sequence[str]
) -> tuple[Change, ...]:
    """What is not as it was, but the data; `device`: the one that computes now."""
    found = []
    git = environment.git_state(Path.cwd())
    revisions = (
        "none" if record.git is None else _revision(record.git.revision, record.git.changed),
        "none" if git is None else _revision(git.revision, git.changed),
    )
    image = environment.image_name()
    for what, was, now in (("Git", *revisions), ("image", record.image or "none", image or "none")):
        if was != now:
            found.append(Change(what=what, then=was, now=now, counts=False))
    for stage, version in code_versions(project, settings, stages).items():
        was = record.code.get(stage, "absent")
        if was != version:
            found.append(Change(what=f"code of {stage}", then=was, now=version))
    here = Environment(**environment.describe(device))
    known = [record.environment, *(fold.other_environment for fold in record.folds if fold.other_environment)]
    for part in ("libraries", "device"):
        before: list[Mapping[str, str]] = [getattr(one, part) for one in known]
        now_facts: Mapping[str, str] = getattr(here, part)
        for name in dict.fromkeys([*now_facts, *(name for facts in before for name in facts)]):
            values = list(dict.fromkeys(facts.get(name, "absent") for facts in before))
            current = now_facts.get(name, "absent")
            if values != [current]:
                found.append(Change(what=name, then=", ".join(values), now=current))
    return tuple(found)


def _revision(revision: str, changed: Sequence[str]) -> str:
    return revision[:12] + (f", {len(changed)} changed" if changed else "")
