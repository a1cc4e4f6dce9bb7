"""sammil ablate: the paper's ablation tables on a user's cohort, every variant on the same folds."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sammil_cli import console
from sammil_cli.config import EvaluateSettings, TrainSettings
from sammil_cli.errors import InputError
from sammil_cli.report.ablation import ABLATIONS, VARIANTS, as_markdown, make_table, variants_of
from sammil_cli.report.page import write_tables
from sammil_cli.report.tables import Table
from sammil_cli.stages import evaluate, train
from sammil_cli.stages.project import Project, RunOptions
from sammil_cli.storage.files import write_json, write_text


def run(
    project: Project,
    settings: TrainSettings,
    judged: EvaluateSettings,
    options: RunOptions,
    names: Sequence[str],
    *,
    runs: Path,
    out: Path,
) -> list[Table]:
    """Trains what the tables need and is not trained yet, and writes them as page, Markdown and JSON.

    Args:
        names: keys of `report.ablation.ABLATIONS`.
        runs: a folder of models and folds for each variant. out: the folder of the tables.

    Raises:
        InputError: an unknown table, or a model other than sam-mil.
    """
    if unknown := [name for name in names if name not in ABLATIONS]:
        raise InputError(f"there is no table {unknown[0]!r}", remedy=f"choose of: {', '.join(ABLATIONS)}")
    if settings.model != "sam-mil" or settings.sammil_mode != "paper" or settings.protocol != "honest":
        raise InputError(
            "the ablations take sam-mil apart, in the honest protocol",
            remedy="set model: sam-mil, sammil_mode: paper and protocol: honest",
        )
    found, record = {}, {}
    variants = variants_of(names)
    for number, variant in enumerate(variants, start=1):
        console.say(f"variant {number} of {len(variants)}: {variant} {_said(VARIANTS[variant])}")
        place = replace(
            project,
            models=runs / variant / "models",
            splits=runs / variant / "splits.csv",
            learning_curves=runs / variant / "learning_curves",
        )
        chosen = TrainSettings(**{**settings.model_dump(), **VARIANTS[variant]})
        facts = train.run(place, chosen, options)
        found[variant] = evaluate.out_of_fold(place, options.device)
        record[variant] = {"settings": VARIANTS[variant], "epochs": [fact.epoch + 1 for fact in facts]}
    tables = [make_table(name, found, level=judged.interval, draws=judged.bootstrap_draws) for name in names]
    title = f"Ablation on {len(set(found[variants[0]].slides))} slides, {settings.repeats} x {settings.folds} folds"
    write_tables(out / "index.html", title, tables)
    write_text(out / "ablation.md", f"# {title}\n\n{as_markdown(tables)}")
    cells = [{"title": t.title, "rows": [dict(zip(t.header, row, strict=True)) for row in t.rows]} for t in tables]
    write_json(out / "ablation.json", {"title": title, "variants": record, "tables": cells})
    for table in tables:
        console.print_table(table.title, table.header, table.rows)
    console.say(f"{tables[0].note}\ntables: {out / 'index.html'}")
    return tables


def _said(overrides: dict[str, Any]) -> str:
    return "(" + (", ".join(f"{key}={value}" for key, value in overrides.items()) or "the settings as they are") + ")"
