"""The slide files of a cohort: found, named, identified, opened by the format that fits."""

import hashlib
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Literal

from sammil_cli import choices
from sammil_cli.errors import InputError, SlideError, as_slide_error, limit_met
from sammil_cli.slides.conversion import DANGLING, NAMELESS_DICOM, NO_UTF8, UNSUPPORTED
from sammil_cli.slides.dicom import beside_objects, kind_without_suffix, other_objects, series_of, series_with
from sammil_cli.slides.resolution import resolve_mpp
from sammil_cli.slides.scenes import no_scene
from sammil_cli.slides.slide import Reader, Slide, UnknownContentError
from sammil_cli.storage.content import Content, content_of
from sammil_cli.storage.files import RENAME, digest, is_utf8
from sammil_cli.storage.paths import SlidePath
from sammil_cli.storage.regular_file import is_file
from sammil_cli.storage.shown_text import shown

_SAMPLE = 1 << 20  # bytes read at the start, middle and end of a file to identify it
_LISTS = (".vms", ".vmu")  # Hamamatsu's: text files whose values name the files that belong to them
_LONGEST_LIST = 1 << 20
_PICTURES = (".png", ".jpg", ".jpeg")  # beside slides of other formats they are pictures of them


@dataclass(frozen=True)
class SlideFiles:
    """What lies in a slide folder: paths by slide id, and the files passed over, counted by suffix.

    `unsupported` are slides that nothing here reads; `sidecars` are other files: tables, annotations, thumbnails.
    `total` counts all files, also those inside of the slides (data of MIRAX, levels of DICOM): `inner`. `unnameable`
    are slides whose paths are no UTF-8, by their ids as they are shown: no table could hold their names.
    """

    paths: dict[str, SlidePath]
    unsupported: dict[str, int] = field(default_factory=dict)
    sidecars: dict[str, int] = field(default_factory=dict)
    inner: int = 0
    unnameable: dict[str, Path] = field(default_factory=dict)

    @property
    def ids(self) -> set[str]:
        """Of all slides, also of those that cannot be done for their names."""
        return {*self.paths, *self.unnameable}

    @property
    def ignored(self) -> dict[str, int]:
        """All files passed over, counted by suffix."""
        return dict(Counter(self.unsupported) + Counter(self.sidecars))

    @property
    def total(self) -> int:
        """All files, but hidden ones."""
        return len(self.paths) + len(self.unnameable) + self.inner + sum(self.ignored.values())

    def inventory(self) -> str:
        """One line: `1000 files: 981 slides, 12 unsupported (.vsi 12: convert with …), 7 sidecars (.xml 7)`."""
        count = len(self.paths) + len(self.unnameable)
        slides = "1 slide" if count == 1 else f"{count} slides"
        parts = [slides + (f" ({count + self.inner} files)" if self.inner else "")]
        if self.unsupported:
            listed = [f"{suffix} {count}: {UNSUPPORTED[suffix]}" for suffix, count in sorted(self.unsupported.items())]
            parts.append(f"{sum(self.unsupported.values())} unsupported ({'; '.join(listed)})")
        if self.sidecars:
            counted = ", ".join(f"{suffix} {count}" for suffix, count in sorted(self.sidecars.items()))
            parts.append(f"{sum(self.sidecars.values())} sidecars ({counted})")
        return f"{self.total} files: {', '.join(parts)}"


def find_slides(folder: Path) -> SlideFiles:
    """Lists the slides in a folder and below; for their ids see `slide_id_of`.

    DICOM objects that are no slide images (annotations, reports, …) are sidecars, listed by their Modality.
    PNG and JPEG pictures are slides only where no other slide lies in their folder and none has their name.

    Raises:
        InputError: no folder, no slides in it, or two slides with one id.
    """
    if not folder.is_dir():
        if folder.is_symlink():
            target = folder.readlink()
            raise InputError(
                f"the slide folder {folder} is a link to {target}, which is not here",
                remedy=f"mend the link; in a container mount its target, too: docker run -v {target}:{target}:ro",
            )
        raise InputError(
            f"the slide folder {folder} does not exist", remedy="put the slides there or give --slides DIR"
        )
    suffixes = _formats()
    slides: list[Path] = []
    pictures: list[Path] = []
    unsupported: Counter[str] = Counter()
    sidecars: Counter[str] = Counter()
    unnameable: dict[str, Path] = {}
    inner = 0
    for path, place in _visible_files(folder):
        suffix = path.suffix.lower()
        if not (is_utf8(path) or is_utf8(path.relative_to(folder))):
            shown_id = shown(path.stem)
            if suffix in suffixes and suffix not in (*_PICTURES, ".dcm") and shown_id not in unnameable:
                unnameable[shown_id] = path
            else:
                unsupported[NO_UTF8] += 1
        elif place == "MIRAX":
            inner += 1
        elif place == "nowhere":
            unsupported[DANGLING] += 1
        elif suffix in _PICTURES:
            pictures.append(path)
        elif suffix == ".dcm" and (kind := other_objects(path.parent).get(path)):
            sidecars[f".dcm {kind}"] += 1
        elif suffix in suffixes:
            slides.append(path)
        elif suffix in UNSUPPORTED:
            unsupported[suffix] += 1
        elif (kind := kind_without_suffix(path)) is not None:
            if kind:
                sidecars[f"DICOM {kind}"] += 1
            else:
                unsupported[NAMELESS_DICOM] += 1
        else:
            sidecars[suffix or path.name] += 1
    inside = _inside(slides)
    inner += len(inside)
    slides = [path for path in slides if path not in inside]
    folders, stems = {path.parent for path in slides}, {path.stem for path in slides}
    for picture in pictures:
        if picture in inside:
            continue
        if picture.parent in folders or _shows_one_of(picture, stems):
            sidecars[picture.suffix.lower()] += 1
        else:
            slides.append(picture)
    paths = _by_id(sorted(slides), folder)
    if really := set(unnameable) & set(paths):  # another slide is really called so
        unsupported[NO_UTF8] += len(really)
        unnameable = {slide_id: path for slide_id, path in unnameable.items() if slide_id not in really}
    if not paths and not unnameable:
        passed = SlideFiles({}, dict(unsupported), dict(sidecars), inner)
        known = f"known are {', '.join(sorted(suffixes))}"
        raise InputError(f"no slides in {folder} ({passed.inventory()})", remedy=known)
    return SlideFiles(paths, dict(unsupported), dict(sidecars), inner, unnameable)


def slide_id_of(path: Path) -> str:
    """A slide's id: its file name without the suffix.

    A DICOM series of several files that has a folder to itself is called like the folder.
    """
    if path.suffix.lower() != ".dcm" or not path.is_file():
        return path.stem
    series = series_of(path.parent)
    if len(series) != 1 or len(series[0]) == 1:
        return path.stem
    folder = path.parent
    if (beside := beside_objects(folder)) and {Path(name).suffix.lower() for name in beside} & _formats().keys():
        return path.stem
    is_plain = folder.name not in ("", "..") and not folder.is_symlink()
    return folder.name if is_plain else folder.resolve().name


def no_name(path: Path) -> SlideError:
    """The error of a slide in `SlideFiles.unnameable`."""
    return SlideError("E_NAME", f"its path is no UTF-8: {shown(str(path))}", remedy=RENAME)


def _visible_files(folder: Path, *, in_mirax: bool = False) -> Iterator[tuple[Path, Literal["", "MIRAX", "nowhere"]]]:
    """The files of a folder and below by their names, each with what it is besides.

    Data of a MIRAX slide lie in a folder named like the slide; a link may lead nowhere. Pipes are left out: they would
    be waited for.
    """
    try:
        with os.scandir(folder) as listed:
            entries = sorted((one for one in listed if not one.name.startswith(".")), key=lambda one: one.name)
    except OSError:
        return
    slides = {one.name.removesuffix(".mrxs") for one in entries if one.name.endswith(".mrxs")}
    for entry in entries:
        path = folder / entry.name
        if is_file(entry):
            yield path, "MIRAX" if in_mirax else ""
        elif entry.is_dir(follow_symlinks=False):
            is_mirax = entry.name in slides and path.with_name(f"{entry.name}.mrxs").exists()
            yield from _visible_files(path, in_mirax=in_mirax or is_mirax)
        elif entry.is_symlink() and not path.exists():
            yield path, "MIRAX" if in_mirax else "nowhere"


def _inside(slides: list[Path]) -> set[Path]:
    """Files that belong to a slide of another name: what a VMS file lists, all of a DICOM series but the first."""
    inside = {file for path in slides if path.suffix.lower() in _LISTS for file in other_files(path)}
    for folder in {path.parent for path in slides if path.suffix.lower() == ".dcm"}:
        inside |= {file for files in series_of(folder) for file in files[1:]}
    return inside


def other_files(path: Path) -> list[Path]:
    """The files besides `path` that hold the slide, in order of their names: MIRAX, DICOM and VMS are many files."""
    suffix = path.suffix.lower()
    if suffix == ".mrxs":
        folder = path.with_suffix("")
        return sorted(file for file in folder.rglob("*") if file.is_file()) if folder.is_dir() else []
    if suffix == ".dcm":
        return sorted({*series_with(path)} - {path})
    if suffix in _LISTS:
        try:
            with path.open("rb") as stream:
                lines = stream.read(_LONGEST_LIST).decode("utf-8", "replace").splitlines()
        except OSError:  # told when the slide is opened
            return []
        named = {line.partition("=")[2].strip() for line in lines}
        plain = (path.parent / name for name in named if name and Path(name).name == name)
        return sorted(file for file in plain if file.is_file())
    return []


def _shows_one_of(picture: Path, slides: set[str]) -> bool:
    """Whether a picture is named like one of the slides: `a.png`, `a_thumbnail.jpg` of `a`."""
    stem = picture.stem
    return stem in slides or any(stem[:end] in slides for end in range(len(stem)) if not stem[end].isalnum())


def _by_id(slides: list[Path], folder: Path) -> dict[str, SlidePath]:
    paths: dict[str, SlidePath] = {}
    for path in slides:
        slide_id = slide_id_of(path)
        if slide_id in paths:
            one, other = paths[slide_id].relative_to(folder), path.relative_to(folder)
            raise InputError(f"two slides have the id {slide_id!r}: {one} and {other}", remedy="rename one")
        paths[slide_id] = SlidePath(path)
    return paths


def formats_of(path: Path) -> list[str]:
    """The modules that may read a file, by its suffix, in the order in which they are asked."""
    return [module.__name__ for module in _formats().get(path.suffix.lower(), ())]


def _formats() -> Mapping[str, list[ModuleType]]:
    """Suffix -> the formats that may read it, in the order in which they are asked: by their PRIORITY."""
    return _by_suffix(*choices.load_all(choices.FORMATS))


@lru_cache(maxsize=4)  # asked for each slide
def _by_suffix(*modules: ModuleType) -> Mapping[str, list[ModuleType]]:
    readers: dict[str, list[ModuleType]] = {}
    for module in sorted(modules, key=lambda module: int(module.PRIORITY)):
        for suffix in module.SUFFIXES:
            readers.setdefault(suffix, []).append(module)
    return readers


def open_reader(path: SlidePath, scene: int | None = None) -> Reader:
    """Opens a slide file, whatever its resolution: by the first format that takes it.

    Args:
        scene: which of the file's pictures, by its number; None = the format's choice, the largest.

    Raises:
        SlideError: `E_EMPTY`, `E_OPEN`, `E_FORMAT` or `E_SCENE`.
    """
    try:
        with path.open("rb"):  # as the user who runs this may
            if path.stat().st_size == 0:
                raise SlideError("E_EMPTY", "the file has no content (0 bytes)", remedy="copy or download it again")
    except OSError as error:
        if met := limit_met(error):
            raise as_slide_error(met) from None
        fix = "check the path, and that you may read the file"
        raise SlideError("E_OPEN", f"the file cannot be read: {error.strerror}", remedy=fix) from error
    refused: SlideError | None = None
    for module in _formats().get(path.suffix.lower(), ()):
        try:
            reader = _open_scene(module, path, scene)
        except SlideError as error:
            says_more = isinstance(refused, UnknownContentError) and not isinstance(error, UnknownContentError)
            if refused is None or says_more or error.code != "E_OPEN":
                refused = error
            continue
        if reader is not None:
            return reader
    if (refused is None or refused.code == "E_OPEN") and (content := foreign_content(path)):
        raise SlideError("E_OPEN", f"its content is {content.what}", remedy=content.fix)
    raise refused or SlideError(
        "E_OPEN", f"no format reads this {path.suffix} file", remedy="convert it to a pyramidal tiled TIFF"
    )


def foreign_content(path: Path) -> Content | None:
    """What a file is by its first bytes, if no format that may read a file of its name reads such content."""
    if path.suffix.lower() in (*_LISTS, ".mrxs"):  # their content is text, or a picture of the slide, or nothing
        return None
    content = content_of(path)
    if content is None or (content.suffix == ".dcm") != (path.suffix.lower() == ".dcm"):
        return content
    return None if set(formats_of(path)) & set(formats_of(Path(f"a{content.suffix}"))) else content


def _open_scene(module: ModuleType, path: SlidePath, scene: int | None) -> Reader | None:
    opens_scenes = scene is not None and hasattr(module, "open_scene")
    reader: Reader | None = module.open_scene(path, scene) if opens_scenes else module.open_slide(path)
    if reader is not None and not opens_scenes and scene not in (None, 1):
        reader.close()
        raise no_scene(scene)
    return reader


def open_slide(path: SlidePath, mpp: float | None = None, scene: int | None = None) -> Slide:
    """Opens a slide and settles its resolution; `mpp` overrides what the file says, `scene` is as in `open_reader`.

    Raises:
        SlideError: `E_EMPTY`, `E_OPEN`, `E_FORMAT`, `E_SCENE` or `E_MPP`.
    """
    reader = open_reader(path, scene)
    slide_id = slide_id_of(path)
    try:
        resolution, source = resolve_mpp(reader.mpp, reader.mpp_source, slide_id, mpp)
    except SlideError:
        reader.close()
        raise
    return Slide(
        slide_id=slide_id,
        path=path,
        reader=reader,
        mpp=resolution,
        mpp_source=source,
        scene=getattr(reader, "scene", scene),
    )


def identify(path: SlidePath) -> str:
    """A digest of a slide's files by sizes and samples of their bytes: the same wherever the slide lies.

    Whole gigabyte files are not read; samples of 1 MiB at the start, the middle and the end are. Of slides in many
    files (MIRAX, DICOM, VMS) the names of the others count, too. A file that cannot be read is reported when it is
    opened, not here.
    """
    head = _sampled(path)
    others = [[str(file.relative_to(path.parent)), *_sampled(file)] for file in other_files(path)]
    return digest([*head, others] if others else head)


def _sampled(path: Path) -> list[object]:
    try:
        size = path.stat().st_size
        with path.open("rb") as stream:
            samples = []
            for start in sorted({0, max(0, size // 2), max(0, size - _SAMPLE)}):
                stream.seek(start)
                samples.append(hashlib.sha256(stream.read(_SAMPLE)).hexdigest())
    except OSError:
        return ["unreadable"]
    return [size, samples]
