"""A manifest of the result store with a flipped bit is none: nothing of it is used."""

import json
import shutil
from pathlib import Path

from sammil_cli.storage.store import Result, ResultStore

NAME, OTHER = "ab" + "0" * 62, "ab" + "1" * 62


def fill(store: ResultStore) -> Path:
    folder = store.workspace()
    (folder / "s1.h5").write_text("grid")
    known = {"remarks": ["touches the border"], "slide_id": "s1", "key": {"px": 256}, "libraries": {"numpy": "2.0"}}
    store.put(NAME, folder, Result(**known))  # type: ignore[arg-type]
    return store.root / NAME[:2] / NAME / "manifest.json"


def test_every_flipped_bit_of_a_manifest_is_seen(tmp_path: Path) -> None:
    store = ResultStore(tmp_path / "store")
    manifest = fill(store)
    content, known = manifest.read_bytes(), store.look(NAME)
    assert known is not None
    for bit in range(8 * len(content)):
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        manifest.write_bytes(flipped)
        assert store.look(NAME) in (None, known), flipped  # a blank that became another one says the same
    assert store.fetch(NAME, tmp_path / "out") is None
    assert not store.has_files(NAME)
    fill(store)
    assert store.look(NAME) == known


def test_a_manifest_counts_under_its_own_name_only_and_never_without_its_sum(tmp_path: Path) -> None:
    store = ResultStore(tmp_path / "store")
    manifest = fill(store)
    shutil.copytree(manifest.parent, store.root / OTHER[:2] / OTHER)
    assert store.look(OTHER) is None
    content = json.loads(manifest.read_text())
    del content["sum"]
    manifest.write_text(json.dumps(content))
    assert store.look(NAME) is None
