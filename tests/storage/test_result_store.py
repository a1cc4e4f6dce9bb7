"""What was computed once comes back as it was; what is damaged is made anew."""

from pathlib import Path

import pytest

from sammil_cli.storage.store import ResultStore, find_store

KEY = "ab" + "0" * 62


@pytest.fixture
def store(tmp_path: Path) -> ResultStore:
    return ResultStore(tmp_path / "store" / "patch")


def fill(store: ResultStore, key: str = KEY, **files: str) -> None:
    folder = store.workspace()
    for name, text in files.items():
        (folder / name.replace("_", ".")).write_text(text)
    store.put(key, folder)


def contents(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir()}


def test_a_result_comes_back_under_its_key_only(store: ResultStore, tmp_path: Path) -> None:
    fill(store, s1_h5="grid", s1_jpg="picture")
    assert store.fetch(KEY, tmp_path / "out")
    assert contents(tmp_path / "out") == {"s1.h5": "grid", "s1.jpg": "picture"}
    assert not store.fetch("cd" + "0" * 62, tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_a_fetched_file_replaces_the_stale_one_and_is_a_copy(store: ResultStore, tmp_path: Path) -> None:
    fill(store, s1_h5="grid")
    out = tmp_path / "out"
    out.mkdir()
    (out / "s1.h5").write_text("stale")
    assert store.fetch(KEY, out)
    (out / "s1.h5").write_text("edited by the user")
    assert store.fetch(KEY, tmp_path / "again")
    assert contents(tmp_path / "again") == {"s1.h5": "grid"}


def test_putting_twice_keeps_the_first_and_leaves_no_workspace(store: ResultStore, tmp_path: Path) -> None:
    fill(store, s1_h5="first")
    fill(store, s1_h5="second")
    assert store.fetch(KEY, tmp_path / "out")
    assert contents(tmp_path / "out") == {"s1.h5": "first"}
    assert [path.name for path in store.root.iterdir()] == [KEY[:2]]


def entry_file(store: ResultStore, name: str) -> Path:
    (found,) = store.root.glob(f"*/{KEY}/{name}")
    return found


@pytest.mark.parametrize("name", ["s1.h5", "manifest.json"])
def test_a_changed_entry_is_not_served_and_can_be_made_anew(store: ResultStore, tmp_path: Path, name: str) -> None:
    fill(store, s1_h5="grid")
    entry_file(store, name).write_text("damaged")
    assert not store.fetch(KEY, tmp_path / "out")
    assert not list(tmp_path.glob("out/*"))
    fill(store, s1_h5="grid")
    assert store.fetch(KEY, tmp_path / "out")
    assert contents(tmp_path / "out") == {"s1.h5": "grid"}


@pytest.mark.parametrize("name", ["s1.h5", "manifest.json"])
def test_an_entry_that_lost_a_file_is_not_served_and_can_be_made_anew(
    store: ResultStore, tmp_path: Path, name: str
) -> None:
    fill(store, s1_h5="grid", s1_jpg="picture")
    entry_file(store, name).unlink()
    assert not store.fetch(KEY, tmp_path / "out")
    fill(store, s1_h5="grid", s1_jpg="picture")
    assert store.fetch(KEY, tmp_path / "out")
    assert contents(tmp_path / "out") == {"s1.h5": "grid", "s1.jpg": "picture"}


def test_without_dvc_the_store_lies_in_the_project(tmp_path: Path) -> None:
    assert find_store(tmp_path) == tmp_path / ".sammil" / "store"


def test_with_dvc_the_store_lies_in_its_cache_also_from_a_folder_below(tmp_path: Path) -> None:
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc" / "config").write_text("[core]\n    analytics = false\n")
    below = tmp_path / "study" / "a"
    below.mkdir(parents=True)
    assert find_store(tmp_path) == find_store(below) == tmp_path / ".dvc" / "cache" / "sammil"


def test_the_store_follows_the_cache_directory_and_the_local_config_wins(tmp_path: Path) -> None:
    dvc = tmp_path / "project" / ".dvc"
    dvc.mkdir(parents=True)
    (dvc / "config").write_text("[core]\n    analytics = false\n[cache]\n    type = copy\n    dir = ../../shared\n")
    assert find_store(dvc.parent) == tmp_path / "shared" / "sammil"
    (dvc / "config.local").write_text(f"[cache]\n    dir = '{tmp_path}/local'\n")
    assert find_store(dvc.parent) == tmp_path / "local" / "sammil"


def test_a_percent_sign_in_the_cache_directory_is_a_character_like_any_other(tmp_path: Path) -> None:
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc" / "config").write_text("[cache]\n    dir = ../50%full\n")
    assert find_store(tmp_path) == tmp_path / "50%full" / "sammil"
