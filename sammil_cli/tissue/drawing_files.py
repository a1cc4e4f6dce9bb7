"""The files of a folder of drawings: by the slide that each is for, and those that are not read."""

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from sammil_cli.errors import InputError
from sammil_cli.storage.drawing import drawn_slide
from sammil_cli.storage.nearest_ids import nearest_ids
from sammil_cli.storage.paths import DrawingPath

_SHOWN = 3  # names in one line
_OTHER = "a drawing is called <slide>.geojson, .json, .xml or .annotations, also .gz or .zip: rename it, if it is one"
_ADVICE = {
    ".ndpa": "Hamamatsu's drawings count nanometres from the slide's centre: load them in QuPath with a script for "
    "NDPA, and export them as GeoJSON",
    ".qpdata": "open it in QuPath, then File, Export objects as GeoJSON",
    ".qpproj": "open it in QuPath, then File, Export objects as GeoJSON for each slide",
}
_NO_DRAWINGS = (".dvc",)  # DVC's own, beside what it tracks


@dataclass(frozen=True)
class Unread:
    """Files of a folder of drawings that are not read for one reason, and what to do about it."""

    paths: tuple[Path, ...]
    advice: str

    @property
    def names(self) -> str:
        """The first few names, and how many more there are."""
        more = f" and {len(self.paths) - _SHOWN} more" if len(self.paths) > _SHOWN else ""
        return ", ".join(str(path) for path in self.paths[:_SHOWN]) + more


def find_drawings(folder: Path) -> dict[str, DrawingPath]:
    """The drawings of a folder by slide id, see `drawn_slide`; empty without the folder.

    Raises:
        InputError: two files for one slide.
    """
    found: dict[str, DrawingPath] = {}
    for path in _visible(folder):
        slide_id = drawn_slide(path.name) if path.is_file() else None
        if slide_id is None:
            continue
        if slide_id in found:
            raise InputError(f"{found[slide_id]} and {path.name} are for one slide", remedy="keep one of them")
        found[slide_id] = DrawingPath(path)
    return found


def unread_drawings(folder: Path) -> list[Unread]:
    """What else lies in a folder of drawings, hidden files excepted, by what is to be done about it."""
    groups: dict[str, list[Path]] = defaultdict(list)
    for path in _visible(folder):
        if path.is_dir():
            inner = [file for file in sorted(path.rglob("*")) if file.is_file() and not file.name.startswith(".")]
            groups[f"sub-folders are not read: move the files up into {folder}"] += inner
        elif not path.exists():
            groups["a link to a file that is not here: mend it"].append(path)
        elif path.suffix.lower() not in _NO_DRAWINGS and drawn_slide(path.name) is None:
            groups[_ADVICE.get(path.suffix.lower(), _OTHER)].append(path)
    return [Unread(tuple(paths), advice) for advice, paths in groups.items() if paths]


def stray_drawings(
    folder: Path, slides: Collection[str], undone: Mapping[str, str] = MappingProxyType({})
) -> list[str]:
    """A line for each drawing of a folder that is passed over: it belongs to no slide, or to one that was not done.

    Args:
        slides: ids of those that there are; the nearest ones are named. undone: of the others, why they are not there.
    """
    lines = []
    for slide_id, path in find_drawings(folder).items():
        if slide_id in slides:
            continue
        if slide_id in undone:
            lines.append(f"passed over: {path}: {undone[slide_id]}")
        else:
            near = nearest_ids(slide_id, slides)
            hint = f"; did you mean {' or '.join(near)}?" if near else ""
            lines.append(f"passed over: {path}: there is no slide {slide_id!r}{hint}")
    return lines + [f"passed over: {unread.names}: {unread.advice}" for unread in unread_drawings(folder)]


def _visible(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.iterdir()) if path.name[0] != "."] if folder.is_dir() else []
