"""What the slides say about themselves."""

import typer

app = typer.Typer()
