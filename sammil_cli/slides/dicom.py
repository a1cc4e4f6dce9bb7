"""Which DICOM files are one slide: the series of a folder, from the heads of its files. No pixels, no pixel spacing.

Many DICOM objects are no slide images: annotations (ANN), segmentations (SEG), reports (SR), scans of other kinds (MR).
"""

import functools
import os
import struct
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO, NamedTuple

from sammil_cli.storage.regular_file import is_file

_MEDIA_CLASS = (0x0002, 0x0002)
_TRANSFER_SYNTAX = (0x0002, 0x0010)
_IMAGE_TYPE = (0x0008, 0x0008)
_CLASS = (0x0008, 0x0016)
_MODALITY = (0x0008, 0x0060)
_SERIES = (0x0020, 0x000E)
_WANTED = (_MEDIA_CLASS, _TRANSFER_SYNTAX, _IMAGE_TYPE, _CLASS, _MODALITY, _SERIES)
_SLIDE_CLASS = "1.2.840.10008.5.1.4.1.1.77.1.6"  # VL Whole Slide Microscopy Image Storage
_SLIDE_MODALITY = "SM"
_DIRECTORY_CLASS = "1.2.840.10008.1.3.10"
_NAMES = (".dicom", ".dic", ".ima")  # besides no suffix at all, or the last number of a UID
_IMPLICIT = "1.2.840.10008.1.2"
_LONG = {b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"}
_UNDEFINED = 0xFFFFFFFF
_ITEM, _ITEM_END, _SEQUENCE_END = (0xFFFE, 0xE000), (0xFFFE, 0xE00D), (0xFFFE, 0xE0DD)
_LONGEST_VALUE = 4096
_TAG, _LENGTH, _SHORT_LENGTH = struct.Struct("<HH"), struct.Struct("<I"), struct.Struct("<H")
_DEEPEST = 16


class _Objects(NamedTuple):
    """The `.dcm` files of a folder, see the functions below."""

    series: tuple[tuple[Path, ...], ...]
    series_by_file: Mapping[Path, tuple[Path, ...]]
    others: Mapping[Path, str]
    beside: tuple[str, ...]


def series_of(folder: Path) -> tuple[tuple[Path, ...], ...]:
    """The slide images of a folder by series, each in order of their names, the picture's own levels first.

    A file whose head cannot be read is a series of its own.
    """
    return _objects(folder, folder.stat().st_mtime_ns).series


def series_with(path: Path) -> tuple[Path, ...]:
    """The series, as in `series_of`, that a file belongs to; empty where it is no slide's image."""
    return _objects(path.parent, path.parent.stat().st_mtime_ns).series_by_file.get(path, ())


def other_objects(folder: Path) -> Mapping[Path, str]:
    """The `.dcm` files of a folder that are no slide images, each with its Modality: ANN, SEG, SR, MR, …"""
    return _objects(folder, folder.stat().st_mtime_ns).others


def beside_objects(folder: Path) -> tuple[str, ...]:
    """What else lies in a folder than `.dcm` files: names, but hidden ones."""
    return _objects(folder, folder.stat().st_mtime_ns).beside


def kind_without_suffix(path: Path) -> str | None:
    """What a file is that does not end in `.dcm`: "" = a slide's image, its Modality = other DICOM, None = no DICOM."""
    suffix = path.suffix.lower()
    if suffix[1:].isalpha() and suffix not in _NAMES:
        return None  # known by its suffix, and not opened
    head = _read_head(path)
    return None if head is None else _kind(head)


@functools.lru_cache(maxsize=1 << 16)  # a cohort may have a folder for each slide
def _objects(folder: Path, _changed: int) -> _Objects:
    groups: dict[str, list[tuple[bool, Path]]] = defaultdict(list)
    others: dict[Path, str] = {}
    names, beside = list[str](), list[str]()
    with os.scandir(folder) as listed:
        for entry in listed:
            if not entry.name.startswith("."):
                (names if entry.name[-4:].lower() == ".dcm" and is_file(entry) else beside).append(entry.name)
    for name in sorted(names):
        path = folder / name
        head = _read_head(path) or {}
        if kind := _kind(head):
            others[path] = kind
            continue
        picture = "VOLUME" in head.get(_IMAGE_TYPE, "").split("\\")  # of ORIGINAL\PRIMARY\VOLUME\NONE
        groups[head.get(_SERIES) or f"file {name}"].append((not picture, path))
    series = tuple(tuple(path for _, path in sorted(group)) for group in groups.values())
    return _Objects(series, {path: files for files in series for path in files}, others, tuple(beside))


def _kind(head: Mapping[tuple[int, int], str]) -> str:
    """The Modality of what is no slide's image, or DICOMDIR; "" of a slide's, and of a head that does not say it."""
    name, modality = head.get(_CLASS, ""), head.get(_MODALITY, "")
    if head.get(_MEDIA_CLASS) == _DIRECTORY_CLASS:
        return "DICOMDIR"
    if name == _SLIDE_CLASS or modality == _SLIDE_MODALITY or not (name or modality):
        return ""
    return modality or "of another kind"


def _read_head(path: Path) -> dict[tuple[int, int], str] | None:
    """The wanted values of a file as far as it can be read; None where it is no DICOM."""
    found: dict[tuple[int, int], str] = {}
    try:
        with path.open("rb") as stream:
            stream.seek(128)
            if stream.read(4) != b"DICM":
                return None
            _read_values(stream, found)
    except (OSError, struct.error, ValueError):
        found.pop(_SERIES, None)
    return found


def _read_values(stream: BinaryIO, found: dict[tuple[int, int], str]) -> None:
    """Finds the wanted values of the outermost data set, which comes in rising order of tags; little endian only."""
    explicit = True
    while True:
        start = stream.read(8)
        tag = _tag(start)
        if tag[0] > 0x0002:  # the head of the head is always explicit
            explicit = found.get(_TRANSFER_SYNTAX) != _IMPLICIT
        if tag > _SERIES:
            return
        length = _length(start, stream, explicit)
        if length == _UNDEFINED:
            _skip_sequence(stream, explicit, 0)
        elif tag in _WANTED and length <= _LONGEST_VALUE:
            found[tag] = stream.read(length).decode("ascii", "replace").strip("\0 ")
        else:
            stream.seek(length, 1)


def _tag(start: bytes) -> tuple[int, int]:
    """The tag of a value, by its first eight bytes."""
    group, element = _TAG.unpack_from(start)
    return (group, element)


def _length(start: bytes, stream: BinaryIO, explicit: bool) -> int:
    """The length of a value, by its first eight bytes, and the next four where it has a long one."""
    if not explicit:
        return int(_LENGTH.unpack_from(start, 4)[0])
    if start[4:6] in _LONG:
        return int(_LENGTH.unpack(stream.read(4))[0])
    return int(_SHORT_LENGTH.unpack_from(start, 6)[0])


def _skip_sequence(stream: BinaryIO, explicit: bool, depth: int) -> None:
    """Goes behind a sequence that does not say its length."""
    if depth > _DEEPEST:
        raise ValueError("sequences too deep")
    while (tag := _tag(start := stream.read(8))) != _SEQUENCE_END:
        length = int(_LENGTH.unpack_from(start, 4)[0])
        if tag != _ITEM:
            raise ValueError("an item was expected")
        if length != _UNDEFINED:
            stream.seek(length, 1)
            continue
        while (inner := _tag(start := stream.read(8))) != _ITEM_END:
            size = _length(start, stream, explicit)
            if size == _UNDEFINED:
                _skip_sequence(stream, explicit, depth + 1)
            else:
                stream.seek(size, 1)
            if inner == _SEQUENCE_END:
                raise ValueError("an item ends with its sequence")
