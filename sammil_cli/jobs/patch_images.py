"""patch --images, one slide: its patches, or some, as pictures: the pixels that `extract` gives to an encoder."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sammil_cli.config import ExtractSettings
from sammil_cli.errors import SlideError
from sammil_cli.jobs.extract import left_out
from sammil_cli.patches.file import read_patches
from sammil_cli.patches.images import batches
from sammil_cli.patches.patch_grid import PatchGrid
from sammil_cli.runner.worker import threads
from sammil_cli.slides.files import open_slide
from sammil_cli.slides.pixels import RGB
from sammil_cli.storage.files import Record, digest, write_json
from sammil_cli.storage.paths import ArtefactsPath, PatchesPath, SlidePath
from sammil_cli.storage.picture_file import encode_picture
from sammil_cli.tissue.artefact_maps import read_artefacts

RECORD = ".sammil.json"  # in a slide's folder: how the pictures were made, and how long each is
LONGEST_NAME = "_x2147483647_y2147483647.png"  # after the slide's id
_SEED_DIGITS = 15  # of a slide's digest, in hex


@dataclass(frozen=True, kw_only=True)
class PatchImagesJob:
    """What one slide's pictures are made from. `count`: how many of its patches, None = all; drawn with `seed`."""

    slide: SlidePath
    patches: PatchesPath
    artefacts: ArtefactsPath | None
    count: int | None
    seed: int
    settings: ExtractSettings


def work(folder: Path, record: Record, job: PatchImagesJob) -> list[str]:
    """Writes `<slide>_x<x>_y<y>.png` of each patch, level-0 corner, and the record; returns remarks.

    Raises:
        SlideError: `E_READ`, more patches than `unreadable_share` allows cannot be read.
    """
    grid = read_patches(job.patches)
    grid = only(grid, chosen(len(grid.xy), job.count, job.seed, grid.slide_id))
    blank = None if job.artefacts is None else read_artefacts(job.artefacts).blank
    unreadable: dict[int, SlideError] = {}
    sizes: dict[str, int] = {}

    def write(index: int, patch: RGB) -> None:
        x, y = grid.xy[index]
        content, name = encode_picture(".png", patch), f"{grid.slide_id}_x{x}_y{y}.png"
        (folder / name).write_bytes(content)
        sizes[name] = len(content)

    with open_slide(job.slide, grid.slide_mpp, grid.scene) as slide, ThreadPoolExecutor(threads()) as pool:
        places = iter(range(len(grid.xy)))
        for batch in batches(
            slide,
            grid,
            np.copy,
            batch_size=job.settings.batch_size,
            threads=threads(),
            unreadable=unreadable,
            blank=blank,
        ):
            readable = (index for index in places if index not in unreadable)
            list(pool.map(write, [next(readable) for _ in batch], batch))
    remarks = left_out(grid, unreadable, job.settings.unreadable_share if sizes else 0.0)
    files = dict(sorted(sizes.items()))
    write_json(folder / RECORD, {**record, "files": files, "sum": digest([record["key"], files])})
    return [*slide.remarks, *remarks]


def only(grid: PatchGrid, indices: NDArray[np.int64]) -> PatchGrid:
    """Some patches of a grid."""
    scores = {name: values[indices] for name, values in grid.scores.items()}
    return replace(grid, xy=grid.xy[indices], scores=scores)


def chosen(patches: int, count: int | None, seed: int, slide_id: str) -> NDArray[np.int64]:
    """Which patches of a slide are written: all, or one drawn from each of `count` equal parts of the grid's order."""
    every = np.arange(patches)
    if count is None or count >= patches:
        return every
    generator = np.random.default_rng([seed, int(digest(slide_id)[:_SEED_DIGITS], 16)])
    return np.array([generator.choice(part) for part in np.array_split(every, count)], np.int64)
