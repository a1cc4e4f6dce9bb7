"""Files that sammil writes for itself: HDF5, JSON, models, the store; see `damage_table.py`."""

from functools import partial

import damages as d
import good_files as good
import h5py
import numpy as np
from damage_rows import Row, drawn, of, old_rows, polygon

OURS_H5 = "artefacts, patches, regions, bag"
OURS_JSON = "tissue, record, model facts"
FIRST = {"artefacts": "blank", "patches": "xy", "regions": "runs", "bag": "features"}  # an array of each
SQUARE = polygon((10, 10), (100, 10), (100, 100), (10, 100))
SPEC = '{"model": "abmil", "weights_sha256": "0", "spec": {"width": 3}, "encoder": {}, "classes": []}'

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
            "no permission": (d.no_permission, "InputError: Permission denied"),
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
            "no permission": (d.no_permission, "E_DAMAGED: Permission denied"),
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
            "a word for a size": (partial(d.rewrite, '"classes": 2', '"classes": "2"'), "E_DAMAGED: spec.classes: "),
            "a size below 0": (partial(d.rewrite, '"classes": 2', '"classes": -2'), "E_DAMAGED: "),
            "a spec in a list": (partial(d.in_a_list, "spec"), "E_DAMAGED: spec: "),
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
        "tokens",
        {
            "missing": (d.missing, "MissingError: tokens.safetensors does not exist"),
            "half": (d.half, "MissingError: no weight file"),
            "flipped bits": (d.flipped_bits, "MissingError: "),
            "a folder": (d.a_folder, "MissingError: "),
            "an endless device": (d.endless_device, "MissingError: "),
        },
    ),
    *of(
        "quality",
        {
            "an infinite number": (partial(d.rewrite, '"overlap": null', '"overlap": -Infinity'), "anew"),
            "a word for a number": (partial(d.rewrite, '"regions": 4', '"regions": "many"'), "anew"),
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
]
