"""sammil extract: patches and regions -> feature bags."""

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from sammil_cli import choices
from sammil_cli.config import ExtractSettings, Tolerance
from sammil_cli.console import download_progress
from sammil_cli.errors import SlideError
from sammil_cli.features.bag import EncoderFacts, check_finite, write_bag
from sammil_cli.features.encoder import Encoder
from sammil_cli.features.grouping import group_patches
from sammil_cli.features.quality import flags, measure, quality_record
from sammil_cli.patches.file import read_patches
from sammil_cli.patches.images import batches
from sammil_cli.regions.file import read_regions
from sammil_cli.slides.files import identify, open_slide
from sammil_cli.stages import quality_table
from sammil_cli.stages.per_slide import Plan, Task, limits_of, run_plan
from sammil_cli.stages.process_list import Row, refusal
from sammil_cli.stages.project import Project, RunOptions
from sammil_cli.stages.upstream import files_of, with_slides
from sammil_cli.stages.worker import own_device, threads
from sammil_cli.storage.code import code_version
from sammil_cli.storage.files import sha256_file, write_json
from sammil_cli.storage.weights import download

CODE = ("storage", "slides", "patches", "regions", "features", "stages/extract.py")
_LOCAL = ("encoder_weights", "batch_size")  # do not change the features


def run(project: Project, settings: ExtractSettings, options: RunOptions) -> list[Row]:
    """Encodes the patches of every slide with patches and regions; returns the process list; raises as `plan`."""
    rows = run_plan(plan(project, settings, options), options, limits_of(settings))
    quality_table.report("extract", project.bags, project.process_lists)
    return rows


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
        settings.membership_rule,
        settings.unreadable_share,
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
def _encoder(name: str, build: tuple[tuple[str, Any], ...]) -> Encoder:
    """One encoder per worker process, whatever the number of its slides, on the GPU of this process."""
    facts = dict(build)
    encoder: Encoder = choices.load(choices.ENCODERS, name).build(**{**facts, "device": own_device(facts["device"])})
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
    rule: str,
    unreadable_share: float,
) -> list[str]:
    """Writes one slide's bag and its quality into `folder`; returns remarks, and flags on the quality."""
    grid, regions = read_patches(patches), read_regions(regions_path)
    encoder = _encoder(name, build)
    with open_slide(path, grid.slide_mpp) as slide:
        # Readers wait for the disk and the decoder, so there are twice as many as cores.
        unreadable: list[int] = []
        reading = batches(
            slide, grid, encoder.prepare, batch_size=batch_size, threads=2 * threads(), unreadable=unreadable
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
    facts = EncoderFacts(
        name=encoder.name,
        weights_sha256=encoder.weights_sha256,
        dim=encoder.dim,
        patch_px=grid.patch_px,
        patch_mpp=grid.patch_mpp,
        patch_px_level0=grid.patch_px_level0,
    )
    bag = group_patches(grid.slide_id, regions, features, xy, facts, min_share=min_share, rule=rule, dtype=dtype)
    write_bag(folder / f"{grid.slide_id}.h5", bag, record)
    quality = measure(bag)
    write_json(folder / f"{grid.slide_id}.json", quality_record(quality))
    return [*slide.remarks, *notes, *flags(quality)]
