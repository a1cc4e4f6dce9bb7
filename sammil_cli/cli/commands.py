"""The commands, in the order in which `sammil --help` lists them."""

from typer import Typer

from sammil_cli.cli import (
    benchmark,
    bundle,
    check,
    doctor,
    explain,
    figure,
    inspect,
    legacy,
    models,
    predict,
    projects,
    reproduce,
    slides,
    status,
    weights,
    wsi_sam,
)

_PARTS = (projects, check, inspect, slides, models, explain, predict, benchmark, reproduce, legacy, status, doctor)
SINGLE: tuple[Typer, ...] = tuple(part.app for part in _PARTS)
GROUPS: tuple[Typer, ...] = (
    bundle.app,
    figure.app,
    weights.app,
    wsi_sam.app,
)  # of commands, such as `sammil weights fetch`
