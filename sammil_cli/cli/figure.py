"""Commands that draw the paper's figures of your own cohort."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sammil_cli.cli import completion
from sammil_cli.cli.options import PARAMS, BagsOption, JsonOption, ParamsOption, SetOption, SlidesOption, read_settings

if TYPE_CHECKING:
    from sammil_cli.project.process_list import Row
    from sammil_cli.project.project import Project

app = typer.Typer(
    name="figure",
    help="Draw the paper's figures of your own cohort.\n\n"
    "Each as PNG, its numbers as JSON and CSV beside it. Slides that cannot be drawn are listed with the fix.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

SlideArguments = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="SLIDE",
        help="Slide ids. Without: the largest lesion, the smallest, and (regions) none.",
        autocompletion=completion.slide_ids,
    ),
]
OutOption = Annotated[Path, typer.Option(help="Folder of the figures, written.")]
PatchesOption = Annotated[Path, typer.Option(help="Patch grids.")]
RegionsOption = Annotated[Path, typer.Option("--regions", help="Regions.")]
LesionsOption = Annotated[Path, typer.Option(help="Known lesions.")]
RunOption = Annotated[Path, typer.Option("--run", metavar="RUN", help="What train wrote.")]
OUT = Path("report/figures")
_PATCHES, _REGIONS, _LESIONS = Path("artifacts/patches"), Path("artifacts/regions"), Path("data/lesions")
_BAGS, _SLIDES, _RUN = Path("artifacts/bags"), Path("data/slides"), Path("runs")


@app.command()
def regions(
    names: SlideArguments = None,
    slides: SlidesOption = _SLIDES,
    patches: PatchesOption = _PATCHES,
    regions_: RegionsOption = _REGIONS,
    lesions: LesionsOption = _LESIONS,
    out: OutOption = OUT,
    as_json: JsonOption = False,
) -> None:
    """Draw regions below the outlines of lesions (figure 5).

    From the whole slide to a close-up of its largest lesion, and how well regions fit it.
    """
    from sammil_cli import console
    from sammil_cli.figures import regions as figure

    console.set_up(as_json=as_json)
    _end(figure.run(_project(slides, patches, regions_, lesions), names or (), out))


@app.command()
def consistency(
    names: SlideArguments = None,
    run: RunOption = _RUN,
    beside: Annotated[Path, typer.Option(metavar="RUN", help="The same training with -S consistency_weight=0.")] = Path(
        "runs/no-consistency"
    ),
    slides: SlidesOption = _SLIDES,
    patches: PatchesOption = _PATCHES,
    regions_: RegionsOption = _REGIONS,
    bags: BagsOption = _BAGS,
    lesions: LesionsOption = _LESIONS,
    out: OutOption = OUT,
    as_json: JsonOption = False,
) -> None:
    """Draw attention with and without consistency (figure 8).

    Each slide by the folds that did not learn from it.
    """
    from sammil_cli import console
    from sammil_cli.figures import consistency as figure

    console.set_up(as_json=as_json)
    _end(figure.run(_project(slides, patches, regions_, lesions, bags), names or (), run, beside, out))


@app.command()
def sweep(
    settings: Annotated[
        list[str],
        typer.Argument(
            metavar="SETTING", help="One or two keys of params.yaml.", autocompletion=completion.setting_names
        ),
    ],
    run: Annotated[
        list[Path] | None, typer.Option("--run", metavar="RUN", help="A training that evaluate has judged; repeatable.")
    ] = None,
    experiments: Annotated[
        Path | None, typer.Option(metavar="FILE", help="What dvc exp show --json printed. [default: DVC is asked]")
    ] = None,
    params: ParamsOption = PARAMS,
    assignments: SetOption = None,
    out: OutOption = OUT,
    as_json: JsonOption = False,
) -> None:
    """Draw the AUC over one setting, or two (figure 9).

    From DVC's experiments, or the trainings named by --run. Choosing is by val_auc, and the figure says so.
    """
    from sammil_cli import console
    from sammil_cli.config import EvaluateSettings
    from sammil_cli.figures import sweep as figure

    judged = read_settings(params, assignments, EvaluateSettings)
    console.set_up(as_json=as_json)
    found = figure.run(settings, run or (), experiments, out, level=judged.interval, draws=judged.bootstrap_draws)
    console.print_json([{"setting": one.setting, "values": one.values, "left_out": one.left_out} for one in found])


@app.command("group-features")
def group_features(
    ablation: Annotated[Path, typer.Option(help="What sammil ablate --tables 7 wrote.")] = Path(
        "report/ablation/ablation.json"
    ),
    out: OutOption = OUT,
    as_json: JsonOption = False,
) -> None:
    """Draw what group features add to each model (figure 10)."""
    from sammil_cli import console
    from sammil_cli.figures import group_features as figure

    console.set_up(as_json=as_json)
    found = figure.run(ablation, out)
    console.print_json([{"model": pair.model, "difference": pair.difference.__dict__} for pair in found])


@app.command()
def models(
    names: SlideArguments = None,
    run: RunOption = _RUN,
    beside: Annotated[Path, typer.Option(metavar="RUN", help="The other training, such as one of abmil.")] = Path(
        "runs/abmil"
    ),
    slides: SlidesOption = _SLIDES,
    patches: PatchesOption = _PATCHES,
    regions_: RegionsOption = _REGIONS,
    bags: BagsOption = _BAGS,
    lesions: LesionsOption = _LESIONS,
    out: OutOption = OUT,
    as_json: JsonOption = False,
) -> None:
    """Draw AB-MIL beside SAM-MIL on the same slides (figure 11).

    Which patches speak for tumour, each model by the fold that did not learn from the slide.
    """
    from sammil_cli import console
    from sammil_cli.figures import models as figure

    console.set_up(as_json=as_json)
    _end(figure.run(_project(slides, patches, regions_, lesions, bags), names or (), run, beside, out))


@app.command("lesion-size")
def lesion_size(
    run: RunOption = _RUN,
    beside: Annotated[Path | None, typer.Option(metavar="RUN", help="Another training, drawn beside it.")] = None,
    edges: Annotated[
        str | None,
        typer.Option(metavar="MM2,…", help="Areas between the bins, mm². [default: three bins of equal numbers]"),
    ] = None,
    params: ParamsOption = PARAMS,
    assignments: SetOption = None,
    patches: PatchesOption = _PATCHES,
    lesions: LesionsOption = _LESIONS,
    out: OutOption = OUT,
    as_json: JsonOption = False,
) -> None:
    """Draw sensitivity by lesion area (Appendix J)."""
    from sammil_cli import console
    from sammil_cli.config import EvaluateSettings
    from sammil_cli.figures import lesion_size as figure

    judged = read_settings(params, assignments, EvaluateSettings)
    console.set_up(as_json=as_json)
    trainings = [run] if beside is None else [run, beside]
    between = None if edges is None else figure.read_edges(edges)
    _end(figure.run(_project(_SLIDES, patches, _REGIONS, lesions), trainings, between, out, level=judged.interval))


def _project(slides: Path, patches: Path, regions: Path, lesions: Path, bags: Path = _BAGS) -> "Project":
    from sammil_cli.project.project import Project

    return Project(slides=slides, patches=patches, regions=regions, lesions=lesions, bags=bags)


def _end(rows: "list[Row]") -> None:
    """Prints the rows for programs; exit code 1 where a slide could not be drawn."""
    from sammil_cli import console
    from sammil_cli.project.process_list import exit_code

    console.print_json([row.__dict__ for row in rows])
    raise typer.Exit(exit_code(rows, 0.0))
