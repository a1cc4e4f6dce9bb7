"""Bundles: archives that anybody may have sent; see `damage_table.py`."""

from functools import partial

import bundle_files as b
import damages as d
import good_files as good
from damage_rows import Row, of

ROWS: list[Row] = of(
    "bundle",
    {
        "missing": (d.missing, "InputError: does not exist"),
        "a folder": (d.a_folder, "InputError: no trained model"),
        "empty": (d.empty, "E_DAMAGED: no bundle"),
        "zeros": (d.zeros, "E_DAMAGED: no bundle"),
        "a web page": (d.a_web_page, "E_DAMAGED: no bundle"),
        "half": (d.half, "E_DAMAGED: no bundle, or a part of one"),
        "a zeroed block": (d.zeroed_block, "E_DAMAGED: "),
        "flipped bits": (d.flipped_bits, "E_DAMAGED: "),
        "a link to itself": (d.link_to_itself, "E_DAMAGED: "),
        "a link to nowhere": (d.link_to_nowhere, "InputError: does not exist"),
        "a pipe": (d.pipe, "InputError: a pipe"),
        "an endless device": (d.endless_device, "InputError: a device"),
        "no permission": (d.no_permission, "E_DAMAGED: Permission denied"),
        "a file of torch": (partial(d.other_kind, good.published), "E_DAMAGED: data.pkl', which is no part"),
        "a model's facts": (partial(d.other_kind, good.record), "E_DAMAGED: no bundle"),
        "no facts": (partial(b.without_member, b.FACTS), "E_DAMAGED: it has no bundle.json"),
        "facts that are no JSON": (b.not_json, "E_DAMAGED: bundle.json is no valid JSON"),
        "facts in a list": (b.a_list, "E_DAMAGED: bundle.json holds no JSON object"),
        "an edited threshold": (b.edited_threshold, "E_DAMAGED: the checksum differs"),
        "an edited threshold with a sum": (
            partial(b.edited_threshold, sealed=True),
            "E_DAMAGED: other classes or thresholds than its models",
        ),
        "other classes": (partial(b.set_fact, "classes", ["b", "a"]), "E_DAMAGED: other classes or thresholds"),
        "a newer schema": (b.newer_schema, "InputError: has the schema 99"),
        "an unknown fact": (partial(b.set_fact, "run_this", "rm"), "E_DAMAGED: run_this"),
        "a word for the members": (partial(b.set_fact, "members", "all"), "E_DAMAGED: members"),
        "no members": (partial(b.set_fact, "members", []), "E_DAMAGED: names no model"),
        "a model less": (b.only_one_model, "E_DAMAGED: not the same models"),
        "a file less": (partial(b.without_member, f"{b.MODEL}/model.json"), "E_DAMAGED: model.json is missing"),
        "code": (partial(b.with_member, "evil.py"), "E_DAMAGED: 'evil.py', which is no part of a bundle"),
        "a pickle": (partial(b.with_member, "models/data.pkl"), "E_DAMAGED: no part of a bundle"),
        "a pickle that it names": (partial(b.named, "models/a/data.pkl"), "E_DAMAGED: no part of a bundle"),
        "a path upwards": (partial(b.named, "models/../model.json"), "E_DAMAGED: no part of a bundle"),
        "a path upwards for a model": (partial(b.named, "../../.bashrc"), "E_DAMAGED: no part of a bundle"),
        "a path of the system": (partial(b.named, "/etc/passwd"), "E_DAMAGED: no part of a bundle"),
        "a model that it does not name": (
            partial(b.with_member, "models/other/model.json"),
            "E_DAMAGED: bundle.json does not name its models/other/model.json",
        ),
        "a member twice": (b.twice, "E_DAMAGED: a member twice"),
        "compressed": (b.compressed, "E_DAMAGED: compressed or encrypted"),
        "a bomb": (b.a_bomb, "E_DAMAGED: compressed or encrypted"),
        "other weights": (b.other_weights, "E_DAMAGED: is not the file that"),
    },
)
