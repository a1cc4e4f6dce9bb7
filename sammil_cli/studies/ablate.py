"""sammil ablate: ablation tables on a user's cohort, every variant on the same folds."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from sammil_cli import console
from sammil_cli.choices import one_of
from sammil_cli.config import EvaluateSettings, TrainSettings
from sammil_cli.errors import InputError, MissingError, SammilError
from sammil_cli.project.leftovers import tidy
from sammil_cli.project.project import Project, RunOptions
from sammil_cli.report.ablation import (
    ABLATIONS,
    DEFAULT_TABLES,
    VARIANTS,
    make_table,
    references_of,
    tables_of,
    variants_of,
    with_other_seed,
)
from sammil_cli.report.markdown import as_markdown
from sammil_cli.report.metrics import Predictions
from sammil_cli.report.page import write_tables
from sammil_cli.report.tables import Table
from sammil_cli.stages import train
from sammil_cli.storage.files import write_json, write_text
from sammil_cli.studies import region_ablation
from sammil_cli.studies.labelled import check_tested, labelled
from sammil_cli.studies.region_ablation import Contest
from sammil_cli.studies.variant import VariantLines, said, settings_of, train_variant
from sammil_cli.training.trained_model import check_model, model_class

_SAM_MIL = "sam-mil"  # of regions and consistency
_OF_GROUPS = "5"


def run(
    project: Project,
    settings: TrainSettings,
    judged: EvaluateSettings,
    options: RunOptions,
    names: Sequence[str] | None,
    *,
    contest: Contest,
    runs: Path,
    out: Path,
) -> list[Table]:
    """Trains what the tables need and is not trained yet, and writes them as page, Markdown and JSON.

    Args:
        names: keys of `report.ablation.ABLATIONS`, and `regions`; None = the model's own, see `DEFAULT_TABLES`.
        contest: whose regions the table `regions` compares.
        runs: a folder of models and folds for each variant. out: the folder of the tables.

    Raises:
        InputError: see `_tables` and `check_tested`; or Table 5 of bags without regions. MissingError: see
            `region_ablation.check`.
    """
    names = _tables(settings, names)
    if region_ablation.NAME in names:
        region_ablation.check(project, contest, options)
    named = [name for name in names if name in ABLATIONS]
    regions = bool(named) and train.preflight(project, settings).regions > 0
    cohort = labelled(project, settings.classes)
    check_tested(cohort, settings)
    if _OF_GROUPS in named and not regions:
        raise InputError(
            f"no bag has regions, and Table {_OF_GROUPS} is about what group features of regions add",
            remedy=f"run: sammil sam, then sammil extract; or leave {_OF_GROUPS} out of --tables",
        )
    variants = _possible(project, settings, variants_of(named), regions=regions)
    tidy(project, out, runs, store=options.store)
    seeds = [variant for variant in references_of(named) if variant in variants]
    found_by, record = _train(variants, seeds, project, settings, options, runs)
    make = partial(make_table, found=found_by, level=judged.interval, draws=judged.bootstrap_draws)
    with console.counted(make, len(named), "tables") as table_of:
        tables = [table_of(name) for name in named]
    extra: dict[str, Any] = {}
    if region_ablation.NAME in names:
        found, extra[region_ablation.NAME] = region_ablation.run(
            project, settings, judged, options, contest, runs / region_ablation.NAME
        )
        tables += found
    slides = len({member.slide_id for member in cohort.members})
    about = f"consistency {settings.consistency_form}, β = {settings.consistency_weight:g}"
    about = about if settings.model == _SAM_MIL else settings.model
    folds = "".join(f", {rows.folds_in_words}" for rows in list(found_by.values())[:1])  # none with `regions` alone
    title = f"Ablation on {slides} slides{folds}; {about}"
    write_tables(out / "index.html", title, tables)
    write_text(out / "ablation.md", f"# {title}\n\n{as_markdown(tables)}")
    cells = [{"title": t.title, "rows": [dict(zip(t.header, row, strict=True)) for row in t.rows]} for t in tables]
    write_json(out / "ablation.json", {"title": title, "variants": record, **extra, "tables": cells})
    for number, table in enumerate(tables):
        console.print_table(table.title, table.header, table.rows)
        if number == len(tables) - 1 or tables[number + 1].note != table.note:
            console.say(*table.note.splitlines())
    console.say(f"tables: {out / 'index.html'}")
    return tables


def _tables(settings: TrainSettings, names: Sequence[str] | None) -> Sequence[str]:
    """The tables to be made.

    Raises:
        InputError: an unknown table, one of another model, a model that cannot be taken apart, or settings that leave
            nothing to be compared.
    """
    known = (*ABLATIONS, region_ablation.NAME)
    if unknown := [name for name in names or () if name not in known]:
        raise InputError(f"there is no table {unknown[0]!r}", remedy=one_of(unknown[0], known))
    if names is not None and not names:
        raise InputError("--tables names none", remedy=f"choose of: {', '.join(known)}")
    check_model(settings.model, settings.model_options)
    own = tables_of(settings.model) + [region_ablation.NAME] * (settings.model == _SAM_MIL)
    if (settings.model == _SAM_MIL and settings.sammil_mode != "paper") or settings.protocol != "honest":
        raise InputError(
            "the ablations are made of the paper's SAM-MIL, in the honest protocol",
            remedy="set sammil_mode: paper and protocol: honest",
        )
    if names is None and settings.model not in DEFAULT_TABLES:
        raise InputError(
            f"{settings.model} has no parts that the ablations take out",
            remedy=f"name a table: --tables {','.join(own)}; or set model: {' or '.join(DEFAULT_TABLES)}",
        )
    if foreign := [name for name in names or () if name not in own]:
        raise InputError(
            f"the table {foreign[0]!r} does not take {settings.model} apart",
            remedy=f"choose of: {', '.join(own)}; or set model: {_owner(foreign[0])}",
        )
    return DEFAULT_TABLES[settings.model] if names is None else names


def _owner(name: str) -> str:
    """The model that a table takes apart."""
    return (ABLATIONS[name].model if name in ABLATIONS else None) or _SAM_MIL


def _possible(project: Project, settings: TrainSettings, variants: Sequence[str], *, regions: bool) -> list[str]:
    """The variants that these bags allow; what is left out is named, with the reason and its fix.

    Args:
        regions: whether any bag has some; without, a row "with group features" would be the row without them.
    """
    found, refused = [], dict[tuple[str, str, bool], SammilError | None]()
    for variant in variants:
        own = settings_of(settings, variant)
        form = (own.model, str(own.model_options), own.group_feature_flag)
        if form not in refused:
            same = own.model == settings.model and not settings.start_from  # a file is of one form of a model
            refused[form] = None if same else _refusal(project, own)
            if (why := refused[form]) is not None:
                _say_left_out(f"{own.model}, flagged" if own.group_feature_flag else own.model, why)
        if refused[form] is None:
            found.append(variant)
    idle = [] if regions else [name for name in found if VARIANTS[name].get("group_features")]
    if idle:
        _say_left_out(", ".join(idle), InputError("no bag has regions", remedy="run sammil sam and sammil extract"))
    return [name for name in found if name not in idle]


def _say_left_out(what: str, why: SammilError) -> None:
    console.say(f"left out: {what} ({why.message})", f"    fix: {why.remedy}")


def _refusal(project: Project, settings: TrainSettings) -> SammilError | None:
    """Why a model cannot be trained that looks at places or regions, or is to start from a file; None where it can."""
    if not model_class(settings.model).needs_places and settings.model != _SAM_MIL and not settings.start_from:
        return None
    try:
        train.preflight(project, settings)
    except (InputError, MissingError) as error:
        return error
    return None


def _train(
    variants: Sequence[str],
    seeds: Sequence[str],
    project: Project,
    settings: TrainSettings,
    options: RunOptions,
    runs: Path,
) -> tuple[dict[str, Predictions], dict[str, Any]]:
    """Each variant's out-of-fold predictions, and what it was made of.

    Args:
        seeds: the variants that are trained with the next seed as well, on the same folds.
    """
    found: dict[str, Predictions] = {}
    record = {}
    rows = [*((variant, variant, 0) for variant in variants), *((one, with_other_seed(one), 1) for one in seeds)]
    lines = VariantLines(len(rows))
    with console.each_warning_once():
        for variant, name, reseed in rows:
            make = partial(train_variant, project, settings, variant, runs / name, options, reseed=reseed)
            found[name], record[name] = lines.made(name, said(variant), make)
    return found, record
