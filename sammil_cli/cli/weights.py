"""Published weights: which there are, and how they come here."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sammil_cli.cli import completion
from sammil_cli.cli.options import PARAMS, JsonOption, ParamsOption

if TYPE_CHECKING:
    from sammil_cli.project.weights import Held

app = typer.Typer(
    name="weights",
    help="List, fetch, verify and carry over weights.\n\n"
    "The published weight files that SAM and the encoders read: pinned by sha256, never fetched unasked.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

WordsArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="WORD", help="Such as vit_h, resnet50: see sammil weights list.", autocompletion=completion.weights
    ),
]


@app.command("list")
def list_(
    words: WordsArgument = None,
    every: Annotated[bool, typer.Option("--all", help="Those that are not here and not asked for, too.")] = False,
    params: ParamsOption = PARAMS,
    as_json: JsonOption = False,
) -> None:
    """Say which weights there are, and which are here.

    Those that params.yaml needs and those that are here; of the WORDs every fact: file, sha256, licence, access,
    source. --json has all facts of all. Reads no file: `sammil weights verify` does.
    """
    from sammil_cli import console
    from sammil_cli.project import weights as stage

    console.set_up(as_json=as_json)
    found = stage.look(words or (), verify=False)
    if words:
        stage.report_facts(found)
    elif not as_json:
        shown = found if every else stage.asked_or_here(found, params)
        stage.report(shown, others=len(found) - len(shown))
    console.print_json([stage.as_record(held) for held in found])


@app.command()
def fetch(
    words: WordsArgument = None,
    source: Annotated[
        Path | None,
        typer.Option("--from", help="Instead of the network: a tar file of sammil weights export, a folder, a file."),
    ] = None,
    params: ParamsOption = PARAMS,
    as_json: JsonOption = False,
) -> None:
    """Fetch weights from their publishers, or with --from.

    Without a WORD: those that params.yaml needs; with --from all that there are. Goes on where it was interrupted.
    """
    from sammil_cli import console
    from sammil_cli.project import weights as stage

    console.set_up(as_json=as_json)
    _tell(stage.fetch(words or (), params) if source is None else stage.fetch_from(source, words or ()))


@app.command()
def verify(words: WordsArgument = None, as_json: JsonOption = False) -> None:
    """Compare the sha256 of all that is here.

    Exit code 3 if a file is damaged, or one that is named is absent.
    """
    from sammil_cli import console
    from sammil_cli.project import weights as stage

    console.set_up(as_json=as_json)
    found = stage.verify(words or ())
    _tell(found)
    if error := stage.fault(found, all_needed=bool(words)):
        raise error


@app.command()
def export(
    words: WordsArgument = None,
    *,
    file: Annotated[Path, typer.Argument(metavar="FILE.tar", help="Written.")],
    params: ParamsOption = PARAMS,
) -> None:
    """Write weights into one tar file.

    For machines without a network: there `sammil weights fetch --from FILE.tar`, or tar -xf and sha256sum -c
    SHA256SUMS. Without a WORD: those that params.yaml needs.
    """
    from sammil_cli import console
    from sammil_cli.project import weights as stage

    console.set_up()
    pinned = stage.export(words or (), file, params)
    console.say(f"{file}: {', '.join(one.file_name for one in pinned)}, and their SHA256SUMS")
    console.say(f"there: sammil weights fetch --from {file.name}")


def _tell(found: "list[Held]") -> None:
    from sammil_cli import console
    from sammil_cli.project.weights import as_record

    for held in found:
        console.say(f"{held.word}: {held.state}{f': {held.path}' if held.path else ''}")
    console.print_json([as_record(held) for held in found])
