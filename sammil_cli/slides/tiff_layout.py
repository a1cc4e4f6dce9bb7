"""What a TIFF holds: which of its pages are the levels of one brightfield picture, and what its tags say."""

import logging
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import tifffile

from sammil_cli.errors import SlideError
from sammil_cli.slides.conversion import pyramid_command
from sammil_cli.slides.resolution import (
    TIFF_TAGS,
    Mpp,
    from_tiff_tags,
    in_aperio,
    magnification,
    no_number,
    number,
    unit_um,
)
from sammil_cli.slides.scenes import Scene, check_channels, choose, find_scenes, largest, left_out, remark
from sammil_cli.slides.slide import check_size, damaged

# What tifffile and its decoders raise on files that are damaged, or made up.
DAMAGE = (
    tifffile.TiffFileError,
    struct.error,
    OSError,
    EOFError,
    ValueError,
    KeyError,
    IndexError,
    TypeError,
    AttributeError,
    ArithmeticError,
    RuntimeError,
    MemoryError,
)
_MOST_PAGES = 1000
_LARGEST_PIECE_PX = 128_000_000  # a tile or strip that is decoded at once
_PHOTOMETRIC = {
    tifffile.PHOTOMETRIC.MINISWHITE,
    tifffile.PHOTOMETRIC.MINISBLACK,
    tifffile.PHOTOMETRIC.RGB,
    tifffile.PHOTOMETRIC.YCBCR,
}

logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # its warnings on odd tags are not for our users


@dataclass(frozen=True, kw_only=True)
class TiffLayout:
    """The levels of a TIFF, finest first, and what the file says about itself (see `slides.slide.Reader`).

    `scene`: the number of the picture that was taken, None where the file has no other.
    """

    kind: str
    pages: Sequence[tifffile.TiffPage]
    mpp: Mpp | None
    mpp_source: str
    objective: float | None
    scene: int | None = None
    remarks: Sequence[str] = ()


def read_layout(path: Path, wanted: int | None = None) -> TiffLayout:
    """Reads the tags of a TIFF; no pixels.

    Args:
        wanted: which of its scenes is the slide, None = the largest (`slides.scenes`).

    Raises:
        SlideError: `E_OPEN`, no TIFF, or damaged; `E_FORMAT`, not a brightfield RGB slide, or not to be read in parts;
            `E_SCENE`, no such scene.
    """
    try:
        with tifffile.TiffFile(path) as tiff:
            top = [page for page in islice(tiff.pages, _MOST_PAGES) if isinstance(page, tifffile.TiffPage)]
            scan = max(top, key=lambda page: page.imagewidth * page.imagelength)
            scenes = find_scenes(tiff, top, scan)
            scene = largest(scenes)
            pages = _levels(scene.page, [*scene.loose, *_sub_pages(scene.page)])
            others = left_out(scenes, scene, pages)
            if wanted is not None:
                scene, others = choose(wanted, scenes, scene, others), []
                pages = _levels(scene.page, [*scene.loose, *_sub_pages(scene.page)])
            main = scene.page
            for page in (top[0], main):
                check_size((page.imagewidth, page.imagelength))
            check_channels(scene)
            _check_brightfield(main, top)
            for page in pages:
                _check_pieces(page, path)
                if page.compression not in tifffile.TIFF.DECOMPRESSORS:
                    raise ValueError(f"compression {int(page.compression)} is unknown")
                _check_count(page)
            _check_whole(tiff, top, pages)
            for page in pages:
                page.decode, page.jpegtables  # noqa: B018 - found now, while the file is open; kept by the page
            mpp, source = _mpp(tiff, scene)
            return TiffLayout(
                kind=_kind(tiff),
                pages=pages,
                mpp=mpp,
                mpp_source=source,
                objective=scene.objective or magnification(in_aperio(main.description, "AppMag")),
                scene=scene.number if others else wanted,
                remarks=[*scene.remarks, *([remark(scene, others)] if others else [])],
            )
    except DAMAGE as error:
        raise damaged("E_OPEN", f"the file is cut or damaged: {error}") from error


def _sub_pages(main: tifffile.TiffPage) -> list[tifffile.TiffPage]:
    found = main.pages or ()
    return [page for page in islice(found, _MOST_PAGES) if isinstance(page, tifffile.TiffPage)]


def _check_brightfield(main: tifffile.TiffPage, top: Sequence[tifffile.TiffPage]) -> None:
    samples = main.samplesperpixel
    alike = sum((page.imagewidth, page.imagelength) == (main.imagewidth, main.imagelength) for page in top)
    if main.dtype != np.uint8:
        what = f"{main.bitspersample}-bit values" if main.dtype is not None else "values of an unknown kind"
    elif samples == 1 and alike > 1:
        what = f"{alike} grey channels or planes, as of fluorescence"
    elif samples not in (1, 3, 4):
        what = f"{samples} channels"
    elif main.photometric not in _PHOTOMETRIC:
        what = f"colours of the kind {getattr(main.photometric, 'name', main.photometric)}"
    else:
        return
    raise SlideError(
        "E_FORMAT",
        f"not a brightfield RGB slide: it has {what}",
        remedy="take it out of the slide folder; if it is brightfield, export it as 8-bit RGB",
    )


def _levels(main: tifffile.TiffPage, candidates: Sequence[tifffile.TiffPage]) -> list[tifffile.TiffPage]:
    """The page and its smaller copies: of the same shape up to a rounded pixel, of the same kind of pixels."""
    width, height = main.imagewidth, main.imagelength
    levels = [main]
    for page in sorted(candidates, key=lambda page: -page.imagewidth):
        small, low = page.imagewidth, page.imagelength
        same_kind = (page.samplesperpixel, page.dtype) == (main.samplesperpixel, main.dtype)
        smaller = 0 < small < 0.9 * levels[-1].imagewidth and low > 0
        if same_kind and smaller and abs(small * height - low * width) <= width + height:
            levels.append(page)
    return levels


def _check_pieces(page: tifffile.TiffPage, path: Path) -> None:
    width, height = piece_px(page)
    if width * height > _LARGEST_PIECE_PX and not is_raw(page):
        raise SlideError(
            "E_FORMAT",
            f"stored in pieces of {width} x {height} pixels, which have to be decoded whole",
            remedy=f"store it in tiles: {pyramid_command(path)}",
        )


def _check_count(page: tifffile.TiffPage) -> None:
    """Refuses a page with fewer pieces than its size needs: one of its tags is wrong."""
    width, height = piece_px(page)
    needed = -(-page.imagewidth // width) * -(-page.imagelength // height)
    if page.planarconfig != tifffile.PLANARCONFIG.CONTIG:
        needed *= page.samplesperpixel
    found = min(len(page.dataoffsets), len(page.databytecounts))
    if found < needed:
        raise ValueError(
            f"it has {found} tiles or strips, and {page.imagewidth} x {page.imagelength} pixels need {needed}"
        )


def _check_whole(tiff: tifffile.TiffFile, top: Sequence[tifffile.TiffPage], pages: Sequence[tifffile.TiffPage]) -> None:
    """Refuses a file that ends before its pixels or its pages do: a copy that was interrupted."""
    end = tiff.filehandle.size
    last = max((end_of_page for page in pages for end_of_page in _ends(page)), default=0)
    layout, stream = tiff.tiff, tiff.filehandle
    stream.seek(top[-1].offset)
    (tags,) = struct.unpack(layout.tagnoformat, stream.read(layout.tagnosize))
    stream.seek(tags * layout.tagsize, 1)
    (following,) = struct.unpack(layout.offsetformat, stream.read(layout.offsetsize))
    lost = len(top) < _MOST_PAGES and following > end
    if last > end or lost:
        content = max(last, following if lost else 0)
        raise damaged("E_OPEN", f"the file is cut: it ends at byte {end}, its content at {content} or later")


def _ends(page: tifffile.TiffPage) -> Iterator[int]:
    """Where the pieces of a page end in the file; those stored raw end where their rows do, whatever is written."""
    for offset, count in zip(page.dataoffsets, page.databytecounts, strict=True):
        yield offset + count
    if is_raw(page):
        last, rows = divmod(page.imagelength - 1, piece_px(page)[1])
        yield page.dataoffsets[last] + (rows + 1) * page.imagewidth * page.samplesperpixel


def piece_px(page: tifffile.TiffPage) -> tuple[int, int]:
    """Width and height of a tile, or of a strip."""
    if page.is_tiled:
        return (page.tilewidth, page.tilelength)
    return (page.imagewidth, min(page.rowsperstrip, page.imagelength))


def is_raw(page: tifffile.TiffPage) -> bool:
    """Whether single rows of a strip can be read, because they are stored as they are."""
    return (
        not page.is_tiled
        and page.compression == tifffile.COMPRESSION.NONE
        and page.predictor == tifffile.PREDICTOR.NONE
        and page.planarconfig == tifffile.PLANARCONFIG.CONTIG
        and page.photometric != tifffile.PHOTOMETRIC.YCBCR
        and page.fillorder == 1
    )


def _kind(tiff: tifffile.TiffFile) -> str:
    if tiff.is_ome:
        return "ome-tiff"
    if tiff.is_qpi:
        return "qptiff"
    return "bigtiff" if tiff.is_bigtiff else "tiff"


def _mpp(tiff: tifffile.TiffFile, scene: Scene) -> tuple[Mpp | None, str]:
    """µm per level-0 pixel and where it stands: OME's metadata, Aperio's description, ImageJ's or TIFF's resolution.

    Where none of them helps: None, and why.
    """
    if scene.mpp is not None:
        return scene.mpp, "OME PhysicalSizeX"
    if scene.stale:
        return None, scene.doubt
    if aperio := in_aperio(scene.page.description, "MPP"):
        mpp = number(aperio)
        return ((mpp, mpp), "aperio.MPP") if mpp is not None else (None, no_number("aperio.MPP", aperio))
    x, y, unit = (scene.page.tags.get(name) for name in ("XResolution", "YResolution", "ResolutionUnit"))
    if x is None or y is None:
        return None, scene.doubt
    per_unit = _ratio(x.value), _ratio(y.value)
    imagej = str((tiff.imagej_metadata or {}).get("unit", "")).replace("\\u00B5", "µ")
    name = {"inch": "inch", "cm": "centimeter"}.get(imagej)
    length_um = None if name else unit_um(imagej)
    if length_um is not None and min(per_unit) > 0:
        return (length_um / per_unit[0], length_um / per_unit[1]), "ImageJ unit"
    name = name or {2: "inch", 3: "centimeter"}.get(int(unit.value) if unit is not None else 2, "")
    found = from_tiff_tags(*per_unit, name)
    return (None, scene.doubt) if found is None else (found, TIFF_TAGS)


def _ratio(value: tuple[int, int]) -> float:
    return value[0] / value[1] if value[1] else 0.0
