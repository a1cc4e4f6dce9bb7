"""The command that explains verdicts."""

from pathlib import Path
from typing import Annotated

import typer

from sammil_cli.cli.options import (
    PARAMS,
    BagsOption,
    LabelsOption,
    ParamsOption,
    RunAsked,
    SetOption,
    read_settings,
    run_options,
    shares_run_options,
)

app = typer.Typer()


@app.command()
@shares_run_options
def explain(
    *,
    params: ParamsOption = PARAMS,
    assignments: SetOption = None,
    bags: BagsOption = Path("artifacts/bags"),
    labels: LabelsOption = Path("data/labels.csv"),
    models: Annotated[Path, typer.Option(help="Trained folds.")] = Path("runs/models"),
    splits: Annotated[Path, typer.Option(help="The folds.")] = Path("runs/splits.csv"),
    lesions: Annotated[Path, typer.Option(help="Known lesions, compared where there are any.")] = Path("data/lesions"),
    regions: Annotated[Path, typer.Option(help="Regions.")] = Path("artifacts/regions"),
    annotations: Annotated[Path, typer.Option(help="Regions you drew, for their names.")] = Path("data/annotations"),
    tissue: Annotated[Path, typer.Option(help="Tissue masks: where the scanned area begins.")] = Path(
        "artifacts/tissue"
    ),
    pictures: Annotated[Path, typer.Option(help="What visualize wrote, for QuPath.")] = Path("report/slides"),
    evidence: Annotated[Path, typer.Option(help="Evidence for QuPath, written.")] = Path("report/evidence"),
    packed: Annotated[
        bool, typer.Option("--gz", help="Evidence as .geojson.gz: a tenth the size, QuPath 0.4 and later.")
    ] = False,
    out: Annotated[Path, typer.Option(help="Tables and page, written.")] = Path("report/explain"),
    asked: RunAsked,
) -> None:
    """Rank the regions behind each verdict, and test them.

    Does the model lean on them, and do they lie in drawn lesions? Each slide by the fold that did not see it. What
    visualize drew is written for QuPath, too.
    """
    from sammil_cli import console
    from sammil_cli.config import EvaluateSettings, VisualizeSettings
    from sammil_cli.project.process_list import exit_code, summarise
    from sammil_cli.project.project import Project
    from sammil_cli.stages import evidence as for_qupath

    settings = read_settings(params, assignments, VisualizeSettings, asked.fail_over)
    judged = read_settings(params, assignments, EvaluateSettings)
    from sammil_cli.stages import explain as stage

    console.set_up(verbose=asked.verbose, as_json=asked.as_json)
    project = Project(
        bags=bags,
        labels=labels,
        models=models,
        splits=splits,
        lesions=lesions,
        regions=regions,
        annotations=annotations,
        tissue=tissue,
        pictures=pictures,
        evidence=evidence,
    )
    options = run_options("cpu", asked)
    found = stage.run(project, settings, judged, options, out)
    summarise("explain", found.rows, out, project.process_lists / "explain.csv")
    shown = for_qupath.run(project, settings, options, packed=packed)
    if shown:
        summarise("evidence", shown, evidence, project.process_lists / "evidence.csv")
    rows = [*found.rows, *shown]
    console.print_json({"explain": found.facts, "slides": [row.__dict__ for row in rows]})
    raise typer.Exit(exit_code(rows, settings.fail_over))
