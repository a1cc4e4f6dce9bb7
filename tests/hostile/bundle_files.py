"""A good bundle, who reads it, and what can be wrong with its archive."""

import hashlib
import json
import os
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import good_files as good
from sealing import sealed_tree

from sammil_cli.bundles.models import open_models
from sammil_cli.stages import bundle

FACTS = "bundle.json"
MODEL = "models/repeat_0_fold_0"
Members = dict[str, bytes]


def make(path: Path) -> None:
    """Of two models."""
    run = path.parent / "run"
    good.training(run / "splits.csv")
    bundle.run(run / "models", path)


def read(path: Path) -> object:
    """All that it says, and its weights; unpacked beside it."""
    with patch.dict(os.environ, {"XDG_CACHE_HOME": str(path.parent / "cache")}):
        found = open_models(path, "cpu")
    return found.bundle, [(fold.facts, sorted(fold.seen or ()), fold.model) for fold in found.folds]


def members_of(path: Path) -> Members:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def rewrite(change: Callable[[Members], object], path: Path, kind: int = zipfile.ZIP_STORED) -> None:
    """Writes the archive again after a change of its members."""
    members = members_of(path)
    change(members)
    with zipfile.ZipFile(path, "w", kind) as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def compressed(path: Path) -> None:
    rewrite(lambda members: None, path, zipfile.ZIP_DEFLATED)


def a_bomb(path: Path) -> None:
    """Two hundred megabytes of zeros in the place of the weights, packed to some kilobytes."""
    members = members_of(path)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            packed = zipfile.ZIP_DEFLATED if name.endswith(".safetensors") else zipfile.ZIP_STORED
            archive.writestr(name, bytes(200_000_000) if packed else content, packed)


def twice(path: Path) -> None:
    with warnings.catch_warnings(), zipfile.ZipFile(path, "a") as archive:
        warnings.simplefilter("ignore")
        archive.writestr(f"{MODEL}/model.json", b"{}")


def with_member(name: str, path: Path) -> None:
    rewrite(lambda members: members.update({name: b"import os"}), path)


def named(name: str, path: Path) -> None:
    """A member that is in the list of files, too, with sums that fit."""
    facts_of(lambda facts, members: members.update({name: b"import os"}), path)


def without_member(name: str, path: Path) -> None:
    rewrite(lambda members: members.pop(name), path)


def facts_of(change: Callable[[dict[str, Any], Members], object], path: Path, *, sealed: bool = True) -> None:
    """Changes `bundle.json`; `sealed`: its list of files and its sum are made to fit."""

    def both(members: Members) -> None:
        facts = json.loads(members[FACTS])
        change(facts, members)
        if sealed:
            contents = {name: content for name, content in members.items() if name != FACTS}
            facts["files"] = {
                name: {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
                for name, content in contents.items()
            }
            facts = sealed_tree(facts)
        members[FACTS] = json.dumps(facts).encode()

    rewrite(both, path)


def edited_threshold(path: Path, *, sealed: bool = False) -> None:
    facts_of(lambda facts, _: facts["decision"].update(threshold=0.99), path, sealed=sealed)


def set_fact(name: str, value: object, path: Path) -> None:
    facts_of(lambda facts, _: facts.update({name: value}), path)


def newer_schema(path: Path) -> None:
    facts_of(lambda facts, _: facts.update(schema=99), path, sealed=False)


def only_one_model(path: Path) -> None:
    """A model of the list of members is not among the files."""

    def drop(_: object, members: Members) -> None:
        for file in ("model.json", "model.safetensors"):
            members.pop(f"{MODEL}/{file}")

    facts_of(drop, path)


def not_json(path: Path) -> None:
    rewrite(lambda members: members.update({FACTS: b"[" * 100_000}), path)


def a_list(path: Path) -> None:
    rewrite(lambda members: members.update({FACTS: b"[]"}), path)


def other_weights(path: Path) -> None:
    """Weights and list of files fit each other, and not the model's facts."""

    def change(_: object, members: Members) -> None:
        content = bytearray(members[f"{MODEL}/model.safetensors"])
        content[-1] ^= 1
        members[f"{MODEL}/model.safetensors"] = bytes(content)

    facts_of(change, path)
