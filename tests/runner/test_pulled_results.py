"""What DVC's cache holds of an earlier run is taken over; what was made otherwise, or is damaged, is not."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from sammil_cli.runner.pulled_results import adopt
from sammil_cli.storage.files import digest
from sammil_cli.storage.store import ResultStore

OUT = Path("artifacts/tissue")
KEY = {"settings": {"threshold": 8, "mpp": 0.5}, "slide": "ab" * 32}


def key_of(slide_id: str, recipe: Mapping[str, Any]) -> str:
    return digest({"slide_id": slide_id, **recipe})


@pytest.fixture
def store(tmp_path: Path) -> ResultStore:
    return ResultStore(tmp_path / "cache" / "sammil" / "segment")


def cache(store: ResultStore, content: bytes, ending: str = "") -> str:
    md5 = hashlib.md5(content).hexdigest() + ending
    path = store.dvc_files / md5[:2] / md5[2:]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return md5


@pytest.fixture
def lock(store: ResultStore, tmp_path: Path) -> Path:
    """The dvc.lock of a stage that wrote a GeoJSON and a picture of the slides `a.1` and `b`."""
    listing = []
    for slide_id in ("a.1", "b"):
        shapes = {"type": "FeatureCollection", "sammil": {"key": KEY, "remarks": [f"pen: {slide_id}"]}}
        for name, content in (("geojson", json.dumps(shapes)), ("jpg", f"picture of {slide_id}")):
            listing.append({"md5": cache(store, content.encode()), "relpath": f"{slide_id}.{name}"})
    folder = cache(store, json.dumps(listing).encode(), ".dir")
    other = {"path": "artifacts/patches", "md5": cache(store, b"[]", ".dir")}
    stages = {"patch": {"outs": [other]}, "segment": {"outs": [{"path": OUT.as_posix(), "md5": folder}]}}
    path = tmp_path / "dvc.lock"
    path.write_text(yaml.safe_dump({"schema": "2.0", "stages": stages}))
    return path


def test_results_of_the_recipe_asked_for_are_taken_over_with_their_remarks(
    store: ResultStore, lock: Path, tmp_path: Path
) -> None:
    keys = {slide_id: key_of(slide_id, KEY) for slide_id in ("a.1", "b", "new")}
    adopt(store, lock, OUT, keys, key_of)
    fetched = store.fetch(keys["a.1"], tmp_path / "out")
    assert fetched is not None
    assert tuple(fetched.remarks) == ("pen: a.1",)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"a.1.geojson", "a.1.jpg"}
    assert (tmp_path / "out/a.1.jpg").read_text() == "picture of a.1"
    assert store.look(keys["b"]) is not None
    assert store.look(keys["new"]) is None
    assert {path.name for path in store.root.glob("??/*/*")} == {"manifest.json"}  # nothing is kept twice


def test_results_of_another_recipe_are_not(store: ResultStore, lock: Path) -> None:
    key = key_of("b", {**KEY, "settings": {"threshold": 9, "mpp": 0.5}})
    adopt(store, lock, OUT, {"b": key}, key_of)
    assert store.look(key) is None


@pytest.mark.parametrize("damaged", [True, False], ids=["damaged", "missing"])
def test_a_damaged_or_missing_file_of_dvcs_cache_is_not_trusted(store: ResultStore, lock: Path, damaged: bool) -> None:
    picture = hashlib.md5(b"picture of b").hexdigest()
    place = store.dvc_files / picture[:2] / picture[2:]
    if damaged:
        place.write_bytes(b"picture of c")
    else:
        place.unlink()
    key = key_of("b", KEY)
    adopt(store, lock, OUT, {"b": key}, key_of)
    assert store.look(key) is None


@pytest.mark.parametrize("text", ["", "[", "stages: 3", "stages: {segment: {outs: [{path: artifacts/tissue}]}}"])
def test_a_lock_of_another_form_is_passed_over(store: ResultStore, tmp_path: Path, text: str) -> None:
    path = tmp_path / "dvc.lock"
    for lock in (path, tmp_path / "none.lock"):
        path.write_text(text)
        adopt(store, lock, OUT, {"b": key_of("b", KEY)}, key_of)
    assert not store.root.exists()


@pytest.mark.parametrize("name", ["../b.geojson", "below/b.geojson"])
def test_a_listing_that_leads_out_of_the_stages_folder_is_not_followed(
    store: ResultStore, tmp_path: Path, name: str
) -> None:
    content = cache(store, json.dumps({"sammil": {"key": KEY}}).encode())
    folder = cache(store, json.dumps([{"md5": content, "relpath": name}]).encode(), ".dir")
    lock = tmp_path / "dvc.lock"
    lock.write_text(yaml.safe_dump({"stages": {"segment": {"outs": [{"path": OUT.as_posix(), "md5": folder}]}}}))
    key = key_of("b", KEY)
    adopt(store, lock, OUT, {"b": key}, key_of)
    assert store.fetch(key, tmp_path / "out") is None
    assert not (tmp_path / "b.geojson").exists()


def test_a_listing_that_names_a_folder_of_the_cache_is_passed_over(store: ResultStore, tmp_path: Path) -> None:
    content = cache(store, json.dumps({"sammil": {"key": KEY}}).encode())
    listing = [{"md5": content, "relpath": "b.geojson"}, {"md5": content[:2], "relpath": "b.jpg"}]
    folder = cache(store, json.dumps(listing).encode(), ".dir")
    lock = tmp_path / "dvc.lock"
    lock.write_text(yaml.safe_dump({"stages": {"segment": {"outs": [{"path": OUT.as_posix(), "md5": folder}]}}}))
    key = key_of("b", KEY)
    adopt(store, lock, OUT, {"b": key}, key_of)
    assert store.look(key) is None
