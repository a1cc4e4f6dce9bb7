"""What is wrong with a cohort, before any compute."""

import typer

app = typer.Typer()
