"""Segmenting and the grid of patches against the published protocol, segment + patch against reading the thumbnail.

A slide of 60 000 x 50 000 px is made in a temporary folder: ragged synthetic tissue in JPEG tiles, each different tile
encoded once. The published protocol, in our own words: for each contour, each corner of the grid over its bounding box
is asked by a Python call whether one of four points around the patch's centre lies in the contour (OpenCV's point test)
and the centre in none of its holes; in one process, so that its CPU time is one number. The tissue is ours, and
contours are as the protocol has them, a point for each pixel of the segmented level. Segmenting is compared on real
slides, too, where SAMMIL_TEST_DATA has them (`segment_protocol.py`). Prints CPU milliseconds of one thread, ratios, how
far the two sets of patches agree, and the highest memory of a process that segments one slide.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # read when numpy is imported: busy cores wait for its threads

import cv2
import imagecodecs
import numpy as np
import openslide
import tifffile
from numpy.typing import NDArray
from segment_protocol import segment_as_published

from sammil_cli.config import PatchSettings, SegmentSettings
from sammil_cli.jobs.segment import SegmentJob
from sammil_cli.patches.grid import GridSpec, make_grid
from sammil_cli.project.project import Project, RunOptions
from sammil_cli.slides.files import open_slide
from sammil_cli.stages import patch, segment
from sammil_cli.storage.paths import SlidePath
from sammil_cli.tissue.mask import TissueMask, read_tissue

SIZE_PX, MPP, TILE_PX, PATTERNS = (60_000, 50_000), 0.25, 256, 24
SEGMENTED = 32  # downsample of the level that is segmented, 8 µm per pixel
GRID_TARGET, WHOLE_TARGET, SEGMENT_TARGET, MEMORY_TARGET_MB = 50.0, 2.0, 1.0, 300
REAL = {"c16_tumor_001_level5.tif": 7.776, "CMU-1-Small-Region.svs": None}  # µm per pixel, None = as the file says
GLASS, PINK, PURPLE = (243, 242, 244), (222, 160, 195), (120, 75, 150)


Contour = tuple[NDArray[np.int32], list[NDArray[np.int32]]]  # a piece of tissue and its holes


def main() -> None:
    """Makes the slide, times both in turn, prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--level-step", type=int, default=2, help="downsample from level to level: 2, or 4 as Aperio")
    parser.add_argument("--memory-of", nargs=2, metavar=("SLIDE", "MPP"), help="segments it; prints the peak in MB")
    asked = parser.parse_args()
    cv2.setNumThreads(1)
    if asked.memory_of:
        with tempfile.TemporaryDirectory() as name:
            segment.work(Path(name), {}, job_of(Path(asked.memory_of[0]), float(asked.memory_of[1]) or None))
        status = Path("/proc/self/status").read_text(encoding="ascii")  # ru_maxrss would be that of the parent, too
        print(int(status.partition("VmHWM:")[2].split()[0]) // 1024)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = write_slide(folder / "data" / "slides" / "big.tif", asked.level_step)
        print(f"slide: {SIZE_PX[0]} x {SIZE_PX[1]} px, {path.stat().st_size / 1e6:.0f} MB")
        print_whole(folder, path, asked.repeats)
        print_segmenting(path, None, SEGMENTED, asked.repeats)
        for slide, mpp in REAL.items():
            real = Path(os.environ.get("SAMMIL_TEST_DATA", "../shared/data"), "slides", slide)
            if real.is_file():
                print_segmenting(real, mpp, 1, asked.repeats)
            else:
                print(f"{slide}: not measured, {real} is not here")
        tissue = read_tissue(folder / "tissue" / "big.geojson")
        for side in (256, 512):
            print_grid(tissue, side, asked.repeats)


def cpu_ms(work: Callable[[], object], repeats: int) -> float:
    """Median CPU milliseconds of a call; the first one does not count."""
    work()
    times = []
    for _ in range(repeats):
        start = time.process_time()
        work()
        times.append(1000 * (time.process_time() - start))
    return statistics.median(times)


def print_whole(folder: Path, path: Path, repeats: int) -> None:
    """The workers of both stages, all their files written, against `Slide.thumbnail` of an open slide."""
    settings, spec = SegmentSettings(), PatchSettings(patch_px=256, patch_mpp=0.5)
    project = Project(slides=path.parent, tissue=folder / "tissue", patches=folder / "patches", rois=folder / "rois")
    options = RunOptions()
    project.tissue.mkdir()
    project.patches.mkdir()
    segmenting = segment.plan(project, settings, options).tasks[0].job
    segment.work(project.tissue, {}, segmenting)
    patching = patch.plan(project, spec, options).tasks[0].job
    parts: dict[str, Callable[[], object]] = {
        "reading the thumbnail": lambda: read_thumbnail(path, settings.tissue_mpp),
        "reading it through OpenSlide": lambda: read_through_openslide(path),
        "segment, its reading included": lambda: segment.work(project.tissue, {}, segmenting),
        "patch": lambda: patch.work(project.patches, {}, patching),
    }
    times = {name: cpu_ms(work, repeats) for name, work in parts.items()}
    reading, usual = times["reading the thumbnail"], times["reading it through OpenSlide"]
    for name, value in times.items():
        print(f"{name}: {value:.1f} ms")
    whole = sum(times.values()) - reading - usual
    print(
        f"segment + patch: {whole:.1f} ms, {whole / reading:.2f}x the thumbnail as we read it, "
        f"{whole / usual:.2f}x as OpenSlide does (target {WHOLE_TARGET:g}x)"
    )


def job_of(path: Path, mpp: float | None) -> SegmentJob:
    """A slide as `sammil segment` does it by default."""
    return SegmentJob(slide=SlidePath(path), mpp=mpp, scene=None, drawing=None, settings=SegmentSettings())


def print_segmenting(path: Path, mpp: float | None, downsample: float, repeats: int) -> None:
    """Both ways to segment one slide, all files of both written, and our memory."""
    with tempfile.TemporaryDirectory() as name:
        folder, job = Path(name), job_of(path, mpp)
        ours = cpu_ms(lambda: segment.work(folder, {}, job), repeats)
        theirs = cpu_ms(lambda: segment_as_published(path, downsample, folder), repeats)
    command = [sys.executable, __file__, "--memory-of", str(path), str(mpp or 0)]
    peak = int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    print(
        f"segment {path.name}: published {theirs:.0f} ms, ours {ours:.0f} ms, {ours / theirs:.2f}x "
        f"(target {SEGMENT_TARGET:g}x); {peak} MB (target {MEMORY_TARGET_MB})"
    )


def read_thumbnail(path: Path, mpp: float) -> NDArray[np.uint8]:
    """What no segmenter can do without."""
    with open_slide(path, None) as slide:
        return slide.thumbnail(mpp)


def read_through_openslide(path: Path) -> object:
    """The same level as published code reads it."""
    with openslide.OpenSlide(path) as slide:
        level = slide.get_best_level_for_downsample(SEGMENTED)
        return slide.read_region((0, 0), level, slide.level_dimensions[level]).convert("RGB")


def print_grid(tissue: TissueMask, side: int, repeats: int) -> None:
    """Both grids at one patch size, and what they have in common."""
    contours = contours_of(tissue)
    spec = GridSpec(patch_px=side, patch_mpp=None, min_tissue=0.25)
    ours = make_grid(tissue, spec)
    theirs = published_grid(contours, side)
    mine, published = (set(map(tuple, xy.tolist())) for xy in (ours.xy, theirs))
    fast = cpu_ms(lambda: make_grid(tissue, spec), repeats)
    slow = cpu_ms(lambda: published_grid(contours, side), max(1, repeats // 3))
    common = len(mine & published) / len(mine | published)
    print(
        f"patches of {side} px: published {slow:.1f} ms, ours {fast:.1f} ms, {slow / fast:.0f}x "
        f"(target {GRID_TARGET:g}x); {len(published)} and {len(mine)} patches, {common:.1%} of all in both"
    )


def published_grid(contours: list[Contour], side: int) -> NDArray[np.int64]:
    """The four-point protocol; corners lie on one grid over the slide, so that the sets can be compared."""
    found: dict[tuple[int, int], None] = {}
    for contour, holes in contours:
        x0, y0, width, height = cv2.boundingRect(contour)
        for y in range(y0 // side * side, min(y0 + height, SIZE_PX[1] - side + 1), side):
            for x in range(x0 // side * side, min(x0 + width, SIZE_PX[0] - side + 1), side):
                if in_contour(contour, x, y, side) and not in_holes(holes, x, y, side):
                    found[x, y] = None
    return np.array(list(found), np.int64).reshape(-1, 2)


def contours_of(tissue: TissueMask) -> list[Contour]:
    """The pieces of tissue as OpenCV finds them on the segmented level, in level-0 pixels, each with its holes."""
    mask = tissue.raster((0, 0), SEGMENTED, (SIZE_PX[1] // SEGMENTED, SIZE_PX[0] // SEGMENTED)).astype(np.uint8)
    outlines, tree = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    scaled = [np.asarray(outline, np.int32) * SEGMENTED for outline in outlines]
    pieces: dict[int, Contour] = {index: (scaled[index], []) for index in np.flatnonzero(tree[0][:, 3] == -1).tolist()}
    for index, parent in enumerate(tree[0][:, 3].tolist()):
        if parent != -1:
            pieces[parent][1].append(scaled[index])
    return list(pieces.values())


def in_contour(contour: NDArray[np.int32], x: int, y: int, side: int) -> bool:
    """Whether one of four points, half way from the centre to the corners, lies in the contour."""
    centre, shift = (x + side // 2, y + side // 2), side // 4
    points = [(centre[0] + dx, centre[1] + dy) for dx in (-shift, shift) for dy in (-shift, shift)]
    return any(cv2.pointPolygonTest(contour, point, False) >= 0 for point in points)


def in_holes(holes: list[NDArray[np.int32]], x: int, y: int, side: int) -> bool:
    """Whether the centre lies in a hole."""
    return any(cv2.pointPolygonTest(hole, (x + side / 2, y + side / 2), False) > 0 for hole in holes)


def write_slide(path: Path, step: int) -> Path:
    """A pyramid of JPEG tiles. Level by level each tile is glass, or tissue of a few patterns, or the edge of both."""
    path.parent.mkdir(parents=True)
    rng = np.random.default_rng(5)
    mask = ragged_tissue(rng, SIZE_PX[0] // 32, SIZE_PX[1] // 32)
    patterns = [stained(rng, TILE_PX) for _ in range(PATTERNS)]
    whole = [encode(pattern) for pattern in patterns]
    glass = encode(np.full((TILE_PX, TILE_PX, 3), GLASS, np.uint8))
    with tifffile.TiffWriter(path, bigtiff=True) as tiff:
        downsample = 1
        while SIZE_PX[0] // downsample >= TILE_PX:
            width, height = (side // downsample for side in SIZE_PX)
            per_cm = 10_000 / (MPP * downsample)
            settings: dict[str, Any] = {
                "subfiletype": int(downsample > 1),
                "resolution": (per_cm, per_cm),
                "resolutionunit": "CENTIMETER",
            }
            tiff.write(
                tiles(mask, downsample, patterns, whole, glass),
                shape=(height, width, 3),
                dtype=np.uint8,
                photometric="ycbcr",
                subsampling=(2, 2),
                compression="jpeg",
                tile=(TILE_PX, TILE_PX),
                metadata=None,
                **settings,
            )
            downsample *= step
    return path


def tiles(
    mask: NDArray[np.uint8], downsample: int, patterns: list[NDArray[np.uint8]], whole: list[bytes], glass: bytes
) -> Iterator[bytes]:
    """The encoded tiles of a level, row by row. `mask` (h, w) is 1/32 of level 0, 255 where tissue is."""
    width, height = (side // downsample for side in SIZE_PX)
    cell = TILE_PX * downsample / 32  # side of a tile on the mask
    for row in range(-(-height // TILE_PX)):
        for column in range(-(-width // TILE_PX)):
            y0, x0, y1, x1 = (int(v * cell) for v in (row, column, row + 1, column + 1))
            part = mask[y0 : max(y1, y0 + 1), x0 : max(x1, x0 + 1)]
            index = (7 * row + 3 * column) % PATTERNS
            if part.size == 0 or not part.any():
                yield glass
            elif part.all():
                yield whole[index]
            else:
                frame = np.zeros((max(1, round(cell)), max(1, round(cell))), np.uint8)
                frame[: part.shape[0], : part.shape[1]] = part[: len(frame), : len(frame)]
                inside = cv2.resize(frame, (TILE_PX, TILE_PX), interpolation=cv2.INTER_LINEAR) > 127
                yield encode(np.where(inside[..., None], patterns[index], np.array(GLASS, np.uint8)))


def encode(tile: NDArray[np.uint8]) -> bytes:
    """A tile as JPEG."""
    return bytes(imagecodecs.jpeg8_encode(tile, level=80, colorspace="rgb", outcolorspace="ycbcr", subsampling="420"))


def ragged_tissue(rng: np.random.Generator, width: int, height: int) -> NDArray[np.uint8]:
    """Three pieces with frayed outlines, holes and crumbs, (h, w), 0 or 255."""

    def noise(size: int) -> NDArray[np.float32]:
        small = rng.normal(0, 1, (max(2, height // size), max(2, width // size))).astype(np.float32)
        return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC), np.float32)

    field = np.zeros((height, width), np.float32)
    for x, y, a, b, angle in ((0.33, 0.45, 0.24, 0.33, 10), (0.74, 0.36, 0.17, 0.24, -20), (0.7, 0.8, 0.2, 0.12, 25)):
        centre, axes = (int(x * width), int(y * height)), (int(a * width), int(b * height))
        cv2.ellipse(field, centre, axes, angle, 0, 360, 1, -1)
    field = np.asarray(cv2.GaussianBlur(field, (0, 0), 12), np.float32)
    field += 0.18 * noise(60) + 0.13 * noise(20) + 0.08 * noise(7)
    return np.where((field > 0.5) & (noise(40) < 2), 255, 0).astype(np.uint8)


def stained(rng: np.random.Generator, side: int) -> NDArray[np.uint8]:
    """Texture of pink and purple, (side, side, 3)."""
    field = sum(
        np.asarray(cv2.GaussianBlur(rng.normal(0, size, (side, side)).astype(np.float32), (0, 0), size))
        for size in (1.5, 4, 12)
    )
    purple = (1 / (1 + np.exp(-3 * (field - 0.3))))[..., None]
    return np.asarray(purple * np.array(PURPLE) + (1 - purple) * np.array(PINK), np.float64).round().astype(np.uint8)


if __name__ == "__main__":
    main()
