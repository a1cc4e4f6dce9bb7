"""Stacks in focus of which OpenSlide reads one plane and says nothing of the others."""

from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from pathlib import Path

import tifffile

from sammil_cli.slides.ome import parse_xml

_NDPI_Z_OFFSET = 65424  # nm from the plane in focus
_MOST_PAGES = 1000
_MIRAX_LEVELS = 10


def remarks(path: Path, kind: str, properties: Mapping[str, str], sizes_px: Sequence[tuple[int, int]]) -> list[str]:
    """What is to be said of planes that are left out.

    Args:
        kind: OpenSlide's word for the format. properties: what OpenSlide says of the slide.
        sizes_px: width and height of its levels.
    """
    planes, which = 1, "one"
    if kind == "aperio":
        planes = sum(size == sizes_px[0] for size in sizes_px)
        which = "the first; the column scene of data/slides.csv chooses another one by the number of its page"
    elif kind == "hamamatsu" and path.suffix.lower() == ".ndpi":
        planes, which = _in_tiff(path, sizes_px[0], _ndpi_planes), "the one at 0 µm"
    elif kind == "leica":
        planes, which = _in_tiff(path, sizes_px[0], _leica_planes), "that of z 0"
    elif kind == "mirax":
        planes = _mirax_planes(properties)
    return [f"scenes: {planes} planes of focus, of which OpenSlide reads {which}"] if planes > 1 else []


def _in_tiff(path: Path, size_px: tuple[int, int], count: Callable[[tifffile.TiffFile, tuple[int, int]], int]) -> int:
    try:
        with tifffile.TiffFile(path) as tiff:
            return count(tiff, size_px)
    except (tifffile.TiffFileError, OSError, ValueError, KeyError, IndexError, TypeError, AttributeError):
        return 1  # OpenSlide has opened it; only the remark is lost


def _ndpi_planes(tiff: tifffile.TiffFile, size_px: tuple[int, int]) -> int:
    pages = [page for page in islice(tiff.pages, _MOST_PAGES) if isinstance(page, tifffile.TiffPage)]
    large = [page for page in pages if (page.imagewidth, page.imagelength) == size_px]
    return len({page.tags.valueof(_NDPI_Z_OFFSET) for page in large})


def _leica_planes(tiff: tifffile.TiffFile, size_px: tuple[int, int]) -> int:
    del size_px  # it is that of the whole glass, not of a page
    pages = parse_xml(tiff.pages.first.description).iterfind(".//{*}dimension")
    return len({page.get("z", "0") for page in pages})


def _mirax_planes(properties: Mapping[str, str]) -> int:
    for number in range(_MIRAX_LEVELS):
        name = f"mirax.HIERARCHICAL.HIER_{number}"
        if properties.get(f"{name}_NAME") == "Microscope focus level":
            count = properties.get(f"{name}_COUNT", "")
            return int(count) if count.isdecimal() else 1
    return 1
