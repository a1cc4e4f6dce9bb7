"""The command line: parse, call one stage, turn errors into exit codes; nothing else.

Heavy modules are imported inside the commands, so that `sammil --help` answers at once.
"""

import contextlib
import os
import shutil
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Annotated, NoReturn

import typer

from sammil_cli import __version__
from sammil_cli.cli import completion
from sammil_cli.cli.commands import GROUPS, SINGLE
from sammil_cli.cli.streams import erase_line, hold_streams, show_line
from sammil_cli.cli.usage import PlainGroup
from sammil_cli.errors import SammilError, check_address_space, check_root, limit_met, refused_by_system
from sammil_cli.storage.light_scipy import leave_docstrings

_HELP = ["-h", "--help"]
app = typer.Typer(
    name="sammil",
    cls=PlainGroup,
    help="Whole-slide images to slide-level diagnoses with SAM-MIL.\n\n"
    "The pipeline: segment, patch, sam, extract, train, evaluate, visualize; or all at once: dvc repro.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": _HELP},
)
for part in SINGLE:
    app.registered_commands += part.registered_commands
for group in GROUPS:
    app.add_typer(group)

INTERRUPTED = 130
# Said where DVC runs the command (it sets DVC_ROOT): it has removed the stage's outs before the command began.
_EMPTIED = "DVC had removed the earlier results; to get them back: dvc checkout (report/metrics.json: git checkout)"
_LITTLE_ROOM_BYTES = 1 << 28


def main() -> None:
    """Entry point of the `sammil` command."""
    if sys.getfilesystemencoding() != "utf-8" and os.name == "posix":  # LC_ALL=C without Python's own remedy
        # Names of files are bytes to the system, and UTF-8 in every table; so this process begins anew.
        os.environ["PYTHONUTF8"] = "1"
        # The option, too: python -E and -I ignore the variable, and the new process would begin anew without end.
        os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])  # noqa: S606 - itself
    if completion.ASKED in os.environ:
        _complete()
    signal.signal(signal.SIGTERM, _stop)
    hold_streams()
    leave_docstrings()
    _spare_bytecode()
    try:
        check_address_space()
        try:
            app(standalone_mode=True)
        finally:
            erase_line()
            sys.stdout.flush()  # here a failed write is an error; at the interpreter's exit it would go unnoticed
    except SammilError as error:
        _end(error)
    except OSError as error:
        refused = refused_by_system(error)
        if refused is None:
            raise
        _end(refused)
    except (MemoryError, ImportError, RuntimeError) as error:  # so little memory that a library does not load, say
        met = limit_met(error)
        if met is None:
            raise
        _end(met)
    except SystemExit as end:
        if end.code == INTERRUPTED:  # what Typer makes of Ctrl-C
            from sammil_cli.console import print_error

            print_error("interrupted; everything that was finished is kept", "run the same command to go on")
        raise


def _complete() -> NoReturn:
    """Answers the shell; what is wrong in the line so far is said when it is run."""
    completion.join_words(os.environ)
    with contextlib.suppress(SammilError):
        app()
    sys.exit(0)


def _spare_bytecode() -> None:
    """Where little room is left, Python may write half of a module's bytecode, and cannot read it ever after."""
    if shutil.disk_usage(Path(__file__).parent).free < _LITTLE_ROOM_BYTES:
        sys.dont_write_bytecode = True
        os.environ["PYTHONDONTWRITEBYTECODE"] = "1"  # of worker processes


def _end(error: SammilError) -> NoReturn:
    from sammil_cli.console import print_error

    remedy = error.remedy + (f"\n  {_EMPTIED}" if os.environ.get("DVC_ROOT") else "")
    print_error(f"{error.code}: {error.message}" if error.code else error.message, remedy)
    sys.exit(error.exit_code)


def _stop(number: int, frame: FrameType | None) -> None:
    """Makes `docker stop`, SLURM's time limit and `kill` end a command as Ctrl-C does; process 1 would ignore them."""
    raise KeyboardInterrupt


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"sammil {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    if not set(_HELP).intersection(sys.argv):
        show_line(f"sammil {context.invoked_subcommand} is starting")
    if context.invoked_subcommand != "doctor":
        check_root(Path())
