"""Slides that are broken, damaged, of another kind or hostile: how each is made, and what becomes of it.

A row of `SLIDES` reads: file name · how it is made · code (`done`: it is fine) · a piece of the message. The rows are
run one by one in this process (`test_hostile_slides.py`), and all at once through `sammil segment` with readers that
crash, hang, flood the memory or give nonsense (`test_hostile_run.py`, `readers/`). What a folder of slides may hold
besides is in `test_hostile_folders.py`; tables, polygons, HDF5, pickles and settings are in `test_hostile_files.py`.
"""

import os
import shutil
import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from damages import png_of
from slide_maker import GLASS, PINK, draw_asymmetric, overwrite_tiles, write_pyramid

Make = Callable[[Path], None]
REAL = Path(os.environ.get("SAMMIL_TEST_DATA", Path(__file__).resolve().parents[3] / "shared" / "data")) / "slides"
SMALL_REGION = "CMU-1-Small-Region.svs"


@dataclass(frozen=True)
class HostileSlide:
    """A file, how it is made, the code of its row in the process list, a piece of the message (of `done`: none).

    `mpp` is given in data/slides.csv.
    """

    name: str
    make: Make
    code: str
    message: str = ""
    mpp: float | None = None

    @property
    def slide_id(self) -> str:
        return Path(self.name).stem


# ---------------------------------------------------------------------------------------------- how they are made


def copied(name: str, path: Path) -> None:
    if not (REAL / name).is_file():
        pytest.skip(f"no real files in {REAL}: set SAMMIL_TEST_DATA")
    shutil.copy(REAL / name, path)


def content(data: bytes, path: Path) -> None:
    path.write_bytes(data)


def cut(share: float, path: Path) -> None:
    copied(SMALL_REGION, path)
    os.truncate(path, int(share * path.stat().st_size))


def with_bad_tiles(path: Path) -> None:
    """A real slide, a few tiles in the middle of which are overwritten."""
    copied(SMALL_REGION, path)
    overwrite_tiles(path, 0, slice(65, 69))


def drawn(path: Path, mpp: float | tuple[float, float] | None = 2.0) -> None:
    write_pyramid(path, draw_asymmetric(), mpp=mpp)


def plain(colour: tuple[int, int, int], side: int, path: Path) -> None:
    write_pyramid(path, np.full((side, side, 3), colour, np.uint8), mpp=2.0, downsamples=(1,))


def tiff(path: Path, *, kind: str = "uint8", shape: tuple[int, ...] = (256, 256, 3), **options: object) -> None:
    values = np.full(shape, 100).astype(kind)
    options = {"photometric": "rgb", "resolution": (5000, 5000), "resolutionunit": "CENTIMETER", **options}
    tifffile.imwrite(path, values, metadata=None, **options)  # type: ignore[arg-type]


def overwrite(path: Path, tag: str, value: object) -> None:
    """Changes one tag of a TIFF's first page."""
    with tifffile.TiffFile(path, mode="r+b") as opened:
        page = opened.pages[0]
        assert isinstance(page, tifffile.TiffPage)
        page.tags[tag].overwrite(value)


def palette(path: Path) -> None:
    colours = np.zeros((3, 256), np.uint16)
    tiff(path, shape=(256, 256), photometric="palette", colormap=colours)


def patched(tag: str, value: int, path: Path) -> None:
    """A good TIFF one tag of which is overwritten."""
    drawn(path)
    overwrite(path, tag, value)


def wide_strips(path: Path) -> None:
    """Strips stored as they are, in rows of a width for which the file has no bytes."""
    tiff(path, shape=(300, 300, 3), rowsperstrip=16)
    overwrite(path, "ImageWidth", 4_000_000)


def no_length(path: Path) -> None:
    """Resolution tags of 1/0: infinitely many pixels."""
    drawn(path)
    for tag in ("XResolution", "YResolution"):
        overwrite(path, tag, (1, 0))


def loop(path: Path) -> None:
    """A TIFF whose last page says that the first one follows."""
    drawn(path)
    with tifffile.TiffFile(path) as opened:
        pages = opened.pages
        first, last = pages[0].offset, pages[len(pages) - 1].offset
    with path.open("r+b") as stream:
        stream.seek(last)
        (tags,) = struct.unpack("<H", stream.read(2))
        stream.seek(last + 2 + 12 * tags)
        stream.write(struct.pack("<I", first))


def huge_png(path: Path) -> None:
    """200 000 x 200 000 pixels, says the head; there are none."""
    path.write_bytes(png_of(200_000))


def half_a_png(path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (300, 300, 3)).astype(np.uint8)
    data = cv2.imencode(".png", noise)[1].tobytes()
    path.write_bytes(data[: len(data) // 2])


def jpeg(path: Path) -> None:
    path.write_bytes(cv2.imencode(".jpg", draw_asymmetric())[1].tobytes())


# ---------------------------------------------------------------------------------------------- the table

HTML = b"<!DOCTYPE html><html><body>403 Forbidden</body></html>"
NOISE = np.random.default_rng(1).bytes(200_000)


SLIDES: tuple[HostileSlide, ...] = (
    HostileSlide("good.tif", drawn, "done"),
    HostileSlide("good-Präparat 7.b, «ü»\n.tif", drawn, "done"),
    # no slide at all
    HostileSlide("zero.svs", partial(content, b""), "E_EMPTY", "0 bytes"),
    HostileSlide("text.svs", partial(content, b"slide_id,label\n"), "E_OPEN", "text that begins 'slide_id,label'"),
    HostileSlide("web-page.ndpi", partial(content, HTML), "E_OPEN", "a web page"),
    HostileSlide("noise.tif", partial(content, NOISE), "E_OPEN", "no format"),
    HostileSlide("noise-head.tif", partial(content, b"II*\0" + NOISE), "E_OPEN", "it lists no picture"),
    HostileSlide("zip.scn", partial(content, b"PK\x03\x04" + NOISE), "E_OPEN", "a zip archive"),
    HostileSlide("jpeg-inside.svs", jpeg, "E_OPEN", "a JPEG picture"),
    HostileSlide(
        "list-of-nothing.vms",
        partial(content, b"[Virtual Microscope Specimen]\nImageFile=a.jpg\n"),
        "E_OPEN",
        "no format",
    ),
    # cut and damaged
    HostileSlide("cut-early.svs", partial(cut, 0.001), "E_OPEN", "it lists no picture"),
    HostileSlide("cut-half.svs", partial(cut, 0.5), "E_OPEN", "it lists no picture"),
    HostileSlide("cut-end.svs", partial(cut, 0.999), "E_OPEN", "the file is cut: it ends at byte"),
    HostileSlide("bad-tiles.svs", with_bad_tiles, "E_READ", "cannot be decoded near"),
    HostileSlide("broken.svs", partial(copied, "broken.svs"), "E_OPEN", "text that begins"),
    HostileSlide("unopenable.tiff", partial(copied, "openslide-fixtures/unopenable.tiff"), "E_OPEN", "compression"),
    HostileSlide("unreadable.svs", partial(copied, "openslide-fixtures/unreadable.svs"), "E_READ", "cannot be decoded"),
    HostileSlide("no-data.mrxs", partial(copied, "CMU-1-Saved-1_16.mrxs"), "E_OPEN", "data folder no-data/"),
    HostileSlide("refused.dcm", partial(copied, "small_dicom.dcm"), "E_OPEN", "image flavor"),
    HostileSlide("loop.tif", loop, "done"),
    HostileSlide("more-rows-than-tiles.tif", partial(patched, "ImageLength", 90_000), "E_OPEN", "70 tiles or strips"),
    HostileSlide("too-wide.tif", partial(patched, "ImageWidth", 2_000_000_000), "E_OPEN", "2000000000 x 448 pixels"),
    HostileSlide("no-width.tif", partial(patched, "ImageWidth", 0), "E_OPEN", "0 x 448 pixels"),
    HostileSlide("too-wide-for-its-strips.tif", wide_strips, "E_OPEN", "the file is cut"),
    HostileSlide("unknown-compression.tif", partial(patched, "Compression", 54_321), "E_OPEN", "54321 is unknown"),
    HostileSlide("pictures/half.png", half_a_png, "E_READ", "cannot be decoded", mpp=2.0),
    HostileSlide("pictures/huge.png", huge_png, "E_FORMAT", "decoded whole", mpp=2.0),
    # of another kind
    HostileSlide("fluorescence.qptiff", partial(copied, "small_vectra.qptiff"), "E_FORMAT", "fluorescence"),
    HostileSlide("16-bit.tif", partial(tiff, kind="uint16"), "E_FORMAT", "16-bit"),
    HostileSlide("floats.tif", partial(tiff, kind="float32"), "E_FORMAT", "32-bit"),
    HostileSlide(
        "seven-channels.tif",
        partial(tiff, shape=(256, 256, 7), photometric="minisblack", planarconfig="contig"),
        "E_FORMAT",
        "7 ",
    ),
    HostileSlide("cmyk.tif", partial(tiff, shape=(256, 256, 4), photometric="separated"), "E_FORMAT", "CMYK"),
    HostileSlide("palette.tif", palette, "E_FORMAT", "palette colours"),
    # of unknown size
    HostileSlide("no-mpp.tif", partial(drawn, mpp=None), "E_MPP", "does not say its resolution"),
    HostileSlide("oblong.tif", partial(drawn, mpp=(2.0, 4.0)), "E_MPP", "not square: 2 x 4 µm"),
    HostileSlide("absurd-mpp.tif", partial(drawn, mpp=0.001), "E_MPP", "cannot be right"),
    HostileSlide("infinite-mpp.tif", no_length, "E_MPP", "does not say"),
    HostileSlide("72-dpi.tif", partial(tiff, resolution=(72, 72), resolutionunit="INCH"), "E_MPP", "does not say"),
    # nothing on it
    HostileSlide(
        "one-pixel.tif", partial(plain, PINK, 1), "E_NO_TISSUE", "no piece is as large as 1000 µm² (the largest has 4)"
    ),
    HostileSlide("white.tif", partial(plain, GLASS, 512), "E_NO_TISSUE", "0.0% of a slide without colour passes"),
    HostileSlide("black.tif", partial(plain, (0, 0, 0), 512), "E_NO_TISSUE", "100.0% is pen or black border"),
)
