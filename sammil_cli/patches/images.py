"""Patch images, read and prepared by threads while the consumer works on the previous ones."""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sammil_cli.errors import SlideError
from sammil_cli.patches.lost import check_stored
from sammil_cli.patches.patch_grid import PatchGrid
from sammil_cli.slides.pixels import RGB
from sammil_cli.slides.slide import Slide
from sammil_cli.tissue.artefact_maps import Map

Prepare = Callable[[RGB], NDArray[Any]]


def read_patch(slide: Slide, grid: PatchGrid, index: int) -> RGB:
    """One patch (patch_px, patch_px, 3) at the grid's resolution."""
    x, y = (int(v) for v in grid.xy[index])
    side = grid.patch_px_level0
    return slide.read_at((x, y), (side, side), (grid.patch_px, grid.patch_px))


def batches(
    slide: Slide,
    grid: PatchGrid,
    prepare: Prepare,
    *,
    batch_size: int,
    threads: int,
    unreadable: dict[int, SlideError] | None = None,
    blank: Map | None = None,
) -> Iterator[NDArray[Any]]:
    """Yields stacked prepared patches (b, …) in the grid's order, at most two batches ahead of the consumer.

    Decoders and array code release the interpreter lock, so threads scale and nothing is copied between processes.

    Args:
        unreadable: takes the patches that cannot be read, by index, with the reason; they are left out. None = they
            raise.
        blank: the slide's map of glass, see `patches.lost`.

    Raises:
        SlideError: `E_READ`, a patch cannot be decoded, or the file does not hold it (`UnstoredError`).
    """
    with ThreadPoolExecutor(threads) as pool:
        indices = iter(range(len(grid.xy)))

        def prepared(index: int) -> NDArray[Any]:
            patch = read_patch(slide, grid, index)
            check_stored(slide, grid, index, patch, blank)
            return prepare(patch)

        def submit() -> tuple[int, Future[NDArray[Any]]] | None:
            index = next(indices, None)
            return None if index is None else (index, pool.submit(prepared, index))

        waiting = deque(f for f in (submit() for _ in range(2 * batch_size)) if f is not None)
        try:
            while waiting:
                batch = []
                for index, future in list(islice(waiting, batch_size)):
                    try:
                        batch.append(future.result())
                    except SlideError as error:
                        if unreadable is None or error.code != "E_READ":
                            raise
                        unreadable[index] = error
                    waiting.popleft()
                    if (following := submit()) is not None:
                        waiting.append(following)
                if batch:
                    yield np.stack(batch)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
