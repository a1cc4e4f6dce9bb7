"""What a TIFF holds: pages that may be the levels of one brightfield picture, and what its tags say."""

import logging
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import tifffile

from sammil_cli.errors import SlideError
from sammil_cli.slides import levels, tiff_pages
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
from sammil_cli.slides.tiff_colours import decoder, refusal, rgb_maker

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
_MOST_PIECES = 5_000_000  # tiles and strips of all levels; their places take some 100 bytes of memory each
_MANY_PIECES = 100_000
_LEAST_OWN = 0.01  # share of the pieces that must have data of their own: white tiles may share theirs, or have no data
_LARGEST_PIECE_PX = 128_000_000  # a tile or strip that is decoded at once

logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # its warnings on odd tags are not for our users


@dataclass(frozen=True, kw_only=True)
class TiffLayout:
    """Pages of a TIFF and what the file says about itself (see `slides.slide.Reader`).

    The first of `pages` is level 0; `facts` says of each of them what tells whether it is a level. `scene`: the number
    of the picture that was taken, None where the file has no other.
    """

    kind: str
    pages: Sequence[tifffile.TiffPage]
    facts: Sequence[levels.Page]
    remarks: Sequence[str]
    mpp: Mpp | None
    mpp_source: str
    objective: float | None
    scene: int | None = None


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
            if not top:
                raise damaged("E_OPEN", "the file is cut or damaged: it lists no picture")
            scenes = find_scenes(tiff, top, tiff_pages.scan_of(top))
            scene = largest(scenes)
            smaller = _smaller(scene, path)
            others = left_out(scenes, scene, [page for page, _ in smaller])
            if wanted is not None:
                scene, others = choose(wanted, scenes, scene, others), []
                smaller = _smaller(scene, path)
            main = scene.page
            for page in (top[0], main):
                check_size((page.imagewidth, page.imagelength))
            size = (main.imagewidth, main.imagelength)
            check_channels(scene)
            alike = sum((page.imagewidth, page.imagelength) == size for page in top)
            if (refused := refusal(main, alike, path)) is not None:
                raise refused
            fitting = [one for one in smaller if levels.fits(size, one[1])]
            remarks = [*scene.remarks, *([remark(scene, others)] if others else [])]
            if not scene.described and wanted is None:
                known = [other.page for other in others]
                remarks += tiff_pages.passed_over(main, [page for page in top if page not in known])
            remarks += levels.left_out(
                [facts.size_px for _, facts in smaller if facts.marked and not levels.fits(size, facts)]
            )
            pages = [main, *(page for page, _ in fitting)]
            for page in pages:
                _check_pieces(page, path)
            _check_total(pages, path)  # before their places are read, which are as many
            for page in pages:
                _check_count(page)
            _check_made_up(main)
            _check_whole(tiff, top, pages)
            for page in pages:
                decoder(page), rgb_maker(page), page.jpegtables  # read now, while the file is open; kept by the page
            mpp, source = _mpp(tiff, scene)
            return TiffLayout(
                kind=tiff_pages.kind_of(tiff),
                pages=pages,
                facts=[levels.Page(size_px=size), *(facts for _, facts in fitting)],
                remarks=remarks,
                mpp=mpp,
                mpp_source=source,
                objective=scene.objective or magnification(in_aperio(main.description, "AppMag")),
                scene=scene.number if others else wanted,
            )
    except DAMAGE as error:
        raise damaged("E_OPEN", f"the file is cut or damaged: {error}") from error


def _smaller(scene: Scene, path: Path) -> list[tuple[tifffile.TiffPage, levels.Page]]:
    """Pages that may be levels below a scene, in colours that can be read."""
    found = tiff_pages.smaller_pages(scene.page, scene.loose, _sub_pages(scene.page))
    return [(page, facts) for page, facts in found if refusal(page, 1, path) is None]


def _sub_pages(main: tifffile.TiffPage) -> list[tifffile.TiffPage]:
    found = main.pages or ()
    return [page for page in islice(found, _MOST_PAGES) if isinstance(page, tifffile.TiffPage)]


def _check_pieces(page: tifffile.TiffPage, path: Path) -> None:
    width, height = piece_px(page)
    if width * height > _LARGEST_PIECE_PX and not is_raw(page):
        raise SlideError(
            "E_FORMAT",
            f"stored in pieces of {width} x {height} pixels, which have to be decoded whole",
            remedy=f"store it in tiles: {pyramid_command(path)}",
        )


def _needed(page: tifffile.TiffPage) -> int:
    """How many tiles or strips a page of its size has."""
    width, height = piece_px(page)
    needed = -(-page.imagewidth // width) * -(-page.imagelength // height)
    return int(needed if page.planarconfig == tifffile.PLANARCONFIG.CONTIG else needed * page.samplesperpixel)


def _check_total(pages: Sequence[tifffile.TiffPage], path: Path) -> None:
    """Refuses a file whose list of pieces would fill the memory."""
    total = sum(_needed(page) for page in pages)
    if total > _MOST_PIECES:
        raise SlideError(
            "E_FORMAT",
            f"stored in {total:,} tiles or strips, more than {_MOST_PIECES:,}",
            remedy=f"store it in larger tiles: {pyramid_command(path)}",
        )


def _check_made_up(main: tifffile.TiffPage) -> None:
    """Refuses a small file that says it is a huge slide: hours would be spent on what it does not hold."""
    needed = _needed(main)
    own = len(set(main.dataoffsets) - {0}) if needed > _MANY_PIECES else needed
    if own < _LEAST_OWN * needed:
        raise ValueError(f"of {needed:,} tiles or strips only {own:,} have data of their own")


def _check_count(page: tifffile.TiffPage) -> None:
    """Refuses a page with fewer pieces than its size needs: one of its tags is wrong."""
    needed = _needed(page)
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
