"""Folders of pre-cut tiles: which of them are slides, and which files in them are tiles."""

import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sammil_cli.errors import InputError, SlideError
from sammil_cli.slides.formats.image import SUFFIXES
from sammil_cli.storage.regular_file import is_file
from sammil_cli.storage.shown_text import shown

_HIDDEN = "hidden file(s)"
_SHOWN = 6


@dataclass(frozen=True, kw_only=True)
class TileFolders:
    """Slides as folders of tiles.

    `folders`: by slide id. `names`: the tiles' file names, in order of the numbers in them. `refused`: slides that
    share a name or a folder with another. `passed_over`: other files, counted by what they are.
    """

    folders: Mapping[str, Path]
    names: Mapping[str, Sequence[str]]
    refused: Mapping[str, SlideError]
    passed_over: Mapping[str, int]

    @property
    def ids(self) -> set[str]:
        """Of all slides, also of those that are refused."""
        return {*self.folders, *self.refused}

    def inventory(self) -> str:
        """One line: `1500 tiles of 12 slide(s); passed over: 3 hidden file(s), 1 .csv`."""
        tiles = sum(map(len, self.names.values()))
        passed = sorted(self.passed_over.items(), key=lambda one: -one[1])
        more = [f"{sum(count for _, count in passed[_SHOWN:])} others"] if len(passed) > _SHOWN else []
        others = ", ".join([*(f"{count} {kind}" for kind, count in passed[:_SHOWN]), *more])
        return f"{tiles} tiles of {len(self.ids)} slide(s)" + (f"; passed over: {others}" if others else "")


def find_tiles(root: Path) -> TileFolders:
    """Looks for tiles in a folder and below: a folder that holds PNG or JPEG files is a slide, called like the folder.

    Links to folders are followed, each folder once. Hidden files and those of other kinds are passed over.

    Raises:
        InputError: there is no such folder, it cannot be read, or it holds no tiles.
    """
    if not root.is_dir():
        gone = "a link that leads nowhere" if root.is_symlink() else "no folder"
        raise InputError(f"{root} is {gone}", remedy="give a folder that holds a folder of PNG or JPEG tiles per slide")
    passed_over: Counter[str] = Counter()
    found: dict[str, list[Path]] = {}
    names: dict[Path, list[str]] = {}
    for folder, tiles in _walk(root, passed_over, set()):
        found.setdefault(folder.name or folder.resolve().name, []).append(folder)
        names[folder] = sorted(tiles, key=_by_numbers)
    refused = {slide: _twice(places) for slide, places in found.items() if len(places) > 1}
    holders = set(names)
    for folder in names:
        if above := next((one for one in folder.parents if one in holders), None):
            refused |= {one.name: _within(above, folder) for one in (above, folder) if one.name not in refused}
    folders = {slide: places[0] for slide, places in sorted(found.items()) if slide not in refused}
    result = TileFolders(
        folders=folders,
        names={slide: names[folder] for slide, folder in folders.items()},
        refused=refused,
        passed_over=passed_over,
    )
    if not result.ids:
        raise InputError(
            f"there are no tiles in {root} ({result.inventory()})",
            remedy="give a folder that holds a folder of PNG or JPEG tiles per slide",
        )
    return result


def tiles_in(folder: Path) -> list[Path]:
    """The tiles in a slide's folder, as `find_tiles` finds them; none where it is gone."""
    try:
        with os.scandir(folder) as listed:
            names = [one.name for one in listed if _is_tile(one)]
    except OSError:
        return []
    return [folder / name for name in sorted(names, key=_by_numbers)]


def _is_tile(entry: "os.DirEntry[str]") -> bool:
    return not entry.name.startswith(".") and Path(entry.name).suffix.lower() in SUFFIXES and is_file(entry)


def _walk(folder: Path, passed_over: Counter[str], seen: set[tuple[int, int]]) -> Iterator[tuple[Path, list[str]]]:
    """Folders that hold tiles, and the tiles' names; each folder once, so that links in a circle end."""
    try:
        facts = folder.stat()
        with os.scandir(folder) as listed:
            entries = sorted(listed, key=lambda one: one.name)
    except OSError as error:
        raise InputError(f"{folder} cannot be read: {error.strerror}", remedy="look at its permissions") from None
    if (facts.st_dev, facts.st_ino) in seen:
        passed_over["links to a folder that was seen"] += 1
        return
    seen.add((facts.st_dev, facts.st_ino))
    tiles: list[str] = []
    below: list[Path] = []
    for entry in entries:
        if entry.name.startswith("."):
            passed_over[_HIDDEN] += 1
        elif _is_tile(entry):
            tiles.append(entry.name)
        elif entry.is_dir():
            below.append(folder / entry.name)
        else:
            passed_over[shown(Path(entry.name).suffix.lower() or entry.name)] += 1
    if tiles:
        yield folder, tiles
    for path in below:
        yield from _walk(path, passed_over, seen)


def _by_numbers(name: str) -> list[tuple[int, str]]:
    """Sorts `2.png` before `10.png`."""
    parts = re.split("([0-9]+)", name)
    return [(int(part), part) if part.isascii() and part.isdigit() else (-1, part) for part in parts]


def _twice(places: Sequence[Path]) -> SlideError:
    return SlideError(
        "E_TILES",
        f"{len(places)} folders of tiles are called like it: {places[0]} and {places[1]}",
        remedy="rename one of them, or give the folder of the one that is meant",
    )


def _within(above: Path, folder: Path) -> SlideError:
    return SlideError(
        "E_TILES",
        f"{above} holds tiles, and so does {folder} within it",
        remedy="a folder with tiles is a slide: move one of the two, or take what is no tiles out",
    )
