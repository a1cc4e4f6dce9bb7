"""Workers of a Dask cluster that cannot do a run's slides: each costs a line, never the run."""

import errno
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from dask_processes import DaskCluster, dask_cluster
from distributed import Client
from executor_work import forget_runs
from processes_seen import gone

import sammil_cli
from sammil_cli.errors import MissingError
from sammil_cli.project.project import RunOptions
from sammil_cli.runner.executor import Answer, Call, Limits, open_executor
from sammil_cli.runner.executors import _fit_workers
from sammil_cli.runner.executors import dask as dask_executor
from sammil_cli.runner.executors._dask_worker import Site, SlideWorker, _killed
from sammil_cli.storage.code import installed_code

SLIDES = [f"s{index}" for index in range(6)]
SAME_SAMMIL = "install the same sammil on all nodes"

# In a worker's `sitecustomize`: a machine on which a folder is absent, or vanishes.
HIDDEN = """
import os
stat = os.stat
def hide(path, *words, **more):
    if {hidden!r} in os.fsdecode(path) and {when}:
        raise FileNotFoundError(2, "absent here", path)
    return stat(path, *words, **more)
os.stat = hide
"""


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "the-project"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setattr(_fit_workers, "LOOK_SECONDS", 0.2)
    monkeypatch.setattr(dask_executor, "UNFIT_SECONDS", 0.5)
    return folder


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[DaskCluster]:
    with dask_cluster(tmp_path / "cluster", workers=0) as started:
        yield started


def other_code(folder: Path) -> str:
    """Where to look for modules first, to find a sammil that is not quite this one."""
    shutil.copytree(Path(sammil_cli.__file__).parent, folder / "sammil_cli", ignore=shutil.ignore_patterns("*.pyc"))
    with (folder / "sammil_cli/console.py").open("a", encoding="utf-8") as stream:
        stream.write("\nA_LINE_MORE = 1\n")
    return str(folder)


def no_sammil(folder: Path) -> str:
    """The same for a machine without sammil."""
    (folder / "sammil_cli").mkdir(parents=True)
    (folder / "sammil_cli/__init__.py").write_text("import sammil_of_old\n", encoding="utf-8")
    return str(folder)


def no_project(folder: Path, when: str = "True") -> str:
    """The same for a machine that does not have the project's folder."""
    folder.mkdir()
    text = HIDDEN.format(hidden="the-project", when=when)
    (folder / "sitecustomize.py").write_text(text, encoding="utf-8")
    return str(folder)


def calls(function: str = "parent", slides: list[str] = SLIDES, *arguments: object) -> Iterator[Call]:
    for slide in slides:
        yield Call(slide_id=slide, function=("executor_work", function), arguments=(slide, *arguments))


def run(cluster: DaskCluster, found: Iterator[Call] | None = None) -> dict[str, Answer]:
    options = RunOptions(executor="dask", scheduler=cluster.address)
    with open_executor(options, Limits(seconds=60)) as executor:
        given = list(executor.answers(calls() if found is None else found))
    assert len({answer.slide_id for answer in given}) == len(given)
    return {answer.slide_id: answer for answer in given}


@pytest.mark.slow
def test_slides_go_to_the_workers_that_are_fit_and_each_other_one_is_named_once(
    cluster: DaskCluster, tmp_path: Path, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = [other_code(tmp_path / "other"), no_sammil(tmp_path / "none"), no_project(tmp_path / "absent")]
    unfit = [cluster.add_worker(path=path) for path in (*bad, bad[2])]
    fit = cluster.add_worker()
    cluster.wait_for(5)

    answers = run(cluster)
    assert {slide: answer.value for slide, answer in answers.items()} == dict.fromkeys(SLIDES, fit.pid)
    assert all(worker.poll() is None for worker in unfit), "they may have other users"
    said = capsys.readouterr().out.splitlines()
    reasons = [line for line in said if line.startswith("a worker gets no slides: ")]
    assert len(reasons) == 3
    assert len([line for line in reasons if f"this run sammil {sammil_cli.__version__} (code " in line]) == 1
    assert len([line for line in reasons if line.endswith("lacks sammil_of_old")]) == 1
    assert len([line for line in reasons if f"{project} does not exist on" in line]) == 1
    assert [line for line in said if SAME_SAMMIL in line] == [line for line in said if "  fix: install" in line]
    assert any("mount the project's file system under the same path" in line for line in said)


@pytest.mark.stress
def test_a_run_ends_when_no_worker_is_fit_and_one_that_joins_in_time_is_used(
    cluster: DaskCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster.add_worker(path=other_code(tmp_path / "other"))
    cluster.wait_for(1)
    with pytest.raises(MissingError, match=r"no worker of .* can be used, for example: the Dask worker on") as refused:
        run(cluster)
    assert SAME_SAMMIL in refused.value.remedy
    assert "what is finished is kept" in refused.value.remedy

    monkeypatch.setattr(dask_executor, "UNFIT_SECONDS", 60.0)
    late = threading.Timer(1.0, cluster.add_worker)
    late.start()
    answers = run(cluster)
    late.join()
    assert {answer.value for answer in answers.values()} == {cluster.workers[-1].pid}


@pytest.mark.stress
def test_a_worker_that_loses_sight_of_the_project_costs_its_slides_another_worker(
    cluster: DaskCluster, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    switch = tmp_path / "unmounted"
    cluster.add_worker(path=no_project(tmp_path / "absent", when=f"os.path.lexists({str(switch)!r})"))
    fit = cluster.add_worker()
    cluster.wait_for(2)
    log = tmp_path / "log"
    log.mkdir()

    def interrupted() -> Iterator[Call]:
        for number, call in enumerate(calls("note_and_wait", [f"s{index:02}" for index in range(12)], str(log), 0.1)):
            if number == 6:
                switch.touch()
            yield call

    answers = run(cluster, interrupted())
    assert {slide: answer.error for slide, answer in answers.items()} == {f"s{index:02}": None for index in range(12)}
    assert capsys.readouterr().out.count("a worker gets no slides: ") == 1
    assert fit.poll() is None


@pytest.mark.stress
def test_slides_of_a_worker_that_is_killed_go_to_one_that_joins_later(cluster: DaskCluster) -> None:
    first = cluster.add_worker()
    cluster.wait_for(1)

    def replaced() -> Iterator[Call]:
        for number, call in enumerate(calls("value", SLIDES, 0.3)):
            if number == 3:  # two are given out, and nobody else is there to take them
                first.kill()
                cluster.add_worker()
            yield call

    answers = run(cluster, replaced())
    assert {slide: answer.value[0] for slide, answer in answers.items()} == {slide: slide.upper() for slide in SLIDES}


@pytest.mark.stress
def test_a_worker_that_starts_anew_at_its_address_joins_again(cluster: DaskCluster) -> None:
    cluster.add_worker("--nthreads", "2")
    cluster.wait_for(1)

    def restarted() -> Iterator[Call]:
        for number, call in enumerate(calls("value", [f"s{index:02}" for index in range(12)], 0.05)):
            if number == 6:
                with Client(cluster.address, set_as_default=False) as client:  # type: ignore[no-untyped-call]
                    client.run(forget_runs)
            yield call

    answers = run(cluster, restarted())
    assert {slide: answer.error for slide, answer in answers.items()} == {f"s{index:02}": None for index in range(12)}


def test_a_run_of_another_project_whose_disk_does_not_answer_keeps_nobody_from_joining(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone_stale = tmp_path / "stale"
    is_dir = Path.is_dir

    def stale(path: Path) -> bool:
        if path == gone_stale:
            raise OSError(errno.ESTALE, "Stale file handle", str(path))
        return is_dir(path)

    monkeypatch.setattr(Path, "is_dir", stale)
    plugins = {
        name: SlideWorker(Site(folder=folder, marker=folder / "marker", code=""), Limits())
        for name, folder in (("other", gone_stale), ("ended", tmp_path))
    }
    assert _killed(plugins) == ["ended"]


RUN = """
from executor_work import value
from sammil_cli.project.project import RunOptions
from sammil_cli.runner.executor import Call, Limits, open_executor
with open_executor(RunOptions(executor="dask", scheduler={address!r}), Limits()) as executor:
    for answer in executor.answers(iter([Call.to("s", value, "s")])):
        print(answer.value[1], flush=True)
        input()
"""


@pytest.mark.stress
def test_a_run_that_is_killed_ends_on_the_workers_when_the_next_one_begins(cluster: DaskCluster, project: Path) -> None:
    cluster.add_worker()
    cluster.wait_for(1)
    settings = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    words = [sys.executable, "-c", RUN.format(address=cluster.address)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=settings) as killed:
        assert killed.stdout is not None
        isolated = int(killed.stdout.readline())
        killed.kill()
    assert len(list((project / ".sammil/store").glob(".*"))) == 1
    run(cluster)
    assert gone([isolated])
    assert list((project / ".sammil/store").iterdir()) == []


def test_the_site_is_compared_by_code_and_by_a_file_of_the_run(tmp_path: Path) -> None:
    code = installed_code()
    for folder, words in ((tmp_path / "absent", "does not exist on"), (tmp_path, "is another folder on")):
        with pytest.raises(MissingError, match=words):
            Site(folder=folder, marker=folder / "marker", code=code).check()
    (tmp_path / "marker").touch()
    Site(folder=tmp_path, marker=tmp_path / "marker", code=code).check()
    with pytest.raises(MissingError, match=r"this run sammil .*0123456789abcdef"):
        Site(folder=tmp_path, marker=tmp_path / "marker", code="0123456789abcdef").check()
