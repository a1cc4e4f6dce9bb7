"""Small real slides: tiled pyramidal TIFFs that OpenSlide opens, drawn from arrays."""

import csv
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
import tifffile
from numpy.typing import NDArray

from sammil_cli.slides.slide import Slide

RGB = NDArray[np.uint8]  # (height, width, 3)

GLASS = (243, 242, 244)
PINK = (226, 160, 190)  # stroma
PURPLE = (120, 70, 140)  # nuclei
COHORT_SIZE_PX = (1200, 900)  # width, height
COHORT_MPP = 1.0


def write_pyramid(
    path: Path,
    rgb: RGB,
    *,
    mpp: float | tuple[float, float] | None = 1.0,
    downsamples: Sequence[int] = (1, 2, 4),
    tile_px: int = 64,
    compression: str | None = None,
) -> Path:
    """Writes a tiled TIFF; without compression level 0 reads back exactly, as JPEG it can be damaged.

    Args:
        rgb: level 0; sides that the downsamples divide keep the levels' downsamples exact.
        mpp: µm per level-0 pixel (x, y), stored in the resolution tags; None = the file does not say.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width = rgb.shape[:2]
    with tifffile.TiffWriter(path) as tiff:
        for downsample in downsamples:
            level = rgb
            if downsample > 1:
                size = (width // downsample, height // downsample)
                level = np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.uint8)
            resolution = {}
            if mpp is not None:
                x, y = mpp if isinstance(mpp, tuple) else (mpp, mpp)
                per_cm = (10_000 / (x * downsample), 10_000 / (y * downsample))
                resolution = {"resolution": per_cm, "resolutionunit": "CENTIMETER"}
            tiff.write(
                level,
                photometric="rgb",
                tile=(tile_px, tile_px),
                subfiletype=int(downsample > 1),
                metadata=None,
                compression=compression,
                **resolution,
            )
    return path


def overwrite_tiles(path: Path, level: int, tiles: slice) -> None:
    """Overwrites some tiles of a TIFF's page, row by row, so that none of them can be decoded if it is a JPEG."""
    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages[level]
        assert isinstance(page, tifffile.TiffPage)
        places = list(zip(page.dataoffsets, page.databytecounts, strict=True))[tiles]
    with path.open("r+b") as stream:
        for offset, count in places:
            stream.seek(offset)
            stream.write(b"\x55" * count)


def leave_out_tiles(path: Path, level: int, tiles: Collection[int]) -> None:
    """Makes a TIFF sparse: some tiles or strips of a page, by number, have no place and no bytes in the file."""
    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages[level]
        assert isinstance(page, tifffile.TiffPage)
        kind = "Tile" if page.is_tiled else "Strip"
        tags = [page.tags[f"{kind}{name}"] for name in ("Offsets", "ByteCounts")]
        places = [(tag.valueoffset, {3: 2, 4: 4, 16: 8}[int(tag.dtype)]) for tag in tags]
    with path.open("r+b") as stream:
        for offset, size in places:
            for tile in tiles:
                stream.seek(offset + tile * size)
                stream.write(bytes(size))


def blank(width: int, height: int) -> RGB:
    """Glass, nothing on it."""
    return np.full((height, width, 3), GLASS, np.uint8)


def draw_asymmetric() -> RGB:
    """640 x 448: a large pink blob top left (40..320 x 40..260) with a hole (120..200 x 100..160), a small purple
    one bottom right (520..600 x 340..420). Nothing is symmetric, so a swap of x and y shows."""
    rgb = blank(640, 448)
    rgb[40:260, 40:320] = PINK
    rgb[100:160, 120:200] = GLASS
    rgb[340:420, 520:600] = PURPLE
    return rgb


def write_tiny_cohort(data: Path, slides: int = 6) -> list[str]:
    """Writes `data`/slides/*.tif and `data`/labels.csv; returns the slide ids.

    Slides are 1200 x 900 px at 1 µm per pixel, by turns `normal` and `tumour` (a nest of dense, large, dark nuclei
    in the large piece). Six patients with one slide each; further slides belong to the first patients again, so
    that 6 slides allow 3 folds with an inner validation part.
    """
    ids = [f"slide_{index}" for index in range(slides)]
    data.mkdir(parents=True, exist_ok=True)
    with (data / "labels.csv").open("w", newline="", encoding="utf-8") as stream:
        table = csv.writer(stream, lineterminator="\n")
        table.writerow(["slide_id", "label", "patient_id"])
        for index, slide_id in enumerate(ids):
            tumour = index % 2 == 1
            write_pyramid(
                data / "slides" / f"{slide_id}.tif",
                draw_tissue(seed=index, tumour=tumour),
                mpp=COHORT_MPP,
                downsamples=(1, 4),
                tile_px=128,
            )
            table.writerow([slide_id, "tumour" if tumour else "normal", f"patient_{index % 6}"])
    return ids


def draw_tissue(*, seed: int, tumour: bool) -> RGB:
    """One slide of the tiny cohort: a large piece top left with a hole, a small one bottom right."""
    return _drawn_tissue(seed, tumour).copy()


@lru_cache(maxsize=16)  # drawing takes a seventh of a second, and tests ask for the same slides again and again
def _drawn_tissue(seed: int, tumour: bool) -> RGB:
    rng = np.random.default_rng([seed, tumour])
    width, height = COHORT_SIZE_PX
    mask = np.zeros((height, width), np.uint8)
    shift = rng.integers(-20, 21, 4)
    cv2.ellipse(mask, (430 + int(shift[0]), 380 + int(shift[1])), (370, 300), 10, 0, 360, 255, -1)
    cv2.circle(mask, (260, 300), 70, 0, -1)
    cv2.ellipse(mask, (1040 + int(shift[2]), 740 + int(shift[3])), (120, 100), 40, 0, 360, 255, -1)
    nuclei = np.zeros((height, width), np.float32)
    _scatter(nuclei, rng, count=5000, radius_px=(2, 4), box=(0, 0, width, height))
    if tumour:
        nest = np.zeros_like(nuclei)
        _scatter(nest, rng, count=300, radius_px=(5, 9), box=(420, 260, 260, 220))
        nuclei = np.maximum(nuclei, nest)
    nuclei = np.asarray(cv2.GaussianBlur(nuclei, (0, 0), 0.8))[..., None]
    fibres = np.asarray(cv2.GaussianBlur(rng.normal(0, 1, (height, width)).astype(np.float32), (0, 0), 3, sigmaY=9))
    ground = np.array(PINK) + 160 * fibres[..., None]
    tissue = ground * (1 - nuclei) + np.array(PURPLE) * nuclei
    rgb = np.where(mask[..., None] > 0, tissue, np.array(GLASS)) + rng.normal(0, 2, (height, width, 1))
    return np.clip(rgb, 0, 255).astype(np.uint8)


def _scatter(
    canvas: NDArray[np.float32],
    rng: np.random.Generator,
    *,
    count: int,
    radius_px: tuple[int, int],
    box: tuple[int, int, int, int],
) -> None:
    x, y, width, height = box
    places = rng.integers((x, y), (x + width, y + height), (count, 2))
    radii = rng.integers(radius_px[0], radius_px[1] + 1, count)
    for place, radius in zip(places.tolist(), radii.tolist(), strict=True):
        cv2.circle(canvas, place, radius, 1.0, -1)


@dataclass
class ArrayReader:
    """A slide in memory with one level, see `slides.slide.Reader`; for what no TIFF says, such as bounds."""

    rgb: RGB
    mpp: tuple[float, float] | None = (1.0, 1.0)
    bounds_px: tuple[int, int, int, int] = (0, 0, 0, 0)
    mpp_source: str = "array"
    downsamples: Sequence[float] = (1.0,)
    kind: str = "array"
    tiles_px: Sequence[tuple[int, int]] = ((64, 64),)
    objective: float | None = None
    remarks: Sequence[str] = ()

    def __post_init__(self) -> None:
        self.size_px = (self.rgb.shape[1], self.rgb.shape[0])
        if not any(self.bounds_px):
            self.bounds_px = (0, 0, *self.size_px)

    def read(self, xy: tuple[int, int], level: int, size_px: tuple[int, int]) -> RGB:
        assert level == 0
        (x, y), (width, height) = xy, size_px
        image = np.full((height, width, 3), 255, np.uint8)
        left, top = max(0, -x), max(0, -y)
        seen = self.rgb[max(0, y) : max(0, y + height), max(0, x) : max(0, x + width)]
        image[top : top + seen.shape[0], left : left + seen.shape[1]] = seen
        return image

    def close(self) -> None:
        pass


def array_slide(
    rgb: RGB, *, mpp: float = 1.0, bounds_px: tuple[int, int, int, int] = (0, 0, 0, 0), slide_id: str = "array"
) -> Slide:
    """An open slide around an array."""
    reader = ArrayReader(rgb, (mpp, mpp), bounds_px)
    return Slide(slide_id=slide_id, path=Path(f"{slide_id}.tif"), reader=reader, mpp=mpp, mpp_source="array")
