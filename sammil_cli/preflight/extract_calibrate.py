"""sammil extract --estimate, in a worker process: some patches of real slides are read and encoded, and timed."""

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sammil_cli.errors import SlideError
from sammil_cli.features.bag import write_bag
from sammil_cli.features.encoder import Encoder
from sammil_cli.jobs.extract import ExtractJob, build_encoder, grouped
from sammil_cli.patches.file import read_patches
from sammil_cli.patches.images import batches
from sammil_cli.patches.patch_grid import PatchGrid
from sammil_cli.preflight.gpu_memory import gpu_free, gpu_peak
from sammil_cli.regions.file import read_regions
from sammil_cli.runner.worker import age_seconds, own_device, peak_bytes, threads
from sammil_cli.slides.files import open_slide
from sammil_cli.storage.paths import BagPath

_PATCHES = 96  # of all slides of a process together; two batches of each, at most
_WARM = 2  # patches that a CPU encodes before it is timed; on a GPU it is a batch


@dataclass(frozen=True, kw_only=True)
class ExtractCosts:
    """What was measured.

    `reading`: reading and preparing, `encoding`, and `grouping` and writing the bag: seconds for a patch, each alone,
    on all cores of a process; `result_bytes`: of a bag, for a patch; `cold_seconds`: until a process is at work;
    `peak_bytes`, `gpu_bytes`: of a process; `gpu_free_bytes`: on its GPU, before.
    """

    reading: float
    encoding: float
    grouping: float
    result_bytes: float
    cold_seconds: float
    peak_bytes: int
    gpu_bytes: int
    gpu_free_bytes: int


def calibrate(jobs: Sequence[ExtractJob]) -> ExtractCosts:
    """Reads and encodes patches from the middle of each slide, and writes a bag of each, to a folder that goes again.

    Raises:
        SlideError: no patch can be read.
    """
    settings, place = jobs[0].settings, own_device(jobs[0].device)
    free = gpu_free(place)
    encoder = build_encoder(settings, jobs[0].device)
    cold, warmed, most = age_seconds(), False, min(2 * settings.batch_size, -(-_PATCHES // len(jobs)))
    seconds, patches, whole, size = np.zeros(3), 0, 0, 0
    for job in jobs:
        grid = read_patches(job.patches)
        prepared, reading = _prepared(job, _middle(grid, most), encoder)
        seconds[0] += reading
        if not warmed:
            encoder.encode(prepared[0][: _WARM if place == "cpu" else None])
            warmed = True
        start = time.perf_counter()
        features = np.concatenate([encoder.encode(batch) for batch in prepared])
        seconds[1] += time.perf_counter() - start
        grouping, written = _grouping(job, grid, features, encoder)
        seconds[2] += grouping
        patches, whole, size = patches + len(features), whole + len(grid.xy), size + written
    return ExtractCosts(
        reading=seconds[0] / patches,
        encoding=seconds[1] / patches,
        grouping=seconds[2] / whole,
        result_bytes=size / whole,
        cold_seconds=cold,
        peak_bytes=peak_bytes(),
        gpu_bytes=gpu_peak(place),
        gpu_free_bytes=free,
    )


def _middle(grid: PatchGrid, most: int) -> PatchGrid:
    """The patches in the middle of the grid's order."""
    first = max(0, len(grid.xy) - most) // 2
    return replace(grid, xy=grid.xy[first : first + most], scores={})


def _prepared(job: ExtractJob, grid: PatchGrid, encoder: Encoder) -> tuple[list[NDArray[np.float32]], float]:
    """Batches, read and prepared as `extract` does it, and the seconds of that without opening the slide."""
    unreadable: dict[int, SlideError] = {}
    number, size = 2 * threads(), job.settings.batch_size
    with open_slide(job.slide, grid.slide_mpp, grid.scene) as slide:
        start = time.perf_counter()
        prepared = list(batches(slide, grid, encoder.prepare, batch_size=size, threads=number, unreadable=unreadable))
        seconds = time.perf_counter() - start
    if not prepared:
        raise next(iter(unreadable.values()))
    return prepared, seconds


def _grouping(job: ExtractJob, grid: PatchGrid, features: NDArray[np.float32], encoder: Encoder) -> tuple[float, int]:
    """Seconds and bytes of the slide's whole bag; features that were measured stand for those that were not."""
    start = time.perf_counter()
    every = np.resize(features, (len(grid.xy), features.shape[1]))
    bag = grouped(grid, grid.xy, every, read_regions(job.regions), encoder, job.settings)
    with tempfile.TemporaryDirectory() as folder:
        path = BagPath(Path(folder) / f"{grid.slide_id}.h5")
        write_bag(path, bag, {})
        return time.perf_counter() - start, path.stat().st_size
