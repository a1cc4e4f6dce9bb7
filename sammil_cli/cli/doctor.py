"""Is everything here that sammil needs?"""

import typer

from sammil_cli.cli.options import PARAMS, JsonOption, ParamsOption, SetOption

app = typer.Typer()


@app.command()
def doctor(params: ParamsOption = PARAMS, assignments: SetOption = None, as_json: JsonOption = False) -> None:
    """Say what sammil needs and lacks here, and what to do.

    Python and libraries, OpenSlide, GPU, machine, folders, Git and DVC, settings, weights. Works outside of a project,
    too. Exit code 3 when something is wrong; a note is nothing wrong.
    """
    from sammil_cli import console
    from sammil_cli.doctor.finding import Asked
    from sammil_cli.doctor.run import as_record, exit_code, report, run

    console.set_up(as_json=as_json)
    found = run(Asked(params=params, assignments=tuple(assignments or ())))
    report(found)
    console.print_json(as_record(found))
    raise typer.Exit(exit_code(found))
