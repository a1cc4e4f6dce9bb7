"""The slide files of a cohort: found, named, opened by the format that fits, with the user's resolution overrides."""

import hashlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from sammil_cli import choices
from sammil_cli.errors import InputError, SlideError
from sammil_cli.slides.slide import Reader, Slide, resolve_mpp
from sammil_cli.storage.files import digest, read_csv

_SAMPLE = 1 << 20  # bytes read at the start, middle and end of a file to identify it


@dataclass(frozen=True)
class SlideFiles:
    """What lies in a slide folder: paths by slide id, and the files passed over, counted by suffix."""

    paths: dict[str, Path]
    ignored: dict[str, int]


def find_slides(folder: Path) -> SlideFiles:
    """Lists the slides in a folder and below; a slide's id is its file name without the suffix.

    Raises:
        InputError: no folder, no slides in it, or two slides with one id.
    """
    if not folder.is_dir():
        raise InputError(
            f"the slide folder {folder} does not exist", remedy="put the slides there or give --slides DIR"
        )
    suffixes = set(_formats())
    paths: dict[str, Path] = {}
    ignored: Counter[str] = Counter()
    for path in sorted(file for file in folder.rglob("*") if not file.is_dir()):
        relative = path.relative_to(folder)
        if any(part.startswith(".") for part in relative.parts):
            continue
        if _is_sidecar(path, folder):
            continue
        if not path.exists():
            ignored["dangling link"] += 1
            continue
        if path.suffix.lower() not in suffixes:
            ignored[path.suffix.lower() or path.name] += 1
            continue
        if path.stem in paths:
            other = paths[path.stem].relative_to(folder)
            raise InputError(f"two slides have the id {path.stem!r}: {other} and {relative}", remedy="rename one")
        paths[path.stem] = path
    if not paths:
        raise InputError(f"no slides in {folder}", remedy=f"known are {', '.join(sorted(suffixes))}")
    return SlideFiles(paths, dict(ignored))


def _is_sidecar(path: Path, folder: Path) -> bool:
    """Data files of a MIRAX slide lie in a folder named like the slide."""
    return any(p.with_name(p.name + ".mrxs").exists() for p in path.parents if folder in p.parents)


def _formats() -> dict[str, str]:
    """Suffix -> name of the format that reads it."""
    return {
        suffix: name
        for name in choices.names(choices.FORMATS)
        for suffix in choices.load(choices.FORMATS, name).SUFFIXES
    }


def read_mpp_overrides(table: Path) -> dict[str, float]:
    """The resolutions the user gives in `data/slides.csv` (columns slide_id,mpp); empty where there is no such file.

    Raises:
        InputError: a row that is not a positive number; the message names the line.
    """
    if not table.exists():
        return {}
    overrides: dict[str, float] = {}
    for line, row in enumerate(read_csv(table, ("slide_id", "mpp")), start=2):
        if not row["mpp"]:
            continue
        try:
            mpp = float(row["mpp"])
        except ValueError:
            mpp = 0.0
        if not 0 < mpp < float("inf"):
            raise InputError(
                f"{table}, line {line}: mpp {row['mpp']!r} is no positive number", remedy="give µm per pixel"
            )
        overrides[row["slide_id"]] = mpp
    return overrides


def open_slide(path: Path, mpp: float | None = None) -> Slide:
    """Opens a slide and settles its resolution; `mpp` overrides what the file says.

    Raises:
        SlideError: `E_EMPTY`, `E_OPEN` or `E_MPP`.
    """
    try:
        if path.stat().st_size == 0:
            raise SlideError("E_EMPTY", "the file has no content (0 bytes)", remedy="copy or download it again")
    except OSError as error:
        raise SlideError("E_OPEN", f"the file cannot be read: {error.strerror}", remedy="check the path") from error
    module = choices.load(choices.FORMATS, _formats()[path.suffix.lower()])
    reader: Reader = module.open_slide(path)
    try:
        resolution, source = resolve_mpp(reader, path.stem, mpp)
    except SlideError:
        reader.close()
        raise
    return Slide(slide_id=path.stem, path=path, reader=reader, mpp=resolution, mpp_source=source)


def identify(path: Path) -> str:
    """A digest of the file's size and of samples of its bytes: the same wherever the file lies.

    Whole gigabyte files are not read; samples of 1 MiB at the start, the middle and the end are.
    """
    size = path.stat().st_size
    with path.open("rb") as stream:
        samples = []
        for start in sorted({0, max(0, size // 2), max(0, size - _SAMPLE)}):
            stream.seek(start)
            samples.append(hashlib.sha256(stream.read(_SAMPLE)).hexdigest())
    return digest([size, samples])
