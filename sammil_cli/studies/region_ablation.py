"""The experiment "whose regions help on this cohort?": the same patches and folds, the regions of several proposers."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from sammil_cli import choices, console
from sammil_cli.config import EvaluateSettings, ExtractSettings, SamSettings, TrainSettings
from sammil_cli.errors import InputError, MissingError
from sammil_cli.exchange.convert_legacy import slides_of
from sammil_cli.preflight.check_features import is_of_features
from sammil_cli.project.process_list import Row
from sammil_cli.project.project import Project, RunOptions
from sammil_cli.regions.placebo import Moved
from sammil_cli.regions.propose import FEATURES, PIXELS, seen_by
from sammil_cli.report.ablation import with_other_seed
from sammil_cli.report.region_ablation import NO_REGIONS, PLACEBO, quality_table, region_table
from sammil_cli.report.region_controls import TRUE_REGIONS, drawn_note, moved_table, placebo_table
from sammil_cli.report.tables import Table
from sammil_cli.runner.how_to_run import where_it_can
from sammil_cli.runner.machine import choose_workers
from sammil_cli.stages import sam
from sammil_cli.storage.summed import read_of_slide
from sammil_cli.studies import region_controls, regroup
from sammil_cli.studies.labelled import labelled
from sammil_cli.studies.region_controls import Model, drawn_slides, make_placebo, make_true_regions
from sammil_cli.studies.variant import VariantLines, said, train_variant

NAME = "regions"  # of the table
_MOST_NAMED = 10
_ANYWHERE, _WITHOUT_SLIDES = "superpixels", "features"  # proposers without weights, for pixels and without them
_WORDS = {PLACEBO: region_controls.PLACEBO, TRUE_REGIONS: region_controls.TRUE}  # row -> what --controls calls it
_AGAIN = "delete it and run the command again"


@dataclass(frozen=True, kw_only=True)
class Contest:
    """Which proposers are compared, and how their regions and bags are made; the proposer of `sam` is the project's.

    `controls`: which of `region_controls.CONTROLS` are made; None = those that can be.
    """

    proposers: tuple[str, ...]
    sam: SamSettings
    extract: ExtractSettings
    controls: tuple[str, ...] | None = None

    @property
    def reference(self) -> str:
        """The project's own proposer; the first one asked for where that is not among them."""
        return self.sam.proposer if self.sam.proposer in self.proposers else self.proposers[0]


def default_proposers(own: str, project: Project) -> tuple[str, ...]:
    """The project's proposer and, to compare it with, superpixels, which need no weights.

    Without slides the bags' own features are what regions can be found in, and a proposer of pixels is left out.
    """
    if _has_pixels(project):
        return tuple(dict.fromkeys((own, _ANYWHERE)))
    return tuple(dict.fromkeys((*_without_pixels((own,)), _WITHOUT_SLIDES)))


def check(project: Project, contest: Contest, options: RunOptions) -> None:
    """Refuses what cannot be done, before any work.

    Raises:
        InputError: an unknown proposer, or none, or one that cannot run on the device; or see `region_controls.check`.
        MissingError: what one of them needs is not here.
    """
    if not contest.proposers:
        known = ", ".join(choices.names(choices.PROPOSERS))
        raise InputError("--proposers names none", remedy=f"one or more of: {known}")
    for name in contest.proposers:
        choices.load(choices.PROPOSERS, name)
    slides, project = _slides(project, None), _grounded(project)
    region_controls.check(project, contest.controls, slides)
    for name in contest.proposers:
        place, settings, how = _sam_call(project, contest, name, options, slides, Path())
        try:
            sam.check(settings, how)
            plan = sam.plan(place, settings, how)
        except (InputError, MissingError) as error:
            raise type(error)(
                f"the proposer {name} cannot run: {error.message}",
                remedy=f"{error.remedy}\n  or leave it out: {_without(name, contest.proposers, project)}",
                code=error.code,
            ) from None
        if not plan.tasks:
            first = plan.refused[0] if plan.refused else None
            why = f": {first.slide_id}: {first.message}" if first else ""
            raise MissingError(
                f"the proposer {name} can do none of {len(slides)} slides{why}",
                remedy=f"{first.remedy if first else 'run: sammil segment'}; or leave it out: "
                f"{_without(name, contest.proposers, project)}",
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
    same folds. Controls are made from the regions of the reference, see `region_controls`.

    Args:
        runs: gets a folder for each proposer and control, with regions, bags, models and folds.

    Returns:
        The comparison, what it answers, and what the regions are like; and for a JSON file what was done.

    Raises:
        InputError: no slide is left.
    """
    slides, project = _slides(project, settings.classes), _grounded(project)
    with_regions, lost = _group(project, contest, options, slides, settings.seed, runs)
    left = sorted(set(slides) - set(lost))
    if not left:
        why, several = lost[slides[0]], len(contest.proposers) > 1
        raise InputError(
            f"no slide has regions of every proposer; {slides[0]}: {why.message}",
            remedy=f"{why.remedy}; or leave one out" if several else why.remedy,
        )
    _say_lost(lost, len(slides))
    for folder in with_regions.values():
        for slide in lost:
            for suffix in (".h5", ".json"):
                (folder / "bags" / f"{slide}{suffix}").unlink(missing_ok=True)

    reference = contest.reference
    if reference != contest.sam.proposer:
        console.say(f"reference: {reference}; {contest.sam.proposer}, which params.yaml names, is not compared")
    record: dict[str, Any] = {
        "slides": left,
        "left_out": {slide: row.message for slide, row in lost.items()},
        "reference": reference,
        "rows": {},
    }
    # The row without regions sees none of those of its bags: they are switched off.
    rows = [(NO_REGIONS, "baseline", reference), *((name, "full", name) for name in with_regions)]
    found = {}
    lines = VariantLines(len(rows) + 1)
    for label, variant, bags in rows:
        place = replace(project, bags=with_regions[bags] / "bags")
        folder = runs / label.replace(" ", "-")
        make = partial(train_variant, place, settings, variant, folder, options)
        found[label], record["rows"][label] = lines.made(f"regions: {label}", said(variant), make)
    quality = {
        name: [read_of_slide(folder / "bags" / f"{slide}.json", _AGAIN) for slide in left]
        for name, folder in with_regions.items()
    }
    baseline = found.pop(NO_REGIONS)
    again = with_other_seed(reference)
    place, folder = replace(project, bags=with_regions[reference] / "bags"), runs / again
    make = partial(train_variant, place, settings, "full", folder, options, reseed=1)
    seed, record["rows"][again] = lines.made(f"regions: {reference}, other seed", "", make)
    level, draws = judged.interval, judged.bootstrap_draws
    tables = [region_table(baseline, found, reference, seed, level=level, draws=draws)]
    if TRUE_REGIONS in found:
        drawn = drawn_slides(project, left)
        record[TRUE_REGIONS] = {"of": reference, "drawn": drawn}
        note = f"{drawn_note(len(drawn), len(left), reference)}\n{tables[0].note}"
        tables = [replace(tables[0], note=note)]
    if PLACEBO in found:
        tables.append(placebo_table(baseline, found, reference, seed, level=level, draws=draws))
    tables.append(quality_table(quality))
    if PLACEBO in found:
        regions = with_regions[PLACEBO] / "regions"
        moved = {slide: Moved(**read_of_slide(regions / f"{slide}.json", _AGAIN)) for slide in left}
        facts = {slide: asdict(one) for slide, one in moved.items()}
        record[PLACEBO] = {"of": reference, "seed": settings.seed, "slides": facts}
        tables.append(moved_table(reference, [*moved.values()], quality[reference], quality[PLACEBO]))
    return tables, record


def _group(
    project: Project, contest: Contest, options: RunOptions, slides: Sequence[str], seed: int, runs: Path
) -> tuple[dict[str, Path], dict[str, Row]]:
    """Regions and bags of every row that has some: the folder of each row, in their order, and why slides are lost."""
    controls = region_controls.check(project, contest.controls, slides)
    folders = {name: runs / name for name in contest.proposers}
    lost: dict[str, Row] = {}

    def lose(name: str, rows: Sequence[Row]) -> None:
        for row in rows:
            if not row.done:
                lost.setdefault(row.slide_id, replace(row, message=f"{name}: {row.code} {row.message}"))

    for name, folder in folders.items():
        lose(name, _bags_of(name, project, contest, options, slides, folder))
    model = Model(
        proposer=contest.reference,
        regions=folders[contest.reference] / "regions",
        slides=[slide for slide in slides if slide not in lost],
        sam=contest.sam,
    )
    for row in (PLACEBO, TRUE_REGIONS):
        if _WORDS[row] not in controls or not model.slides:
            continue
        folder = runs / row.replace(" ", "-")
        folders = {row: folder, **folders} if row == PLACEBO else {**folders, row: folder}
        place = replace(project, regions=folder / "regions", process_lists=folder / "process_lists")
        is_placebo = row == PLACEBO
        told = make_placebo(place, model, seed, options) if is_placebo else make_true_regions(place, model, options)
        lose(row, told)
        done = [one.slide_id for one in told if one.done]
        lose(row, _regroup(project, folder, contest, done))
    return folders, lost


def _bags_of(
    name: str, project: Project, contest: Contest, options: RunOptions, slides: Sequence[str], folder: Path
) -> list[Row]:
    """Makes regions and bags of one proposer below `folder`; one row for each slide."""
    console.say(f"regions of {name}")
    place, settings, how = _sam_call(project, contest, name, options, slides, folder)
    told = {row.slide_id: row for row in sam.run(place, settings, how)}
    done = [slide for slide in slides if slide in told and told[slide].done]
    grouped = _regroup(project, folder, contest, done)
    gone = Row(slide_id="", status="set-aside", code="E_UPSTREAM", message=f"it has no tissue in {project.tissue}")
    return [*grouped, *(told.get(slide, replace(gone, slide_id=slide)) for slide in slides if slide not in set(done))]


def _regroup(project: Project, folder: Path, contest: Contest, slides: list[str]) -> list[Row]:
    place = replace(project, regions=folder / "regions", bags=folder / "bags", process_lists=folder / "process_lists")
    return regroup.run(project.bags, place, contest.extract, slides, RunOptions(workers=choose_workers(None, "cpu")))


def _sam_call(
    project: Project, contest: Contest, name: str, options: RunOptions, slides: Sequence[str], folder: Path
) -> tuple[Project, SamSettings, RunOptions]:
    """With what `sammil sam` is called for one proposer: it runs where it can, and on these slides only."""
    device = where_it_can(choices.load(choices.PROPOSERS, name), contest.sam, options.device)
    workers = options.workers if device == options.device else choose_workers(None, device)
    of_bags, with_tissue = project.ungrouped is not None, {path.stem for path in project.tissue.glob("*.geojson")}
    only = frozenset(slide for slide in slides if of_bags or slide in with_tissue)
    if not only:
        raise InputError(
            f"there is no tissue of the labelled slides in {project.tissue}",
            remedy="run: sammil segment; of features without slides: sammil init . --update --from-features FOLDER",
        )
    of_bags = of_bags or seen_by(choices.load(choices.PROPOSERS, name)) == FEATURES
    return (
        replace(
            project,
            regions=folder / "regions",
            process_lists=folder / "process_lists",
            ungrouped=project.bags if of_bags else None,
        ),
        contest.sam.model_copy(update={"proposer": name}),
        replace(options, device=device, workers=workers, only=only),
    )


def _slides(project: Project, classes: Sequence[str] | None) -> list[str]:
    """The labelled slides that have bags; raises as `labelled`."""
    return sorted({member.slide_id for member in labelled(project, classes).members})


def _grounded(project: Project) -> Project:
    """The project, in which the tissue of features in hand is what their patches cover (`Project.ungrouped`)."""
    return replace(project, ungrouped=project.bags) if is_of_features() else project


def _has_pixels(project: Project) -> bool:
    return not is_of_features() or slides_of(project) is not None


def _without_pixels(proposers: Sequence[str]) -> list[str]:
    return [name for name in proposers if seen_by(choices.load(choices.PROPOSERS, name)) != PIXELS]


def _without(name: str, proposers: Sequence[str], project: Project) -> str:
    fallback = _ANYWHERE if _has_pixels(project) else _WITHOUT_SLIDES
    others = [other for other in proposers if other != name] or [other for other in (fallback,) if other != name]
    return f"--proposers {','.join(others)}" if others else "name others with --proposers"


def _say_lost(lost: Mapping[str, Row], slides: int) -> None:
    if not lost:
        return
    console.say(f"{len(lost)} of {slides} slides are left out of every row:")
    for slide in sorted(lost)[:_MOST_NAMED]:
        console.say(f"    {slide}: {lost[slide].message}")
    if len(lost) > _MOST_NAMED:
        console.say(f"    … and {len(lost) - _MOST_NAMED} more, all in ablation.json")
