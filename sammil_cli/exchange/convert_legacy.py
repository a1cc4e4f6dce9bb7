"""sammil convert-legacy: an older tool's files -> feature bags or patch grids, and its tables."""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from sammil_cli import console
from sammil_cli.errors import InputError
from sammil_cli.exchange.plan import plan_layout, plan_lists
from sammil_cli.exchange.tables import read_tables, write_tables
from sammil_cli.jobs.convert_legacy import ConvertJob, Request
from sammil_cli.jobs.extract import build_encoder
from sammil_cli.legacy.inventory import Inventory, Kind, take_inventory
from sammil_cli.project.process_list import Row, summarise
from sammil_cli.project.project import Project, RunOptions, check_only
from sammil_cli.runner.per_slide import Plan, run_plan
from sammil_cli.storage.files import read_csv

_IGNORED = re.compile(r"would have ignored (\d+) of (\d+) masks")


def run(
    source: Path, request: Request, project: Project, options: RunOptions, out: Path | None
) -> tuple[list[Row], Path]:
    """Converts what lies in `source`; `<slide>.txt` beside a bag or grid says what was assumed.

    Args:
        out: folder of the bags or grids, None = the project's.

    Returns:
        The process list, and the folder that was written.

    Raises:
        InputError: nothing to convert, or several things that could be meant; the message lists what was found.
        MissingError: the encoder that is to check features is not here.
    """
    found = take_inventory(source)
    lists = found.of(Kind.PATCH_LISTS)
    holds = found.of(Kind.FEATURES, Kind.BARE_FEATURES, Kind.TENSOR, Kind.COORDS, Kind.IMAGES)
    asked = any((request.features, request.coords, request.segments, request.process_list, request.grids))
    if not lists and not holds and not asked:
        return _tables_only(found, request, project), project.bags
    if len(lists) > 1 or (lists and holds):
        raise InputError(
            f"{source} holds more than one kind of features:\n{found.listing()}",
            remedy=f"convert one after the other, such as: sammil convert-legacy {lists[0]}",
        )
    plan, say = plan_lists(lists[0], request, project, out) if lists else plan_layout(source, request, project, out)
    slides = {task.slide_id for task in plan.tasks}
    check_only(options.only, slides, str(source))
    tables = read_tables(found, project, slides, request.labels, request.splits, request.classes)
    if request.checks.features and request.checks.encoder:
        build_encoder(request.checks.encoder, "cpu")  # fails here, before any work, when something is missing
    for line in say:
        console.say(line)
    if lists:  # every process would read the whole pickle
        options = replace(options, workers=1)
    rows = run_plan(_restricted(plan, options.only), _keeping(plan, options), request.limits)
    _say_remarks(rows)
    write_tables(tables, project, slides)
    return rows, plan.out


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


def _restricted(plan: Plan[ConvertJob], only: frozenset[str] | None) -> Plan[ConvertJob]:
    return replace(plan, tasks=[task for task in plan.tasks if only is None or task.slide_id in only])


def _keeping(plan: Plan[ConvertJob], options: RunOptions) -> RunOptions:
    """Files in `out` that other commands or runs wrote are not this one's to delete."""
    earlier: set[str] = set()
    if plan.process_list.exists():
        earlier = {row["slide_id"] for row in read_csv(plan.process_list, ("slide_id",))}
    mine = options.only or frozenset({task.slide_id for task in plan.tasks} | earlier)
    return replace(options, only=mine)


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
