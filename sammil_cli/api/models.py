"""Trained models in use: new slides judged, and models put into one file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from sammil_cli import choices
from sammil_cli.api.runs import options, options_of, voice
from sammil_cli.project.process_list import Row
from sammil_cli.project.project import RunOptions

if TYPE_CHECKING:
    from sammil_cli.bundles.ensemble import Verdict
    from sammil_cli.bundles.facts import BundleFacts
    from sammil_cli.config import Settings


@dataclass(frozen=True, kw_only=True)
class Predicted:
    """What `predict` found: a verdict on each slide that could be judged, and what became of every slide."""

    verdicts: "tuple[Verdict, ...]"
    rows: tuple[Row, ...]


def predict(
    model: str | Path = "runs/models",
    slides: Sequence[str | Path] = (),
    *,
    bags: str | Path | None = None,
    out: str | Path = "runs/new_predictions",
    pictures: bool = True,
    device: str = "auto",
    workers: int | None = None,
    verbose: bool = False,
) -> Predicted:
    """`sammil predict`: new slides judged by trained models, from raw slides or from bags.

    Tissue, patches, regions and features are made as the models' own bags were. A slide of their training is judged by
    those that did not see it.

    Args:
        model: a trained model, a folder of them, a run, a project, or a bundle.
        slides: slides, folders of slides, or a table; none = bags are judged.
        bags: a folder of bags instead; None = artifacts/bags of the working folder.
        out: the folder of tables, page and pictures.
        pictures: whether slides are drawn, and their evidence is written for QuPath.
        device, workers: as of `sam`.

    Raises:
        InputError: no models, or not one slide that they can judge. MissingError: weights are not here.
    """
    from sammil_cli.stages import predict_slides as stage

    asked = stage.Asked(model=Path(model), slides=[Path(s) for s in slides], bags=None if bags is None else Path(bags))
    wanted = stage.Wanted(out=Path(out), pictures=pictures)
    with voice(verbose):
        how = {"predict": options(device, None, None), "visualize": options("cpu", workers, None)}
        found = stage.run(asked, wanted, how, partial(_how_bags_are_made, device=device, workers=workers))
    return Predicted(verdicts=tuple(found.verdicts), rows=tuple(found.rows))


def bundle(
    run: str | Path,
    out: str | Path,
    *,
    fold: str | None = None,
    refit: bool = False,
    intended_use: str | None = None,
    report: str | Path | None = None,
    device: str = "auto",
    verbose: bool = False,
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

    with voice(verbose):
        return stage.run(
            Path(run),
            Path(out),
            fold=fold,
            intended_use=intended_use or RESEARCH_USE,
            report=None if report is None else Path(report),
            refit=options(device, None, None) if refit else None,
        )


def read_bundle(path: str | Path) -> "BundleFacts":
    """What a bundle says of itself, once verified; its models are not loaded.

    Raises:
        InputError: there is no such file; `E_DAMAGED`, it is no bundle, or not as it was written.
    """
    from sammil_cli.bundles import bundle_file

    return bundle_file.read_bundle(Path(path))[0]


def _how_bags_are_made(settings: "Settings", *, device: str, workers: int | None) -> Mapping[str, RunOptions]:
    proposer = choices.load(choices.PROPOSERS, settings.proposer)
    encoder = choices.load(choices.ENCODERS, settings.encoder)
    return {
        "segment": options("cpu", workers, None),
        "patch": options("cpu", workers, None),
        "sam": options_of(proposer, device, workers, None),
        "extract": options_of(encoder, device, workers, None),
    }
