"""What every executor has to keep; a new file in `runner/executors/` is tested at once."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from dask_processes import DaskCluster, dask_cluster
from processes_seen import descendants, gone

from sammil_cli import choices
from sammil_cli.project.project import RunOptions
from sammil_cli.runner.executor import Answer, Call, Limits, open_executor

WORKERS = 2
LIMITS = Limits(seconds=3.0, memory_bytes=500 * 2**20)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaskCluster]:
    with dask_cluster(tmp_path_factory.mktemp("cluster"), WORKERS) as started:
        yield started


@pytest.fixture(params=choices.names(choices.EXECUTORS))
def options(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunOptions:
    """Each executor with two workers, in an empty project folder."""
    monkeypatch.chdir(tmp_path)
    scheduler = request.getfixturevalue("cluster").address if request.param == "dask" else None
    return RunOptions(executor=request.param, workers=WORKERS, scheduler=scheduler)


def calls(function: str, slides: list[str], *arguments: object) -> Iterator[Call]:
    for slide in slides:
        yield Call(slide_id=slide, function=("executor_work", function), arguments=(slide, *arguments))


def answers(options: RunOptions, found: Iterator[Call], limits: Limits = LIMITS) -> dict[str, Answer]:
    """All answers by slide; each slide has one."""
    with open_executor(options, limits) as executor:
        given = list(executor.answers(found))
    assert len({answer.slide_id for answer in given}) == len(given)
    return {answer.slide_id: answer for answer in given}


@pytest.fixture
def nothing_left(options: RunOptions) -> Iterator[None]:
    """No process is left, wherever it ran; the cluster's own ones stay."""
    before = set(descendants(os.getpid()))
    yield
    assert gone(set(descendants(os.getpid())) - before, seconds=5)
    assert before == set(descendants(os.getpid()))


# What a slide does; the code, a part of the message and a part of the remedy.
TROUBLE = {
    "exits": ("E_CRASH", "exit code 9", "--only exits --workers 1"),
    "segfaults": ("E_CRASH", "SIGSEGV", "--only segfaults"),
    "is-killed": ("E_MEMORY", "the system killed its process (SIGKILL)", "batch_size"),
    "hangs": ("E_TIMEOUT", "0.05 minutes", "slide_minutes in params.yaml"),
    "floods": ("E_MEMORY", "grew over 0.488281 GiB", "slide_memory_gib in params.yaml"),
    "raises": ("E_BUG", "ZeroDivisionError: one over nothing (executor_work.py:", "report"),
    "lacks-memory": ("E_MEMORY", "not enough memory", "batch_size in params.yaml"),
    "leaves": ("E_BUG", "SystemExit: 3", "report"),
    "is-damaged": ("E_INPUT", "its file is damaged", "write it again"),
    "is-set-aside": ("E_TEST", "it is upside down", "turn it round"),
}


@pytest.mark.usefixtures("nothing_left")
def test_whatever_a_slide_does_costs_that_slide_only(options: RunOptions) -> None:
    mixed = [slide for pair in zip(TROUBLE, (f"fine{i}" for i in range(len(TROUBLE))), strict=True) for slide in pair]
    found = answers(options, calls("trouble", mixed))
    assert sorted(found) == sorted(mixed)
    assert {slide for slide, answer in found.items() if answer.error is None} == {s for s in mixed if "fine" in s}
    for slide, (code, message, remedy) in TROUBLE.items():
        error = found[slide].error
        assert error is not None
        assert error.code == code
        assert message in error.message
        assert remedy in error.remedy
        assert error.set_aside == (slide == "is-set-aside")
    assert 3.0 <= found["hangs"].seconds < 15


@pytest.mark.usefixtures("nothing_left")
def test_answers_are_values_with_their_time_and_processes_are_kept_for_further_slides(options: RunOptions) -> None:
    slides = [f"s{index}" for index in range(12)]
    found = answers(options, calls("value", slides, 0.05))
    assert {slide: answer.value[0] for slide, answer in found.items()} == {slide: slide.upper() for slide in slides}
    assert all(0.05 <= answer.seconds < 5 for answer in found.values())
    workers = {answer.value[1] for answer in found.values()}
    assert 1 <= len(workers) <= WORKERS
    assert os.getpid() not in workers


@pytest.mark.usefixtures("nothing_left")
def test_calls_are_taken_as_processes_become_free_and_run_side_by_side(options: RunOptions) -> None:
    taken = 0

    def counted() -> Iterator[Call]:
        nonlocal taken
        for call in calls("value", [f"s{index}" for index in range(16)], 0.1):
            taken += 1
            yield call

    spare, ahead = {"local": 0, "dask": WORKERS}[options.executor], list[int]()
    with open_executor(options, LIMITS) as executor:
        for given, _ in enumerate(executor.answers(counted()), 1):
            ahead.append(taken - given)
    assert 1 < max(ahead) <= WORKERS + spare
    assert taken == given == 16


@pytest.mark.usefixtures("nothing_left")
def test_slides_are_done_in_the_project_folder(options: RunOptions, tmp_path: Path) -> None:
    assert answers(options, calls("working_folder", ["s"]))["s"].value == str(tmp_path)


@pytest.mark.usefixtures("nothing_left")
def test_no_call_at_all_is_no_answer(options: RunOptions) -> None:
    assert answers(options, calls("value", [])) == {}


def interrupted_after_the_first(options: RunOptions, found: Iterator[Call]) -> Iterator[Answer]:
    """Ctrl-C while the other slides are at work."""
    with open_executor(options, Limits()) as executor:
        for _ in executor.answers(found):
            time.sleep(0.5)
            raise KeyboardInterrupt
        yield Answer(slide_id="never")


@pytest.mark.usefixtures("nothing_left")
def test_an_interruption_ends_slides_that_hang_at_once(options: RunOptions) -> None:
    slides, start = ["fine", "hangs", "hangs", "hangs"], time.monotonic()
    found = interrupted_after_the_first(options, calls("trouble", slides))
    with pytest.raises(KeyboardInterrupt):
        next(found)
    assert time.monotonic() - start < 20
