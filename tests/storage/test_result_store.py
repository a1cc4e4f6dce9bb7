"""What was computed once comes back as it was; what is damaged is made anew; what DVC holds is not kept twice."""

import errno
import hashlib
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sammil_cli.storage import store as module
from sammil_cli.storage.claims import host_id, owner_tag
from sammil_cli.storage.store import Result, ResultStore, find_store, is_temporary, sweep

KEY = "ab" + "0" * 62
OTHER = "cd" + "0" * 62


@pytest.fixture(autouse=True)
def no_dvc_config_but_the_projects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever runs these tests may have a cache directory of their own."""
    for variable in ("DVC_SYSTEM_CONFIG_DIR", "DVC_GLOBAL_CONFIG_DIR"):
        monkeypatch.setenv(variable, str(tmp_path / "no-such-folder"))


@pytest.fixture
def store(tmp_path: Path) -> ResultStore:
    """Of a step, below a cache directory as DVC's."""
    return ResultStore(tmp_path / "cache" / "sammil" / "patch")


def fill(store: ResultStore, key: str = KEY, **files: str) -> None:
    folder = store.workspace()
    for name, text in files.items():
        (folder / name.replace("_", ".")).write_text(text)
    known = {"remarks": ["touches the border"], "slide_id": "s1", "key": {"settings": {"px": 256}}}
    store.put(key, folder, Result(**known, libraries={"numpy": "2.0"}))


def contents(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir()}


def stored(store: ResultStore, key: str = KEY) -> set[str]:
    return {path.name for path in (store.root / key[:2] / key).iterdir()}


def give_to_dvc(store: ResultStore, text: str) -> Path:
    """What `dvc commit` does with a file of this content."""
    md5 = hashlib.md5(text.encode()).hexdigest()
    path = store.root.parents[1] / "files" / "md5" / md5[:2] / md5[2:]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o444)
    return path


def test_a_result_comes_back_under_its_key_only(store: ResultStore, tmp_path: Path) -> None:
    fill(store, s1_h5="grid", s1_jpg="picture")
    assert store.fetch(KEY, tmp_path / "out")
    assert contents(tmp_path / "out") == {"s1.h5": "grid", "s1.jpg": "picture"}
    assert not store.fetch(OTHER, tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_a_result_tells_its_slide_its_key_and_its_remarks(store: ResultStore, tmp_path: Path) -> None:
    fill(store, s1_h5="grid")
    for result in (store.look(KEY), store.fetch(KEY, tmp_path / "out")):
        assert result is not None
        assert (result.slide_id, result.key, list(result.remarks)) == (
            "s1",
            {"settings": {"px": 256}},
            ["touches the border"],
        )
        facts = result.files["s1.h5"]
        assert facts.bytes == 4
        assert facts.sha256 == hashlib.sha256(b"grid").hexdigest()
        assert facts.md5 == hashlib.md5(b"grid").hexdigest()
    assert store.look(OTHER) is None


def test_a_result_without_remarks_is_a_result(store: ResultStore, tmp_path: Path) -> None:
    folder = store.workspace()
    (folder / "model.json").write_text("{}")
    store.put(KEY, folder)
    assert store.fetch(KEY, tmp_path / "out")


def test_a_fetched_file_replaces_the_stale_one_and_is_a_copy(store: ResultStore, tmp_path: Path) -> None:
    fill(store, s1_h5="grid")
    out = tmp_path / "out"
    out.mkdir()
    (out / "s1.h5").write_text("stale")
    assert store.fetch(KEY, out)
    (out / "s1.h5").write_text("edited by the user")
    assert store.fetch(KEY, tmp_path / "again")
    assert contents(tmp_path / "again") == {"s1.h5": "grid"}


def test_a_file_that_is_there_already_is_left_alone(store: ResultStore, tmp_path: Path) -> None:
    fill(store, s1_h5="grid")
    out = tmp_path / "out"
    assert store.fetch(KEY, out)
    before = (out / "s1.h5").stat()
    assert store.fetch(KEY, out)
    after = (out / "s1.h5").stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    (out / "s1.h5").write_text("gird")  # the same length
    assert store.fetch(KEY, out)
    assert contents(out) == {"s1.h5": "grid"}


def test_putting_twice_keeps_the_first_and_leaves_no_workspace(store: ResultStore, tmp_path: Path) -> None:
    fill(store, s1_h5="first")
    fill(store, s1_h5="second")
    assert store.fetch(KEY, tmp_path / "out")
    assert contents(tmp_path / "out") == {"s1.h5": "first"}
    assert [path.name for path in store.root.iterdir()] == [KEY[:2]]


def entry_file(store: ResultStore, name: str) -> Path:
    (found,) = store.root.glob(f"*/{KEY}/{name}")
    return found


@pytest.mark.parametrize("text", ["damaged", "gird", ""])
@pytest.mark.parametrize("name", ["s1.h5", "manifest.json"])
def test_a_changed_entry_is_not_served_and_can_be_made_anew(
    store: ResultStore, tmp_path: Path, name: str, text: str
) -> None:
    fill(store, s1_h5="grid")
    entry_file(store, name).write_text(text)
    assert not store.fetch(KEY, tmp_path / "out")
    assert not list(tmp_path.glob("out/*"))
    fill(store, s1_h5="grid")
    assert store.fetch(KEY, tmp_path / "out")
    assert contents(tmp_path / "out") == {"s1.h5": "grid"}
    assert [path.name for path in store.root.iterdir()] == [KEY[:2]]


@pytest.mark.parametrize("number", [errno.EMFILE, errno.EIO, errno.ESTALE])
def test_an_entry_that_the_system_does_not_open_just_now_is_kept(
    store: ResultStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    fill(store, s1_h5="grid")
    really = Path.open

    def refused(path: Path, *arguments: str, **named: str) -> object:
        if path.name == "s1.h5":
            raise OSError(number, os.strerror(number), str(path))
        return really(path, *arguments, **named)  # type: ignore[call-overload]

    with monkeypatch.context() as patched:
        patched.setattr(Path, "open", refused)
        with pytest.raises(OSError, match=os.strerror(number)):
            store.fetch(KEY, tmp_path / "out")
    assert store.fetch(KEY, tmp_path / "out")
    assert contents(tmp_path / "out") == {"s1.h5": "grid"}


@pytest.mark.parametrize("name", ["s1.h5", "manifest.json"])
def test_an_entry_that_lost_a_file_is_not_served_and_can_be_made_anew(
    store: ResultStore, tmp_path: Path, name: str
) -> None:
    fill(store, s1_h5="grid", s1_jpg="picture")
    entry_file(store, name).unlink()
    assert not store.has_files(KEY)
    assert not store.fetch(KEY, tmp_path / "out")
    fill(store, s1_h5="grid", s1_jpg="picture")
    assert store.has_files(KEY)
    assert store.fetch(KEY, tmp_path / "out")
    assert contents(tmp_path / "out") == {"s1.h5": "grid", "s1.jpg": "picture"}


@pytest.mark.parametrize("error", [None, OSError(18, "another file system"), AttributeError("no such call")])
def test_a_copy_is_whole_whatever_the_system_offers(
    store: ResultStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception | None
) -> None:
    fill(store, s1_h5="grid" * 1000)
    offers = os.copy_file_range

    def copy_a_little(source: int, target: int, count: int) -> int:
        if error is not None and os.lseek(source, 0, os.SEEK_CUR) >= 700:
            raise error
        return offers(source, target, min(count, 700))

    monkeypatch.setattr(module.os, "copy_file_range", copy_a_little)
    assert store.fetch(KEY, tmp_path / "out")
    assert contents(tmp_path / "out") == {"s1.h5": "grid" * 1000}


# ---------------------------------------------------------------------------------------------- beside DVC's cache


def test_what_dvc_holds_is_dropped_from_the_store_and_fetched_from_there(store: ResultStore, tmp_path: Path) -> None:
    fill(store, s1_h5="grid", s1_jpg="picture")
    held = give_to_dvc(store, "grid")
    store.tidy()
    assert stored(store) == {"manifest.json", "s1.jpg"}
    give_to_dvc(store, "picture")
    store.tidy()
    assert stored(store) == {"manifest.json"}
    assert store.has_files(KEY)
    assert store.fetch(KEY, tmp_path / "out")
    assert contents(tmp_path / "out") == {"s1.h5": "grid", "s1.jpg": "picture"}
    with (tmp_path / "out" / "s1.h5").open("a") as file:  # no link, and not write-protected
        file.write(" edited")
    assert held.read_text() == "grid"
    assert held.stat().st_nlink == 1


def test_a_file_of_another_length_in_dvcs_cache_is_not_trusted(store: ResultStore) -> None:
    fill(store, s1_h5="grid")
    held = give_to_dvc(store, "grid")
    held.chmod(0o644)
    held.write_text("gri")
    store.tidy()
    assert stored(store) == {"manifest.json", "s1.h5"}


@pytest.mark.parametrize("text", ["gird", None])
def test_what_dvc_lost_or_spoilt_is_made_anew(store: ResultStore, tmp_path: Path, text: str | None) -> None:
    fill(store, s1_h5="grid")
    held = give_to_dvc(store, "grid")
    store.tidy()
    held.chmod(0o644)
    held.unlink()
    if text:
        held.write_text(text)
    assert not store.fetch(KEY, tmp_path / "out")
    assert not list(tmp_path.glob("out/*"))
    fill(store, s1_h5="grid")
    assert store.fetch(KEY, tmp_path / "out")
    assert contents(tmp_path / "out") == {"s1.h5": "grid"}
    assert (held.read_text() if held.exists() else None) == text  # DVC's business


def test_a_link_into_dvcs_cache_is_replaced_and_not_written_through(store: ResultStore, tmp_path: Path) -> None:
    """As `dvc checkout` leaves them with cache.type hardlink or symlink."""
    fill(store, s1_h5="new", s1_jpg="new, too")
    held = give_to_dvc(store, "old")
    out = tmp_path / "out"
    out.mkdir()
    (out / "s1.h5").symlink_to(held)
    (out / "s1.jpg").hardlink_to(held)
    assert store.fetch(KEY, out)
    assert contents(out) == {"s1.h5": "new", "s1.jpg": "new, too"}
    assert held.read_text() == "old"


# ---------------------------------------------------------------------------------------------- left by dead processes


def dead_pid() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_what_dead_processes_left_is_swept_and_what_others_work_on_is_not(tmp_path: Path) -> None:
    dead = f"{host_id()}-{dead_pid()}"
    living, elsewhere = f"{host_id()}-{os.getppid()}", f"{'0' * 12}-1"
    week_old = time.time() - 8 * 86400
    for name in (f".work-{dead}-a", f".work-{living}-b", f".work-{elsewhere}-c", f".work-{owner_tag()}-d"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "half.h5").touch()
    (tmp_path / f".work-{dead}-slide_1.h5").touch()
    (tmp_path / f".work-{elsewhere}-slide_2.h5").touch()
    os.utime(tmp_path / f".work-{elsewhere}-slide_2.h5", (week_old, week_old))
    (tmp_path / "slide_3.h5").touch()
    sweep(tmp_path)
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {f".work-{living}-b", f".work-{elsewhere}-c", f".work-{owner_tag()}-d", "slide_3.h5"}
    assert {name for name in left if is_temporary(tmp_path / name)} == left - {"slide_3.h5"}


def test_a_store_that_is_not_there_yet_needs_no_tidying(store: ResultStore) -> None:
    store.tidy()
    assert not store.root.exists()


# ---------------------------------------------------------------------------------------------- where it lies


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


def test_dvcs_configs_overrule_each_other_as_dvc_has_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dvc = tmp_path / "project" / ".dvc"
    levels = {"system": tmp_path / "etc", "user": tmp_path / "home", "repo": dvc, "local": dvc}
    monkeypatch.setenv("DVC_SYSTEM_CONFIG_DIR", str(levels["system"]))
    monkeypatch.setenv("DVC_GLOBAL_CONFIG_DIR", str(levels["user"]))
    dvc.mkdir(parents=True)
    assert find_store(dvc.parent) == dvc / "cache" / "sammil"
    for level, folder in levels.items():  # DVC's order, from the one that yields to the one that wins
        folder.mkdir(exist_ok=True)
        text = f"[cache]\n    dir = cache-of-{level}\n"
        (folder / ("config.local" if level == "local" else "config")).write_text(text)
        assert find_store(dvc.parent) == folder / f"cache-of-{level}" / "sammil"
        command = [sys.executable, "-c", "from dvc.repo import Repo; print(Repo().cache.local.path)"]
        if level in ("system", "local"):  # DVC itself says the same; asked twice only, for it takes its time
            subprocess.run(["git", "init", "--quiet"], cwd=dvc.parent, check=True)
            said = subprocess.run(command, cwd=dvc.parent, check=True, capture_output=True, text=True).stdout
            assert Path(said.strip()) == folder / f"cache-of-{level}" / "files" / "md5"


@pytest.mark.skipif(sys.platform != "linux", reason="the folders of this system")
def test_the_users_and_the_systems_config_are_found_where_dvc_puts_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("DVC_SYSTEM_CONFIG_DIR", "DVC_GLOBAL_CONFIG_DIR"):
        monkeypatch.delenv(variable)
    monkeypatch.setenv("XDG_CONFIG_DIRS", str(tmp_path / "xdg"))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / ".dvc").mkdir()
    for folder, told, found in (
        ("xdg/dvc", str(tmp_path / "of-all"), tmp_path / "of-all"),
        ("home/.config/dvc", "~/scratch", tmp_path / "home" / "scratch"),
    ):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "config").write_text(f"[cache]\n    dir = {told}\n")
        assert find_store(tmp_path) == found / "sammil"


@pytest.mark.parametrize("text", ["no section\n", "[cache\n", b"\xff\xfe", "[cache]\n    dir =\n"])
def test_a_config_that_cannot_be_read_is_dvcs_to_complain_of(tmp_path: Path, text: str | bytes) -> None:
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc" / "config").write_bytes(text if isinstance(text, bytes) else text.encode())
    assert find_store(tmp_path) == tmp_path / ".dvc" / "cache" / "sammil"


def test_a_percent_sign_in_the_cache_directory_is_a_character_like_any_other(tmp_path: Path) -> None:
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc" / "config").write_text("[cache]\n    dir = ../50%full\n")
    assert find_store(tmp_path) == tmp_path / "50%full" / "sammil"
