"""extract, one slide: pixels, patches and regions -> a feature bag and its quality."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sammil_cli import choices
from sammil_cli.config import EncodeSettings, ExtractSettings
from sammil_cli.errors import InputError, SlideError
from sammil_cli.features.bag import EncoderFacts, FeatureBag, check_finite, write_bag
from sammil_cli.features.encoder import Encoder, details_of
from sammil_cli.features.grouping import group_patches
from sammil_cli.features.making import EXTRACT, made_with
from sammil_cli.features.quality import flags, measure, quality_record
from sammil_cli.jobs.encoder_settings import patches_remark, settled
from sammil_cli.patches.file import read_patches
from sammil_cli.patches.images import batches
from sammil_cli.patches.lost import UnstoredError
from sammil_cli.patches.patch_grid import PatchGrid
from sammil_cli.regions.file import read_regions
from sammil_cli.regions.region_map import RegionMap
from sammil_cli.runner.spent import done, spending
from sammil_cli.runner.worker import own_device, threads
from sammil_cli.slides.files import open_slide
from sammil_cli.slides.slide import Slide
from sammil_cli.storage.files import Record
from sammil_cli.storage.paths import ArtefactsPath, BagPath, PatchesPath, RegionsPath, SlidePath
from sammil_cli.storage.summed import write_of_slide
from sammil_cli.tissue.artefact_maps import read_artefacts


@dataclass(frozen=True, kw_only=True)
class ExtractJob:
    """What one slide's bag is made from. `artefacts`: its maps, None where `segment` did not make any."""

    slide: SlidePath
    artefacts: ArtefactsPath | None
    patches: PatchesPath
    regions: RegionsPath
    settings: ExtractSettings
    device: str


def work(folder: Path, record: Record, job: ExtractJob) -> list[str]:
    """Writes one slide's bag and its quality into `folder`; returns remarks, and flags on the quality."""
    settings, grid, regions = job.settings, read_patches(job.patches), read_regions(job.regions)
    blank = None if job.artefacts is None else read_artefacts(job.artefacts).blank
    encoder = build_encoder(settings, job.device)
    with open_slide(job.slide, grid.slide_mpp, grid.scene) as slide:
        record = {**record, "read_by": slide.read_by}
        bag, remarks = bag_of(slide, grid, regions, encoder, settings, blank)
    made = made_with(job.patches, job.regions, {name: getattr(settings, name) for name in EXTRACT})
    write_bag(BagPath(folder / f"{job.patches.stem}.h5"), replace(bag, made_with=made), record)
    quality = measure(bag)
    write_of_slide(folder / f"{job.patches.stem}.json", quality_record(quality))
    return [*slide.remarks, *remarks, *flags(quality)]


def bag_of(
    slide: Slide,
    grid: PatchGrid,
    regions: RegionMap,
    encoder: Encoder,
    settings: ExtractSettings,
    blank: NDArray[np.uint8] | None = None,
) -> tuple[FeatureBag, list[str]]:
    """Encodes the patches of a slide and groups them by its regions; returns remarks, too.

    Args:
        blank: the slide's map of blank glass, None = not known.

    Raises:
        SlideError: `E_READ`, more patches than allowed cannot be read; `E_NAN`.
    """
    # Readers wait for the disk and the decoder, so there are twice as many as cores.
    unreadable: dict[int, SlideError] = {}
    reading = batches(
        slide,
        grid,
        encoder.prepare,
        batch_size=settings.batch_size,
        threads=2 * threads(),
        unreadable=unreadable,
        blank=blank,
    )
    encoded = encode_all(reading, encoder)
    remarks = left_out(grid, unreadable, settings.unreadable_share if encoded else 0.0)
    xy = np.delete(grid.xy, list(unreadable), axis=0)
    features = np.concatenate(encoded)
    check_finite(features.astype(settings.feature_dtype))
    if odd := patches_remark(settings, px=grid.patch_px, mpp=grid.patch_mpp):
        remarks = [*remarks, odd]
    return grouped(grid, xy, features, regions, encoder, settings), remarks


def encode_all(reading: Iterator[NDArray[Any]], encoder: Encoder) -> list[NDArray[np.float32]]:
    """The features of prepared batches, one array (b, dim) for each; says what the time goes into."""
    encoded: list[NDArray[np.float32]] = []
    while True:
        with spending("waiting for pixels"):
            batch = next(reading, None)
        if batch is None:
            return encoded
        with spending("encoding"):
            encoded.append(encoder.encode(batch))
        done("patches", len(batch))


def grouped(
    grid: PatchGrid,
    xy: NDArray[np.int32],
    features: NDArray[np.float32],
    regions: RegionMap,
    encoder: Encoder,
    settings: ExtractSettings,
) -> FeatureBag:
    """The bag of a slide's features (n, dim), of the patches at `xy`, grouped by its regions."""
    facts = EncoderFacts(
        name=encoder.name,
        weights_sha256=encoder.weights_sha256,
        dim=encoder.dim,
        patch_px=grid.patch_px,
        patch_mpp=grid.patch_mpp,
        patch_px_level0=grid.patch_px_level0,
        **asdict(details_of(encoder)),
    )
    return group_patches(
        grid.slide_id,
        regions,
        features,
        xy,
        facts,
        min_share=settings.membership_min_share,
        rule=settings.membership_rule,
        dtype=settings.feature_dtype,
    )


def left_out(grid: PatchGrid, unreadable: Mapping[int, SlideError], allowed: float) -> list[str]:
    """The remarks on patches that could not be read.

    Raises:
        SlideError: `E_READ`, they are a larger share than allowed.
    """
    places = len(grid.xy)
    unstored = [index for index, error in unreadable.items() if isinstance(error, UnstoredError)]
    damaged = [index for index in unreadable if index not in unstored]
    reasons = []
    for indices, what in (
        (damaged, "cannot be decoded"),
        (unstored, "need tiles inside tissue that the file does not hold"),
    ):
        if indices:
            x, y = grid.xy[indices[0]]
            reasons.append(f"{len(indices)} of {places} patches {what}, the first at x={x}, y={y}")
    if len(unreadable) > allowed * places:
        again = "copy or download the slide again" if damaged else "export or scan the slide again"
        share = f"{allowed:g} now" if allowed else "0 allows none"
        remedy = f"{again}; or leave them out: a larger unreadable_share in params.yaml ({share})"
        raise SlideError("E_READ", "; ".join(reasons), remedy=remedy)
    remarks = [f"unreadable: {len(unreadable)} of {places} patches are left out"] if unreadable else []
    if unstored:
        remarks.append(f"never-stored: {reasons[-1]}")
    return remarks


@lru_cache(maxsize=1)
def build_encoder(settings: EncodeSettings, device: str) -> Encoder:
    """One encoder per process, whatever the number of its slides, on the GPU of this process.

    Raises:
        InputError: what the settings ask for does not exist. MissingError: its weights are not here.
    """
    settings = settled(settings)
    pooling = {} if settings.encoder_pooling == "auto" else {"pooling": settings.encoder_pooling}
    encoder: Encoder = choices.load(choices.ENCODERS, settings.encoder).build(
        weights=Path(settings.encoder_weights) if settings.encoder_weights else None,
        device=own_device(device),
        backbone=settings.encoder_backbone,
        input_px=settings.encoder_input_px,
        **pooling,
    )
    if settings.encode_backend != "torch":
        if not hasattr(encoder, "run_by"):
            raise InputError(
                f"encoder {settings.encoder} runs no network of torch that {settings.encode_backend} could run",
                remedy="set encode_backend: torch",
            )
        encoder.run_by(settings.encode_backend)
    if settings.encode_precision != "float32":
        if not hasattr(encoder, "compute_in"):
            raise InputError(
                f"encoder {settings.encoder} computes in one precision only, not in {settings.encode_precision}",
                remedy="set encode_precision: float32",
            )
        encoder.compute_in(settings.encode_precision)
    return encoder
