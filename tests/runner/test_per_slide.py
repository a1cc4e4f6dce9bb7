"""The machinery of per-slide stages: whatever happens to one slide, the others are done and nothing is lost."""

import contextlib
import json
import math
import os
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import slide_work
from csv_rows import by_slide
from processes_seen import dead_owner
from slide_work import SlideJob

from sammil_cli.project import process_list
from sammil_cli.project.process_list import ProcessList, Row, exit_code, summarise
from sammil_cli.project.project import RunOptions
from sammil_cli.runner import per_slide
from sammil_cli.runner.executor import Limits
from sammil_cli.runner.per_slide import Plan, Task, run_plan
from sammil_cli.storage.claims import host_id
from sammil_cli.storage.store import open_store

OUT, LISTING, STORE = Path("out"), Path("lists/test.csv"), Path(".sammil/store/test")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(
    only: frozenset[str] | None = None, workers: int = 1, refused: tuple[Row, ...] = (), **slides: str
) -> list[Row]:
    """Runs a step on slides with what their workers do; the same behaviour is the same recipe."""
    tasks = [
        Task(
            slide_id=slide,
            key={"slide": slide, "behaviour": behaviour},
            libraries={"numpy": "1.0"},
            job=SlideJob(slide, behaviour),
        )
        for slide, behaviour in slides.items()
    ]
    options = RunOptions(workers=workers, only=only)
    plan = Plan(stage="test", tasks=tasks, work=slide_work.work, out=OUT, process_lists=LISTING.parent, refused=refused)
    return run_plan(lambda: plan, options, Limits())


def status(rows: list[Row]) -> dict[str, str]:
    return {row.slide_id: row.code or row.status for row in rows}


def outputs() -> set[str]:
    return {path.name for path in OUT.iterdir()}


def listed() -> dict[str, dict[str, str]]:
    return by_slide(LISTING)


def test_every_kind_of_trouble_costs_its_own_slide_only() -> None:
    rows = run(workers=2, a="fine", b="crash", c="bug", d="memory", e="set-aside", f="failed", g="fine")
    assert status(rows) == {
        "a": "done",
        "b": "E_CRASH",
        "c": "E_BUG",
        "d": "E_MEMORY",
        "e": "E_TEST",
        "f": "E_TEST",
        "g": "done",
    }
    assert {row.slide_id for row in rows if row.status == "set-aside"} == {"e"}
    assert {row.slide_id for row in rows if row.status == "failed"} == {"b", "c", "d", "f"}
    assert outputs() == {"a.txt", "g.txt"}
    assert exit_code(rows, 0.0) == 1
    assert exit_code(rows, 0.7) == 1
    assert exit_code(rows, 0.72) == 0

    by_id = {row.slide_id: row for row in rows}
    assert "exit code 9" in by_id["b"].message
    assert "--only b" in by_id["b"].remedy
    assert "ZeroDivisionError: one over nothing (slide_work.py:" in by_id["c"].message
    assert "batch_size" in by_id["d"].remedy
    assert (by_id["e"].message, by_id["e"].remedy) == ("it is upside down", "turn it round")

    table = listed()
    assert list(table) == ["a", "b", "c", "d", "e", "f", "g"]
    assert list(table["a"]) == ["slide_id", "status", "code", "message", "remedy", "seconds", "remarks"]
    assert {slide: row["code"] or row["status"] for slide, row in table.items()} == status(rows)


def test_the_seconds_of_a_slide_are_those_that_its_work_took() -> None:
    start = time.monotonic()
    fine, failed, slow = run(a="fine", b="failed", c="slow")
    assert slow.seconds >= 0.3
    assert min(fine.seconds, failed.seconds) > 0
    assert fine.seconds + failed.seconds + slow.seconds < time.monotonic() - start  # one after the other
    assert [row["seconds"] for row in listed().values()] == [f"{row.seconds:.2f}" for row in (fine, failed, slow)]
    run(a="fine", b="failed", c="slow")
    assert listed()["c"]["seconds"] == "0.00"  # nothing was done


def test_an_input_that_is_damaged_costs_its_own_slide_only() -> None:
    rows = run(a="fine", b="input", c="fine")
    assert {slide: found == "done" for slide, found in status(rows).items()} == {"a": True, "b": False, "c": True}
    trouble = next(row for row in rows if row.slide_id == "b")
    assert trouble.message == "its file is damaged"
    assert trouble.remedy == "write it again"
    assert (trouble.code, trouble.status) == ("E_INPUT", "failed")


def test_what_was_done_is_reused_and_what_was_not_is_tried_again() -> None:
    assert status(run(a="fine", b="crash")) == {"a": "done", "b": "E_CRASH"}
    assert status(run(a="fine", b="crash")) == {"a": "reused", "b": "E_CRASH"}
    assert (OUT / "a.txt").read_text(encoding="utf-8") == "fine test"


def test_a_changed_recipe_is_computed_and_the_old_one_reused_when_it_comes_back() -> None:
    run(a="fine", b="fine")
    assert status(run(a="fine", b="better")) == {"a": "reused", "b": "done"}
    assert (OUT / "b.txt").read_text(encoding="utf-8") == "better test"
    assert status(run(a="fine", b="fine")) == {"a": "reused", "b": "reused"}
    assert (OUT / "b.txt").read_text(encoding="utf-8") == "fine test"


def test_results_come_back_when_the_out_folder_was_emptied() -> None:
    run(a="fine")
    (OUT / "a.txt").unlink()
    OUT.rmdir()
    assert status(run(a="fine")) == {"a": "reused"}
    assert outputs() == {"a.txt"}


def test_files_of_slides_that_are_gone_are_removed() -> None:
    run(a="fine", b="fine", c="fine")
    run(a="fine", c="fine")
    assert outputs() == {"a.txt", "c.txt"}


def test_files_of_a_slide_that_fails_now_are_removed() -> None:
    run(a="fine", b="fine")
    run(a="fine", b="set-aside")
    assert outputs() == {"a.txt"}


def test_a_restricted_run_leaves_the_files_of_other_slides_alone() -> None:
    run(a="fine", b="fine")
    assert status(run(only=frozenset({"b"}), b="better")) == {"b": "done"}
    assert outputs() == {"a.txt", "b.txt"}


def test_a_restricted_run_removes_the_stale_files_of_a_slide_that_fails_now() -> None:
    run(a="fine", b="fine")
    assert status(run(only=frozenset({"b"}), b="set-aside")) == {"b": "E_TEST"}
    assert outputs() == {"a.txt"}


def test_slides_that_were_refused_before_are_listed() -> None:
    row = Row(slide_id="b", status="failed", code="E_UPSTREAM", message="m", remedy="r")
    assert status(run(a="fine", refused=(row,))) == {"a": "done", "b": "E_UPSTREAM"}
    assert listed()["b"]["message"] == "m"


def test_no_slide_at_all_is_an_empty_list_and_an_empty_folder() -> None:
    assert run() == []
    assert outputs() == set()
    assert listed() == {}


def test_nothing_half_done_is_left_in_the_store() -> None:
    run(workers=2, a="fine", b="crash", c="bug")
    assert [path.name for path in STORE.iterdir() if path.name.startswith(".work")] == []


class InterruptedBar:
    """Ctrl-C while the second slide is being counted."""

    def __init__(self) -> None:
        self.counted = 0

    def advance(self, item: str) -> None:
        self.counted += 1
        if self.counted == 2:
            raise KeyboardInterrupt


def test_an_interruption_keeps_and_lists_what_was_finished(monkeypatch: pytest.MonkeyPatch) -> None:
    @contextlib.contextmanager
    def progress(total: int, title: str) -> Iterator[InterruptedBar]:
        yield InterruptedBar()

    slides = dict.fromkeys("abcd", "fine")
    with monkeypatch.context() as patch:
        patch.setattr(per_slide.console, "progress", progress)
        with pytest.raises(KeyboardInterrupt):
            run(**slides)
    finished = {f"{slide}.txt" for slide in listed()}
    assert len(finished) == 2
    assert finished <= outputs()
    assert [path.name for path in STORE.iterdir() if path.name.startswith(".work")] == []
    again = status(run(**slides))
    assert sorted(again.values()) == ["done", "done", "reused", "reused"]
    assert {f"{slide}.txt" for slide, found in again.items() if found == "reused"} == finished


# ---------------------------------------------------------------------------------------------- stale files


def test_a_stale_file_does_not_survive_even_a_run_that_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    run(a="fine", b="fine")
    assert outputs() == {"a.txt", "b.txt"}

    def killed(options: RunOptions, limits: Limits) -> None:
        """The run ends without another word where its first slide would begin."""
        raise SystemError

    with monkeypatch.context() as patch:
        patch.setattr(per_slide, "open_executor", killed)
        with pytest.raises(SystemError):
            run(a="better", b="better")
    assert outputs() == set()


def test_files_that_a_slides_result_no_longer_has_are_removed() -> None:
    run(a="fine")
    (OUT / "a.old").touch()
    assert status(run(a="fine")) == {"a": "reused"}
    assert outputs() == {"a.txt"}


def test_what_a_killed_run_left_is_cleared_away_and_what_another_run_writes_is_not() -> None:
    run(a="fine")
    for folder in (OUT, STORE):
        (folder / f".work-{dead_owner()}-a.txt").touch()
        (folder / f".work-{host_id()}-{os.getppid()}-a.txt").touch()
    assert status(run(a="fine")) == {"a": "reused"}
    living = f".work-{host_id()}-{os.getppid()}-a.txt"
    assert outputs() == {"a.txt", living}
    assert {path.name for path in STORE.iterdir() if path.is_file()} == {living}


# ---------------------------------------------------------------------------------------------- remarks, process lists


def test_remarks_are_listed_also_when_the_result_is_reused(capsys: pytest.CaptureFixture[str]) -> None:
    for found in ("done", "reused"):
        rows = run(a="noted", b="fine")
        assert {row.slide_id: (row.status, row.remarks) for row in rows} == {
            "a": (found, ("touches the border", "damaged: level 1 in places")),
            "b": (found, ()),
        }
        assert listed()["a"]["remarks"] == "touches the border; damaged: level 1 in places"
    summarise("test", rows, OUT, LISTING)
    said = capsys.readouterr().out
    assert said.splitlines()[:2] == [
        "1 slide(s) with remarks (column remarks of lists/test.csv)",
        "    a: damaged: level 1 in places",  # plain remarks stand in the list only
    ]


def test_the_process_list_is_written_while_the_run_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    states: list[set[str]] = []

    class Bar(InterruptedBar):
        def advance(self, item: str) -> None:
            states.append(set(listed()) if LISTING.exists() else set())

    @contextlib.contextmanager
    def progress(total: int, title: str) -> Iterator[Bar]:
        yield Bar()

    monkeypatch.setattr(process_list, "_WRITE_SECONDS", 0.0)
    monkeypatch.setattr(process_list, "_WRITE_SHARE", math.inf)
    monkeypatch.setattr(per_slide.console, "progress", progress)
    run(a="fine", b="crash", c="fine")
    assert [len(state) for state in states] == [1, 2, 3]


def test_a_list_that_takes_long_to_write_is_written_a_hundredth_of_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, written = [0.0], list[float]()

    def write(_: ProcessList) -> None:
        written.append(clock[0])
        clock[0] += 0.5

    monkeypatch.setattr(process_list.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(ProcessList, "write", write)
    listing = ProcessList(LISTING, None, open_store("test"))
    for number in range(200):
        clock[0] += 1.0
        listing.add(Row(slide_id=str(number), status="done"))
    assert written == [6.0, 57.5, 109.0, 160.5]


def test_restricted_runs_at_the_same_time_lose_no_row_of_each_other() -> None:
    run(a="fine", b="fine", c="fine")
    inside = threading.Event()

    def other() -> None:
        inside.wait()
        run(only=frozenset("b"), b="set-aside")

    thread = threading.Thread(target=other)
    thread.start()
    inside.set()
    run(only=frozenset("a"), a="slow")
    thread.join()
    assert {slide: row["status"] for slide, row in listed().items()} == {"a": "done", "b": "set-aside", "c": "done"}


# ---------------------------------------------------------------------------------------------- several runs at once


def count_computations() -> Counter[str]:
    return Counter(path.name.split("-")[0] for path in (STORE / "log").iterdir())


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> None:
    (STORE / "log").mkdir(parents=True)
    monkeypatch.setattr(per_slide, "_POLL_SECONDS", 0.1)


def write_claim(slide: str, behaviour: str, owner: str) -> Path:
    """The claim of another run on a slide's result."""
    job = SlideJob(slide, behaviour)
    task = Task(slide_id=slide, key={"slide": slide, "behaviour": behaviour}, libraries={}, job=job)
    key = Plan(stage="test", tasks=[], work=slide_work.work, out=OUT, process_lists=LISTING.parent).name_of(task)
    path = STORE / "claims" / f"{key}.0"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"token": "another", "owner": owner}))
    return path


def test_two_runs_compute_each_slide_once_and_both_end_with_all_of_them(counted: None) -> None:
    slides = dict.fromkeys("abcdef", "slow")
    answers: list[list[Row]] = []
    runs = [threading.Thread(target=lambda: answers.append(run(**slides))) for _ in range(2)]
    for one in runs:
        one.start()
    for one in runs:
        one.join()
    assert count_computations() == Counter(list(slides))
    assert outputs() == {f"{slide}.txt" for slide in slides}
    found = [Counter(row.status for row in rows) for rows in answers]
    assert found[0] + found[1] == Counter(done=6, reused=6)
    for slide in slides:
        assert sorted(status(rows)[slide] for rows in answers) == ["done", "reused"]
    assert list((STORE / "claims").iterdir()) == []


def test_a_slide_that_another_run_computes_is_waited_for_at_the_end(counted: None) -> None:
    claim = write_claim("a", "fine", "0" * 12 + "-1")  # on another host
    waiting = threading.Timer(1.5, claim.unlink)  # it gave up
    waiting.start()
    rows = run(a="fine", b="fine")
    waiting.join()
    assert status(rows) == {"a": "done", "b": "done"}
    order = sorted((STORE / "log").iterdir(), key=lambda path: path.stat().st_mtime_ns)
    assert [path.name[0] for path in order] == ["b", "a"]


def test_the_slide_of_a_run_that_was_killed_is_taken_over(counted: None) -> None:
    write_claim("a", "fine", dead_owner())
    assert status(run(a="fine", b="fine")) == {"a": "done", "b": "done"}
    assert count_computations() == Counter("ab")


def test_a_result_that_does_not_read_back_is_said_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(per_slide.ResultStore, "put", lambda *args, **options: None)
    (row,) = run(a="fine")
    assert (row.status, row.code) == ("failed", "E_STORE")
    assert outputs() == set()


def test_a_name_too_long_for_its_files_is_refused_before_any_work() -> None:
    longest = os.pathconf(".", "PC_NAME_MAX") - len(".geojson")
    names = ["a" * longest, "é" * (longest // 2 + 1), "fine"]
    rows = run(**dict.fromkeys(names, "fine"))
    assert status(rows) == {names[0]: "done", names[1]: "E_NAME", "fine": "done"}
    assert outputs() == {f"{names[0]}.txt", "fine.txt"}
    assert listed()[names[1]]["status"] == "set-aside"


def test_files_with_a_longer_suffix_leave_less_room_for_the_name() -> None:
    name = "a" * (os.pathconf(".", "PC_NAME_MAX") - len(".geojson"))
    task = Task(slide_id=name, key={"slide": name}, libraries={}, job=SlideJob(name, "fine"))
    plan = Plan(stage="test", tasks=[task], work=slide_work.work, out=OUT, process_lists=LISTING.parent)
    (row,) = run_plan(lambda: replace(plan, longest_suffix=".geojson.gz"), RunOptions(), Limits())
    assert (row.code, row.status) == ("E_NAME", "set-aside")
    assert f"at most {len(name) - 3} bytes" in row.remedy
