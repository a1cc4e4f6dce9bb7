"""The table: kind of file × kind of damage → the code it ends with, a piece of the message.

A line reads: what is wrong · how it is made (a function of `damages.py`, or the whole content) · `CODE: piece of the
message`. An error without a code is named by its kind. `fine`: it reads as the good file does. `anew`: it is made again,
without an error. Kinds are those of `file_kinds.py`; slides have a table of their own, `hostile_slides.py`.
"""

import json
import os
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import damages as d
import good_files as good
import h5py
import numpy as np
import torch
from damages import Damage

Lines = Mapping[str, tuple[Damage | str | bytes, str]]


@dataclass(frozen=True)
class Row:
    """One damage of one kind of file; `code` is `anew` or `different` where it is no error."""

    kind: str
    what: str
    damage: Damage
    code: str
    message: str

    @property
    def is_sealed(self) -> bool:
        """Whether the damage makes the file's sums fit."""
        return getattr(self.damage, "func", None) in d.SEALING


def of(kinds: str, lines: Lines) -> list[Row]:
    """Rows of several kinds, whose names are separated by commas."""
    rows = []
    for what, (damage, expected) in lines.items():
        code, _, message = expected.partition(": ")
        make = damage if callable(damage) else partial(d.write, damage)
        rows += [Row(kind.strip(), what, make, code, message) for kind in kinds.split(",")]
    return rows


class Calls:
    """Asks whoever unpickles it to run a command."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch was-run",)


def saved(value: object, path: Path) -> None:
    torch.save(value, path)


def drawn(*geometries: object) -> str:
    shapes = [{"type": "Feature", "geometry": shape, "properties": {}} for shape in geometries]
    return json.dumps({"type": "FeatureCollection", "features": shapes})


def polygon(*points: tuple[float, float]) -> dict[str, object]:
    return {"type": "Polygon", "coordinates": [[*points, points[0]]]}


def old_rows(path: Path, *, coords: int = 4, shape: tuple[int, ...] = (4, 8)) -> None:
    with h5py.File(path, "w") as file:
        file["features"], file["coords"] = np.ones(shape, np.float32), np.ones((coords, 2), np.int64)


OURS_H5 = "artefacts, patches, regions, bag"
OURS_JSON = "tissue, record, model facts"
ALL_OURS = f"{OURS_H5}, {OURS_JSON}, splits, predictions"
TABLES = "labels, slides table, process list, old process list, old splits"
DRAWINGS = "drawing, drawing.xml, drawing.gz, drawing.zip"
PICKLES = "segments, patch lists, old results"
OLD_H5 = "old features, old patches, sam_info, seg_file"
FIRST = {"artefacts": "blank", "patches": "xy", "regions": "runs", "bag": "features"}  # an array of each
OLD_FIRST = {"old features": "features", "old patches": "coords", "sam_info": "relative_area", "seg_file": "seg_1"}

SQUARE = polygon((10, 10), (100, 10), (100, 100), (10, 100))
FAR = polygon((9000, 9000), (9900, 9000), (9900, 9900))
LETTERS = "bcdefghijklmnopqrstu"
LAUGHS = "a: &a [x, x]\n" + "".join(f"{y}: &{y} [*{x}, *{x}]\n" for x, y in zip("a" + LETTERS, LETTERS, strict=False))
FOLDS = "repeat,fold,slide_id,patient_id,role\n"
PROGRAM = "seed: !!python/object/apply:os.system ['touch was-run']\n"
ABSURD = pickle.dumps(np.ones(9)).replace(b"K\x09\x85", b"J\xff\xff\xff\x7f\x85")
SPEC = '{"model": "abmil", "weights_sha256": "0", "spec": {"width": 3}, "encoder": {}, "classes": []}'
NAN = torch.full((3, 4), float("nan"))
NOVEL = "a" * 200_000

ROWS: list[Row] = [
    # -------------------------------------------------------------------------------------------- HDF5 of ours
    *of(
        OURS_H5,
        {
            "missing": (d.missing, "InputError: does not exist"),
            "a folder": (d.a_folder, "E_DAMAGED: "),
            "empty": (d.empty, "E_DAMAGED: cannot be read"),
            "zeros": (d.zeros, "E_DAMAGED: zeros"),
            "a web page": (d.a_web_page, "E_DAMAGED: a web page"),
            "a table": ("slide_id,label\n", "E_DAMAGED: cannot be read"),
            "half": (d.half, "E_DAMAGED: "),
            "a zeroed block": (d.zeroed_block, "E_DAMAGED: "),
            "flipped bits": (d.flipped_bits, "E_DAMAGED: "),
            "another tool's": (old_rows, "E_DAMAGED: not written by sammil"),
            "another kind": (partial(d.other_kind, good.tissue), "E_DAMAGED: "),
            "a newer schema": (partial(d.attribute, "schema", 99), "InputError: newer sammil"),
            "a word for the schema": (partial(d.attribute, "schema", "one"), "E_DAMAGED: schema"),
            "no provenance": (partial(d.attribute, "provenance", None), "E_DAMAGED: provenance"),
            "broken provenance": (partial(d.attribute, "provenance", "{"), "E_DAMAGED: "),
            "a link to itself": (d.link_to_itself, "InputError: "),
            "a link to nowhere": (d.link_to_nowhere, "InputError: does not exist"),
            "a pipe": (d.pipe, "E_DAMAGED: "),
            "an endless device": (d.endless_device, "E_DAMAGED: "),
            "no permission": (d.no_permission, "E_DAMAGED: ermission denied"),
        },
    ),
    *of(
        "patches, regions, bag", {"a path for an id": (partial(d.attribute, "slide_id", "../../evil"), "E_MIXED: evil")}
    ),
    *of(
        "patches, regions, bag",
        {
            "an edited id": (
                partial(d.edited_attribute, "slide_id", "slide_02"),
                "E_DAMAGED: the checksum of its attributes",
            )
        },
    ),
    *of("patches, regions, bag", {"no id": (partial(d.attribute, "slide_id", None), "E_DAMAGED: slide_id")}),
    *of("patches, regions, bag", {"an id of numbers": (partial(d.attribute, "slide_id", 7), "E_DAMAGED: slide_id")}),
    *[
        row
        for kind, name in FIRST.items()
        for row in of(
            kind,
            {
                f"no {name}": (partial(d.array, name, None), f"E_DAMAGED: {name}"),
                f"{name} is text": (partial(d.array, name, d.as_text), f"E_DAMAGED: {name}"),
                f"{name} is complex": (partial(d.array, name, d.as_complex), f"E_DAMAGED: {name}"),
                f"{name} is empty": (partial(d.array, name, d.nothing_in_it), f"E_DAMAGED: {name}"),
                f"{name} is a scalar": (partial(d.array, name, 1), f"E_DAMAGED: {name}"),
                f"{name} is a group": (partial(d.a_group, name), f"E_DAMAGED: {name}"),
                f"{name} lacks a row": (partial(d.array, name, d.without_a_row), "E_DAMAGED: "),
                f"{name} claims 2^40 rows": (partial(d.huge_claim, name), f"E_DAMAGED: {name}"),
                f"{name} is a bomb": (partial(d.gzip_bomb, name), f"E_DAMAGED: {name}"),
                f"{name} leads nowhere": (partial(d.array, name, h5py.SoftLink("/gone")), f"E_DAMAGED: {name}"),
                f"{name} leads in a circle": (partial(d.link_in_a_circle, name), f"E_DAMAGED: {name}"),
                f"{name} lies in another file": (partial(d.external_link, name), f"E_DAMAGED: {name}"),
                f"{name} lies in a raw file": (partial(d.external_storage, name), f"E_DAMAGED: {name}"),
                f"{name} is virtual": (partial(d.virtual, name), f"E_DAMAGED: {name}"),
                f"another number in {name}": (partial(d.edited_numbers, name), "E_DAMAGED: the checksum of"),
            },
        )
    ],
    *of("artefacts", {"another slide's": (partial(d.another_slides, good.artefacts), "E_MIXED: slide_02")}),
    *of("patches", {"another slide's": (partial(d.another_slides, good.patches), "E_MIXED: slide_02")}),
    *of("regions", {"another slide's": (partial(d.another_slides, good.regions), "E_MIXED: slide_02")}),
    *of("bag", {"another slide's": (partial(d.another_slides, good.bag), "E_MIXED: slide_02")}),
    *of("regions, bag, artefacts", {"patches": (d.PATCHES, "E_DAMAGED: file (patches)")}),
    *of(
        "patches",
        {
            "a bag": (d.BAG, "E_DAMAGED: is no patches file (bag)"),
            "no slide size": (partial(d.attribute, "slide_size_px", None), "E_DAMAGED: slide_size_px"),
            "an empty slide size": (
                partial(d.attribute, "slide_size_px", h5py.Empty("i8")),
                "E_DAMAGED: slide_size_px",
            ),
            "one side": (partial(d.attribute, "slide_size_px", [640]), "E_DAMAGED: slide_size_px"),
            "an mpp of NaN": (partial(d.attribute, "slide_mpp", np.nan), "E_DAMAGED: slide_mpp"),
            "an mpp of 0": (partial(d.attribute, "patch_mpp", 0.0), "E_DAMAGED: patch_mpp"),
            "a word for a side": (partial(d.attribute, "patch_px", "many"), "E_DAMAGED: patch_px"),
            "a side below 0": (partial(d.attribute, "patch_px_level0", -64), "E_DAMAGED: patch_px_level0"),
            "three coordinates": (partial(d.array, "xy", np.ones((40, 3), np.int32)), "E_DAMAGED: xy"),
            "patches off the slide": (partial(d.number, "xy", 9000), "E_DAMAGED: outside of the slide"),
            "a broken waterfall": (partial(d.attribute, "waterfall", "{"), "E_DAMAGED: waterfall"),
            "a share of 7": (partial(d.number, "blur", 7), "E_DAMAGED: blur"),
        },
    ),
    *of(
        "regions",
        {
            "random runs": (partial(d.array, "runs", lambda old: old[::-1].copy()), "E_DAMAGED: region"),
            "falling offsets": (partial(d.array, "offsets", d.falling), "E_DAMAGED: offsets"),
            "a NaN score": (partial(d.number, "stability", np.nan), "E_DAMAGED: stability"),
            "an mpp of infinity": (partial(d.attribute, "canvas_mpp", np.inf), "E_DAMAGED: canvas_mpp"),
            "a canvas of 2^40": (
                partial(d.attribute, "canvas_size_px", [1 << 40, 1 << 40]),
                "E_DAMAGED: canvas_size_px",
            ),
            "no scale": (partial(d.attribute, "canvas_downsample", None), "E_DAMAGED: canvas_downsample"),
        },
    ),
    *of(
        "bag",
        {
            "no such region": (partial(d.number, "region", 99), "E_DAMAGED: region"),
            "falling members": (partial(d.array, "member_start", d.falling), "E_DAMAGED: member_start"),
            "a member without a patch": (partial(d.number, "member_patch", 10_000), "E_DAMAGED: members"),
            "no rows": (partial(d.array, "features", d.no_rows), "E_DAMAGED: n = 0"),
            "another dim": (partial(d.attribute, "encoder_dim", 7), "E_DAMAGED: 7-d"),
            "an empty mpp": (
                partial(d.attribute, "encoder_patch_mpp", h5py.Empty("f8")),
                "E_DAMAGED: encoder_patch_mpp",
            ),
            "a broken making": (partial(d.attribute, "made_with", "{"), "E_DAMAGED: made_with"),
        },
    ),
    *of("bag to learn from", {"a NaN feature": (partial(d.number, "features", np.nan), "E_NAN: patch 0")}),
    *of("artefacts", {"a cell of 0 pixels": (partial(d.attribute, "cell_px0", [0.0, 16.0]), "E_DAMAGED: cell_px0")}),
    # -------------------------------------------------------------------------------------------- JSON of ours
    *of(
        OURS_JSON,
        {
            "missing": (d.missing, "InputError: "),
            "empty": (d.empty, "E_DAMAGED: "),
            "half": (d.half, "E_DAMAGED: "),
            "a zeroed block": (d.zeroed_block, "E_DAMAGED: "),
            "flipped bits": (d.flipped_bits, "E_DAMAGED: "),
            "not UTF-8": (d.latin_1, "E_DAMAGED: "),
            "a folder": (d.a_folder, "E_DAMAGED: "),
            "a link to itself": (d.link_to_itself, "E_DAMAGED: "),
            "deep brackets": (d.deep_brackets, "E_DAMAGED: "),
            "no permission": (d.no_permission, "E_DAMAGED: ermission denied"),
            "a pipe": (d.pipe, "E_DAMAGED: "),
            "an endless device": (d.endless_device, "E_DAMAGED: "),
        },
    ),
    *of(
        "tissue",
        {
            "another slide's": (partial(d.another_slides, good.tissue), "E_MIXED: slide_02"),
            "QuPath's": (drawn(SQUARE), "E_DAMAGED: not written by sammil"),
            "another number": (partial(d.replace, '"slide_mpp": 2.0', '"slide_mpp": 3.0'), "E_DAMAGED: "),
            "an mpp of 0": (partial(d.rewrite, '"slide_mpp": 2.0', '"slide_mpp": 0'), "E_DAMAGED: slide_mpp"),
            "an infinite size": (partial(d.rewrite, "[640, 448]", "[1e999, 448]"), "E_DAMAGED: "),
            "words for a size": (partial(d.rewrite, "[640, 448]", '"wide"'), "E_DAMAGED: "),
            "a moved corner": (partial(d.replace, "320.0", "321.0"), "E_DAMAGED: "),
            "a newer schema": (partial(d.replace, '"schema": 2', '"schema": 99'), "InputError: schema 99"),
        },
    ),
    *of(
        "record",
        {
            "another number": (partial(d.replace, '"threshold": 0.4', '"threshold": 0.5'), "E_DAMAGED: "),
            "a newer schema": (partial(d.replace, '"schema": 2', '"schema": 99'), "InputError: schema"),
            "tissue": (d.TISSUE, "InputError: is no run record"),
        },
    ),
    *of(
        "model facts",
        {
            "a list": ("[]", "E_DAMAGED: damaged"),
            "nothing in it": ("{}", "E_DAMAGED: damaged"),
            "another version's": (SPEC, "E_DAMAGED: damaged"),
            "another threshold": (partial(d.replace, '"threshold": 0.4', '"threshold": 0.5'), "E_DAMAGED: "),
            "a record": (d.RECORD, "E_DAMAGED: damaged"),
        },
    ),
    *of(
        "epochs",
        {
            "half": (d.half, "E_DAMAGED: "),
            "flipped bits": (d.flipped_bits, "E_DAMAGED: "),
            "missing": (d.missing, "anew"),
        },
    ),
    *of(
        "model weights",
        {
            "missing": (d.missing, "E_DAMAGED: .safetensors"),
            "half": (d.half, "E_DAMAGED: model.json names"),
            "flipped bits": (d.flipped_bits, "E_DAMAGED: model.json names"),
            "a folder": (d.a_folder, "E_DAMAGED: .safetensors"),
            "an endless device": (d.endless_device, "E_DAMAGED: .safetensors"),
        },
    ),
    *of(
        "quality, checkpoint, store manifest, store file, key in HDF5, key in GeoJSON",
        {
            "missing": (d.missing, "anew"),
            "empty": (d.empty, "anew"),
            "half": (d.half, "anew"),
            "flipped bits": (d.flipped_bits, "anew"),
            "a zeroed block": (d.zeroed_block, "anew"),
        },
    ),
    *of("store manifest", {"deep brackets": (d.deep_brackets, "anew"), "a list": ("[]", "anew")}),
    # -------------------------------------------------------------------------------------------- tables
    *of(
        TABLES,
        {
            "a folder": (d.a_folder, "InputError: "),
            "a picture": (d.a_picture, "InputError: PNG picture"),
            "Latin-1": (d.latin_1, "InputError: UTF-8"),
            "UTF-16": (d.utf_16, "InputError: UTF-"),
            "a link to itself": (d.link_to_itself, "InputError: "),
            "a pipe": (d.pipe, "InputError: "),
            "an endless device": (d.endless_device, "InputError: "),
            "no permission": (d.no_permission, "InputError: "),
        },
    ),
    *of("labels, splits, process list, old process list, old splits", {"missing": (d.missing, "InputError: exist")}),
    *of("labels, process list, old process list, old splits, slides table", {"empty": (d.empty, "InputError: ")}),
    *of("slides table", {"missing": (d.missing, "different")}),
    *of(
        "slides table",
        {
            "semicolons": ("slide_id;mpp\na;0.5\n", "InputError: separated by semicolons"),
            "a decimal comma": ("slide_id,mpp\na,0,5\n", "InputError: more than 2 cells"),
            "a word for a number": ("slide_id,mpp\na,40x\n", "InputError: '40x'"),
            "an infinite mpp": ("slide_id,mpp\na,inf\n", "InputError: 'inf'"),
            "a slide twice": ("slide_id,mpp\na,1\na,2\n", "InputError: twice: lines 2 and 3"),
            "no id": ("slide_id,mpp\n,1\n", "InputError: line 2 has no slide_id"),
            "a cell of a novel's length": (f"slide_id,mpp\n{NOVEL},1\n", "InputError: field larger"),
        },
    ),
    *of(
        "labels",  # more in tests/preflight/test_check.py
        {
            "a spreadsheet": (b"PK\x03\x04\0\0", "InputError: is a spreadsheet"),
            "zeros at the end": (b"slide_id,label\na,x\nb,y\n\0\0\0", "InputError: binary"),
            "one class": ("slide_id,label\na,x\nb,x\n", "InputError: 1 class(es)"),
            "an open quote": ('slide_id,label\n"a,x\nb,y\n', "InputError: row 2: a cell goes on to line 3"),
            "a cell of a novel's length": (f"slide_id,label\n{NOVEL},x\n", "InputError: is no table"),
        },
    ),
    *of(
        "process list",
        {
            "another table": ("slide,status\na,failed\n", "InputError: lacks the column 'slide_id'"),
            "nothing left to do": ("slide_id,status\na,done\n", "InputError: no slide that is left"),
        },
    ),
    *of(
        "splits",
        {
            "empty": (d.empty, "E_DAMAGED: "),
            "a folder": (d.a_folder, "InputError: "),
            "a pipe": (d.pipe, "InputError: a pipe"),
            "an endless device": (d.endless_device, "InputError: a device"),
            "flipped bits": (d.flipped_bits, "E_DAMAGED: "),
            "another role": (partial(d.replace, "test", "val"), "E_DAMAGED: "),
            "a line less": (partial(d.replace, "0,0,slide_01,P0,train,a\n", ""), "E_DAMAGED: "),
        },
    ),
    *of(
        "imported splits",
        {
            "a word for a fold": (f"{FOLDS}0,x,a,a,test\n", "InputError: line 2"),
            "an unknown role": (f"{FOLDS}0,0,a,a,both\n", "InputError: line 2"),
            "a path for an id": (f"{FOLDS}0,0,../../evil,a,test\n", "E_DAMAGED: no file name"),
        },
    ),
    *of("predictions", {"another probability": (partial(d.replace, "0.300000", "0.900000"), "E_DAMAGED: ")}),
    *of("metrics", {"another number": (partial(d.replace, "0.8", "0.9"), "E_DAMAGED: ")}),
    *of(
        "predictions, metrics",
        {
            "missing": (d.missing, "E_DAMAGED: missing"),
            "half": (d.half, "E_DAMAGED: "),
            "a folder": (d.a_folder, "E_DAMAGED: "),
            "an endless device": (d.endless_device, "E_DAMAGED: "),
        },
    ),
    *of("learning curve", {"a word for a number": ("epoch,loss\n0,small\n", "InputError: line 2")}),
    *of("old process list", {"a path for an id": ("slide_id\n../../evil\n", "InputError: is no slide id")}),
    *of("old splits", {"two parts": (",train,val,test\n0,a,,a\n", "InputError: is in train and in test")}),
    # -------------------------------------------------------------------------------------------- settings
    *of(
        "params",
        {
            "missing": (d.missing, "InputError: does not exist"),
            "a folder": (d.a_folder, "InputError: Is a directory"),
            "a tab": ("folds: 3\n\tseed: 1\n", "InputError: is no YAML"),
            "a list": ("- folds\n", "InputError: no table"),
            "Latin-1": (d.latin_1, "InputError: is no YAML"),
            "zeros": (d.zeros, "InputError: is no YAML"),
            "an unknown key": ("fold: 3\n", "InputError: unknown key 'fold'"),
            "a word for a number": ("folds: many\n", "InputError: 'many'"),
            "true for a number": ("folds: true\n", "InputError: true and false are no numbers"),
            "out of range": ("mask_ratio: 1.5\n", "InputError: mask_ratio: 1.5"),
            "not a number": ("tissue_mpp: .nan\n", "InputError: nan"),
            "infinity": ("tissue_mpp: .inf\n", "InputError: inf"),
            "a program": (PROGRAM, "InputError: is no YAML"),
            "an alias": ("folds: &x 3\nseed: *x\n", "InputError: "),
            "a billion laughs": (LAUGHS, "InputError: "),
            "deep brackets": ("classes: " + "[" * 5000, "InputError: "),
            "an endless device": (d.endless_device, "InputError: "),
            "a pipe": (d.pipe, "InputError: "),
            "no permission": (d.no_permission, "InputError: Permission denied"),
        },
    ),
    *of(
        "DVC config",
        {
            "missing": (d.missing, "different"),
            "a folder": (d.a_folder, "different"),
            "zeros": (d.zeros, "different"),
            "not UTF-8": (b"[cache]\ndir = \xff\n", "different"),
            "half a letter of a path": ("[cache]\ndir = a\0b\n", "different"),
        },
    ),
    # -------------------------------------------------------------------------------------------- drawings
    *of(
        DRAWINGS,
        {
            "missing": (d.missing, "E_EDIT: does not exist"),
            "empty": (d.empty, "E_EDIT: "),
            "half": (d.half, "E_EDIT: "),
            "a folder": (d.a_folder, "E_EDIT: cannot be read"),
            "a picture": (d.a_picture, "E_EDIT: "),
            "a link to itself": (d.link_to_itself, "E_EDIT: "),
            "a pipe": (d.pipe, "E_EDIT: "),
            "an endless device": (d.endless_device, "E_EDIT: "),
            "no permission": (d.no_permission, "E_EDIT: Permission denied"),
        },
    ),
    *of(
        "drawing",
        {
            "a number": ("7", "E_EDIT: no list of features"),
            "deep brackets": (d.deep_brackets, "E_EDIT: brackets"),
            "no feature": (drawn(), "E_EDIT: no area"),
            "points only": (drawn({"type": "Point", "coordinates": [1, 2]}), "E_EDIT: no area"),
            "two corners": (drawn(polygon((1, 1), (2, 2))), "E_EDIT: no area"),
            "words for coordinates": (drawn({"type": "Polygon", "coordinates": "here"}), "E_EDIT: feature 1"),
            "an unknown shape": (drawn(SQUARE, {"type": "Blob", "coordinates": []}), "E_EDIT: feature 2 of 2 (Blob)"),
            "NaN": (drawn(polygon((1, 1), (float("nan"), 9), (9, 9))), "E_EDIT: NaN"),
            "off the slide": (drawn(FAR), "E_EDIT: lies on the slide of 640 x 448 px"),
        },
    ),
    # -------------------------------------------------------------------------------------------- weights
    *of(
        "weights",
        {
            "missing": (d.missing, "MissingError: "),
            "empty": (d.empty, "MissingError: no weight file"),
            "half": (d.half, "MissingError: no weight file"),
            "a web page": (d.a_web_page, "MissingError: no weight file"),
            "a head that lies": (b"\xff" * 64, "MissingError: no weight file"),
            "a folder": (d.a_folder, "MissingError: "),
            "an endless device": (d.endless_device, "MissingError: "),
        },
    ),
    *of(
        "torch weights",
        {
            "missing": (d.missing, "MissingError: "),
            "half": (d.half, "MissingError: no weight file"),
            "a command": (partial(saved, {"w": Calls()}), "MissingError: would run its code"),
            "a web page": (d.a_web_page, "MissingError: it is a web page"),
        },
    ),
    # -------------------------------------------------------------------------------------------- older tools
    *of(
        OLD_H5,
        {
            "missing": (d.missing, "E_LEGACY_MISSING: does not exist"),
            "half": (d.half, "E_LEGACY_DAMAGED: cannot be read"),
            "a web page": (d.a_web_page, "E_LEGACY_DAMAGED: a web page"),
            "a folder": (d.a_folder, "E_LEGACY_DAMAGED: cannot be read"),
            "an endless device": (d.endless_device, "E_LEGACY_DAMAGED: cannot be read"),
            "a pipe": (d.pipe, "E_LEGACY_DAMAGED: cannot be read"),
        },
    ),
    *[
        row
        for kind, name in OLD_FIRST.items()
        for row in of(
            kind,
            {
                f"{name} is text": (partial(d.array, name, d.as_text), "E_LEGACY_DAMAGED: cannot be read"),
                f"{name} claims 2^40 rows": (partial(d.huge_claim, name), "E_LEGACY_DAMAGED: "),
            },
        )
    ],
    *of(
        "old features",
        {"a vector": (partial(old_rows, shape=(4,)), "E_LEGACY_DAMAGED: its features have the shape (4,)")},
    ),
    *of(
        "old features", {"three for four": (partial(old_rows, coords=3), "E_LEGACY_MISMATCH: 4 rows of features and 3")}
    ),
    *of(
        "old tensor",
        {
            "a text": ("no tensor", "E_LEGACY_DAMAGED: cannot be read"),
            "half": (d.half, "E_LEGACY_DAMAGED: cannot be read"),
            "whole numbers": (partial(saved, torch.ones(3, 4, dtype=torch.int64)), "E_LEGACY_DAMAGED: floating-point"),
            "a command": (partial(saved, Calls()), "E_LEGACY_UNSAFE: nothing was run"),
        },
    ),
    *of("old tensor without places", {"NaN": (partial(saved, NAN), "E_NAN: 3 of 3 patches have NaN")}),
    *of(
        PICKLES,
        {
            "empty": (d.empty, "InputError: it is empty"),
            "half": (d.half, "InputError: cannot be read as a pickle"),
            "a text": ("no pickle at all", "InputError: cannot be read as a pickle"),
            "an array without content": (ABSURD, "InputError: cannot be read as a pickle"),
            "a command": (pickle.dumps([Calls()]), "UnsafePickleError: nothing was run"),
            "an object": (pickle.dumps(Path("x")), "UnsafePickleError: nothing was run"),
            "a folder": (d.a_folder, "InputError: "),
            "an endless device": (d.endless_device, "InputError: "),
            "a pipe": (d.pipe, "InputError: "),
        },
    ),
    *of("segments", {"another pickle": (pickle.dumps({"a": 1}), "InputError: no list of an info record and masks")}),
]
