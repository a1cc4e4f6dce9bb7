"""Reading patches of an Aperio slide, as sammil reads it against OpenSlide alone, in one run.

A pyramid of 16 384 x 12 288 px in JPEG tiles, nine times as large as either cache, is composed of real tiles of H&E
(`--tiles FOLDER`), or of drawn ones where that folder is not here. First both have to read the same: every pixel of
level 0, and those of coarser levels where a box begins at a whole pixel of the level; elsewhere OpenSlide interpolates,
and the difference is printed. Then patches of 512 px at half the resolution are read through `Slide.read_at` in the
order of the grid and in random order, some patches by one, then the same by the other. Prints CPU milliseconds per
patch of one thread, and ratios.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import imagecodecs
import numpy as np
import tifffile
from numpy.typing import NDArray

from sammil_cli.slides.files import open_slide
from sammil_cli.slides.formats.openslide import OpenSlideReader
from sammil_cli.slides.slide import Slide
from sammil_cli.storage.paths import SlidePath

RGB = NDArray[np.uint8]  # (height, width, 3)

SIZE_PX, TILE_PX, PATTERNS = (16_384, 12_288), 256, 64
STEPS = (1, 4, 16)
PATCH_PX, SIDE_PX0, OFFSET_PX = 512, 1024, (100, 60)  # a grid begins where the tissue does, not at a tile
TARGET = 4.0
TILES = Path(os.environ.get("SAMMIL_TEST_DATA", "../shared/data")) / "tiles/lc25000_lung"
TURN = 5  # patches that one reads before it is the other's turn
# Colours and quality of JPEG; the first are those of CMU-1, the real slide that is at hand.
JPEGS: tuple[tuple[str | None, int], ...] = ((None, 30), (None, 70), ("422", 70), ("420", 70))


def main() -> None:
    """Composes each slide, compares both, times both in turn, prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--tiles", type=Path, default=TILES, help="a folder of pictures of tissue")
    asked = parser.parse_args()
    cv2.setNumThreads(1)
    patterns = pictures(asked.tiles)
    with tempfile.TemporaryDirectory() as name:
        for colours, quality in JPEGS:
            path = write_slide(Path(name) / "aperio.svs", patterns, colours, quality)
            called = "RGB" if colours is None else f"YCbCr 4:{colours[1]}:{colours[2]}"
            print(f"{called}, quality {quality}: {path.stat().st_size / 1e6:.0f} MB")
            compare(path)
            for order in ("grid", "random"):
                print_rates(path, order, asked.repeats)


def pictures(folder: Path) -> list[RGB]:
    """Tiles of tissue, each different."""
    found = sorted(file for file in folder.rglob("*") if file.suffix in (".png", ".jpg", ".jpeg"))
    rng = np.random.default_rng(0)
    if not found:
        print("drawn tiles, as there are no real ones")
        noise = (rng.normal(0, 1, (TILE_PX, TILE_PX, 3)).astype(np.float32) for _ in range(PATTERNS))
        soft = (cv2.GaussianBlur(image, (0, 0), 2) * 150 + 4 * image + (205, 150, 185) for image in noise)
        return [np.clip(image, 0, 255).astype(np.uint8) for image in soft]
    chosen = (imagecodecs.imread(found[index]) for index in rng.choice(len(found), PATTERNS, replace=False))
    return [np.asarray(cv2.resize(image[..., :3], (TILE_PX, TILE_PX)), np.uint8) for image in chosen]


def write_slide(path: Path, patterns: list[RGB], colours: str | None, quality: int) -> SlidePath:
    """The pyramid, described as Aperio does; a tile of a coarser level is made of the patterns that it covers."""
    across, down = (side // TILE_PX for side in SIZE_PX)
    chosen = np.random.default_rng(1).integers(0, len(patterns), (down, across))
    size = f"{SIZE_PX[0]}x{SIZE_PX[1]} (256x256)"
    with tifffile.TiffWriter(path) as tiff:
        for step in STEPS:
            tiff.write(
                tiles(patterns, chosen, step, lambda picture: encode(picture, colours, quality)),
                shape=(SIZE_PX[1] // step, SIZE_PX[0] // step, 3),
                dtype="uint8",
                photometric="rgb" if colours is None else "ycbcr",
                compression="jpeg",
                tile=(TILE_PX, TILE_PX),
                metadata=None,
                description=f"Aperio Image Library v11.2.1 \r\n{size} JPEG/RGB Q={quality}|AppMag = 40|MPP = 0.25",
            )
    return SlidePath(path)


def tiles(
    patterns: list[RGB], chosen: NDArray[np.int64], step: int, encoded: Callable[[RGB], bytes]
) -> Iterator[bytes]:
    """The encoded tiles of a level, row by row."""
    side = TILE_PX // step
    shrunk = [cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA) for picture in patterns]
    whole = [encoded(picture) for picture in patterns] if step == 1 else []
    for y in range(0, chosen.shape[0], step):
        for x in range(0, chosen.shape[1], step):
            if step == 1:
                yield whole[chosen[y, x]]
            else:
                rows = ([shrunk[index] for index in row] for row in chosen[y : y + step, x : x + step])
                yield encoded(np.concatenate([np.concatenate(row, axis=1) for row in rows]))


def encode(picture: RGB, colours: str | None, quality: int) -> bytes:
    """JPEG; in RGB without a marker that says so, which stands in the tags only."""
    if colours is not None:
        return bytes(imagecodecs.jpeg8_encode(picture, quality, subsampling=colours))
    jpeg = bytes(imagecodecs.jpeg8_encode(picture, quality, colorspace="RGB", outcolorspace="RGB"))
    marker = jpeg.index(b"\xff\xee")  # Adobe's
    return jpeg[:marker] + jpeg[marker + 2 + int.from_bytes(jpeg[marker + 2 : marker + 4], "big") :]


def open_through_openslide(path: SlidePath) -> Slide:
    """The slide as OpenSlide alone reads it."""
    return Slide(slide_id="a", path=path, reader=OpenSlideReader(path), mpp=0.25, mpp_source="")


def compare(path: SlidePath) -> None:
    """Both have to say the same of the slide, and read the same."""
    rng = np.random.default_rng(2)
    with open_slide(path) as ours, open_through_openslide(path) as theirs:
        assert (ours.read_by, theirs.read_by) == ("aperio", "openslide")
        assert (ours.size_px, ours.mpp, ours.reader.downsamples) == (theirs.size_px, 0.25, theirs.reader.downsamples)
        for level, downsample in enumerate(ours.reader.downsamples):
            whole, between = [], []
            for _ in range(30):
                x, y = (int(rng.integers(0, side - 700 * STEPS[1])) for side in SIZE_PX)
                corner = (x // STEPS[level] * STEPS[level], y // STEPS[level] * STEPS[level])
                whole.append(apart(ours, theirs, corner, level))
                between.append(apart(ours, theirs, (x, y), level))
            assert not np.max(whole), f"the pixels of level {level} differ"
            print(
                f"  level {level} (1/{downsample:g}): equal; "
                f"{np.mean(between):.1f} grey values apart where a box begins between its pixels"
                if level
                else "  level 0: equal"
            )


def apart(ours: Slide, theirs: Slide, corner: tuple[int, int], level: int) -> float:
    """The mean difference of a box."""
    one, other = (slide.reader.read(corner, level, (600, 500)) for slide in (ours, theirs))
    return float(np.abs(one.astype(np.int16) - other).mean())


def print_rates(path: SlidePath, order: str, repeats: int) -> None:
    """CPU time per patch of both."""
    corners = [
        (x, y)
        for y in range(OFFSET_PX[1], SIZE_PX[1] - SIDE_PX0, SIDE_PX0)
        for x in range(OFFSET_PX[0], SIZE_PX[0] - SIDE_PX0, SIDE_PX0)
    ]
    if order == "random":
        np.random.default_rng(3).shuffle(corners)
    ratios, times = [], []
    for _ in range(repeats):
        spent = [0.0, 0.0]
        with open_slide(path) as ours, open_through_openslide(path) as theirs:
            for first in range(0, len(corners), TURN):
                for which, slide in enumerate((ours, theirs)):
                    start = time.process_time()
                    for corner in corners[first : first + TURN]:
                        slide.read_at(corner, (SIDE_PX0, SIDE_PX0), (PATCH_PX, PATCH_PX))
                    spent[which] += 1000 * (time.process_time() - start) / len(corners)
        times.append(spent)
        ratios.append(spent[1] / spent[0])
    (fast, slow), ratio = np.median(times, axis=0), statistics.median(ratios)
    print(
        f"  {len(corners)} patches of {PATCH_PX} px, {order} order: {fast:.2f} ms each, OpenSlide {slow:.2f} ms: "
        f"{ratio:.1f}x its rate (target {TARGET:g}x{'' if ratio >= TARGET else ': missed'})"
    )


if __name__ == "__main__":
    main()
