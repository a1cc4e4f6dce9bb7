"""sammil tiles: folders of pre-cut tiles -> feature bags without regions."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from sammil_cli import console
from sammil_cli.config import TilesSettings
from sammil_cli.errors import InputError, SlideError
from sammil_cli.jobs.tiles import TilesJob, work
from sammil_cli.patches.tile_folders import TileFolders, find_tiles, tiles_in
from sammil_cli.patches.tile_names import Naming, naming_of
from sammil_cli.project.code_in_use import code_of_slide
from sammil_cli.project.process_list import Row, refusal
from sammil_cli.project.project import Project, RunOptions, check_only
from sammil_cli.runner.inputs import Input
from sammil_cli.runner.per_slide import Plan, Task, limits_of, run_plan
from sammil_cli.stages.encoding import encoder_in_use
from sammil_cli.storage.files import digest, sha256_file

LOCAL = ("tiles_names",)  # where names say that tiles lie counts


def run(project: Project, settings: TilesSettings, options: RunOptions) -> list[Row]:
    """Encodes the tiles of every slide into `project.bags`; returns the process list; raises as `plan`."""
    found = find_tiles(project.tiles)
    console.say(f"{project.tiles}: {found.inventory()}", *_said(found, settings))
    return run_plan(partial(plan, project, settings, options), options, limits_of(settings))


def plan(project: Project, settings: TilesSettings, options: RunOptions) -> Plan[TilesJob]:
    """What is to do. All names are looked at, and the content of all tiles; no picture is opened.

    Raises:
        InputError: there are no tiles, their names can be read in two ways, the bags would lie among tiles, or `only`
            names another slide.
        MissingError: the encoder's weights are not here.
    """
    found = find_tiles(project.tiles)
    check_only(options.only, found.ids, str(project.tiles))
    _refuse_to_write_there(found, project.bags)
    naming = named([found], settings.tiles_names)
    settings, shared = encoder_in_use(settings, options, LOCAL)
    code = code_of_slide("tiles", word=settings.encoder, backend=settings.encode_backend)
    tasks, refused = [], []
    for slide_id in sorted(found.ids):
        if options.only is not None and slide_id not in options.only:
            continue
        try:
            job = _job(found, slide_id, naming, settings, options.device)
        except SlideError as error:
            refused.append(refusal(slide_id, error))
            continue
        tiles = Input.of(job.folder, tiles_in, _identify)
        places = None if job.places is None else [job.unit, digest([job.names, job.places.tolist()])]
        inputs = {"id": slide_id, "tiles": tiles, "places": places}
        tasks.append(Task.of(slide_id, job, {**inputs, **shared}, code, strict=settings.strict_versions))
    out, process_lists = project.bags, project.process_lists
    return Plan(stage="tiles", tasks=tasks, work=work, out=out, process_lists=process_lists, refused=refused)


def named(found: Sequence[TileFolders], tiles_names: str | None) -> Naming:
    """How the names say where tiles lie, settled by all slides; raises as `patches.tile_names.naming_of`."""
    names = {slide: [Path(name).stem for name in of_slide] for one in found for slide, of_slide in one.names.items()}
    return naming_of(names, tiles_names)


def _refuse_to_write_there(found: TileFolders, out: Path) -> None:
    """Refuses a slide's folder of tiles as the folder of bags: what is called like a slide there may be removed.

    Raises:
        InputError: it is one.
    """
    place = out.resolve()
    if inside := next((folder for folder in found.folders.values() if folder.resolve() == place), None):
        raise InputError(f"{inside} holds tiles, and is to hold the bags", remedy="give another folder: --out DIR")


def _said(found: TileFolders, settings: TilesSettings) -> list[str]:
    """What was found of all slides, and what is not known of them."""
    unknown = "µm per pixel are not known, and the bags say so; tiles_mpp in params.yaml gives them"
    return [named([found], settings.tiles_names).said, *([unknown] if settings.tiles_mpp is None else [])]


def _job(found: TileFolders, slide_id: str, naming: Naming, settings: TilesSettings, device: str) -> TilesJob:
    """What is to do for one slide.

    Raises:
        SlideError: `E_TILES`, its folder or a tile's name is in doubt.
    """
    if slide_id in found.refused:
        raise found.refused[slide_id]
    names = list(found.names[slide_id])
    stems = [Path(name).stem for name in names]
    places = naming.places(stems)
    if places is not None:  # by rows, as grids are, so that batches are those of the slide's own patches
        order = np.lexsort(places.T)
        names, places = [names[index] for index in order], places[order]
    elif len(set(stems)) < len(stems):
        twice = next(stem for stem in stems if stems.count(stem) > 1)
        message = f"several of its tiles are called {twice!r}, with different suffixes"
        raise SlideError("E_TILES", message, remedy="keep one of each")
    return TilesJob(
        slide_id=slide_id,
        folder=found.folders[slide_id],
        names=names,
        places=places,
        unit=naming.unit,
        settings=settings,
        device=device,
    )


def _identify(folder: Path) -> str:
    """A digest of a slide's tiles: their names and all of their content."""
    return digest([[path.name, sha256_file(path)] for path in tiles_in(folder)])
