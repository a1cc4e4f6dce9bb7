"""What lies in a folder of an older tool: every file's kind, told by a glance at its content."""

import csv
import pickletools
import zipfile
from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from sammil_cli.errors import InputError, SlideError
from sammil_cli.legacy.feature_table import columns_of
from sammil_cli.legacy.h5_file import MATRICES, PLACES, feature_sets, layout_of_legacy, own_arrays
from sammil_cli.legacy.mat_bags import ROWS
from sammil_cli.legacy.mat_file import read_mat_arrays
from sammil_cli.legacy.npy_file import read_npy_header
from sammil_cli.legacy.torch_file import words_of
from sammil_cli.storage.csv_text import separator_of

_DEEPEST = 4  # folders below the one that was given: TRIDENT's features lie two below
_GLANCE = 1 << 16  # bytes of a pickle or a table that are looked at


class Kind(StrEnum):
    """What a file is, in words for people."""

    FEATURES = "features with coordinates (h5)"
    BARE_FEATURES = "features without coordinates (h5)"
    TENSOR = "features without coordinates (pt)"
    PLACED_TENSOR = "features with coordinates (pt)"
    ARRAY = "features without coordinates (npy)"
    ROWS = "features without coordinates (csv)"
    PLACED_ROWS = "features with coordinates (csv)"
    WEIGHTS = "weights of a model (pt, pth)"
    COORDS = "patch coordinates (h5)"
    CORNERS = "patch coordinates (npy)"
    IMAGES = "patch images with coordinates (h5)"
    SAM_INFO = "SAM-MIL's sam_info (h5)"
    SEG_FILE = "SAM-MIL's seg_files (h5)"
    ATTENTION = "attention scores (h5)"
    SLIDE_FEATURES = "slide embeddings, one vector for a slide (h5)"
    OURS = "files that sammil wrote (h5)"
    SEGMENTS = "SAM segments (pkl)"
    TISSUE = "CLAM's tissue contours (pkl)"
    RESULTS = "CLAM's results of a split (pkl)"
    PATCH_LISTS = "DTFD-style patch features (pkl)"
    PICKLE = "pickles of another kind (pkl)"
    MAT_BAGS = "bags of a classical MIL data set (mat)"
    MAT = "other arrays of MATLAB (mat)"
    NPY = "other arrays of NumPy (npy)"
    PROCESS_LIST = "process list (csv)"
    SPLITS = "splits (csv)"
    SPLIT_COUNTS = "numbers of slides per split (csv)"
    LABELS = "labels (csv)"
    ZIPPED = "tables inside a zip (unpack them)"
    PRESET = "presets of tissue settings (csv)"
    TABLE = "other tables (csv)"
    CONTOURS = "tissue polygons (geojson)"
    DAMAGED = "files that cannot be read"
    OTHER = "other files"


_DOCUMENTED = {
    "h5_files": (".h5", Kind.FEATURES),
    "pt_files": (".pt", Kind.TENSOR),
    "patches": (".h5", Kind.COORDS),
    "segments": (".pkl", Kind.SEGMENTS),
    "pt": (".pt", Kind.TENSOR),
    "sam_info": (".h5", Kind.SAM_INFO),
    "sam": (".h5", Kind.SAM_INFO),
    "seg_files": (".h5", Kind.SEG_FILE),
}
_LAYERS = ("weight", "bias")  # how names of a network's parameters end
_UNCLEAR = frozenset({Kind.DAMAGED, Kind.PICKLE})


@dataclass(frozen=True)
class Inventory:
    """The files of a folder by kind, in order of their paths."""

    root: Path
    files: dict[Kind, tuple[Path, ...]]

    def of(self, *kinds: Kind) -> tuple[Path, ...]:
        """The files of these kinds."""
        return tuple(path for kind in kinds for path in self.files.get(kind, ()))

    def folders(self, *kinds: Kind) -> dict[Path, int]:
        """The folders that hold such files, with how many, in order of their paths."""
        return dict(sorted(Counter(path.parent for path in self.of(*kinds)).items()))

    def listing(self) -> str:
        """One line for each kind and folder, for people."""
        lines = []
        for kind in self.files:
            for folder, count in self.folders(kind).items():
                name = folder.relative_to(self.root).as_posix() if folder != self.root else "."
                lines.append(f"{count:6d}  {kind.value}  in {name}")
        return "\n".join(lines) or "     0  files"


def take_inventory(root: Path) -> Inventory:
    """Looks at every file of a folder and below, or at a single file; reads no array and runs nothing.

    Raises:
        InputError: there is no such folder or file.
    """
    if not root.exists():
        raise InputError(f"{root} does not exist", remedy="give the folder of the old run, or one of its files")
    single = root.is_file()
    kinds = {path: recognise(path) for path in ([root] if single else sorted(_files(root)))}
    for path, kind in kinds.items():
        if kind in _UNCLEAR:
            kinds[path] = _as_neighbours(path, kinds) or kind
    ordered = {kind: tuple(path for path, one in kinds.items() if one is kind) for kind in Kind}
    return Inventory(root.parent if single else root, {kind: paths for kind, paths in ordered.items() if paths})


def _as_neighbours(path: Path, kinds: dict[Path, Kind]) -> Kind | None:
    """What a file that cannot be read should be, so that its slide is reported and not passed over.

    By the folder's documented name, else by the other files there.
    """
    if path.parent.name in _DOCUMENTED and path.suffix.lower() == _DOCUMENTED[path.parent.name][0]:
        return _DOCUMENTED[path.parent.name][1]
    near = {kind for other, kind in kinds.items() if other.parent == path.parent and other.suffix == path.suffix}
    near -= _UNCLEAR
    return near.pop() if len(near) == 1 else None


def _files(root: Path) -> list[Path]:
    return [
        path
        for path in root.rglob("*")
        if path.is_file()
        and len(path.relative_to(root).parts) <= _DEEPEST + 1
        and not any(part.startswith(".") for part in path.relative_to(root).parts)
    ]


def recognise(path: Path) -> Kind:
    """The kind of one file."""
    look = {".h5": _h5, ".hdf5": _h5, ".pt": _torch, ".pth": _torch, ".pkl": _pickle, ".csv": _table, ".zip": _zip}
    look |= {".mat": _mat, ".npy": _npy}
    suffix = path.suffix.lower()
    if suffix == ".geojson":
        return Kind.CONTOURS
    return look[suffix](path) if suffix in look else Kind.OTHER


def _h5(path: Path) -> Kind:
    try:
        layout = layout_of_legacy(path)
    except SlideError:
        return Kind.DAMAGED
    if {"kind", "schema"} <= layout.facts.keys():
        return Kind.OURS
    shapes = {name: layout.arrays[title].shape for name, title in own_arrays(layout).items()}
    # Links, too, which are read nowhere, and the groups that arrays lie in.
    names = {name.partition("/")[0] for name in (*layout.arrays, *layout.odd)}
    if names and all(name.startswith("seg_") for name in names):
        return Kind.SEG_FILE
    if {"relative_area", "is_group_feat"} & names:
        return Kind.SAM_INFO
    placed = bool(set(PLACES) & names)
    if set(MATRICES) & names:
        vectors = any(name.partition("/")[0] in MATRICES and len(shape) == 1 for name, shape in shapes.items())
        if vectors and not feature_sets(shapes):
            return Kind.SLIDE_FEATURES
        return Kind.FEATURES if placed else Kind.BARE_FEATURES
    if "attention_scores" in names:
        return Kind.ATTENTION
    if placed:
        return Kind.IMAGES if "imgs" in names else Kind.COORDS
    return Kind.OTHER


def _torch(path: Path) -> Kind:
    """A tensor file stores one block of numbers, weights many; files older than torch's zip form are taken for weights.

    A table of features names them, and no layer. Nothing is unpickled: the zip archive's table of contents is looked
    at, and the words of the pickle. What lies in `pt_files` is features.
    """
    home = path.parent.name in ("pt_files", "pt")
    try:
        words = words_of(path)
        table = bool(words & set(MATRICES)) and not any(word.endswith(_LAYERS) for word in words)
        if table:
            return Kind.PLACED_TENSOR if words & set(PLACES) else Kind.TENSOR
        if not home and zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                blocks = sum("/data/" in name for name in archive.namelist())
            return Kind.WEIGHTS if blocks > 1 else Kind.TENSOR
    except (zipfile.BadZipFile, OSError, ValueError):
        return Kind.TENSOR if home else Kind.DAMAGED
    if home:
        return Kind.TENSOR
    with path.open("rb") as stream:
        return Kind.WEIGHTS if stream.read(1) == b"\x80" else Kind.DAMAGED


def _zip(path: Path) -> Kind:
    return Kind.ZIPPED if zipped_tables(path) else Kind.OTHER


def zipped_tables(path: Path) -> list[str]:
    """The names of the tables in a zip archive; pandas calls the one that it packs like the archive (`a.csv.zip`)."""
    try:
        with zipfile.ZipFile(path) as archive:
            return [name for name in archive.namelist() if name.lower().endswith((".csv", ".csv.zip"))]
    except (zipfile.BadZipFile, OSError, ValueError):
        return []


def _pickle(path: Path) -> Kind:
    """By the first objects of the stream: its instructions are listed, none is run. `segments` holds segments only."""
    if path.parent.name == "segments":
        return Kind.SEGMENTS
    opened: list[str] = []
    words: list[str] = []
    with path.open("rb") as stream:
        head = stream.read(_GLANCE)
    try:
        for opcode, argument, _ in pickletools.genops(head):
            if opcode.name in ("EMPTY_LIST", "EMPTY_DICT"):
                opened.append(opcode.name)
            elif opcode.name.endswith("UNICODE"):
                words.append(str(argument))
            if len(opened) > 2 and len(words) > 1:
                break
    except (ValueError, EOFError, OverflowError, IndexError):
        pass  # the glance ends in the middle of an instruction
    if opened[:1] == ["EMPTY_LIST"] and {"patch_size", "start_x"} & set(words):
        return Kind.SEGMENTS
    if opened[:1] != ["EMPTY_DICT"] or not words:
        return Kind.PICKLE
    if words[0] in ("holes", "tissue"):
        return Kind.TISSUE
    if opened[:2] == ["EMPTY_DICT", "EMPTY_DICT"] and "slide_id" in words:
        return Kind.RESULTS
    if opened[1:3] == ["EMPTY_LIST", "EMPTY_DICT"]:
        return Kind.PATCH_LISTS
    return Kind.PICKLE


def _mat(path: Path) -> Kind:
    try:
        return Kind.MAT_BAGS if ROWS in read_mat_arrays(path) else Kind.MAT
    except InputError:
        return Kind.DAMAGED


def _npy(path: Path) -> Kind:
    try:
        header = read_npy_header(path)
    except SlideError:
        return Kind.DAMAGED
    if header.is_places:
        return Kind.CORNERS
    return Kind.ARRAY if header.is_matrix else Kind.NPY


def _table(path: Path) -> Kind:
    try:
        with path.open(newline="", encoding="utf-8-sig", errors="replace") as stream:
            text = stream.read(_GLANCE)
        lines = list(csv.reader(text.splitlines(), delimiter=separator_of(text)[0]))
    except (OSError, csv.Error):
        return Kind.DAMAGED
    rows = [[cell.strip() for cell in line] for line in lines if line]
    header = {cell.lower() for cell in rows[0]} if rows else set()
    if "slide_id" in header and header & {"process", "status"}:
        return Kind.PROCESS_LIST
    if {"train", "test"} <= header and len(header) <= 5:
        return _splits(rows)
    if header >= {"slide_id", "label"}:
        return Kind.LABELS
    if {"sthresh", "a_t"} <= header:
        return Kind.PRESET
    if rows and (columns := columns_of(rows[0])):
        return Kind.PLACED_ROWS if columns.places else Kind.ROWS
    if rows and all(len(row) == 2 for row in rows[:50]) and path.name.lower().startswith("label"):
        return Kind.LABELS
    return Kind.TABLE


def _splits(rows: list[list[str]]) -> Kind:
    cells = {cell for row in rows[1:] for cell in row[1:] if cell}
    if cells and all(cell.isdigit() for cell in cells) and not all(row[0].isdigit() for row in rows[1:]):
        return Kind.SPLIT_COUNTS
    return Kind.SPLITS
