"""A bundle: the models of a run in one file, which says what they are and opens anywhere."""

import json
import zipfile
from pathlib import Path

import pytest

from sammil_cli.bundles.models import open_models
from sammil_cli.stages import bundle


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_a_bundle_opens_as_the_run_that_it_is_of(done: Path) -> None:
    bundle.run(done, done / "model.sammil")
    one, other = open_models(done, "cpu"), open_models(done / "model.sammil", "cpu")
    assert [folder.name for folder in other.folders] == [folder.name for folder in one.folders]
    assert [fold.seen for fold in other.folds] == [fold.seen for fold in one.folds]
    assert [fold.facts for fold in other.folds] == [fold.facts for fold in one.folds]
    assert other.settings == one.settings is not None
    assert other.cohort == one.cohort is not None
    assert other.performance == one.performance
    assert not isinstance(other.performance, str)


def test_the_same_run_gives_the_same_bytes(done: Path) -> None:
    for name in ("one.sammil", "other.sammil"):
        bundle.run(done, done / name)
    assert (done / "one.sammil").read_bytes() == (done / "other.sammil").read_bytes()


def test_an_archive_holds_json_and_safetensors_and_nothing_else(done: Path) -> None:
    bundle.run(done, done / "model.sammil")
    with zipfile.ZipFile(done / "model.sammil") as archive:
        names = archive.namelist()
        assert names[0] == "bundle.json"
        assert {Path(name).name for name in names[1:]} == {"model.json", "model.safetensors"}
        assert {entry.compress_type for entry in archive.infolist()} == {zipfile.ZIP_STORED}
        facts = json.loads(archive.read("bundle.json"))
        for name in names[1:]:
            head = archive.read(name)
            assert facts["files"][name]["bytes"] == len(head)
            if name.endswith(".safetensors"):
                json.loads(head[8 : 8 + int.from_bytes(head[:8], "little")])
            else:
                json.loads(head)
