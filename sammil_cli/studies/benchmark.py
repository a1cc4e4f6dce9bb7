"""sammil benchmark: models on folders of bags, all on the same slides and folds, in one table and a forest plot."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sammil_cli import console
from sammil_cli.cohort.cohort import read_labels
from sammil_cli.config import EvaluateSettings, TrainSettings
from sammil_cli.errors import InputError
from sammil_cli.project.leftovers import tidy
from sammil_cli.project.project import Project, RunOptions
from sammil_cli.report.benchmark_table import (
    OTHER_SEED,
    REFERENCE,
    Failed,
    Row,
    Standing,
    as_records,
    benchmark_table,
    failed_table,
    narrow,
    stand,
    titles,
)
from sammil_cli.report.comparison import reach
from sammil_cli.report.forest_plot import ForestRow, forest
from sammil_cli.report.latex import as_latex
from sammil_cli.report.markdown import as_markdown, escaped
from sammil_cli.report.page import write_tables
from sammil_cli.report.tables import Table
from sammil_cli.storage.files import atomic_path, write_csv, write_json, write_text
from sammil_cli.studies.benchmark_cells import (
    Cell,
    file_name,
    find_reference,
    make_cells,
    read_sources,
    with_other_seed,
)
from sammil_cli.studies.benchmark_runs import Made, make_rows
from sammil_cli.studies.benchmark_slides import common_slides, restricted
from sammil_cli.studies.labelled import check_tested
from sammil_cli.training.baselines import MEAN_POOL

_INPUT = "E_INPUT"
_RESTRICTED = "slides"  # in the folder of runs: links to the slides that all folders have
_FOREST = "AUC, and its difference to the reference"


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What is compared, in the words of the user; see `studies.benchmark_cells`. `reference`: None = the first row."""

    models: Sequence[str]
    bags: Sequence[str]
    embeddings: Sequence[str] = ()
    reference: str | None = None


@dataclass(frozen=True, kw_only=True)
class Benchmarked:
    """The rows in numbers, as `report.benchmark_table.as_records` has them, and those that failed.

    `remark`: what was left out so that all rows have the same slides; empty = nothing was.
    """

    records: list[dict[str, object]]
    failed: list[Failed]
    remark: str


def default_models(own: str) -> tuple[str, ...]:
    """What is compared where nothing is named: the simplest, AB-MIL, and the project's own model."""
    return tuple(dict.fromkeys((MEAN_POOL, "abmil", own)))


def run(
    project: Project,
    settings: TrainSettings,
    judged: EvaluateSettings,
    options: RunOptions,
    asked: Asked,
    *,
    runs: Path,
    out: Path,
) -> Benchmarked:
    """Makes what is not there yet, and writes table and figure.

    Args:
        runs: gets a folder for each row. out: the folder of the tables.

    Raises:
        InputError: nothing to compare, an unknown model, setting, folder or reference, no slide that all have, or an
            input that no row can be made with.
    """
    if settings.protocol != "honest":
        raise InputError(
            "a benchmark in the published protocol would compare what was chosen on the test slides",
            remedy="set protocol: honest",
        )
    sources = [*read_sources(asked.bags), *read_sources(asked.embeddings, embeddings=True)]
    cells = make_cells(
        settings,
        asked.models,
        [source for source in sources if not source.embeddings],
        [source for source in sources if source.embeddings],
    )
    reference = find_reference(cells, asked.reference)
    common = common_slides(project, list(dict.fromkeys(cell.source for cell in cells)), settings.classes)
    check_tested(read_labels(project.labels, settings.classes, common.slides), settings)
    tidy(project, out, runs, store=options.store)
    if common.remark:
        console.say(f"benchmark: {common.remark}")
    place = {
        source: restricted(source, project, common, runs / _RESTRICTED / file_name(source.label)) for source in sources
    }
    cells = [replace(cell, source=place[cell.source]) for cell in cells]
    reference = next(cell for cell in cells if cell.name == reference.name)
    other = with_other_seed(reference)
    at = cells.index(reference) + 1
    cells = cells if other is None else [*cells[:at], other, *cells[at:]]
    with console.each_warning_once():
        made = make_rows(project, cells, options, runs)
    _refuse_what_all_share(made)
    folds = "".join(f", {one.predictions.folds_in_words}" for one in list(made.done.values())[:1])
    title = f"Benchmark on {len(common.slides)} slides{folds}"
    return _report(title, cells, reference, made, judged, out, common.remark)


def _refuse_what_all_share(made: Made) -> None:
    """Raises the error that every row ended with: it lies in the settings or the labels, not in a row.

    Raises:
        InputError: nothing was made, for one and the same wrong input.
    """
    errors = list(made.failed.values())
    if errors and not made.done and {(error.code, error.message) for error in errors} == {(_INPUT, errors[0].message)}:
        raise InputError(errors[0].message, remedy=errors[0].remedy)


def _report(
    title: str, cells: Sequence[Cell], reference: Cell, made: Made, judged: EvaluateSettings, out: Path, remark: str
) -> Benchmarked:
    rows = [
        Row(
            model=cell.model,
            features=cell.source.label,
            measured=made.done[cell.name],
            role=REFERENCE if cell is reference else OTHER_SEED if cell.reseed else "",
        )
        for cell in cells
        if cell.name in made.done
    ]
    failed = [
        Failed(
            model=cell.model, features=cell.source.label, code=error.code, message=error.message, remedy=error.remedy
        )
        for cell in cells
        if (error := made.failed.get(cell.name))
    ]
    with console.progress(2 * len(rows), "benchmark: intervals") as bar:
        standings = (
            stand(rows, progress=bar.advance, level=judged.interval, draws=judged.bootstrap_draws) if rows else []
        )
    tables = [benchmark_table(title, standings, level=judged.interval)] if standings else []
    tables += [failed_table(failed)] if failed else []
    records = as_records(standings, failed)
    figure = {_FOREST: _figure(standings)} if standings else {}
    _write(out, title, tables, records, figure, remark)
    for table in map(narrow, tables):
        console.print_table(table.title, table.header, table.rows)
        console.say(table.note)
    console.say(f"tables: {out / 'index.html'}")
    return Benchmarked(records=records, failed=failed, remark=remark)


def _figure(standings: Sequence[Standing]) -> bytes:
    seeds = next((one.gap for one in standings if one.row.role == OTHER_SEED), None)
    names = titles([one.row for one in standings])
    lines = [
        ForestRow(
            name=name, auc=one.auc, gap=None if one.gap is None else one.gap.value, muted=one.row.role == OTHER_SEED
        )
        for name, one in zip(names, standings, strict=True)
    ]
    reference = next((name for name, one in zip(names, standings, strict=True) if one.row.role == REFERENCE), "")
    return forest(lines, reference, math.nan if seeds is None else reach(seeds))


def _write(
    out: Path,
    title: str,
    tables: Sequence[Table],
    records: Sequence[dict[str, object]],
    figure: dict[str, bytes],
    remark: str,
) -> None:
    """`index.html`, `benchmark.md`, `.tex`, `.csv`, `.json`, `forest.png`."""
    write_tables(out / "index.html", title, tables, figure, remark)
    said = escaped(f"{remark[0].upper()}{remark[1:]}.") + "\n\n" if remark else ""
    write_text(out / "benchmark.md", f"# {title}\n\n{said}{as_markdown(tables)}")
    write_text(out / "benchmark.tex", "\n".join(map(as_latex, tables)))
    header = tuple(records[0])
    cells = [["" if record[key] is None else record[key] for key in header] for record in records]
    write_csv(out / "benchmark.csv", header, cells)
    write_json(out / "benchmark.json", {"title": title, "remark": remark, "rows": records})
    for png in figure.values():
        with atomic_path(out / "forest.png") as temporary:
            temporary.write_bytes(png)
