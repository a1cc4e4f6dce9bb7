"""What is kept of converted networks: made by one, read by all, gone when nobody uses it."""

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sammil_cli.backends import kept_networks
from sammil_cli.backends.kept_networks import forget, kept_or_made


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "networks"
    monkeypatch.setattr(kept_networks, "kept_folder", lambda: folder)
    monkeypatch.setattr(kept_networks, "_LOOK_SECONDS", 0.01)
    return folder


def test_of_several_at_once_one_makes_it_and_the_others_wait() -> None:
    together, made = threading.Barrier(3), list[int]()

    def make() -> bytes:
        made.append(1)
        time.sleep(0.1)
        return b"network"

    def ask(_: int) -> bytes:
        together.wait()
        return kept_or_made("key", make)

    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(ask, range(3))) == [b"network"] * 3
    assert len(made) == 1


def test_a_maker_that_fails_leaves_nothing_behind(folder: Path) -> None:
    def fail() -> bytes:
        raise RuntimeError("no memory")

    with pytest.raises(RuntimeError, match="no memory"):
        kept_or_made("key", fail)
    assert [path for path in folder.rglob("*") if path.is_file()] == []
    assert kept_or_made("key", lambda: b"second") == b"second"


def test_one_that_is_forgotten_is_made_anew() -> None:
    assert kept_or_made("key", lambda: b"first") == kept_or_made("key", lambda: b"second") == b"first"
    forget("key")
    assert kept_or_made("key", lambda: b"second") == b"second"


def test_where_nothing_can_be_kept_it_is_made_each_time(folder: Path) -> None:
    folder.parent.mkdir(exist_ok=True)
    folder.write_text("a file where the folder should be")
    assert [kept_or_made("key", lambda text=text: text) for text in (b"first", b"second")] == [b"first", b"second"]


def test_what_nobody_uses_goes_and_what_is_read_stays(folder: Path) -> None:
    for key in ("old", "read", "new"):
        kept_or_made(key, key.encode)
    long_ago = time.time() - 100 * 86400
    for key in ("old", "read"):
        os.utime(folder / f"{key}.network", (long_ago, long_ago))
    assert kept_or_made("read", lambda: b"made again") == b"read"
    kept_or_made("newest", lambda: b"newest")
    assert sorted(path.stem for path in folder.glob("*.network")) == ["new", "newest", "read"]
