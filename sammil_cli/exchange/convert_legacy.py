"""sammil convert-legacy: older tools' files -> feature bags or patch grids, and their tables."""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from sammil_cli import choices, console
from sammil_cli.config import ConvertSettings, ExtractSettings
from sammil_cli.errors import InputError
from sammil_cli.exchange.convert_plans import Held, held_in, plan_all, refuse_twice, where_placed
from sammil_cli.exchange.tables import read_tables, write_tables
from sammil_cli.jobs.convert_legacy import ConvertJob, Request
from sammil_cli.jobs.extract import build_encoder
from sammil_cli.legacy.inventory import Inventory, Kind
from sammil_cli.project.in_hand import features_in
from sammil_cli.project.process_list import Row, summarise
from sammil_cli.project.project import Project, RunOptions, check_only
from sammil_cli.runner.per_slide import Plan, limits_of, run_plan

_IGNORED = re.compile(r"would have ignored (\d+) of (\d+) masks")


def run(
    source: Path | None, request: Request, project: Project, options: RunOptions, out: Path | None
) -> tuple[list[Row], Path]:
    """Converts what lies in `source`; `<slide>.txt` beside a bag or grid says what was assumed.

    Args:
        source: None = all that lies in the project's data/features, together.
        out: folder of the bags or grids, None = the project's.

    Returns:
        The process list, and the folder that was written.

    Raises:
        InputError: nothing to convert, or several things that could be meant; the message lists what was found. Or a
            slide lies in two folders of data/features.
        MissingError: the encoder that is to check features is not here.
    """
    found, held = look(source, request, project)
    if not held:
        return _tables_only(found, request, project), project.bags
    plan, say = plan_all(held, project, out)
    slides = {task.slide_id for task in plan.tasks}
    check_only(options.only, slides, str(source or project.features))
    tables = read_tables(found, project, slides, request.labels, request.splits, request.classes)
    if request.checks.features and request.checks.encoder:
        build_encoder(request.checks.encoder, "cpu")  # fails here, before any work, when something is missing
    for line in say:
        console.say(line)
    if any(one.lists for one in held):  # every process would read the whole file
        options = replace(options, workers=1)
    looked_at = iter([plan])

    def chosen() -> Plan[ConvertJob]:
        now = next(looked_at, None) or plan_all(held, project, out)[0]
        return now if options.only is None else now.only(options.only)

    rows = run_plan(chosen, _keeping(plan, options), request.limits)
    _say_remarks(rows)
    write_tables(tables, project, slides)
    return rows, plan.out


def look(source: Path | None, request: Request, project: Project) -> tuple[Inventory, list[Held]]:
    """What lies in a source, or in all folders of the project's data/features (None).

    Raises:
        InputError: nothing to convert; or see `convert_plans.held_in`.
    """
    if source is not None:
        found, held = held_in(source, request)
        return found, [held] if held else []
    names = features_in(project.features.parent.parent)
    if not names:
        raise InputError(
            f"{project.features} holds no folder of features",
            remedy="give SOURCE, or bring features into the project: sammil init . --update --from-features FOLDER",
        )
    if len(names) > 1 and any((request.features, request.coords, request.segments, request.process_list)):
        raise InputError(
            f"a folder or process list is named, and {project.features} holds {len(names)} folders",
            remedy=f"give SOURCE, too, such as: sammil convert-legacy {project.features / names[0]}",
        )
    looked = [held_in(project.features / name, request) for name in names]
    return together([found for found, _ in looked]), [where_placed(held) for _, held in looked if held]


def together(found: Sequence[Inventory]) -> Inventory:
    """What lies in several sources, as if they were one."""
    if len(found) == 1:
        return found[0]
    files = {kind: tuple(path for one in found for path in one.of(kind)) for kind in Kind}
    return Inventory(Path(), {kind: paths for kind, paths in files.items() if paths})


def request_of(settings: ConvertSettings, project: Project) -> Request:
    """What the settings ask for."""
    return Request(
        with_segments=not settings.features_without_segments,
        with_coords=not settings.features_without_coords,
        patch_px_level0=settings.features_patch_px_level0,
        min_share=settings.membership_min_share,
        encoder=settings.features_encoder,
        slides=slides_of(project),
        slides_table=project.slides_table,
        limits=limits_of(settings),
    )


def slides_in_hand(project: Project) -> dict[str, Path]:
    """Where each slide of the project's data/features lies.

    Raises:
        InputError: a slide lies in two folders; or as `look`.
    """
    _, held = look(None, Request(with_coords=False, with_segments=False), project)
    places = [one.slides()[0] for one in held]
    refuse_twice(places)
    return {slide: path for one in places for slide, path in one.items()}


def plan_project(project: Project, settings: ConvertSettings, out: Path) -> Plan[ConvertJob]:
    """What convert-legacy would do with all that lies in the project's data/features.

    Raises:
        InputError: as `run`.
    """
    request = request_of(settings, project)
    _, held = look(None, request, project)
    if not held:
        raise InputError(f"there are no features in {project.features}", remedy="link their folders into it")
    return plan_all(held, project, out)[0]


def _tables_only(found: Inventory, request: Request, project: Project) -> list[Row]:
    tables = read_tables(found, project, None, request.labels, request.splits, request.classes)
    if tables.empty:
        weights = found.of(Kind.WEIGHTS)
        alone = [f"a weight file is converted alone: sammil convert-legacy {weights[0]}"] if weights else []
        raise InputError(
            f"there are no features and no patch coordinates in {found.root}; it holds\n{found.listing()}",
            remedy="; ".join([*alone, *tables.remarks]) or "give the folder of the run",
        )
    write_tables(tables, project, set())
    return []


def _keeping(plan: Plan[ConvertJob], options: RunOptions) -> RunOptions:
    """Of `out` only the slides of this folder count: what came from another one, or another command, is kept."""
    return replace(options, only=options.only or frozenset(task.slide_id for task in plan.tasks))


def encoder_to_check(settings: ExtractSettings, name: str | None) -> ExtractSettings:
    """The encoder to check features with: the one that is named, if it is one of ours, else that of the settings."""
    return settings.model_copy(update={"encoder": name}) if name in choices.names(choices.ENCODERS) else settings


def slides_of(project: Project) -> Path | None:
    """The project's slide folder to check against, where it holds anything."""
    return project.slides if project.slides.is_dir() and any(project.slides.iterdir()) else None


def report(rows: Sequence[Row], out: Path, project: Project) -> None:
    """Prints what could not be done and the totals; remarks were said by `run`, once for all slides."""
    process_list = project.process_lists / "convert-legacy.csv"
    summarise("convert-legacy", [replace(row, remarks=()) for row in rows], out, process_list)


def _say_remarks(rows: Sequence[Row]) -> None:
    """What was assumed, each once with the number of its slides, and what the original pipeline would have ignored."""
    told: dict[str, list[str]] = {}
    masks = ignored = slides = 0
    for row in rows:
        for note in row.remarks:
            told.setdefault(re.sub(r"\d[\d.]*", "#", note), []).append(note)
            if match := _IGNORED.search(note):
                slides, ignored, masks = slides + 1, ignored + int(match[1]), masks + int(match[2])
    for remarks in told.values():
        same = len(set(remarks)) == 1
        console.say(
            f"{len(remarks)} slide(s): {remarks[0]}" + ("" if same else " (numbers differ: see the process list)")
        )
    if ignored:
        console.say(
            f"the published steps would have ignored {ignored} of {masks} masks in {slides} slide(s), since they read "
            "the first piece of tissue only; all are in the bags"
        )
