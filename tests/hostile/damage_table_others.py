"""Tables, settings, drawings, weights and files of older tools; see `damage_table.py`."""

import pickle
from functools import partial
from pathlib import Path

import damages as d
import numpy as np
import torch
from damage_rows import Calls, Row, array, array_header, drawn, of, old_rows, polygon, saved

TABLES = "labels, slides table, prompt table, process list, old process list, old splits"
DRAWINGS = "drawing, drawing.xml, drawing.gz, drawing.zip"
PICKLES = "segments, patch lists, old results"
OLD_H5 = "old features, old patches, sam_info, seg_file"
OLD_FIRST = {"old features": "features", "old patches": "coords", "sam_info": "relative_area", "seg_file": "seg_1"}
SQUARE = polygon((10, 10), (100, 10), (100, 100), (10, 100))
FAR = polygon((9000, 9000), (9900, 9000), (9900, 9900))
LETTERS = "bcdefghijklmnopqrstu"
LAUGHS = "a: &a [x, x]\n" + "".join(f"{y}: &{y} [*{x}, *{x}]\n" for x, y in zip("a" + LETTERS, LETTERS, strict=False))
FOLDS = "repeat,fold,slide_id,patient_id,role\n"
PROMPTS = "slide_id,kind,coordinates"
PROGRAM = "seed: !!python/object/apply:os.system ['touch was-run']\n"
ABSURD = pickle.dumps(np.ones(9)).replace(b"K\x09\x85", b"J\xff\xff\xff\x7f\x85")
NAN = torch.full((3, 4), float("nan"))
PATCHES = {"image_encoder.patch_embed.proj.weight": torch.tensor(1.0)}
NOVEL = "a" * 200_000

ROWS: list[Row] = [
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
            "no permission": (d.no_permission, "InputError: cannot be read: Permission denied"),
        },
    ),
    *of("labels, splits, process list, old process list, old splits", {"missing": (d.missing, "InputError: exist")}),
    *of("labels, process list, old process list, old splits, slides table", {"empty": (d.empty, "InputError: ")}),
    *of("prompt table", {"missing": (d.missing, "InputError: exist"), "empty": (d.empty, "InputError: ")}),
    *of(
        "prompt table",
        {
            "no rows": (f"{PROMPTS}\n", "E_PROMPT: holds no prompts"),
            "semicolons": ("slide_id;kind;coordinates\n", "InputError: separated by semicolons"),
            "another column": (f"{PROMPTS},negativ\na,box,1 2 3 4,5 6\n", "E_PROMPT: the column 'negativ'"),
            "a decimal comma": (f'{PROMPTS}\na,points,"1,5 2"\n', "E_PROMPT: line 2: '1,5 2' has commas"),
            "a word for a number": (f"{PROMPTS}\na,box,1 2 3 x\n", "E_PROMPT: line 2: 'x' is no number"),
            "infinity": (f"{PROMPTS}\na,box,1 2 3 1e999\n", "E_PROMPT: far outside"),
            "no size": (f"{PROMPTS}\na,box,1 2 0 4\n", "E_PROMPT: line 2: the box '1 2 0 4' has no size"),
            "a novel of corners": (f"{PROMPTS}\na,polygon,{'1 2; ' * 9000}\n", "E_PROMPT: empty"),
        },
    ),
    *of(
        "drawn prompts",
        {
            "missing": (d.missing, "E_PROMPT: does not exist"),
            "half": (d.half, "E_PROMPT: "),
            "a picture": (d.a_picture, "E_PROMPT: "),
            "an endless device": (d.endless_device, "E_PROMPT: "),
            "no permission": (d.no_permission, "E_PROMPT: Permission denied"),
            "deep brackets": (d.deep_brackets, "E_PROMPT: brackets"),
            "no feature": (drawn(), "E_PROMPT: no annotation"),
            "two corners": (drawn(SQUARE, polygon((1, 1), (2, 2))), "E_PROMPT: object 2: the polygon is empty"),
            "a line": (
                drawn({"type": "LineString", "coordinates": [[1, 1], [9, 9]]}),
                "E_PROMPT: object 1: it is a line",
            ),
            "NaN": (drawn(polygon((1, 1), (float("nan"), 9), (9, 9))), "E_PROMPT: NaN"),
            "off the slide": (drawn(FAR, FAR), "E_PROMPT: everything lies off the slide"),
        },
    ),
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
        "CAMELYON's drawing",
        {
            "a number": ("7", "E_EDIT: no list of features"),
            "NaN": ('{"positive": [{"vertices": [[1, 1], [NaN, 9], [9, 9]]}]}', "E_EDIT: NaN"),
            "infinite": ('{"positive": [{"vertices": [[1, 1], [1e400, 9], [9, 9]]}]}', "E_EDIT: "),
            "two corners": ('{"positive": [{"vertices": [[1, 1], [2, 2]]}]}', "E_EDIT: outline 1 of 1 in positive"),
            "words for points": ('{"positive": [{"vertices": "here"}]}', "E_EDIT: outline 1 of 1 in positive"),
            "no list": ('{"positive": 7}', "E_EDIT: positive is 7"),
            "half of it": (d.half, "E_EDIT: "),
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
            "a pickle cut in a word": (partial(d.without_bytes, 42, 154), "MissingError: no weight file"),
            "a number for a storage": (d.number_for_storage, "MissingError: no weight file"),
        },
    ),
    *of(
        "SAM checkpoint",
        {
            "missing": (d.missing, "MissingError: "),
            "half": (d.half, "MissingError: no weight file"),
            "a web page": (d.a_web_page, "MissingError: it is a web page"),
            "a command": (partial(saved, {"model_state": {}, "init": Calls()}), "MissingError: would run its code"),
            "no tensor": (partial(saved, {"model_state": {}}), "MissingError: does not fit vit_b: Missing key(s)"),
            "numbers for names": (partial(saved, {1: NAN, 2: NAN}), "MissingError: does not fit vit_b: "),
            "a number for a picture's patches": (partial(saved, PATCHES), "MissingError: does not fit vit_b: "),
            "another architecture": (partial(saved, {"image_encoder.trunk.a": NAN}), "MissingError: it is of SAM 2"),
            "a number for a storage": (d.number_for_storage, "MissingError: no weight file"),
        },
    ),
    *of(
        "published tokens",
        {
            "missing": (d.missing, "MissingError: net_low.pth does not exist"),
            "half": (d.half, "MissingError: no weight file"),
            "a web page": (d.a_web_page, "MissingError: it is a web page"),
            "a command": (partial(saved, {"model": {}, "args": Calls()}), "MissingError: would run its code"),
            "no tensor": (partial(saved, {"model": {}}), "MissingError: low.compress_vit_feat.0.bias is missing"),
            "a tensor": (partial(saved, NAN), "MissingError: one tensor"),
            "a number for a storage": (d.number_for_storage, "MissingError: no weight file"),
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
        "slide embedding",
        {
            "a text": ("no HDF5", "E_LEGACY_DAMAGED: cannot be read"),
            "half": (d.half, "E_LEGACY_DAMAGED: cannot be read"),
            "patches": (old_rows, "E_LEGACY_DAMAGED: holds no vector of the slide"),
        },
    ),
    *of(
        "tile",
        {
            "missing": (d.missing, "E_READ: slide_01_x0_y64.png: "),
            "a folder": (d.a_folder, "E_READ: slide_01_x0_y64.png: "),
            "a pipe": (d.pipe, "E_READ: it is no file"),
            "empty": (d.empty, "E_READ: no PNG or JPEG"),
            "a web page": (d.a_web_page, "E_READ: no PNG or JPEG"),
            "a head alone": (d.a_picture, "E_READ: no PNG or JPEG"),
            "half": (d.half, "E_READ: cannot be decoded"),
            "a link to itself": (d.link_to_itself, "E_READ: "),
            "larger than all memory": (d.png_of(60_000), "E_FORMAT: megapixels"),
            "16 bits": (d.png_of(8, depth=16), "E_FORMAT: 16 bits per colour"),
        },
    ),
    *of("tissue picture", {"a text": ("no picture", "anew"), "half": (d.half, "anew")}),
    *of(
        "old tensor",
        {
            "a text": ("no tensor", "E_LEGACY_DAMAGED: cannot be read"),
            "half": (d.half, "E_LEGACY_DAMAGED: cannot be read"),
            "whole numbers": (partial(saved, torch.ones(3, 4, dtype=torch.int64)), "E_LEGACY_DAMAGED: floating-point"),
            "a command": (partial(saved, Calls()), "E_LEGACY_UNSAFE: nothing was run"),
        },
    ),
    *of(
        "array, table of features",
        {
            "missing": (d.missing, "E_LEGACY_MISSING: does not exist"),
            "a folder": (d.a_folder, "E_LEGACY_DAMAGED: "),
            "no permission": (d.no_permission, "E_LEGACY_DAMAGED: Permission denied"),
            "an endless device": (d.endless_device, "E_LEGACY_DAMAGED: device"),
            "a pipe": (d.pipe, "E_LEGACY_DAMAGED: pipe"),
            "empty": (d.empty, "E_LEGACY_DAMAGED: "),
            "a picture": (d.a_picture, "E_LEGACY_DAMAGED: "),
        },
    ),
    *of(
        "array",
        {
            "half": (d.half, "E_LEGACY_DAMAGED: bytes, and it has"),
            "objects": (partial(array, np.array([Calls()], object)), "E_LEGACY_UNSAFE: nothing was run"),
            "whole numbers": (partial(array, np.ones((3, 4), np.int64)), "E_LEGACY_DAMAGED: type int64"),
            "one vector": (partial(array, np.ones(4, np.float32)), "E_LEGACY_DAMAGED: the shape (4,)"),
            "no rows": (partial(array, np.ones((0, 4), np.float32)), "E_LEGACY_MISMATCH: has no patches"),
            "all memory": (array_header(f"(4, {1 << 50})"), "E_LEGACY_DAMAGED: bytes, and it has"),
            "a negative side": (array_header("(-1, 4)"), "E_LEGACY_DAMAGED: its shape"),
            "deep brackets": (array_header("(" * 5000), "E_LEGACY_DAMAGED: "),
            "a call in the header": (array_header("print(1)"), "E_LEGACY_DAMAGED: "),
        },
    ),
    *of(
        "table of features",
        {
            "Latin-1": (d.latin_1, "E_LEGACY_DAMAGED: not UTF-8"),
            "no rows": ("x,y,0,1\n", "E_LEGACY_DAMAGED: it has no rows"),
            "no header": ("0.5,1,2\n1,2,3\n", "E_LEGACY_DAMAGED: does not name columns of features"),
            "a word for a number": ("0,1,2\n1,2,x\n", "E_LEGACY_DAMAGED: 'x'"),
            "an empty cell": ("0,1,2\n1,,3\n", "E_LEGACY_DAMAGED: ''"),
            "a short row": ("0,1,2\n1,2,3\n1,2\n", "E_LEGACY_DAMAGED: number of columns changed"),
            "a cell too many": ("0,1,2\n1,2,3,4\n", "E_LEGACY_DAMAGED: rows have 4 cells"),
            "half a pixel": ("x,y,0,1\n0.5,0,1,2\n", "E_LEGACY_DAMAGED: no whole pixels"),
        },
    ),
    *of(
        "old tensor without places",
        {
            "NaN": (partial(saved, NAN), "E_NAN: 3 of 3 patches have NaN"),
            "a pickle cut in a word": (partial(d.without_bytes, 42, 154), "E_LEGACY_DAMAGED: cut or damaged"),
            "a number for a storage": (d.number_for_storage, "E_LEGACY_DAMAGED: cut or damaged"),
        },
    ),
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
    *of(
        "MATLAB arrays",
        {
            "missing": (d.missing, "InputError: does not exist"),
            "empty": (d.empty, "InputError: does not begin as a file of version 5"),
            "half": (d.half, "InputError: cannot be read as a MATLAB file"),
            "a text": ("no arrays at all", "InputError: does not begin as a file of version 5"),
            "HDF5, as version 7.3": (
                b"MATLAB 7.3 MAT-file, HDF5".ljust(600),
                "InputError: does not begin as a file of version 5",
            ),
            "a folder": (d.a_folder, "InputError: "),
            "no permission": (d.no_permission, "InputError: Permission denied"),
            "an endless device": (d.endless_device, "InputError: "),
            "a pipe": (d.pipe, "InputError: "),
        },
    ),
]
