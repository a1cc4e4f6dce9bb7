"""Which page of a TIFF is the scan, and which may be smaller copies of it, by what their tags say."""

import re
from collections.abc import Sequence

import tifffile

from sammil_cli.slides import levels
from sammil_cli.slides.resolution import from_tiff_tags

_OTHER_TYPES = 4 | 8  # bits of NewSubfileType: masks, and Aperio's macro pictures
_MOST_READ = 10_000  # characters of a description
# A name, or a line of a description, that begins so, belongs to a picture of the glass or of a part of it.
_OTHER = re.compile(r"^\W*(slide|image)?\W*(label|macro|thumbnail|overview|barcode|preview)(?![a-z])", re.I | re.M)
_OTHER_QPTIFF = re.compile(r"<ImageType>\s*(Label|Overview|Thumbnail)\b")
_APERIO_MPP = re.compile(r"\|\s*MPP\s*=\s*(\d+\.?\d*)")
_SMALLER_QPTIFF = re.compile(r"<ImageType>\s*ReducedResolution\b")


def scan_of(top: Sequence[tifffile.TiffPage]) -> tifffile.TiffPage:
    """The page that is level 0: in tiles rather than strips, with a scanner's resolution rather than without, large.

    A page that is called label, macro, overview or thumbnail is taken only where all are called so.
    """
    return max(
        _unnamed(top),
        key=lambda page: (page.is_tiled and not page.is_reduced, _pixel_um(page) is not None, _area(page)),
    )


def passed_over(scan: tifffile.TiffPage, top: Sequence[tifffile.TiffPage]) -> list[str]:
    """Remarks on pages that may be the slide just as well: larger or finer than the scan, and not called a label."""
    um = _pixel_um(scan) or 0.0
    rivals = [page for page in _unnamed(top) if _area(page) > _area(scan) or (_pixel_um(page) or um) < 0.9 * um]
    listed = ", ".join(f"{page.imagewidth} x {page.imagelength}" for page in rivals)
    return [f"pages: not read, though larger or finer than the slide: {listed} px"] if rivals else []


def smaller_pages(
    scan: tifffile.TiffPage, loose: Sequence[tifffile.TiffPage], nested: Sequence[tifffile.TiffPage]
) -> list[tuple[tifffile.TiffPage, levels.Page]]:
    """Pages that may be levels below the scan, large ones first: its sub-pages, or, where it has none, other pages.

    Strips below a scan in tiles are thumbnails, unless the file calls them smaller copies.
    """
    found = []
    for page in nested or _unnamed([scan, *loose]):
        marked = bool(nested) or page.is_reduced or bool(_SMALLER_QPTIFF.search(page.description[:_MOST_READ]))
        alike = (page.samplesperpixel, page.dtype) == (scan.samplesperpixel, scan.dtype)
        if not alike or not 0 < _area(page) < _area(scan) or not (page.is_tiled or marked or not scan.is_tiled):
            continue
        tile = (page.tilewidth, page.tilelength) if page.is_tiled else None
        size = (page.imagewidth, page.imagelength)
        facts = levels.Page(
            size_px=size, tile_px=tile, tagged=_tagged(scan, page), sure=bool(nested), marked=marked or page.is_tiled
        )
        found.append((page, facts))
    return sorted(found, key=lambda one: -_area(one[0]))


def kind_of(tiff: tifffile.TiffFile) -> str:
    """The format's name, in OpenSlide's words where it has one."""
    words = {
        "aperio": tiff.is_svs,
        "philips": tiff.is_philips,
        "ventana": tiff.is_bif,
        "ome-tiff": tiff.is_ome,
        "qptiff": tiff.is_qpi,
        "bigtiff": tiff.is_bigtiff,
    }
    return next((word for word, holds in words.items() if holds), "tiff")


def _unnamed(top: Sequence[tifffile.TiffPage]) -> Sequence[tifffile.TiffPage]:
    """The pages that may be slides by their names: all of them, where all are called label or the like."""
    return [page for page in top if not is_named(page)] or top


def is_named(page: tifffile.TiffPage) -> bool:
    """Whether a page is called label, macro, overview or thumbnail."""
    text = page.description[:_MOST_READ]
    names = [str(page.tags.valueof("PageName", "")), *text.splitlines()[:3]]
    return bool(page.subfiletype & _OTHER_TYPES or any(map(_OTHER.match, names)) or _OTHER_QPTIFF.search(text))


def _pixel_um(page: tifffile.TiffPage) -> float | None:
    """µm per pixel that a page says itself; None where it says nothing, or the resolution of a printer."""
    if (aperio := _APERIO_MPP.search(page.description[:_MOST_READ])) is not None:
        return float(aperio.group(1))
    unit = {2: "inch", 3: "centimeter"}.get(page.tags.valueof("ResolutionUnit", 2), "")
    mpp = from_tiff_tags(*_resolution(page), unit)
    return None if mpp is None else mpp[0]


def _tagged(scan: tifffile.TiffPage, page: tifffile.TiffPage) -> float | None:
    """The downsample by the resolution tags; None where they do not say one, as those that are the same everywhere."""
    if scan.tags.valueof("ResolutionUnit", 2) != page.tags.valueof("ResolutionUnit", 2):
        return None
    pairs = list(zip(_resolution(scan), _resolution(page), strict=True))
    if not all(whole > small > 0 for whole, small in pairs):
        return None
    x, y = (whole / small for whole, small in pairs)
    return (x + y) / 2 if abs(x - y) <= 0.01 * x else None


def _resolution(page: tifffile.TiffPage) -> tuple[float, float]:
    x, y = (page.tags.valueof(name, (0, 1)) for name in ("XResolution", "YResolution"))
    return _number(x), _number(y)


def _number(value: object) -> float:
    """A rational number; 0 where it is none."""
    match value:
        case (int(above), int(below)) if below:
            return above / below
    return 0.0


def _area(page: tifffile.TiffPage) -> int:
    return page.imagewidth * page.imagelength
