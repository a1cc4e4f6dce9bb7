"""Features, grids and models of other tools, brought along."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import openslide  # noqa: F401 - before torch, see slides/formats/openslide.py

from sammil_cli.api.settings import read_settings
from sammil_cli.api.voice import voice
from sammil_cli.config import ConvertSettings, Settings
from sammil_cli.project.process_list import Row
from sammil_cli.project.project import Project
from sammil_cli.runner.how_to_run import how_to_run

if TYPE_CHECKING:
    from sammil_cli.training.model_facts import ModelFacts


def convert_legacy(
    source: str | Path | None = None,
    project: Project | None = None,
    settings: Settings | None = None,
    *,
    grids: bool = False,
    out: str | Path | None = None,
    workers: int | None = None,
    only: Collection[str] | None = None,
) -> list[Row]:
    """`sammil convert-legacy`: feature bags, or grids of patches, of other tools' files; labels there come along.

    Args:
        source: a folder of CLAM, SAM-MIL, TRIDENT, STAMP, AtlasPatch or DTFD, of .npy or .csv features, or a file of
            it; None = all folders in `data/features` of the project.
        project: as of `segment`; bags are held against its slides where there are any.
        settings: whether features may lack coordinates or segments, their patch side and encoder (the keys
            `features_…`); None = those of params.yaml without a source, else the defaults.
        grids: take the coordinates only, to encode them anew.
        out: the folder of the bags or grids; None = the project's.
        workers: processes at once; None = as many as the cores allow. only: ids of the slides to do; None = all.

    Returns:
        a row for each slide; its remarks say what was assumed.

    Raises:
        InputError: nothing to convert, or several things that could be meant: the message lists what was found.
    """
    from sammil_cli.exchange import convert_legacy as stage

    where = project or Project()
    if settings is None:
        settings = read_settings() if source is None and Path("params.yaml").exists() else Settings()
    request = replace(stage.request_of(settings.stage(ConvertSettings), where), grids=grids)
    with voice():
        found, written = stage.run(
            None if source is None else Path(source),
            request,
            where,
            how_to_run("cpu", workers, only),
            None if out is None else Path(out),
        )
        if found:
            stage.report(found, written, where)
    return found


def convert_weights(
    file: str | Path,
    out: str | Path | None = None,
    *,
    classes: Sequence[str] | None = None,
    encoder: str | None = None,
    model: str | None = None,
    group_features: bool | None = None,
) -> "ModelFacts":
    """`sammil convert-legacy FILE`: published weights made a trained model, which `predict` takes.

    A weight file says nothing of threshold, calibration and encoder: the threshold is 0.5 for two classes.

    Args:
        out: the model's folder; None = `runs/published/<file>`.
        classes: their names, the positive one last; None = class_0, class_1 and so on.
        encoder: whose features it reads, if that is known.
        model: `mean` or `max`, whose files look alike; else found by itself.
        group_features: whether bags give it their group features; None = as the architecture was published.

    Returns:
        what goes with its weights: classes, threshold, dimension.

    Raises:
        InputError: it holds no published architecture, or more than one fits; or the names do not fit the classes.
    """
    from sammil_cli.exchange import convert_weights as stage

    stage.check_model(model)
    with voice():
        return stage.run(
            Path(file),
            None if out is None else Path(out),
            classes=classes,
            encoder_name=encoder,
            model=model,
            group_features=group_features,
        )
