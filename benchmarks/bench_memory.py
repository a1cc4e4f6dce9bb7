"""Memory and time of the whole-slide thumbnail and of segmentation on a slide of 100 000 x 100 000 pixels.

Writes the slide as a tiled JPEG TIFF, once as a pyramid and once with a single level (10 gigapixels, 30 GB decoded),
and looks at each in a process of its own. Prints the peak of resident memory, CPU seconds and the bound. The baseline
is decoding alone: the tiles that the thumbnail needs, and nothing else.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import imagecodecs
import numpy as np
import tifffile

BOUND_GIB = 1.5
MPP = 0.25
TILE_PX = 512
KINDS = 8  # tiles that differ; all others are copies of them


def main() -> None:
    """Writes both slides and measures each step in a child process."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=100_000, help="pixels of a side")
    parser.add_argument("--child", nargs=2, metavar=("STEP", "SLIDE"), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.child:
        print(json.dumps(measure(asked.child[0], Path(asked.child[1]))))
        return
    with tempfile.TemporaryDirectory() as folder:
        for name, levels in (("pyramid", 6), ("single level", 1)):
            slide = write_slide(Path(folder) / "slide.tif", asked.side, levels)
            print(f"{name}, {asked.side} x {asked.side} px, {slide.stat().st_size / 1e6:.0f} MB on disk")
            base = 0.0
            for step in ("decode", "thumbnail", "segment"):
                figures = in_child(step, slide)
                base = base or figures["cpu_s"]
                state = "" if figures["peak_gib"] <= BOUND_GIB else "  MISSED"
                print(
                    f"  {step}: peak {figures['peak_gib']:.2f} GiB (bound {BOUND_GIB} GiB){state}, "
                    f"{figures['cpu_s']:.1f} s CPU, {figures['cpu_s'] / base:.2f}x decoding alone"
                )


def in_child(step: str, slide: Path) -> dict[str, float]:
    """Figures of a step in a fresh process."""
    command = [sys.executable, __file__, "--child", step, str(slide)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


def measure(step: str, path: Path) -> dict[str, float]:
    """Peak resident memory of this process and CPU seconds of the step, imports left out."""
    from sammil_cli.config import SegmentSettings
    from sammil_cli.slides.files import open_slide
    from sammil_cli.stages.segment import spec_of
    from sammil_cli.tissue.segment import find_tissue, look

    spec = spec_of(SegmentSettings())
    start = time.process_time()
    with open_slide(path) as slide:
        if step == "decode":
            decode(path, spec.mpp / slide.mpp)
        elif step == "thumbnail":
            slide.thumbnail(spec.mpp)
        else:
            find_tissue(look(slide, spec.mpp), spec)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return {"peak_gib": peak, "cpu_s": time.process_time() - start}


def decode(path: Path, downsample: float) -> None:
    """Decodes every tile of the level that a thumbnail is made of, one after the other."""
    with tifffile.TiffFile(path) as tiff, path.open("rb") as stream:
        width = tiff.pages[0].imagewidth
        page = [page for page in tiff.pages if width / page.imagewidth <= downsample * 1.01][-1]
        for offset, count in zip(page.dataoffsets, page.databytecounts, strict=True):
            stream.seek(offset)
            imagecodecs.jpeg8_decode(stream.read(count))


def write_slide(path: Path, side: int, levels: int) -> Path:
    """Writes a slide whose tiles are copies of a few encoded ones: glass around a square of tissue."""
    rng = np.random.default_rng(0)
    glass, tissue = encoded(rng, (243, 242, 244), 2), encoded(rng, (200, 120, 170), 25)
    with tifffile.TiffWriter(path, bigtiff=True) as tiff:
        for level in range(levels):
            size = side >> level
            tiff.write(
                tiles(size, glass, tissue),
                shape=(size, size, 3),
                dtype=np.uint8,
                photometric="rgb",
                tile=(TILE_PX, TILE_PX),
                compression="jpeg",
                subfiletype=int(level > 0),
                resolution=(10_000 / MPP / 2**level,) * 2,
                resolutionunit="CENTIMETER",
                metadata=None,
            )
    return path


def tiles(size: int, glass: list[bytes], tissue: list[bytes]) -> Iterator[bytes]:
    """The encoded tiles of a level by rows; the middle 60 % of each side is tissue."""
    count = -(-size // TILE_PX)
    for row in range(count):
        for column in range(count):
            middle = all(0.2 <= (place + 0.5) / count <= 0.8 for place in (row, column))
            yield (tissue if middle else glass)[(row + column) % KINDS]


def encoded(rng: np.random.Generator, colour: tuple[int, int, int], spread: float) -> list[bytes]:
    """JPEG tiles of one colour with blotches of 4 pixels."""
    blotches = rng.normal(0, spread, (KINDS, TILE_PX // 4, TILE_PX // 4, 1)).repeat(4, 1).repeat(4, 2)
    images = np.clip(np.array(colour) + blotches, 0, 255).astype(np.uint8)
    return [imagecodecs.jpeg8_encode(image, level=80, outcolorspace="rgb") for image in images]


if __name__ == "__main__":
    main()
