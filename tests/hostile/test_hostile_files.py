"""Broken and hostile tables, polygons, HDF5, pickles, weights, settings and bundles: what is said of each.

A row of `GROUPS` reads: what it is · its content, or how it is made · a piece of the message. The group says who reads
the file, and with which code or kind of error that ends: one of sammil's own, with a remedy; never a traceback, and
never by running what the file asks for.
"""

import json
import os
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from sammil_cli.cohort.cohort import read_labels
from sammil_cli.config import load_settings
from sammil_cli.errors import SammilError, SlideError
from sammil_cli.features.bag import read_bag
from sammil_cli.legacy.bags import without_coords
from sammil_cli.legacy.rows import read_features
from sammil_cli.legacy.segments import read_segments
from sammil_cli.patches.file import read_patches, write_patches
from sammil_cli.patches.patch_grid import PatchGrid
from sammil_cli.project.project import read_only
from sammil_cli.regions.file import read_regions
from sammil_cli.slides.table import read_slides_table
from sammil_cli.storage.state_dict import load_state
from sammil_cli.tissue.edits import read_drawing
from sammil_cli.tissue.mask import read_tissue
from sammil_cli.training.bundle import read_facts
from sammil_cli.training.fold import read_folds

Content = str | bytes | Callable[[Path], None]
Read = Callable[[Path], object]
ONE_SLIDE = {"slide_size_px": (640, 448), "bounds_px": (0, 0, 640, 448)}


@dataclass(frozen=True)
class Group:
    """Files of one kind: their name, who reads them, what that ends with, and the rows."""

    file: str
    read: Read
    error: str
    rows: tuple[tuple[str, Content, str], ...]


class Calls:
    """Asks whoever unpickles it to run a command."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch was-run",)


# ---------------------------------------------------------------------------------------------- how they are made


def nothing(path: Path) -> None:
    assert not path.exists()


def directory(path: Path) -> None:
    path.mkdir()


def patches(path: Path) -> None:
    grid = PatchGrid(
        slide_id="a",
        xy=np.arange(8, dtype=np.int32).reshape(4, 2),
        patch_px=64,
        patch_mpp=2.0,
        patch_px_level0=64,
        slide_mpp=2.0,
        slide_size_px=(640, 448),
        bounds_px=(0, 0, 640, 448),
    )
    write_patches(path, grid, {"step": "patch"})


def half(path: Path) -> None:
    patches(path)
    os.truncate(path, path.stat().st_size // 2)


def attribute(name: str, value: object, path: Path) -> None:
    """A good patches file with an attribute set, or taken off."""
    patches(path)
    with h5py.File(path, "r+") as file:
        del file.attrs[name]
        if value is not None:
            file.attrs[name] = value


def coordinates(value: object, path: Path) -> None:
    """A good patches file with other coordinates, or none."""
    patches(path)
    with h5py.File(path, "r+") as file:
        del file["xy"]
        if value is not None:
            file["xy"] = value


def features(path: Path, *, coords: int = 4, shape: tuple[int, ...] = (4, 8)) -> None:
    with h5py.File(path, "w") as file:
        file["features"], file["coords"] = np.ones(shape, np.float32), np.ones((coords, 2), np.int64)


def saved(value: object, path: Path) -> None:
    torch.save(value, path)


def drawn(*geometries: object) -> str:
    shapes = [{"type": "Feature", "geometry": shape, "properties": {}} for shape in geometries]
    return json.dumps({"type": "FeatureCollection", "features": shapes})


def polygon(*points: tuple[float, float]) -> dict[str, object]:
    return {"type": "Polygon", "coordinates": [[*points, points[0]]]}


SQUARE = polygon((10, 10), (100, 10), (100, 100), (10, 100))
FAR = polygon((9000, 9000), (9900, 9000), (9900, 9900))
SHORT = drawn(SQUARE)[:70]
LETTERS = "bcdefghijklmnopqrstu"
LAUGHS = "a: &a [x, x]\n" + "".join(f"{y}: &{y} [*{x}, *{x}]\n" for x, y in zip("a" + LETTERS, LETTERS, strict=False))
FOLDS = "repeat,fold,slide_id,patient_id,role\n"
PROGRAM = "seed: !!python/object/apply:os.system ['touch was-run']\n"
SEGMENTS = pickle.dumps([{"patch_size": 512}, np.ones((20, 20), bool)])
ABSURD = pickle.dumps(np.ones(9)).replace(b"K\x09\x85", b"J\xff\xff\xff\x7f\x85")
SPEC = '{"model": "abmil", "weights_sha256": "0", "spec": {"width": 3}, "encoder": {}, "classes": []}'
NAN = torch.full((3, 4), float("nan"))


# ---------------------------------------------------------------------------------------------- who reads them

drawing: Read = partial(read_drawing, **ONE_SLIDE)  # type: ignore[arg-type]


def process_list(path: Path) -> object:
    return read_only(str(path))


def bundle(path: Path) -> object:
    return read_facts(path.parent)


def old_features(path: Path) -> object:
    return without_coords("a", read_features(path, [])[0], None, [])


# ---------------------------------------------------------------------------------------------- the table

GROUPS: tuple[Group, ...] = (
    Group(
        "slides.csv",
        read_slides_table,
        "InputError",
        (
            ("semicolons", "slide_id;mpp\na;0.5\n", "separated by semicolons"),
            ("Latin-1", "slide_id,mpp\nprä,1\n".encode("latin-1"), "UTF-8"),
            ("UTF-16", "slide_id,mpp\na,1\n".encode("utf-16"), "UTF-8"),
            ("a decimal comma", "slide_id,mpp\na,0,5\n", "more than 2 cells"),
            ("a word for a number", "slide_id,mpp\na,40x\n", "'40x'"),
            ("an infinite mpp", "slide_id,mpp\na,inf\n", "'inf'"),
            ("a slide twice", "slide_id,mpp\na,1\na,2\n", "twice: lines 2 and 3"),
            ("no id", "slide_id,mpp\n,1\n", "line 2 has no slide_id"),
            ("a cell of a novel's length", f"slide_id,mpp\n{'a' * 200_000},1\n", "field larger"),
            ("a directory", directory, "Is a directory"),
        ),
    ),
    Group(
        "labels.csv",  # more in tests/stages/test_check.py
        read_labels,
        "InputError",
        (
            ("a spreadsheet", b"PK\x03\x04\0\0", "is a spreadsheet"),
            ("zeros at the end", b"slide_id,label\na,x\nb,y\n\0\0\0", "binary"),
            ("one class", "slide_id,label\na,x\nb,x\n", "1 class(es)"),
            ("an open quote", 'slide_id,label\n"a,x\nb,y\n', "row 2: a cell goes on to line 3"),
            ("a cell of a novel's length", f"slide_id,label\n{'a' * 200_000},x\n", "is no table"),
            ("a directory", directory, "is no file"),
        ),
    ),
    Group(
        "process_list.csv",
        process_list,
        "InputError",
        (
            ("another table", "slide,status\na,failed\n", "lacks the column 'slide_id'"),
            ("nothing left to do", "slide_id,status\na,done\n", "no slide that is left"),
        ),
    ),
    Group(
        "splits.csv",
        read_folds,
        "InputError",
        (
            ("a word for a fold", f"{FOLDS}0,x,a,a,test\n", "line 2"),
            ("an unknown role", f"{FOLDS}0,0,a,a,both\n", "line 2"),
        ),
    ),
    Group(
        "params.yaml",
        load_settings,
        "InputError",
        (
            ("no file", nothing, "does not exist"),
            ("a tab", "folds: 3\n\tseed: 1\n", "is no YAML"),
            ("a list", "- folds\n", "no table"),
            ("Latin-1", "# für\nfolds: 3\n".encode("latin-1"), "is no YAML"),
            ("a directory", directory, "Is a directory"),
            ("an unknown key", "fold: 3\n", "unknown key 'fold'"),
            ("a word for a number", "folds: many\n", "'many'"),
            ("true for a number", "folds: true\n", "true and false are no numbers"),
            ("out of range", "mask_ratio: 1.5\n", "mask_ratio: 1.5"),
            ("not a number", "tissue_mpp: .nan\n", "nan"),
            ("infinity", "tissue_mpp: .inf\n", "inf"),
            ("a program", PROGRAM, "is no YAML"),
            ("a billion laughs", LAUGHS, "anchors and aliases"),
        ),
    ),
    Group(
        "edit.geojson",
        drawing,
        "E_EDIT",
        (
            ("no content", b"", "ends too early"),
            ("half a file", SHORT, "no valid GeoJSON"),
            ("a picture", b"\x89PNG\r\n\x1a\n\xff\xff", "UTF-8"),
            ("a number", "7", "no list of features"),
            ("deeply nested", b"[" * 100_000 + b"]" * 100_000, "more than 64 deep"),
            ("no feature", drawn(), "no area"),
            ("points only", drawn({"type": "Point", "coordinates": [1, 2]}), "no area"),
            ("two corners", drawn(polygon((1, 1), (2, 2))), "no area"),
            ("words for coordinates", drawn({"type": "Polygon", "coordinates": "here"}), "feature 1"),
            ("an unknown shape", drawn(SQUARE, {"type": "Blob", "coordinates": []}), "feature 2 of 2 (Blob)"),
            ("NaN", drawn(polygon((1, 1), (float("nan"), 9), (9, 9))), "NaN"),
            ("off the slide", drawn(FAR), "lies on the slide of 640 x 448 px"),
        ),
    ),
    Group("edit.geojson.gz", drawing, "E_EDIT", (("no packed file", b"{}", "cannot be read"),)),
    Group("tissue.geojson", read_tissue, "InputError", (("QuPath's", drawn(SQUARE), "not written by sammil"),)),
    Group(
        "patches.h5",
        read_patches,
        "InputError",
        (
            ("no file", nothing, "does not exist"),
            ("no content", b"", "cannot be read"),
            ("a text", "slide_id,label\n", "cannot be read"),
            ("half a file", half, "cannot be read"),
            ("another tool's", features, "not written by sammil"),
            ("a newer sammil's", partial(attribute, "schema", 99), "newer sammil"),
            ("no provenance", partial(attribute, "provenance", None), "provenance is missing"),
            ("broken provenance", partial(attribute, "provenance", "{"), "cannot be read"),
            ("a link to nowhere", partial(coordinates, h5py.SoftLink("/gone")), "cannot be read"),
            ("a link out of the file", partial(coordinates, h5py.ExternalLink("/etc/passwd", "/x")), "cannot be read"),
            ("no coordinates", partial(coordinates, None), "xy"),
            ("no slide size", partial(attribute, "slide_size_px", None), "slide_size_px"),
            ("three coordinates", partial(coordinates, np.ones((4, 3), np.int32)), "xy"),
        ),
    ),
    Group("regions.h5", read_regions, "InputError", (("patches", patches, "is no regions file (patches)"),)),
    Group("bag.h5", read_bag, "InputError", (("patches", patches, "is no bag file (patches)"),)),
    Group(
        "segments.pkl",
        read_segments,
        "InputError",
        (
            ("no content", b"", "it is empty"),
            ("half a pickle", SEGMENTS[: len(SEGMENTS) // 2], "cannot be read as a pickle"),
            ("a text", "no pickle at all", "cannot be read as a pickle"),
            ("another pickle", pickle.dumps({"a": 1}), "no list of an info record and masks"),
            ("an array without content", ABSURD, "cannot be read as a pickle"),
        ),
    ),
    Group(
        "unsafe.pkl",
        read_segments,
        "UnsafePickleError",
        (
            ("a command", pickle.dumps([Calls()]), "nothing was run"),
            ("an object", pickle.dumps(Path("x")), "nothing was run"),
        ),
    ),
    Group("unsafe.pt", old_features, "E_LEGACY_UNSAFE", (("a command", partial(saved, Calls()), "nothing was run"),)),
    Group("nan.pt", old_features, "E_NAN", (("NaN", partial(saved, NAN), "3 of 3 patches have NaN"),)),
    Group(
        "features.pt",
        old_features,
        "E_LEGACY_DAMAGED",
        (
            ("a text", "no tensor", "cannot be read"),
            ("whole numbers", partial(saved, torch.ones(3, 4, dtype=torch.int64)), "floating-point"),
        ),
    ),
    Group(
        "features.h5",
        lambda path: read_features(path, []),
        "E_LEGACY_DAMAGED",
        (
            ("half a file", half, "cannot be read"),
            ("a vector", partial(features, shape=(4,)), "its features have the shape (4,)"),
        ),
    ),
    Group(
        "coords.h5",
        lambda path: read_features(path, []),
        "E_LEGACY_MISMATCH",
        (("three for four", partial(features, coords=3), "4 rows of features and 3"),),
    ),
    Group(
        "weights.pth",
        load_state,
        "MissingError",
        (
            ("a command", partial(saved, {"w": Calls()}), "would run its code"),
            ("a web page", "<html>", "it is a web page"),
        ),
    ),
    Group(
        "weights.safetensors",
        load_state,
        "MissingError",
        (
            ("no content", b"", "no weight file"),
            ("a web page", "<html>", "no weight file"),
            ("a head that lies", b"\xff" * 64, "no weight file"),
        ),
    ),
    Group(
        "model.json",
        bundle,
        "InputError",
        (
            ("no file", nothing, "no trained model"),
            ("half a file", SPEC[:30], "damaged"),
            ("a list", "[]", "damaged"),
            ("nothing in it", "{}", "damaged"),
            ("another version's", SPEC, "damaged"),
        ),
    ),
)


def rows() -> list[object]:
    return [pytest.param(group, *row, id=f"{group.file}: {row[0]}") for group in GROUPS for row in group.rows]


@pytest.mark.parametrize(("group", "what", "content", "message"), rows())
def test_a_hostile_file_is_told_with_a_remedy(
    group: Group, what: str, content: Content, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / group.file
    if callable(content):
        content(path)
    else:
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(SammilError) as caught:
        group.read(path)
    error = caught.value
    assert (error.code if isinstance(error, SlideError) else type(error).__name__) == group.error
    assert message, "a row without a piece of its message"
    assert message in error.message
    assert error.remedy
    assert not (tmp_path / "was-run").exists()
