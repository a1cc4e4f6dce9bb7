"""Processes that share a store: one of them gets each key, and what the dead held goes to the living."""

import errno
import json
import multiprocessing
import os
import time
from collections.abc import Iterator
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest
from processes_seen import dead_owner

from sammil_cli.storage.claims import Claims, clock, host_id, is_dead, owner_tag

KEY = "ab" * 32


@pytest.fixture
def claims(tmp_path: Path) -> Iterator[Claims]:
    with Claims(tmp_path) as mine:
        yield mine


def write_claim(folder: Path, owner: str, *, age_seconds: float = 0.0, generation: int = 0) -> Path:
    path = folder / f"{KEY}.{generation}"
    path.write_text(json.dumps({"token": f"{owner}/{generation}", "owner": owner}))
    beat = time.time() - age_seconds
    os.utime(path, (beat, beat))
    return path


ELSEWHERE = f"{'0' * 12}-1"


def test_one_gets_it_and_the_other_does_not_until_it_is_released(tmp_path: Path, claims: Claims) -> None:
    with Claims(tmp_path) as other:
        assert claims.take(KEY)
        assert not other.take(KEY)
        assert other.take("cd" * 32)
        claims.release(KEY)
        assert other.take(KEY)
        assert not claims.take(KEY)


def test_leaving_the_block_releases_everything_and_leaves_no_file(tmp_path: Path) -> None:
    with Claims(tmp_path) as mine:
        assert mine.take(KEY)
        assert mine.take("cd" * 32)
        assert len(list(tmp_path.iterdir())) == 2
    assert list(tmp_path.iterdir()) == []


def test_the_claim_of_a_dead_process_of_this_host_is_taken_over_at_once(tmp_path: Path, claims: Claims) -> None:
    write_claim(tmp_path, dead_owner())
    assert claims.take(KEY)
    claims.release(KEY)
    assert list(tmp_path.iterdir()) == []


def test_a_living_process_of_this_host_is_respected(tmp_path: Path, claims: Claims) -> None:
    write_claim(tmp_path, f"{host_id()}-{os.getppid()}", age_seconds=50)
    assert not claims.take(KEY)


@pytest.mark.parametrize(("age_seconds", "taken"), [(0, False), (50, False), (70, True)])
def test_another_hosts_claim_is_respected_while_its_heart_beats(
    tmp_path: Path, claims: Claims, age_seconds: float, taken: bool
) -> None:
    write_claim(tmp_path, ELSEWHERE, age_seconds=age_seconds)
    assert claims.take(KEY) is taken


def test_the_heart_is_read_by_the_clock_of_the_file_system(
    tmp_path: Path, claims: Claims, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_claim(tmp_path, ELSEWHERE)
    now = time.time() + 10_000
    monkeypatch.setattr(time, "time", lambda: now)  # this host's clock is wrong
    assert not claims.take(KEY)
    assert abs(clock(tmp_path) - (now - 10_000)) < 5


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"token": 7'])
def test_a_claim_that_is_being_written_or_damaged_is_respected_until_it_is_old(
    tmp_path: Path, claims: Claims, text: str
) -> None:
    path = tmp_path / f"{KEY}.0"
    path.write_text(text)
    assert not claims.take(KEY)
    os.utime(path, (0, 0))
    assert claims.take(KEY)


def test_the_last_claim_counts_and_an_earlier_one_that_is_stale_does_not(tmp_path: Path, claims: Claims) -> None:
    write_claim(tmp_path, dead_owner(), generation=0)
    last = write_claim(tmp_path, ELSEWHERE, generation=1)
    assert not claims.take(KEY)
    os.utime(last, (0, 0))
    assert claims.take(KEY)
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".0", ".1", ".2"]
    claims.release(KEY)
    assert list(tmp_path.iterdir()) == []


def test_a_claim_that_could_not_be_opened_is_left_to_its_owner(
    tmp_path: Path, claims: Claims, monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_many(path: Path, *_: object, **__: object) -> None:
        os.close(os.open(path, os.O_CREAT))  # another one was faster
        raise OSError(errno.EMFILE, "Too many open files")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "open", too_many)
        with pytest.raises(OSError, match="Too many"):
            claims.take(KEY)
    assert (tmp_path / f"{KEY}.0").exists()


def test_a_claim_that_could_not_be_written_holds_nobody_up(
    tmp_path: Path, claims: Claims, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(json, "dump", full)
        with pytest.raises(OSError, match="No space"):
            claims.take(KEY)
    assert claims.take(KEY)


def test_the_heart_beats_while_a_claim_is_held(tmp_path: Path) -> None:
    with Claims(tmp_path, beat_seconds=0.05, stale_seconds=0.5) as mine, Claims(tmp_path) as other:
        assert mine.take(KEY)
        os.utime(tmp_path / f"{KEY}.0", (0, 0))
        deadline = time.monotonic() + 5
        while (tmp_path / f"{KEY}.0").stat().st_mtime < 1 and time.monotonic() < deadline:
            time.sleep(0.02)
        assert not other.take(KEY)
        mine.release(KEY)
        assert other.take(KEY)


def test_an_owner_that_was_given_up_for_dead_leaves_the_new_claim_alone(tmp_path: Path) -> None:
    with Claims(tmp_path, beat_seconds=60) as sleeper, Claims(tmp_path) as heir:
        assert sleeper.take(KEY)
        path = tmp_path / f"{KEY}.0"
        facts = json.loads(path.read_text())
        path.write_text(json.dumps({**facts, "owner": ELSEWHERE}))
        os.utime(path, (0, 0))
        assert heir.take(KEY)
        sleeper.release(KEY)
        with Claims(tmp_path) as third:
            assert not third.take(KEY)
        heir.release(KEY)
    assert list(tmp_path.iterdir()) == []


def test_a_claim_that_was_released_while_it_was_being_taken_over_is_not_taken(
    tmp_path: Path, claims: Claims, monkeypatch: pytest.MonkeyPatch
) -> None:
    stale = write_claim(tmp_path, dead_owner())
    create = Claims._create

    def too_late(self: Claims, path: Path) -> bool:
        stale.unlink()  # the heir has finished …
        write_claim(tmp_path, ELSEWHERE)  # … and a third process has begun
        return create(self, path)

    monkeypatch.setattr(Claims, "_create", too_late)
    assert not claims.take(KEY)
    assert [path.suffix for path in tmp_path.iterdir()] == [".0"]


def test_the_claims_of_the_dead_are_cleared_away_and_no_other(tmp_path: Path) -> None:
    write_claim(tmp_path, dead_owner(), generation=0)
    write_claim(tmp_path, ELSEWHERE, generation=1, age_seconds=3600)
    write_claim(tmp_path, f"{host_id()}-{os.getppid()}", generation=2)
    write_claim(tmp_path, ELSEWHERE, generation=3, age_seconds=8 * 86400)
    Claims(tmp_path).clear()
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".1", ".2"]


def test_who_is_dead() -> None:
    assert is_dead(dead_owner())
    assert not is_dead(owner_tag())
    assert not is_dead(f"{host_id()}-1")  # another user's
    assert not is_dead(ELSEWHERE)
    assert not is_dead("what-else")


def race(folder: Path, start: Barrier, number: int) -> None:
    """Takes all it can, in an order of its own; what it got stands in a file."""
    keys = [f"{key:064x}" for key in range(200)]
    with Claims(folder / "claims") as mine:
        start.wait()
        got = [key for key in (keys if number % 2 else reversed(keys)) if mine.take(key)]
        (folder / f"{number}.json").write_text(json.dumps(got))
        start.wait()


@pytest.mark.parametrize("stale", [False, True])
def test_processes_that_race_get_each_key_once(tmp_path: Path, stale: bool) -> None:
    (tmp_path / "claims").mkdir()
    if stale:
        owner = dead_owner()
        for key in range(200):
            (tmp_path / "claims" / f"{key:064x}.0").write_text(json.dumps({"token": "t", "owner": owner}))
    context = multiprocessing.get_context("spawn")
    start = context.Barrier(3)
    racers = [context.Process(target=race, args=(tmp_path, start, number)) for number in range(3)]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join()
    assert [racer.exitcode for racer in racers] == [0, 0, 0]
    got = [key for number in range(3) for key in json.loads((tmp_path / f"{number}.json").read_text())]
    assert len(got) == len(set(got)) == 200
    assert list((tmp_path / "claims").iterdir()) == []
