"""Patch images, read and prepared by threads while the consumer works on the previous ones.

Neighbours in a row of the grid are read in one go (`Slide.read_together`), by one thread, and each prepared patch is
written to its place in the batch; a batch is an array of its own, which nothing copies.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sammil_cli.errors import SlideError
from sammil_cli.patches.lost import check_stored
from sammil_cli.patches.patch_grid import PatchGrid
from sammil_cli.slides.pixels import RGB
from sammil_cli.slides.slide import TOGETHER_PX, Slide
from sammil_cli.tissue.artefact_maps import Map

Prepare = Callable[[RGB], NDArray[Any]]
# What reads some patches: a function for each, in order; where it raises `SlideError`, that costs this patch only.
ReadRun = Callable[[range], Iterator[Callable[[], RGB]]]

_AHEAD = 2  # batches


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
    """Yields prepared patches (b, …) in the grid's order, at most two batches ahead of the consumer.

    Decoders and array code release the interpreter lock, so threads scale and nothing is copied between processes.

    Args:
        unreadable: takes the patches that cannot be read, by index, with the reason; they are left out. None = they
            raise.
        blank: the slide's map of glass, see `patches.lost`.

    Raises:
        SlideError: `E_READ`, a patch cannot be decoded, or the file does not hold it (`UnstoredError`).
    """
    return prepared(
        len(grid.xy),
        partial(neighbours, grid),
        partial(_read_run, slide, grid, blank),
        prepare,
        batch_size=batch_size,
        threads=threads,
        unreadable=unreadable,
    )


def prepared(
    count: int,
    runs: Callable[[range, int], list[range]],
    read: ReadRun,
    prepare: Prepare,
    *,
    batch_size: int,
    threads: int,
    unreadable: dict[int, SlideError] | None = None,
) -> Iterator[NDArray[Any]]:
    """As `batches`, of `count` patches from anywhere.

    Args:
        runs: parts a batch into runs of at most that many patches, each read by one thread.
        read: reads a run.
    """
    most = max(1, batch_size // threads)
    with ThreadPoolExecutor(threads) as pool:

        def submit(first: int) -> tuple[_Batch, list[Future[None]]]:
            batch = _Batch(first, min(batch_size, count - first))
            parts = runs(range(first, first + batch.size), most)
            return batch, [pool.submit(batch.fill, read, run, prepare) for run in parts]

        starts = iter(range(0, count, batch_size))
        waiting: deque[tuple[_Batch, list[Future[None]]]] = deque()
        try:
            while True:
                while len(waiting) <= _AHEAD and (first := next(starts, None)) is not None:
                    waiting.append(submit(first))
                if not waiting:
                    return
                batch, filling = waiting.popleft()
                for future in filling:
                    future.result()
                if (filled := batch.settled(unreadable)) is not None:
                    yield filled
                del batch, filled  # so that its memory goes when the consumer is done with it
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def neighbours(grid: PatchGrid, indices: range, most: int) -> list[range]:
    """Runs of at most `most` patches that lie side by side in a row, and are not too large to be read in one go."""
    side = grid.patch_px_level0
    most = max(1, min(most, TOGETHER_PX // side**2))
    starts = [indices.start]
    for one, other in pairwise(indices):
        (x, y), (next_x, next_y) = grid.xy[one], grid.xy[other]
        if y != next_y or not 0 < next_x - x <= side or other - starts[-1] >= most:
            starts.append(other)
    return [range(start, stop) for start, stop in pairwise([*starts, indices.stop])] if len(indices) else []


def _read_run(slide: Slide, grid: PatchGrid, blank: Map | None, run: range) -> Iterator[Callable[[], RGB]]:
    side, out = (grid.patch_px_level0,) * 2, (grid.patch_px,) * 2
    corners = [(int(x), int(y)) for x, y in grid.xy[run.start : run.stop]]
    together = slide.read_together(corners, side, out) if len(run) > 1 else None

    def one(place: int, index: int) -> RGB:
        patch = read_patch(slide, grid, index) if together is None else together[place]
        check_stored(slide, grid, index, patch, blank)
        return patch

    return (partial(one, place, index) for place, index in enumerate(run))


class _Batch:
    """Places for the prepared patches of a batch, filled by several threads."""

    def __init__(self, first: int, size: int) -> None:
        self.size = size
        self._first, self._lock = first, threading.Lock()
        self._prepared: NDArray[Any] | None = None  # as large as its patches are, once one is prepared
        self._errors: dict[int, SlideError] = {}

    def fill(self, read: ReadRun, run: range, prepare: Prepare) -> None:
        """Reads and prepares patches of one run; keeps the errors of each."""
        for index, patch in zip(run, read(run), strict=True):
            try:
                self._put(index, prepare(patch()))
            except SlideError as error:  # raised, or counted, when it is the patch's turn
                self._errors[index] = error

    def settled(self, unreadable: dict[int, SlideError] | None) -> NDArray[Any] | None:
        """The prepared patches (b, …), None where none could be read.

        Raises:
            SlideError: the first that does not count, see `batches`.
        """
        for index, error in sorted(self._errors.items()):
            if unreadable is None or error.code != "E_READ":
                raise error
            unreadable[index] = error
        if self._prepared is None or not self._errors:
            return self._prepared
        return np.delete(self._prepared, [index - self._first for index in self._errors], axis=0)

    def _put(self, index: int, prepared: NDArray[Any]) -> None:
        with self._lock:
            if self._prepared is None:
                self._prepared = _room(self.size, prepared)
        first = self._prepared[0]
        if (prepared.shape, prepared.dtype) != (first.shape, first.dtype):  # numpy would repeat or round it in silence
            one, other = (f"{array.dtype} {array.shape}" for array in (prepared, first))
            raise ValueError(f"the encoder prepares patches of one slide as {one} and as {other}")
        self._prepared[index - self._first] = prepared


def _room(size: int, one: NDArray[Any]) -> NDArray[Any]:
    """An array (size, …) for arrays like `one`, whose axes lie in memory as those of `one` do."""
    axes = np.argsort([-stride for stride in one.strides], kind="stable")
    room = np.empty((size, *(one.shape[axis] for axis in axes)), one.dtype)
    return room.transpose(0, *(np.argsort(axes) + 1))
