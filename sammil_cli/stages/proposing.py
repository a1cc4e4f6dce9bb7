"""What a proposer is asked for, whatever it looks at: the part of a key that all slides of a run share."""

from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

from sammil_cli.config import SamSettings
from sammil_cli.console import download_progress
from sammil_cli.errors import MissingError, SlideError
from sammil_cli.project.project import Project, RunOptions
from sammil_cli.regions.propose import FEATURES, seen_by
from sammil_cli.storage.nearest_ids import nearest_ids
from sammil_cli.storage.weight_download import download
from sammil_cli.storage.weights import WantedWeights


def shared_key(
    proposer: ModuleType, settings: SamSettings, options: RunOptions, *, weightless: bool
) -> dict[str, object]:
    """The settings that regions are made with, and the weights' sha256.

    Args:
        weightless: only to look at: missing weights are taken for those that are pinned.

    Raises:
        MissingError: the proposer's weights are not here.
    """
    canvas: dict[str, object] = {"sam_canvas_px": settings.sam_canvas_px, "sam_mpp": settings.sam_mpp}
    if settings.sam_mpp is not None:
        canvas["sam_tile_overlap"] = settings.sam_tile_overlap
    facts = {
        "proposer": settings.proposer,
        **({} if seen_by(proposer) == FEATURES else canvas),
        **{name: getattr(settings, name) for name in proposer.SETTINGS if name not in getattr(proposer, "LOCAL", ())},
    }
    # How outlines are packed is none of the settings that a bag is made with.
    shared: dict[str, object] = {"settings": facts, "region_polygons": settings.region_polygons}
    if hasattr(proposer, "wanted_weights"):
        wanted = proposer.wanted_weights(settings.model_dump())
        shared["weights"] = _sha256(wanted, download_first=options.download, weightless=weightless)
    return shared


def _sha256(wanted: WantedWeights, *, download_first: bool, weightless: bool) -> str | None:
    if download_first and wanted.to_fetch:
        download(wanted.to_fetch, download_progress())
    try:
        return wanted.identify()
    except MissingError:
        if not weightless:
            raise
        return wanted.sha256


def drawings_folder(project: Project, proposer: ModuleType) -> Path | None:
    """The folder of the project with the drawings that a proposer wants of each slide; None if it wants none."""
    folder: Path | None = getattr(project, proposer.INPUTS) if hasattr(proposer, "INPUTS") else None
    return folder


def not_drawn(slide_id: str, folder: Path, stray: Mapping[str, str]) -> SlideError:
    """The error of a slide without a drawing.

    Args:
        stray: names of drawings that are of no slide, by their ids.
    """
    near = nearest_ids(slide_id, stray, 1)
    hint = f"rename {stray[near[0]]}, if it is this slide's; or " if near else ""
    return SlideError(
        "E_ANNOTATION",
        f"it has no drawing: {folder / slide_id}.geojson does not exist",
        remedy=f"{hint}draw its regions in QuPath and export them as GeoJSON to that file",
    )
