"""Which files of an older run are converted: of each slide its features, coordinates, segments, and who chose it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sammil_cli.errors import InputError, SlideError
from sammil_cli.legacy.h5_file import read_h5
from sammil_cli.legacy.inventory import Inventory, Kind, recognise, take_inventory
from sammil_cli.legacy.npy_file import SUFFIX
from sammil_cli.legacy.process_list import Selection, read_process_list
from sammil_cli.legacy.rows import H5_SUFFIXES

_TRIDENT_COORDS = "_patches"  # the end of the name of TRIDENT's coordinate files
_NPY_ENDS = ("_coords", "_coordinates", "_features", "_feats")  # of names of arrays, behind the slide's
_FORMS = (  # of features, the first one that a run has counts
    (Kind.FEATURES, Kind.BARE_FEATURES),
    (Kind.TENSOR, Kind.PLACED_TENSOR),
    (Kind.ARRAY,),
    (Kind.ROWS, Kind.PLACED_ROWS),
)
_BARE = (Kind.TENSOR, Kind.ARRAY, Kind.ROWS)
_TRIDENT_FEATURES = "features_"  # the beginning of the name of its feature folders, then the encoder

Files = dict[str, Path]  # by slide id


@dataclass(frozen=True, kw_only=True)
class Source:
    """The files of one slide; None = not there. `encoder`: what the run calls the encoder of its features."""

    slide_id: str
    features: Path | None
    coords: Path | None
    segments: Path | None = None
    sam_info: Path | None = None
    seg_file: Path | None = None
    encoder: str | None = None


@dataclass(frozen=True, kw_only=True)
class Layout:
    """A run and its slides.

    `tool`: whose run it looks like; `features`: the folder they are taken from, None = patch coordinates only.
    `sources`: the slides to be converted, in the process list's order. `left_out`: slide id -> why it is not converted.
    """

    root: Path
    tool: str
    features: Path | None
    sources: tuple[Source, ...]
    left_out: dict[str, str]
    settings: dict[str, str]
    remarks: tuple[str, ...]
    inventory: Inventory

    def source(self, slide_id: str) -> Source:
        """The files of a slide."""
        return next(source for source in self.sources if source.slide_id == slide_id)


def find_layout(
    root: Path,
    features: Path | None = None,
    segments: Path | None = None,
    coords: Path | None = None,
    process_list: Path | None = None,
    *,
    require_segments: bool = True,
    require_coords: bool = True,
    grids: bool = False,
) -> Layout:
    """Finds the files of each slide in `root` and below, by their content; the other arguments name folders instead.

    h5 files are preferred over pt, npy and csv files where a run has both: they hold the coordinates, which say what is
    a group row.

    Args:
        root: a folder, or a single file of features or coordinates.
        features: folder of the feature files. segments: of the SAM segments. coords: of the coordinate files.
        process_list: the table of slides.
        require_segments: False accepts a SAM-MIL run without its segments; its bags then have no regions.
        require_coords: False accepts features without coordinates; no heatmap can be drawn of them.
        grids: take the coordinates only, though there are features.

    Raises:
        InputError: nothing to convert, something needed is not there, or there are several of it; the message lists
            what was found.
    """
    found = take_inventory(root)
    _check_folders({"--features": features, "--segments": segments, "--coords": coords})
    where = root if root.is_dir() else root.parent
    feature_folder, feature_files = (None, {}) if grids else _features(found, features)
    remarks: list[str] = []
    coord_files = _coords(found, coords, feature_files, grids, remarks)
    if not feature_files and not coord_files:
        raise InputError(
            f"there is nothing to convert in {root}, neither features nor coordinates; it holds\n{found.listing()}",
            remedy="give the folder of the run; a weight file is converted alone: sammil convert-legacy FILE",
        )
    if feature_files and not coord_files and require_coords and _all_bare(feature_files.values()):
        raise InputError(
            f"{feature_folder} holds no coordinates, and there is no patches/ in {root}",
            remedy="name the folder of the coordinate files with --coords, or convert without them: --no-coords, in a "
            "project features_without_coords: true",
        )
    segment_files = _beside(found, segments, Kind.SEGMENTS)
    infos, seg_files = _beside(found, None, Kind.SAM_INFO), _beside(found, None, Kind.SEG_FILE)
    held = feature_files or coord_files
    places, names = _first_h5(feature_files)
    # SAM-MIL marks group rows by the coordinates (-1, -1).
    sam_mil = bool(segment_files or infos or seg_files) or bool((places == -1).all(axis=-1).any())
    if feature_files and sam_mil and not segment_files and not infos and require_segments:
        raise InputError(
            f"there is no segments/ in {root}, though its features are of a SAM-MIL run",
            remedy="name the folder of the SAM segments with --segments, or convert without regions: --no-segments, "
            "in a project features_without_segments: true",
        )
    selection = _select(found, process_list, set(held), {*feature_files, *coord_files, *segment_files}, remarks)
    encoder = _encoder(feature_folder)
    sources = tuple(
        Source(
            slide_id=slide,
            features=feature_files.get(slide, _expected(feature_folder, feature_files, slide)),
            coords=coord_files.get(slide, _expected(None, coord_files, slide)),
            segments=segment_files.get(slide, _expected(None, segment_files, slide)),
            sam_info=infos.get(slide),
            seg_file=seg_files.get(slide),
            encoder=encoder,
        )
        for slide in selection.slide_ids
    )
    return Layout(
        root=where,
        tool=_tool(feature_files, coord_files, names, sam_mil, encoder),
        features=feature_folder,
        sources=sources,
        left_out=selection.left_out,
        settings=selection.settings,
        remarks=tuple(remarks),
        inventory=found,
    )


def slide_of(path: Path) -> str:
    """The slide of a file: its name without suffix; TRIDENT adds `_patches`, STAMP names the folder instead.

    Arrays of NumPy may say what they hold behind it, such as `_coords`.
    """
    if path.stem == "features":
        return path.parent.name
    if path.suffix.lower() == SUFFIX:
        end = next((end for end in _NPY_ENDS if path.stem.endswith(end)), "")
        return path.stem.removesuffix(end) or path.stem
    return path.stem.removesuffix(_TRIDENT_COORDS)


def _check_folders(options: dict[str, Path | None]) -> None:
    for option, path in options.items():
        if path is not None and not path.is_dir():
            raise InputError(f"{option} {path} is no folder", remedy=f"give a folder with {option}, or leave it out")


def _collections(found: Inventory, *kinds: Kind) -> dict[Path, Files]:
    """The files of some kinds by folder and slide; folders that hold one slide each count as one, their parent.

    Raises:
        InputError: two files of a folder are of one slide.
    """
    collections: dict[Path, Files] = {}
    for path in found.of(*kinds):
        slide = slide_of(path)
        folder = path.parent.parent if path.parent.name == slide else path.parent
        other = collections.setdefault(folder, {}).setdefault(slide, path)
        if other != path:
            raise InputError(
                f"{other} and {path.name} are both of the slide {slide!r}",
                remedy="leave one of the two out, since nothing says which is meant",
            )
    return dict(sorted(collections.items()))


def _features(found: Inventory, given: Path | None) -> tuple[Path | None, Files]:
    if given is not None:
        there = take_inventory(given)
        for kinds in (*_FORMS, (Kind.DAMAGED,)):  # the user says that these are features, also if none can be read
            for folder, files in _collections(there, *kinds).items():
                if given in (folder, *folder.parents) or folder == given.parent:
                    return given, files
        raise InputError(
            f"{given} holds no features, neither .h5 nor .pt, .npy or .csv files",
            remedy="give their folder with --features, or leave it out",
        )
    for kinds in _FORMS:
        collections = _collections(found, *kinds)
        if len(collections) > 1:
            raise _several("features", "--features", list(collections), found)
        if collections:
            return next(iter(collections.items()))
    return None, {}


def _coords(found: Inventory, given: Path | None, features: Files, grids: bool, remarks: list[str]) -> Files:
    kinds = (Kind.COORDS, Kind.IMAGES, Kind.CORNERS)
    if given is not None:
        # Feature files hold coordinates, too.
        collections = _collections(take_inventory(given), *kinds, Kind.FEATURES)
        if not collections:
            raise InputError(
                f"{given} holds no files with coordinates", remedy="give their folder with --coords, or leave it out"
            )
        return {slide: path for files in collections.values() for slide, path in files.items()}
    collections = _collections(found, *kinds)
    if not collections and grids:
        collections = _collections(found, Kind.FEATURES)
    if features:
        fitting = {folder: files for folder, files in collections.items() if set(files) & set(features)}
        for folder in collections.keys() - fitting.keys():
            remarks.append(
                f"{len(collections[folder])} coordinate file(s) in {folder.name}/ are of other slides than the "
                f"features; to take them: --grids --coords {folder}"
            )
        collections = fitting
    if len(collections) > 1:
        raise _several("patch coordinates", "--coords", list(collections), found)
    return next(iter(collections.values()), {})


def _several(what: str, option: str, folders: list[Path], found: Inventory) -> InputError:
    names = ", ".join(str(folder) for folder in folders)
    return InputError(
        f"{found.root} holds {what} more than once: {names}; all that lies there:\n{found.listing()}",
        remedy=f"name the folder you want: {option} {folders[0]}",
    )


def _beside(found: Inventory, given: Path | None, kind: Kind) -> Files:
    """Files that go with the features: of a folder that was given, or else those found."""
    paths = take_inventory(given).of(kind, Kind.PICKLE) if given is not None else found.of(kind)
    files: Files = {}
    for path in paths:
        if slide_of(path) in files:
            raise _several(kind.value, "--segments", [files[slide_of(path)].parent, path.parent], found)
        files[slide_of(path)] = path
    return files


def _expected(folder: Path | None, files: Files, slide: str) -> Path | None:
    """Where a slide's file would lie, were it there: so that its absence is reported by path."""
    if not files:
        return None
    example = next(iter(files.values()))
    name = example.name.replace(slide_of(example), slide)
    if folder is not None:
        return folder / name if example.parent == folder else folder / slide / name
    return example.parent / name


def _all_bare(paths: Iterable[Path]) -> bool:
    """Whether none of some feature files holds coordinates; those of h5 files are looked for slide by slide."""
    return all(path.suffix.lower() not in H5_SUFFIXES and recognise(path) in _BARE for path in paths)


def _first_h5(features: Files) -> tuple[NDArray[Any], tuple[str, ...]]:
    """Coordinates of the first h5 file and the names of its data sets; empty where it is none."""
    path = next(iter(features.values()), None)
    if path is None or path.suffix.lower() not in H5_SUFFIXES:
        return np.empty((0, 2)), ()
    try:
        names = tuple(read_h5(path, ())[2])
        return (read_h5(path, ("coords",))[0]["coords"] if "coords" in names else np.empty((0, 2))), names
    except SlideError:  # this slide will say it
        return np.empty((0, 2)), ()


def _encoder(folder: Path | None) -> str | None:
    named = folder is not None and folder.name.startswith(_TRIDENT_FEATURES)
    return folder.name.removeprefix(_TRIDENT_FEATURES) if folder is not None and named else None


def _tool(features: Files, coords: Files, names: Sequence[str], sam_mil: bool, encoder: str | None) -> str:
    if sam_mil:
        return "SAM-MIL"
    if any("/" in name for name in names):
        return "AtlasPatch"
    if encoder or any(path.stem.endswith(_TRIDENT_COORDS) for path in coords.values()):
        return "TRIDENT"
    suffix = next((path.suffix.lower() for path in features.values()), "")
    if suffix in (".npy", ".csv"):
        return "NumPy's arrays" if suffix == SUFFIX else "tables of features"
    if "feats" in names or any(path.stem == "features" for path in features.values()):
        return "STAMP"
    return "h5 files of another tool" if "embeddings" in names else "CLAM"


def _select(found: Inventory, given: Path | None, held: set[str], near: set[str], remarks: list[str]) -> Selection:
    """What the process lists say of the slides at hand; a list that names none `near` them is another run's."""
    if given is not None:
        return read_process_list(given, held)
    selections = {path: read_process_list(path, held) for path in found.of(Kind.PROCESS_LIST)}
    fitting = {path: choice for path, choice in selections.items() if choice.names(near)}
    for path in selections.keys() - fitting.keys():
        remarks.append(f"{path.name} in {path.parent.name}/ names none of these slides and was passed over")
    choices = {(choice.slide_ids, tuple(choice.left_out)) for choice in fitting.values()}
    if len(choices) > 1:
        raise InputError(
            f"{found.root} holds process lists that disagree: {', '.join(str(path) for path in fitting)}",
            remedy=f"name the one you want: --process-list {next(iter(fitting))}",
        )
    if fitting:
        return next(iter(fitting.values()))
    remarks.append("no process list: every feature or coordinate file is taken")
    return Selection(slide_ids=tuple(sorted(held)), left_out={}, settings={})
