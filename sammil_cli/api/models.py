"""Trained models in use: new slides judged, and models put into one file."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import openslide  # noqa: F401 - before torch, see slides/formats/openslide.py

from sammil_cli.api.voice import voice
from sammil_cli.project.process_list import Row
from sammil_cli.runner.how_to_run import Workers, how_to_run

if TYPE_CHECKING:
    from sammil_cli.bundles.ensemble import Verdict
    from sammil_cli.bundles.facts import BundleFacts
    from sammil_cli.stages.predicted_patients import PatientVerdict


@dataclass(frozen=True, kw_only=True)
class Predicted:
    """What `predict` found: a verdict on each slide that could be judged, and what became of every slide.

    `patients`: a verdict on each, where a table of the slides gives one of them several; else empty.
    """

    verdicts: "tuple[Verdict, ...]"
    patients: "tuple[PatientVerdict, ...]"
    rows: tuple[Row, ...]


def predict(
    model: str | Path = "runs/models",
    slides: str | Path | Sequence[str | Path] = (),
    *,
    bags: str | Path | None = None,
    out: str | Path = "runs/new_predictions",
    pictures: bool = True,
    patient_rule: Literal["mean", "max"] = "mean",
    device: str = "auto",
    workers: int | Workers | None = None,
) -> Predicted:
    """`sammil predict`: new slides judged by trained models, from raw slides or from bags.

    Tissue, patches, regions and features are made as the models' own bags were. A slide of their training is judged by
    those that did not see it. Patients are decided by thresholds that the models chose on validation patients, where
    they know them (`PatientVerdict.threshold_of`).

    Args:
        model: a trained model, a folder of them, a run, a project, or a bundle.
        slides: one or several: slides, folders of slides, a table; none = bags are judged.
        bags: a folder of bags instead; None = artifacts/bags of the working folder.
        out: the folder of tables, page and pictures.
        pictures: whether slides are drawn, and their evidence is written for QuPath.
        patient_rule: a patient's probability, where a table says whose the slides are: the mean of its slides, or
            (two classes) that of the slide most probably positive.
        device, workers: as of `sam`.

    Raises:
        InputError: no models, or not one slide that they can judge. MissingError: weights are not here:
            `fetch_weights`.
    """
    from sammil_cli.runner.machine import of_models
    from sammil_cli.stages import predict_slides as stage
    from sammil_cli.stages.new_bags import how_bags_are_made

    given = [slides] if isinstance(slides, str | Path) else slides
    asked = stage.Asked(model=Path(model), slides=[Path(s) for s in given], bags=None if bags is None else Path(bags))
    wanted = stage.Wanted(out=Path(out), pictures=pictures, rule=patient_rule)
    with voice():
        how = {"predict": how_to_run(of_models(device)), "visualize": how_to_run("cpu", workers)}
        found = stage.run(asked, wanted, how, partial(how_bags_are_made, device=device, workers=workers))
    return Predicted(verdicts=tuple(found.verdicts), patients=tuple(found.patients), rows=tuple(found.rows))


def bundle(
    run: str | Path,
    out: str | Path,
    *,
    fold: str | None = None,
    refit: bool = False,
    intended_use: str | None = None,
    report: str | Path | None = None,
    device: str = "auto",
) -> "BundleFacts":
    """`sammil bundle`: puts the models of a run into one file, with all that is needed to use them.

    Args:
        run: a project, what `train` wrote, or a folder of models. out: the `.sammil` file.
        fold: the only model that is taken; None = all. intended_use: None = research, not diagnosis.
        refit: whether one model, trained on all slides by what the folds chose, takes their place; device: for that.
        report: what `evaluate` wrote of these models; None = the report of the project.

    Returns:
        what the file says of itself: classes, threshold, members, what may be expected of them.

    Raises:
        InputError: no models, no such fold, or a name that no bundle has.
    """
    from sammil_cli.bundles.facts import RESEARCH_USE
    from sammil_cli.stages import bundle as stage

    with voice():
        return stage.run(
            Path(run),
            Path(out),
            fold=fold,
            intended_use=intended_use or RESEARCH_USE,
            report=None if report is None else Path(report),
            refit=how_to_run(device) if refit else None,
        )


def read_bundle(path: str | Path) -> "BundleFacts":
    """What a bundle says of itself, once verified; its models are not loaded.

    Raises:
        InputError: there is no such file; `E_DAMAGED`, it is no bundle, or not as it was written.
    """
    from sammil_cli.bundles import bundle_file

    return bundle_file.read_bundle(Path(path))[0]
