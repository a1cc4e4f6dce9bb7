"""The memory of a slide of 100 000 regions: merged from tiles, measured, and written; no model is asked.

Each process says its highest resident memory (VmHWM) after each step, with what its interpreter and libraries take, and
its CPU seconds. The baseline holds all outlines and the whole text, as sammil once did. The run ends with an error
where the steps of sammil take more than 1.5 GiB.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import shapely

from sammil_cli.regions.file import write_regions
from sammil_cli.regions.merge import merge_tiles
from sammil_cli.regions.overlay import write_overlay
from sammil_cli.regions.polygons import annotations, write_region_polygons
from sammil_cli.regions.quality import measure
from sammil_cli.regions.region_map import OVERVIEW_PX, Canvas, Proposal, RegionMap, build
from sammil_cli.regions.region_mask import RegionMask
from sammil_cli.regions.tiles import Tile, lay_tiles
from sammil_cli.storage.geojson import verify_own_geojson
from sammil_cli.storage.paths import RegionsPath
from sammil_cli.tissue.mask import TissueMask

REGIONS = 100_000
PITCH_PX = 64  # one region on each such square of the canvas
TILE_PX, OVERLAP = 1024, 0.25
DOWNSAMPLE, MPP = 2.0, 0.5
MOST_GIB = 1.5


def region_in(column: int, row: int) -> RegionMask:
    """The region of a square: a wobbling outline of 16 to 60 px across, the same whatever tile sees it."""
    rng = np.random.default_rng((column, row))
    angles = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    waves = np.arange(1, 9)
    shape = 1 + (rng.normal(0, 0.25 / waves)[:, None] * np.cos(np.outer(waves, angles))).sum(0)
    outline = np.clip(shape, 0.3, 1.3)[:, None] * rng.uniform(8, 24) * np.stack([np.cos(angles), np.sin(angles)], 1)
    canvas = np.zeros((PITCH_PX, PITCH_PX), np.uint8)
    cv2.fillPoly(canvas, [np.rint(outline + PITCH_PX / 2).astype(np.int32)], 1)
    return RegionMask.of(canvas > 0, (column * PITCH_PX, row * PITCH_PX))


def seen_in(tile: Tile, side: int) -> Iterator[Proposal]:
    """What a proposer sees in a tile: whole regions, and those that the tile's edge cuts."""
    x, y, width, height = tile.window
    for row in range(y // PITCH_PX, min(side, -(-(y + height) // PITCH_PX))):
        for column in range(x // PITCH_PX, min(side, -(-(x + width) // PITCH_PX))):
            if part := region_in(column, row).cut(tile.window):
                yield Proposal(mask=part, predicted_iou=0.9, stability=0.95)


def merged(count: int) -> RegionMap:
    """About `count` regions (a square) of a slide, seen in overlapping tiles and merged."""
    side = round(count**0.5)
    canvas = Canvas(origin_px=(0, 0), downsample=DOWNSAMPLE, size_px=(side * PITCH_PX, side * PITCH_PX), mpp=MPP)
    tiles = lay_tiles(canvas.size_px, TILE_PX, OVERLAP)
    found = [list(seen_in(tile, side)) for tile in tiles]
    say(f"{sum(map(len, found)):,} proposals of {len(tiles)} tiles")
    regions = build("slide", canvas, merge_tiles(tiles, found, size_px=canvas.size_px, partition=False))
    say(f"merged into {len(regions):,} regions")
    return regions


def write_all(folder: Path, regions: RegionMap) -> None:
    """The steps of `sammil sam` after the proposals."""
    width, height = regions.canvas.size_px
    step = regions.canvas.step_to(OVERVIEW_PX)
    picture = np.full((-(-height // step), -(-width // step), 3), 255, np.uint8)
    across, down = round(width * DOWNSAMPLE), round(height * DOWNSAMPLE)
    tissue = TissueMask(
        slide_id="slide",
        polygons=shapely.MultiPolygon([shapely.box(0, 0, across, down)]),
        slide_mpp=MPP / DOWNSAMPLE,
        slide_size_px=(across, down),
        bounds_px=(0, 0, across, down),
    )
    measure(regions, picture, tissue)
    say("quality")
    write_regions(RegionsPath(folder / "slide.h5"), regions, {})
    say("slide.h5")
    for name in ("slide.geojson", "slide.geojson.gz"):
        write_region_polygons(folder / name, regions, (0, 0), {})
        say(f"{name}, {(folder / name).stat().st_size / 1e6:.0f} MB")
    write_overlay(folder / "slide.png", picture, regions)
    say("slide.png")
    for name in ("slide.geojson", "slide.geojson.gz"):
        verify_own_geojson(folder / name, "")
        say(f"{name} verified")


def write_streamed(folder: Path, regions: RegionMap) -> None:
    """The polygons alone."""
    write_region_polygons(folder / "slide.geojson", regions, (0, 0), {})
    say("polygons as they come")


def write_at_once(folder: Path, regions: RegionMap) -> None:
    """The baseline: all outlines, then all features, then the whole text."""
    features = [
        {"type": "Feature", "geometry": shapely.geometry.mapping(shape.geometry), "properties": dict(numbers)}
        for shape, numbers in list(annotations(regions))
    ]
    (folder / "at-once.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    say("baseline: all held at once")


def say(step: str) -> None:
    """Prints a step with the peak and the CPU time so far."""
    print(f"{step:<44}{peak_gib():6.2f} GiB{time.process_time():8.1f} s", flush=True)


def peak_gib() -> float:
    """The highest resident memory of this process so far."""
    lines = Path("/proc/self/status").read_text().splitlines()  # ru_maxrss would begin with the parent's
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 2**20


def main(count: int) -> None:
    """Each in a process of its own."""
    peaks = []
    for name in WAYS:
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, __file__, str(count), name, folder]
            said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        print(said)
        peaks.append(float(said.splitlines()[-1].split(" GiB")[0].split()[-1]))
    whole, streamed, held = peaks
    print(f"peak of all steps {whole:.2f} GiB; of polygons as they come {streamed:.2f} GiB, all at once {held:.2f} GiB")
    if whole > MOST_GIB:
        raise SystemExit(f"more than {MOST_GIB} GiB")


WAYS = {"all": write_all, "streamed": write_streamed, "at once": write_at_once}

if __name__ == "__main__":
    cv2.setNumThreads(1)
    chosen = int(sys.argv[1]) if len(sys.argv) > 1 else REGIONS
    if len(sys.argv) > 2:
        WAYS[sys.argv[2]](Path(sys.argv[3]), merged(chosen))
    else:
        main(chosen)
