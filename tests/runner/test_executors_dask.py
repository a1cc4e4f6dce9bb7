"""Dask for real: scheduler and workers are processes on the loopback interface, and some of them are killed."""

import contextlib
import os
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import dask
import pytest
import slide_work
from dask_processes import DaskCluster, dask_cluster
from processes_seen import descendants, gone
from slide_work import SlideJob

from sammil_cli.errors import InputError, MissingError
from sammil_cli.project.process_list import Row
from sammil_cli.project.project import RunOptions
from sammil_cli.runner.executor import Call, Limits, open_executor
from sammil_cli.runner.executors import _connection, _fit_workers
from sammil_cli.runner.executors import dask as dask_executor
from sammil_cli.runner.executors._jobqueue import job_options, open_cluster
from sammil_cli.runner.per_slide import Plan, Task, run_plan

SLIDES = [f"s{index:02}" for index in range(12)]


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture(scope="module")
def idle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaskCluster]:
    """One worker, which no test harms."""
    with dask_cluster(tmp_path_factory.mktemp("idle"), workers=1) as cluster:
        yield cluster


def options(cluster: DaskCluster, device: str = "cpu") -> RunOptions:
    return RunOptions(executor="dask", scheduler=cluster.address, device=device)


def calls(function: str, slides: list[str], *arguments: object) -> Iterator[Call]:
    for slide in slides:
        yield Call(slide_id=slide, function=("executor_work", function), arguments=(slide, *arguments))


def run(options: RunOptions, out: Path, waiting: Sequence[str] = ()) -> list[Row]:
    """A step that takes 0.3 s for a slide, or waits until it is let go, with the whole machinery around it."""
    ways = {slide: "waits" if slide in waiting else "slow" for slide in SLIDES}
    tasks = [
        Task(slide_id=slide, key={"slide": slide}, libraries={}, job=SlideJob(slide, way))
        for slide, way in ways.items()
    ]
    plan = Plan(stage="test", tasks=tasks, work=slide_work.work, out=out, process_lists=out.parent)
    return run_plan(lambda: plan, options, Limits(seconds=60))


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def fetched(folder: Path) -> int:
    """How many results are there while others are being brought."""
    return len(list(folder.glob("s*.txt")))


def begun(log: Path) -> Counter[str]:
    return Counter(path.name.split("-")[0] for path in log.iterdir())


@contextlib.contextmanager
def when(met: Callable[[], bool], act: Callable[[], None]) -> Iterator[None]:
    """Acts during the block, as soon as something is so."""
    over = threading.Event()

    def watch() -> None:
        while not met():
            if over.wait(0.02):
                return
        act()

    with ThreadPoolExecutor(1) as pool:
        watching = pool.submit(watch)
        try:
            yield
        finally:
            over.set()
            watching.result()  # what it raised, too


def test_workers_that_are_killed_or_sent_away_cost_no_slide(
    tmp_path: Path, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, out = project / ".sammil/store/test", project / "out"
    log = store / "log"
    log.mkdir(parents=True)
    finished = 3
    with dask_cluster(tmp_path / "cluster", workers=3) as cluster:
        ended, kept = cluster.workers[:2], cluster.workers[2]

        def all_are_at_work() -> bool:
            """Three slides are finished and fetched, and each worker waits with another one."""
            return fetched(out) == finished and len(begun(log)) == finished + 3

        def end_two() -> None:
            families = [descendants(worker.pid) for worker in ended]
            for worker, number in zip(ended, (signal.SIGKILL, signal.SIGTERM), strict=True):
                worker.send_signal(number)
            alone = all(family and gone(family) for family in families)
            (store / "go").touch()
            assert alone

        with when(all_are_at_work, end_two):
            rows = run(options(cluster), out, waiting=SLIDES[finished:])
        assert [worker.wait(20) for worker in ended] == [-signal.SIGKILL, 0]
        assert kept.poll() is None
    assert [(row.slide_id, row.status) for row in rows] == [(slide, "done") for slide in SLIDES]
    assert set(begun(log)) == set(SLIDES)
    assert sum(begun(log).values()) == len(SLIDES) + 2  # what the two were just at, and nothing else, is done again
    assert [path.name for path in store.iterdir() if path.name.startswith(".work")] == []

    elsewhere = tmp_path / "local"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    run(RunOptions(workers=2), elsewhere / "out", waiting=SLIDES[finished:])
    assert contents(out) == contents(elsewhere / "out")
    assert len(contents(out)) == len(SLIDES)


@pytest.mark.stress
def test_a_scheduler_that_is_lost_ends_the_run_and_what_was_finished_is_kept(tmp_path: Path, project: Path) -> None:
    out = project / "out"
    with dask_cluster(tmp_path / "cluster", workers=2) as cluster:
        refusal = pytest.raises(MissingError, match=r"connection to the Dask scheduler .* was lost")
        some = when(lambda: fetched(out) >= 2, cluster.scheduler.kill)
        with refusal as lost, some:
            run(options(cluster), out)
    assert "what is finished is kept" in lost.value.remedy
    kept = set(contents(out))
    assert len(kept) >= 2
    again = {row.slide_id: row.status for row in run(RunOptions(workers=2), out)}
    assert {f"{slide}.txt" for slide, status in again.items() if status == "reused"} == kept


def test_workers_that_come_late_are_waited_for_and_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(_fit_workers, "LOOK_SECONDS", 0.2)
    with dask_cluster(tmp_path / "cluster", workers=0) as cluster:
        monkeypatch.setattr(dask_executor, "PATIENCE_SECONDS", 0.5)
        with (
            pytest.raises(MissingError, match=r"has had no worker for 0.5 s"),
            open_executor(options(cluster), Limits()) as executor,
        ):
            list(executor.answers(calls("parent", ["a"])))

        monkeypatch.setattr(dask_executor, "PATIENCE_SECONDS", 60)
        with open_executor(options(cluster), Limits()) as executor:
            found = executor.answers(calls("parent", ["a", "b"]))
            worker = cluster.add_worker()
            assert [answer.value for answer in found] == [worker.pid] * 2
    assert capsys.readouterr().out.count(f"waiting for workers of {cluster.address}") == 2


def test_gpu_slides_go_to_workers_that_offer_a_gpu_and_a_nanny_is_no_obstacle(idle: DaskCluster) -> None:
    gpu = options(idle, "cuda:0")
    refusal = pytest.raises(MissingError, match=r"no worker of .* offers a GPU")
    with refusal as refused, open_executor(gpu, Limits()) as executor:
        list(executor.answers(calls("parent", ["a"])))
    assert "--resources GPU=1" in refused.value.remedy

    nanny = idle.add_worker("--resources", "GPU=1", nanny=True)
    parents: set[int] = set()
    deadline = time.monotonic() + 60
    while not parents:
        try:
            with open_executor(gpu, Limits()) as executor:
                parents = {answer.value for answer in executor.answers(calls("parent", SLIDES))}
        except MissingError:  # it is still starting
            assert time.monotonic() < deadline
    assert len(parents) == 1
    assert parents <= set(descendants(nanny.pid))


def test_the_cluster_is_left_as_it_was(idle: DaskCluster, project: Path) -> None:
    before = [descendants(worker.pid) for worker in idle.workers]
    run(options(idle), project / "out")
    assert gone({pid for worker in idle.workers for pid in descendants(worker.pid)} - {p for f in before for p in f})
    assert [path.name for path in (project / ".sammil/store").iterdir()] == ["test"]


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({}, InputError, "needs one of --scheduler and --cluster"),
        ({"scheduler": "tcp://127.0.0.1:1", "cluster": "slurm"}, InputError, "needs one of"),
        ({"scheduler": "tcp://127.0.0.1:1"}, MissingError, "no Dask scheduler answers at tcp://127.0.0.1:1"),
        ({"scheduler": "udp://127.0.0.1:1"}, MissingError, "no Dask scheduler answers at udp://"),
        ({"cluster": "slrum"}, InputError, "--cluster 'slrum' is unknown"),
        ({"cluster": "slurm"}, MissingError, "no sbatch on this machine"),
    ],
)
def test_what_cannot_be_is_refused_with_the_way_out(
    given: dict[str, str], error: type[Exception], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_connection, "CONNECT_SECONDS", 0.5)
    monkeypatch.setenv("PATH", "")
    with (
        pytest.raises(error, match=message) as refused,
        open_executor(
            RunOptions(executor="dask", **given),
            Limits(),  # type: ignore[arg-type]
        ),
    ):
        pass
    assert getattr(refused.value, "remedy", "")


@pytest.mark.parametrize(
    ("package", "given"), [("distributed", {"scheduler": "a"}), ("dask_jobqueue", {"cluster": "slurm"})]
)
def test_a_package_that_is_missing_is_named(
    package: str, given: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with (
        pytest.raises(MissingError) as refused,
        open_executor(
            RunOptions(executor="dask", **given),
            Limits(),  # type: ignore[arg-type]
        ),
    ):
        pass
    assert refused.value.remedy == "pip install 'sammil-cli[cluster]'"


SBATCH = """#!/bin/sh
cp "$1" "$0.job"
setsid sh "$0.job" > "$0.log" 2>&1 < /dev/null &
echo $! > "$0.job.id"
echo "Submitted batch job $!"
"""
SCANCEL = """#!/bin/sh
kill -- "-$1"
"""


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A batch system of two scripts: a job starts at once, in a process group with its id, on this machine."""
    commands = tmp_path / "commands"
    commands.mkdir()
    for name, text in (("sbatch", SBATCH), ("scancel", SCANCEL)):
        (commands / name).write_text(text, encoding="utf-8")
        (commands / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{commands}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, sys.path)))
    with dask.config.set({"jobqueue.slurm.scheduler-options": {"host": "127.0.0.1"}}):
        yield commands


def test_a_batch_system_lacks_its_settings(slurm: Path) -> None:
    with (
        pytest.raises(InputError, match="cores and memory of a job are not set") as refused,
        open_cluster("slurm", 1, gpu=False),
    ):
        pass
    assert "jobqueue: slurm: in ~/.config/dask/jobqueue.yaml" in refused.value.remedy


def test_jobs_of_a_batch_system_do_the_slides_and_are_taken_back(slurm: Path, project: Path) -> None:
    settings = {
        "jobqueue.slurm.cores": 2,
        "jobqueue.slurm.processes": 1,
        "jobqueue.slurm.memory": "1GB",
        "jobqueue.slurm.worker-extra-args": ["--host", "127.0.0.1", "--no-dashboard"],
    }
    with dask.config.set(settings):
        rows = run(RunOptions(executor="dask", cluster="slurm", workers=1), project / "out")
    assert {row.status for row in rows} == {"done"}
    assert len(contents(project / "out")) == len(SLIDES)
    job = int((slurm / "sbatch.job.id").read_text(encoding="utf-8"))
    assert gone([job, *descendants(job)])


@pytest.mark.stress
def test_a_job_with_a_gpu_says_so() -> None:
    from dask_jobqueue import SLURMCluster

    settings = {
        "jobqueue.slurm.cores": 8,
        "jobqueue.slurm.memory": "64GB",
        "jobqueue.slurm.job-extra-directives": ["--gres=gpu:1"],
        "jobqueue.slurm.worker-extra-args": ["--lifetime", "60m"],
        "jobqueue.slurm.scheduler-options": {"host": "127.0.0.1"},
    }
    with dask.config.set(settings):
        with SLURMCluster(**job_options("slurm", gpu=True)) as cluster:
            script = cluster.job_script()
        assert "#SBATCH --gres=gpu:1" in script
        assert "#SBATCH --cpus-per-task=8" in script
        assert "--lifetime 60m --resources GPU=1" in script
        assert "--nworkers" not in script
        assert set(job_options("slurm", gpu=False)) == {"scheduler_options"}
        with dask.config.set({"jobqueue.slurm.worker-extra-args": ["--resources", "GPU=2"]}):
            assert "processes" not in job_options("slurm", gpu=True)
