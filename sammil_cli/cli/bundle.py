"""Trained models in one file: `sammil bundle RUN` makes it, `sammil bundle show FILE` says what is in it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer.core import TyperGroup

from sammil_cli.cli import completion
from sammil_cli.cli.options import DeviceOption, JsonOption, VerboseOption, run_options

if TYPE_CHECKING:
    from typer._click.core import Context  # Click, as Typer carries it
    from typer._click.formatting import HelpFormatter

    from sammil_cli.bundles.facts import BundleFacts

_MAKE = "make"


class _MakesByDefault(TyperGroup):
    """A group whose command `make` need not be named: `sammil bundle RUN`; its options are in the group's help."""

    def parse_args(self, ctx: "Context", args: list[str]) -> list[str]:
        if args and args[0] not in (*self.commands, *ctx.help_option_names):
            args = [_MAKE, *args]
        return super().parse_args(ctx, args)

    def collect_usage_pieces(self, ctx: "Context") -> list[str]:
        return ["RUN -o FILE.sammil [OPTIONS] | show FILE.sammil"]

    def format_options(self, ctx: "Context", formatter: "HelpFormatter") -> None:
        self.commands[_MAKE].format_options(ctx, formatter)
        self.format_commands(ctx, formatter)


app = typer.Typer(
    name="bundle",
    cls=_MakesByDefault,
    help="Ship trained models as one file.\n\n"
    "RUN is a project, what train wrote, or a folder of models. The file holds their weights and all that is needed "
    "to use them: how bags are made, classes, thresholds, what each has seen, what may be expected. No code.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.command(_MAKE)
def make(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A project, what train wrote, or a folder of models.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="The .sammil file, written.")],
    fold: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Only this model, such as repeat_0_fold_0. [default: all]",
            autocompletion=completion.trained_models,
        ),
    ] = None,
    intended_use: Annotated[
        str | None, typer.Option(metavar="TEXT", help="[default: research use only, not for diagnosis]")
    ] = None,
    refit: Annotated[
        bool, typer.Option("--refit", help="One model trained on all slides, by what the folds chose, in their place.")
    ] = False,
    bags: Annotated[Path | None, typer.Option(help="With --refit: feature bags. [default: those of RUN]")] = None,
    labels: Annotated[Path | None, typer.Option(help="With --refit: label table. [default: that of RUN]")] = None,
    device: DeviceOption = "auto",
    report: Annotated[
        Path | None, typer.Option(help="What evaluate wrote of these models. [default: report beside RUN's runs]")
    ] = None,
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Put the models of RUN into one file; make may be left out."""
    from sammil_cli import console
    from sammil_cli.bundles.facts import RESEARCH_USE
    from sammil_cli.stages import bundle as stage

    console.set_up(verbose=verbose, as_json=as_json)
    facts = stage.run(
        run,
        out,
        fold=fold,
        intended_use=intended_use or RESEARCH_USE,
        report=report,
        refit=run_options(device) if refit else None,
        bags=bags,
        labels=labels,
    )
    _as_json(out, facts)


@app.command()
def show(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A .sammil file.")], as_json: JsonOption = False
) -> None:
    """Say what is in a bundle, once verified."""
    from sammil_cli import console
    from sammil_cli.stages import bundle as stage

    console.set_up(as_json=as_json)
    _as_json(file, stage.show(file))


def _as_json(path: Path, facts: "BundleFacts") -> None:
    from sammil_cli import console

    console.print_json({"file": str(path), **facts.model_dump(by_alias=True)})
