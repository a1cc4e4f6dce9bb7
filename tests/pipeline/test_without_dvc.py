"""Plain runs: killed at any moment they converge to the same bytes, and two at once share the work."""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import cheap_run
import pytest
from pipeline_project import Make, StudyFolder, rows

MOMENTS = 20


def finished_slides(store: Path) -> set[str]:
    """Those whose entry in a store is whole."""
    return {json.loads(path.read_text())["slide_id"] for path in store.glob("??/*/manifest.json")}


def kill(process: "subprocess.Popen[str]", after_seconds: float) -> None:
    time.sleep(after_seconds)
    with contextlib.suppress(ProcessLookupError):  # it was quicker
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def wait_for(process: "subprocess.Popen[str]", store: Path, finished: int) -> None:
    """Returns when so many slides are in a store, or the process has ended."""
    deadline = time.monotonic() + 60
    while len(list(store.glob("??/*/manifest.json"))) < finished and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.002)


@pytest.mark.stress
def test_killed_at_twenty_moments_cheap_slides_converge_and_none_is_computed_twice(tmp_path: Path) -> None:
    command = (sys.executable, cheap_run.__file__)
    (tmp_path / "whole").mkdir()
    StudyFolder(tmp_path / "whole").call(*command)
    root = tmp_path / "killed"
    root.mkdir()
    study, rng = StudyFolder(root), random.Random(20)
    store, log = root / ".sammil/store/cheap", root / "log"
    progress, looked_at = [], 0
    for moment in range(MOMENTS):
        before = finished_slides(store)
        logged = set(log.iterdir()) if log.exists() else set()
        process = study.start(*command)
        wait_for(process, store, len(before) + rng.randrange(4))
        kill(process, rng.uniform(0, 0.05))
        again = {path.name.split("-")[0] for path in set(log.iterdir()) - logged} if log.exists() else set()
        assert again & before == set(), f"computed again after moment {moment}"
        assert before <= finished_slides(store)
        progress.append(len(finished_slides(store)))
        for path in root.glob("out/slide_*"):  # whole, or not there
            assert path.read_bytes() == cheap_run.content(path.stem, path.suffix[1:])
            looked_at += 1
        if moment % 7 == 6:  # now and then much is to be done again
            for entry in store.glob("??/*"):
                (entry / "manifest.json").unlink(missing_ok=True)
    assert len(set(progress)) > 5  # the moments were different ones
    assert looked_at > MOMENTS

    study.call(*command)
    statuses = Counter((root / "ended").read_text().split())
    assert statuses["done"] + statuses["reused"] == len(cheap_run.SLIDES)
    names = [(slide, suffix) for slide in cheap_run.SLIDES for suffix in ("bin", "dat")]
    wanted = {f"{slide}.{suffix}": cheap_run.content(slide, suffix) for slide, suffix in names}
    assert {path.name: path.read_bytes() for path in (root / "out").iterdir()} == wanted
    assert {path.name: path.read_bytes() for path in (tmp_path / "whole/out").iterdir()} == wanted
    assert [path for path in root.rglob(".*") if path.name != ".sammil"] == []
    assert list((store / "claims").iterdir()) == []
    study.call(*command)
    assert set((root / "ended").read_text().split()) == {"reused"}


@pytest.fixture(scope="module")
def undisturbed(plain: Make) -> StudyFolder:
    """A project whose tissue was found in one go."""
    study = plain()
    study.call("sammil", "segment", "--workers", 2)
    return study


def test_tissue_is_the_same_bytes_however_often_its_finding_was_killed(plain: Make, undisturbed: StudyFolder) -> None:
    study, rng = plain(), random.Random(4)
    store = study.root / ".sammil/store/segment"
    for _ in range(3):
        before = len(finished_slides(store))
        process = study.start("sammil", "segment", "--workers", 1)
        wait_for(process, store, before + 1)
        kill(process, rng.uniform(0, 0.3))
    study.call("sammil", "segment", "--workers", 2)
    assert study.content("segment") == undisturbed.content("segment")
    assert [path for path in store.iterdir() if path.name.startswith(".")] == []


def test_two_runs_at_once_compute_each_slide_once(plain: Make, undisturbed: StudyFolder) -> None:
    study = plain()
    runs = [study.start("sammil", "segment", "--workers", 1, "--json") for _ in range(2)]
    first, second = (rows(run) for run in runs)
    assert set(first) == set(second) == {f"slide_{number}" for number in range(5)}
    assert [sorted((first[slide], second[slide])) for slide in first] == [["done", "reused"]] * 5
    assert study.content("segment") == undisturbed.content("segment")
    tally = study.tally("segment")
    assert tally.get("done", 0) + tally.get("reused", 0) == sum(tally.values()) == 5
