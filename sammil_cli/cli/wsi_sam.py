"""Commands of WSI-SAM, the promptable model of two resolutions."""

import typer

app = typer.Typer(
    name="wsi-sam",
    help="Train, ask and judge WSI-SAM: two resolutions, prompts.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
