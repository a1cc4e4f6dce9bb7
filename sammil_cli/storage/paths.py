"""Paths of the pipeline's files, each with a type of its own: mypy sees it where two of them are swapped."""

import unicodedata
from pathlib import Path
from typing import NewType

from sammil_cli.errors import InputError

SlidePath = NewType("SlidePath", Path)  # a slide of the user's
DrawingPath = NewType("DrawingPath", Path)  # what a person drew on a slide, GeoJSON
TissuePath = NewType("TissuePath", Path)
ArtefactsPath = NewType("ArtefactsPath", Path)
PatchesPath = NewType("PatchesPath", Path)
RegionsPath = NewType("RegionsPath", Path)
BagPath = NewType("BagPath", Path)
BagFolderPath = NewType("BagFolderPath", Path)
ModelPath = NewType("ModelPath", Path)  # a folder: one trained fold
CurvePath = NewType("CurvePath", Path)
CheckpointPath = NewType("CheckpointPath", Path)

PACKED_GEOJSON, OME_TIFF = ".geojson.gz", ".ome.tif"


def slide_of(path: Path) -> str:
    """The slide that a file of a stage is called like: its name without its suffix."""
    return path.name.removesuffix(suffix_of(path))


def suffix_of(path: Path) -> str:
    """A file's suffix; that of packed polygons is `.geojson.gz`, that of evidence as a picture `.ome.tif`."""
    double = (suffix for suffix in (PACKED_GEOJSON, OME_TIFF) if path.name.endswith(suffix) and path.name != suffix)
    return next(double, path.suffix)


def is_called_like(path: Path, slide_id: object) -> bool:
    """Whether a file has the name of its slide; macOS gives names back in another normal form."""
    return isinstance(slide_id, str) and unicodedata.normalize("NFC", slide_id) == unicodedata.normalize(
        "NFC", slide_of(path)
    )


def check_id(name: str, where: Path) -> None:
    """Refuses an id that a file gives and that would lead to another folder as a file's name.

    Args:
        where: the file, for the message.

    Raises:
        InputError: `E_DAMAGED`, it is empty, `.` or `..`, or holds a separator or NUL.
    """
    if name in ("", ".", "..") or set(name) & {"/", "\\", "\0"}:
        raise InputError(
            f"{where} has the id {name!r}, which is no file name: ids are never paths",
            remedy="delete the file and run the command that writes it, or correct the id",
            code="E_DAMAGED",
        )
