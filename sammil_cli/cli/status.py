"""What would be done, and why."""

import typer

app = typer.Typer()
