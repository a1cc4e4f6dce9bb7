"""Where the time of encoding goes, on an Aperio pyramid larger than the cache: reading and preparing against the model.

The slide is that of `bench_reading.py`. Patches of 512 px at half its resolution, and of 256 px of level 0, in the
order of the grid, go through `patches.images.batches` into ResNet-50 and SqueezeNet with random weights, as `extract`
does it. Then the same patches are read in one go with their neighbours and one by one, by our reader and by OpenSlide.
Last, the encoder `texture` is held against its plain words in numpy, as they were before, too: where the C library
gave freed memory back each time (`runner.worker.keep_freed_memory`). Each part checks first that both give the same.
Prints CPU milliseconds per patch and ratios.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import texture_reference
import torch
from bench_reading import OFFSET_PX, SIZE_PX, TILES, open_through_openslide, pictures, write_slide
from numpy.typing import NDArray
from torchvision import models

from sammil_cli.features.encoders.texture import measure as now
from sammil_cli.features.torch_encoder import TorchEncoder
from sammil_cli.patches import images
from sammil_cli.patches.patch_grid import PatchGrid
from sammil_cli.runner.worker import keep_freed_memory
from sammil_cli.slides.files import open_slide
from sammil_cli.slides.slide import Slide
from sammil_cli.storage.paths import SlidePath

PATCHES = ((512, 1024), (256, 256))  # side in pixels, and in those of level 0
# Of what extraction takes, in per cent: ResNet-50 as the issue has it; SqueezeNet is to be bound by the model.
TARGETS = {"resnet50": 10.0, "squeezenet1_1": 50.0}
TEXTURE_TARGET, TEXTURE_PX = 3.0, (128, 512)
BATCH, THREADS = 32, 2

Measure = Callable[[NDArray[np.uint8]], NDArray[np.float32]]


def main() -> None:
    """Composes the slide, then each part."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--patches", type=int, default=64, help="encoded, of each kind")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--tiles", type=Path, default=TILES, help="a folder of pictures of tissue")
    asked = parser.parse_args()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    patterns = pictures(asked.tiles)
    textured = [[resized(picture, px) for picture in patterns[:16]] for px in TEXTURE_PX]
    before = [cost(texture_reference.measure, patches, asked.repeats) for patches in textured]
    keep_freed_memory()
    with tempfile.TemporaryDirectory() as name:
        path = write_slide(Path(name) / "aperio.svs", patterns, "422", 70)
        for patch_px, side in PATCHES:
            grid = grid_of(patch_px, side, asked.patches)
            print(f"patches of {patch_px} px, {side} px of level 0")
            for word in TARGETS:
                print_shares(path, grid, word, asked.repeats)
            for opened in (open_slide, open_through_openslide):
                print_together(path, grid, opened, asked.repeats)
    for patches, slow in zip(textured, before, strict=True):
        print_texture(patches, slow, asked.repeats)


def resized(picture: NDArray[np.uint8], px: int) -> NDArray[np.uint8]:
    """A tile as a patch."""
    return np.asarray(cv2.resize(picture, (px, px)), np.uint8)


def grid_of(patch_px: int, side: int, number: int) -> PatchGrid:
    """The first rows of a grid over the whole slide."""
    across, down = ((size - offset) // side for size, offset in zip(SIZE_PX, OFFSET_PX, strict=True))
    corners = [(OFFSET_PX[0] + x * side, OFFSET_PX[1] + y * side) for y in range(down) for x in range(across)]
    return PatchGrid(
        slide_id="aperio",
        xy=np.array(corners[:number], np.int32),
        patch_px=patch_px,
        patch_mpp=0.25 * side / patch_px,
        patch_px_level0=side,
        slide_mpp=0.25,
        slide_size_px=SIZE_PX,
        bounds_px=(0, 0, *SIZE_PX),
    )


def encoder_of(word: str) -> TorchEncoder:
    """The encoder as sammil has it, with random weights."""
    torch.manual_seed(0)
    model = models.get_model(word, weights=None)
    module = torch.nn.Sequential(*list(model.children())[:-3]) if word == "resnet50" else model.features
    return TorchEncoder(module, name=word, dim=1, input_px=224, device="cpu", sha256="")


def print_shares(path: SlidePath, grid: PatchGrid, word: str, repeats: int) -> None:
    """CPU of reading and preparing, and of the model."""
    encoder, times = encoder_of(word), []
    encoder.encode(np.zeros((BATCH, 3, 224, 224), np.float32))
    for _ in range(repeats):
        spent = [0.0, 0.0]
        with open_slide(path) as slide:
            reading = images.batches(slide, grid, encoder.prepare, batch_size=BATCH, threads=THREADS)
            start = time.process_time()
            prepared = list(reading)
            spent[0] = time.process_time() - start
        for batch in prepared:
            start = time.process_time()
            encoder.encode(batch)
            spent[1] += time.process_time() - start
        times.append([1000 * seconds / len(grid.xy) for seconds in spent])
    reading_ms, model_ms = np.median(times, axis=0)
    share = statistics.median(100 * one / (one + other) for one, other in times)
    print(
        f"  {word}: reading and preparing {reading_ms:.2f} ms, model {model_ms:.2f} ms: {share:.1f} % of extraction "
        f"{verdict(share <= TARGETS[word], f'at most {TARGETS[word]:g} %')}"
    )


def print_together(path: SlidePath, grid: PatchGrid, opened: Callable[[SlidePath], Slide], repeats: int) -> None:
    """CPU of reading neighbours in one go, and one by one, by one thread."""
    side, out = (grid.patch_px_level0,) * 2, (grid.patch_px,) * 2
    runs = [run for first in range(0, len(grid.xy), BATCH) for run in rows(grid, first)]

    def together(slide: Slide) -> Iterator[NDArray[np.uint8]]:
        for run in runs:
            yield from (
                slide.read_together([(int(x), int(y)) for x, y in grid.xy[run.start : run.stop]], side, out) or ()
            )

    def alone(slide: Slide) -> Iterator[NDArray[np.uint8]]:
        return (images.read_patch(slide, grid, index) for index in range(len(grid.xy)))

    with opened(path) as slide:
        for one, other in zip(together(slide), alone(slide), strict=True):
            np.testing.assert_array_equal(one, other)
        name = slide.read_by
    times = []
    for _ in range(repeats):
        times.append([])
        for read in (together, alone):
            with opened(path) as slide:
                start = time.process_time()
                for _ in read(slide):
                    pass
                times[-1].append(1000 * (time.process_time() - start) / len(grid.xy))
    fast, slow = np.median(times, axis=0)
    ratio = statistics.median(other / one for one, other in times)
    print(f"  {name}: {fast:.2f} ms with neighbours, {slow:.2f} ms one by one: {ratio:.2f}x, equal pixels")


def rows(grid: PatchGrid, first: int) -> list[range]:
    """The neighbours of a batch."""
    return images.neighbours(grid, range(first, min(first + BATCH, len(grid.xy))), BATCH // THREADS)


def cost(measure: Measure, patches: list[NDArray[np.uint8]], repeats: int) -> float:
    """CPU milliseconds per patch."""
    times = []
    for _ in range(repeats):
        start = time.process_time()
        for patch in patches:
            measure(patch)
        times.append(1000 * (time.process_time() - start) / len(patches))
    return min(times)


def print_texture(patches: list[NDArray[np.uint8]], before: float, repeats: int) -> None:
    """CPU of the encoder `texture`, and of its plain words, before and after memory was kept."""
    plain, ours = (np.stack([measure(patch) for patch in patches]) for measure in (texture_reference.measure, now))
    np.testing.assert_allclose(ours, plain, rtol=2e-6, atol=1e-6)
    fast, slow = cost(now, patches, repeats), cost(texture_reference.measure, patches, repeats)
    print(
        f"texture, {patches[0].shape[0]} px: {fast:.2f} ms; plain numpy {slow:.2f} ms, {slow / fast:.1f}x; "
        f"where freed memory is given back, as it was, {before:.2f} ms, {before / fast:.1f}x "
        f"{verdict(slow / fast >= TEXTURE_TARGET, f'{TEXTURE_TARGET:g}x')}"
    )


def verdict(met: bool, target: str) -> str:
    """The target, and whether it is met."""
    return f"(target {target}{'' if met else ': missed'})"


if __name__ == "__main__":
    main()
