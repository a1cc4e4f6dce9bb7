"""The experiment "whose regions help on this cohort?": the same patches and folds, the regions of several proposers."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sammil_cli import choices, console
from sammil_cli.cohort.cohort import read_labels
from sammil_cli.config import EvaluateSettings, ExtractSettings, SamSettings, TrainSettings
from sammil_cli.errors import InputError, MissingError
from sammil_cli.project.process_list import Row
from sammil_cli.project.project import Project, RunOptions
from sammil_cli.report.ablation import with_other_seed
from sammil_cli.report.region_ablation import NO_REGIONS, quality_table, region_table
from sammil_cli.report.tables import Table
from sammil_cli.runner.earlier_files import check_done
from sammil_cli.runner.machine import choose_workers, device_for
from sammil_cli.stages import sam
from sammil_cli.storage.summed import read_of_slide
from sammil_cli.studies import regroup
from sammil_cli.studies.variant import said, train_variant

NAME = "regions"  # of the table
_MOST_NAMED = 10
_AGAIN = "delete it and run the command again"


@dataclass(frozen=True, kw_only=True)
class Contest:
    """Which proposers are compared, and how their regions and bags are made; the proposer of `sam` is the project's."""

    proposers: tuple[str, ...]
    sam: SamSettings
    extract: ExtractSettings

    @property
    def reference(self) -> str:
        """The project's own proposer; the first one asked for where that is not among them."""
        return self.sam.proposer if self.sam.proposer in self.proposers else self.proposers[0]


def default_proposers(own: str) -> tuple[str, ...]:
    """The project's proposer and, to compare it with, superpixels, which need no weights."""
    return tuple(dict.fromkeys((own, "superpixels")))


def check(project: Project, contest: Contest, options: RunOptions) -> None:
    """Refuses what cannot be done, before any work.

    Raises:
        InputError: an unknown proposer, or none, or one that cannot run on the device.
        MissingError: what one of them needs is not here.
    """
    if not contest.proposers:
        known = ", ".join(choices.names(choices.PROPOSERS))
        raise InputError("--proposers names none", remedy=f"one or more of: {known}")
    for name in contest.proposers:
        choices.load(choices.PROPOSERS, name)
    slides = labelled_slides(project, None)
    for name in contest.proposers:
        place, settings, how = _sam_call(project, contest, name, options, slides, Path())
        try:
            sam.check(settings, how)
            plan = sam.plan(place, settings, how)
        except MissingError as error:
            raise MissingError(
                f"the proposer {name} cannot run: {error.message}",
                remedy=f"{error.remedy}\n  or leave it out: {_without(name, contest.proposers)}",
            ) from None
        if not plan.tasks:
            first = plan.refused[0] if plan.refused else None
            why = f": {first.slide_id}: {first.message}" if first else ""
            raise MissingError(
                f"the proposer {name} can do none of {len(slides)} slides{why}",
                remedy=f"{first.remedy if first else 'run: sammil segment'}; or leave it out: "
                f"{_without(name, contest.proposers)}",
            )


def run(
    project: Project,
    settings: TrainSettings,
    judged: EvaluateSettings,
    options: RunOptions,
    contest: Contest,
    runs: Path,
) -> tuple[list[Table], dict[str, Any]]:
    """Proposes regions, groups the patches of the project's bags by them, trains and compares.

    A slide that one proposer could not do is left out of every row, so that all rows judge the same slides on the
    same folds.

    Args:
        runs: gets a folder for each proposer, with regions, bags, models and folds.

    Returns:
        The comparison and what the regions are like, and for a JSON file what was done.

    Raises:
        InputError: no slide is left.
    """
    slides = labelled_slides(project, settings.classes)
    lost: dict[str, str] = {}
    for name in contest.proposers:
        for row in _bags_of(name, project, contest, options, slides, runs / name):
            if not row.done:
                lost.setdefault(row.slide_id, f"{name}: {row.code} {row.message}")
    left = sorted(set(slides) - set(lost))
    if not left:
        first = slides[0]
        raise InputError(f"no slide has regions of every proposer; {first}: {lost[first]}", remedy="leave one out")
    _say_lost(lost, len(slides))
    for name in contest.proposers:
        for slide in lost:
            for suffix in (".h5", ".json"):
                (runs / name / "bags" / f"{slide}{suffix}").unlink(missing_ok=True)

    record: dict[str, Any] = {"slides": left, "left_out": lost, "reference": contest.reference, "rows": {}}
    # The rows without regions sees none of those of its bags: they are switched off.
    rows = [(NO_REGIONS, "baseline", contest.reference), *((name, "full", name) for name in contest.proposers)]
    found = {}
    for number, (label, variant, bags) in enumerate(rows, start=1):
        console.say(f"regions, row {number} of {len(rows)}: {label} {said(variant)}")
        place = replace(project, bags=runs / bags / "bags")
        folder = runs / label.replace(" ", "-")
        found[label], record["rows"][label] = train_variant(place, settings, variant, folder, options)
    quality = {
        name: [read_of_slide(runs / name / "bags" / f"{slide}.json", _AGAIN) for slide in left]
        for name in contest.proposers
    }
    baseline = found.pop(NO_REGIONS)
    own = contest.reference
    console.say(f"regions, one more row: {own}, other seed")
    place, folder = replace(project, bags=runs / own / "bags"), runs / with_other_seed(own)
    seed, record["rows"][with_other_seed(own)] = train_variant(place, settings, "full", folder, options, reseed=1)
    table = region_table(baseline, found, own, seed, level=judged.interval, draws=judged.bootstrap_draws)
    return [table, quality_table(quality)], record


def _bags_of(
    name: str, project: Project, contest: Contest, options: RunOptions, slides: Sequence[str], folder: Path
) -> list[Row]:
    """Makes regions and bags of one proposer below `folder`; one row for each slide."""
    console.say(f"regions of {name}")
    place, settings, how = _sam_call(project, contest, name, options, slides, folder)
    told = {row.slide_id: row for row in sam.run(place, settings, how)}
    done = [slide for slide in slides if slide in told and told[slide].done]
    grouped = regroup.run(
        project.bags, place.regions, folder / "bags", contest.extract, done, workers=choose_workers(None, "cpu")
    )
    gone = Row(slide_id="", status="set-aside", code="E_UPSTREAM", message=f"it has no tissue in {project.tissue}")
    return [*grouped, *(told.get(slide, replace(gone, slide_id=slide)) for slide in slides if slide not in set(done))]


def _sam_call(
    project: Project, contest: Contest, name: str, options: RunOptions, slides: Sequence[str], folder: Path
) -> tuple[Project, SamSettings, RunOptions]:
    """With what `sammil sam` is called for one proposer: it runs where it can, and on these slides only."""
    device = device_for(choices.load(choices.PROPOSERS, name), options.device)
    workers = options.workers if device == options.device else choose_workers(None, device)
    with_tissue = {path.stem for path in project.tissue.glob("*.geojson")}
    only = frozenset(slide for slide in slides if slide in with_tissue)
    if not only:
        raise InputError(f"there is no tissue of the labelled slides in {project.tissue}", remedy="run: sammil segment")
    return (
        replace(project, regions=folder / "regions", process_lists=folder / "process_lists"),
        contest.sam.model_copy(update={"proposer": name}),
        replace(options, device=device, workers=workers, only=only),
    )


def labelled_slides(project: Project, classes: Sequence[str] | None) -> list[str]:
    """The labelled slides that have bags, as `sammil train` takes them.

    Raises:
        InputError: no bags are here, or the labels are wrong.
    """
    bags = {path.stem for path in project.bags.glob("*.h5")}
    check_done(project, project.bags, "extract", bags, None)
    found = sorted({member.slide_id for member in read_labels(project.labels, classes, bags).members} & bags)
    if not found:
        raise InputError(f"no slide of {project.labels} has a bag in {project.bags}", remedy="run: sammil check")
    return found


def _without(name: str, proposers: Sequence[str]) -> str:
    others = [other for other in proposers if other != name] or [other for other in ("superpixels",) if other != name]
    return f"--proposers {','.join(others)}" if others else "name others with --proposers"


def _say_lost(lost: dict[str, str], slides: int) -> None:
    if not lost:
        return
    console.say(f"{len(lost)} of {slides} slides are left out of every row:")
    for slide in sorted(lost)[:_MOST_NAMED]:
        console.say(f"    {slide}: {lost[slide]}")
    if len(lost) > _MOST_NAMED:
        console.say(f"    … and {len(lost) - _MOST_NAMED} more, all in ablation.json")
