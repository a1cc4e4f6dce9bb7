"""sammil extract: patches and regions -> feature bags."""

import os
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from sammil_cli import choices
from sammil_cli.config import ExtractSettings, Tolerance
from sammil_cli.console import download_progress
from sammil_cli.errors import SlideError
from sammil_cli.features.bag import EncoderFacts, FeatureBag, check_finite, mean_group_features, write_bag
from sammil_cli.features.encoder import Encoder
from sammil_cli.patches.file import read_patches
from sammil_cli.patches.images import batches
from sammil_cli.regions.file import read_regions
from sammil_cli.regions.membership import find_members, smallest_region
from sammil_cli.slides.files import identify, open_slide
from sammil_cli.stages.per_slide import Plan, Task, limits_of, run_plan
from sammil_cli.stages.process_list import Row, refusal
from sammil_cli.stages.project import Project, RunOptions
from sammil_cli.stages.upstream import files_of, with_slides
from sammil_cli.storage.code import code_version
from sammil_cli.storage.files import sha256_file
from sammil_cli.storage.weights import download

CODE = ("storage", "slides", "patches", "regions", "features", "stages/extract.py")
_LOCAL = ("encoder_weights", "batch_size")  # do not change the features


def run(project: Project, settings: ExtractSettings, options: RunOptions) -> list[Row]:
    """Encodes the patches of every slide with patches and regions; returns the process list; raises as `plan`."""
    return run_plan(plan(project, settings, options), options, limits_of(settings))


def plan(project: Project, settings: ExtractSettings, options: RunOptions) -> Plan:
    """What there is to do.

    Raises:
        MissingError: the encoder's weights are not here; nothing has been done then.
    """
    module = choices.load(choices.ENCODERS, settings.encoder)
    if options.download and hasattr(module, "WEIGHTS"):
        download(module.WEIGHTS, download_progress())
    build = {
        "weights": Path(settings.encoder_weights) if settings.encoder_weights else None,
        "device": options.device,
        "backbone": settings.encoder_backbone,
        "input_px": settings.encoder_input_px,
    }
    # Fails here, before any work, when something is missing; the device may be that of another machine.
    encoder: Encoder = module.build(**{**build, "device": "cpu"})
    facts = settings.model_dump(exclude={*_LOCAL, *Tolerance.model_fields})
    shared = {"settings": facts, "weights": encoder.weights_sha256, "code": code_version(*CODE)}
    patches = files_of(project.patches, ".h5", "patch", options.only)
    pairs, gone = with_slides(patches, project.slides)
    regionless = [path.stem for path, _ in pairs if not (project.regions / path.name).exists()]
    lack = SlideError("E_UPSTREAM", f"it has no regions in {project.regions}", remedy="run: sammil sam")
    call = (
        settings.encoder,
        tuple(build.items()),
        settings.batch_size,
        settings.feature_dtype,
        settings.membership_min_share,
        settings.unreadable_share,
        max(1, (os.cpu_count() or 1) // options.workers),
    )
    tasks = [
        Task(
            slide_id=path.stem,
            recipe={
                "slide": identify(slide),
                "patches": sha256_file(path),
                "regions": sha256_file(project.regions / path.name),
                **shared,
            },
            arguments=(slide, path, project.regions / path.name, *call),
        )
        for path, slide in pairs
        if path.stem not in regionless
    ]
    refused = [*gone, *(refusal(slide_id, lack) for slide_id in regionless)]
    out, listing = project.bags, project.process_lists / "extract.csv"
    return Plan(step="extract", tasks=tasks, work=work, out=out, process_list=listing, refused=refused)


@lru_cache(maxsize=1)
def _encoder(name: str, build: tuple[tuple[str, Any], ...], threads: int) -> Encoder:
    """One encoder per worker process, whatever the number of its slides."""
    encoder: Encoder = choices.load(choices.ENCODERS, name).build(**dict(build))
    if torch := sys.modules.get("torch"):  # some encoders need none
        torch.set_num_threads(threads)
    return encoder


def work(
    folder: Path,
    record: dict[str, Any],
    path: Path,
    patches: Path,
    regions_path: Path,
    name: str,
    build: tuple[tuple[str, Any], ...],
    batch_size: int,
    dtype: str,
    min_share: float,
    unreadable_share: float,
    threads: int,
) -> list[str]:
    """Writes one slide's bag into `folder`."""
    grid, regions = read_patches(patches), read_regions(regions_path)
    encoder = _encoder(name, build, threads)
    with open_slide(path, grid.slide_mpp) as slide:
        # Readers wait for the disk and the decoder, so there are twice as many as cores.
        unreadable: list[int] = []
        reading = batches(
            slide, grid, encoder.prepare, batch_size=batch_size, threads=2 * threads, unreadable=unreadable
        )
        encoded = [encoder.encode(batch) for batch in reading]
    if len(unreadable) > unreadable_share * len(grid.xy) or not encoded:
        raise SlideError(
            "E_READ",
            f"{len(unreadable)} of {len(grid.xy)} patches cannot be decoded, the first at "
            f"x={grid.xy[unreadable[0]][0]}, y={grid.xy[unreadable[0]][1]}",
            remedy="copy or download the slide again; or leave them out: unreadable_share in params.yaml",
        )
    notes = [f"unreadable: {len(unreadable)} of {len(grid.xy)} patches are left out"] if unreadable else []
    xy = np.delete(grid.xy, unreadable, axis=0)
    features = np.concatenate(encoded)
    check_finite(features.astype(dtype))
    members = find_members(regions, xy, grid.patch_px_level0, min_share)
    group_features, group_region = mean_group_features(features, members)
    bag = FeatureBag(
        slide_id=grid.slide_id,
        features=features.astype(dtype),
        xy=xy,
        region=smallest_region(members, regions.area_px, len(xy)),
        region_area=regions.paper_area_px,
        region_area_um2=regions.area_um2,
        group_features=group_features.astype(dtype),
        group_region=group_region,
        members=members,
        encoder=EncoderFacts(
            name=encoder.name,
            weights_sha256=encoder.weights_sha256,
            dim=encoder.dim,
            patch_px=grid.patch_px,
            patch_mpp=grid.patch_mpp,
            patch_px_level0=grid.patch_px_level0,
        ),
    )
    write_bag(folder / f"{grid.slide_id}.h5", bag, record)
    return [*slide.remarks, *notes]
