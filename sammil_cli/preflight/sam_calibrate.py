"""sammil sam --estimate, in a worker process: a short measurement of what regions cost on this machine."""

import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import shapely
from shapely import MultiPolygon

from sammil_cli import choices
from sammil_cli.config import SamSettings
from sammil_cli.jobs.sam import SamJob, write_proposed
from sammil_cli.regions.propose import View, lay_views
from sammil_cli.regions.region_map import Canvas, Proposal
from sammil_cli.regions.region_mask import RegionMask
from sammil_cli.regions.tiles import Tile
from sammil_cli.runner.worker import age_seconds, own_device, peak_bytes
from sammil_cli.tissue.mask import TissueMask, read_tissue

_SQUARES = 12  # along a side of a picture: as many regions as SAM finds, about, where tissue fills it
_GPU_CONTEXT_BYTES = 500 * 2**20  # CUDA's own memory of a process, which torch does not count


@dataclass(frozen=True, kw_only=True)
class Costs:
    """What was measured.

    `seconds`: of one unit of the proposer's work; `other_seconds` and `result_bytes`: reading, merging, checking and
    writing, for a megapixel of pictures; `cold_seconds`: until a process is at work, without reading weights;
    `peak_bytes`, `gpu_bytes`: of a process; `gpu_free_bytes`: on its GPU, before.
    """

    seconds: Mapping[str, float]
    other_seconds: float
    result_bytes: float
    cold_seconds: float
    peak_bytes: int
    gpu_bytes: int
    gpu_free_bytes: int


class _Squares:
    """A proposer that takes no time; keeps the last view."""

    weights_sha256: str | None = None
    partition = False

    def __init__(self) -> None:
        self.views: list[View] = []

    def propose(self, view: View) -> list[Proposal]:
        """Squares on the tissue, 12 along a side of the picture."""
        self.views.append(view)
        rows, columns = view.tissue.shape
        down, across = (np.linspace(0, size, _SQUARES + 1).astype(int) for size in (rows, columns))
        parts = [(x0, y0, view.tissue[y0:y1, x0:x1]) for y0, y1 in pairwise(down) for x0, x1 in pairwise(across)]
        return [Proposal(mask=RegionMask.of(part, (int(x), int(y)))) for x, y, part in parts if part.any()]


def calibrate(job: SamJob) -> Costs:
    """Works on one picture of a slide, with squares for regions, then lets the proposer measure itself on it."""
    module, place = choices.load(choices.PROPOSERS, job.settings.proposer), own_device(job.device)
    free = _gpu_free(place)
    tissue = _one_picture(read_tissue(job.tissue), job.settings)
    squares = _Squares()
    with tempfile.TemporaryDirectory() as folder:
        starting, begin = age_seconds(), time.perf_counter()
        write_proposed(Path(folder), {}, job, tissue, squares)  # what is imported and cached is so now
        squares.views.clear()
        warm = time.perf_counter()
        write_proposed(Path(folder), {}, job, tissue, squares)
        seconds = time.perf_counter() - warm
        size = sum(file.stat().st_size for file in Path(folder).iterdir())
    megapixels = sum(view.tissue.size for view in squares.views) / 1e6
    fullest = max(squares.views, key=lambda view: int(np.count_nonzero(view.tissue)))
    rates = module.rates(job.settings.model_dump(), place, fullest) if hasattr(module, "rates") else {}
    return Costs(
        seconds=rates,
        other_seconds=seconds / megapixels,
        result_bytes=size / megapixels,
        cold_seconds=starting + max(0.0, warm - begin - seconds),
        peak_bytes=peak_bytes(),
        gpu_bytes=_gpu_peak(place),
        gpu_free_bytes=free,
    )


def _one_picture(tissue: TissueMask, settings: SamSettings) -> TissueMask:
    """The tissue of one tile, the one with most of it; all of it where one picture shows all."""
    if settings.sam_mpp is None:
        return tissue
    canvas, tiles = views_of(tissue, settings)
    corner = np.array([canvas.origin_px, canvas.origin_px]).ravel()
    windows = [
        shapely.box(*(np.array([x, y, x + width, y + height]) * canvas.downsample + corner))
        for x, y, width, height in (tile.window for tile in tiles)
    ]
    held = shapely.intersection(tissue.polygons, windows)
    most = held[int(np.argmax(shapely.area(held)))]
    parts = [part for part in shapely.get_parts(most) if part.geom_type == "Polygon"]
    return replace(tissue, polygons=MultiPolygon(parts))


def views_of(tissue: TissueMask, settings: SamSettings) -> tuple[Canvas, list[Tile]]:
    """The canvas and the pictures of a slide under these settings, see `regions.propose.lay_views`."""
    canvas_px, mpp, overlap = settings.sam_canvas_px, settings.sam_mpp, settings.sam_tile_overlap
    return lay_views(tissue, tissue.slide_mpp, canvas_px=canvas_px, mpp=mpp, overlap=overlap)


def _gpu_free(device: str) -> int:
    if not device.startswith("cuda"):
        return 0
    import torch

    return int(torch.cuda.mem_get_info(device)[0])


def _gpu_peak(device: str) -> int:
    torch = sys.modules.get("torch")
    if not device.startswith("cuda") or torch is None:
        return 0
    return int(torch.cuda.max_memory_reserved(device)) + _GPU_CONTEXT_BYTES
