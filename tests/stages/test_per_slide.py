"""The machinery of per-slide stages: whatever happens to one slide, the others are done and nothing is lost."""

import contextlib
import csv
from collections.abc import Iterator
from pathlib import Path

import pytest
import slide_work

from sammil_cli.stages import per_slide
from sammil_cli.stages.executor import Limits
from sammil_cli.stages.per_slide import Plan, Row, Task, exit_code, run_plan
from sammil_cli.stages.project import RunOptions

OUT, LISTING = Path("out"), Path("lists/test.csv")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(
    only: frozenset[str] | None = None, workers: int = 1, refused: tuple[Row, ...] = (), **slides: str
) -> list[Row]:
    """Runs a step on slides with what their workers do; the same behaviour is the same recipe."""
    tasks = [
        Task(slide_id=slide, recipe={"slide": slide, "behaviour": behaviour}, arguments=(slide, behaviour))
        for slide, behaviour in slides.items()
    ]
    options = RunOptions(workers=workers, only=only)
    plan = Plan(step="test", tasks=tasks, work=slide_work.work, out=OUT, process_list=LISTING, refused=refused)
    return run_plan(plan, options, Limits())


def status(rows: list[Row]) -> dict[str, str]:
    return {row.slide_id: row.code or row.status for row in rows}


def outputs() -> set[str]:
    return {path.name for path in OUT.iterdir()}


def listed() -> dict[str, dict[str, str]]:
    with LISTING.open(encoding="utf-8", newline="") as stream:
        return {row["slide_id"]: row for row in csv.DictReader(stream)}


def test_every_kind_of_trouble_costs_its_own_slide_only() -> None:
    rows = run(
        workers=2,
        a="fine",
        b="crash",
        c="bug",
        d="memory",
        e="set-aside",
        f="failed",
        g="fine",
    )
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
    assert list(table["a"]) == ["slide_id", "status", "code", "message", "remedy", "seconds", "notes"]
    assert {slide: row["code"] or row["status"] for slide, row in table.items()} == status(rows)
    assert float(table["a"]["seconds"]) >= 0


def test_an_input_that_is_damaged_costs_its_own_slide_only() -> None:
    rows = run(a="fine", b="input", c="fine")
    assert {slide: found == "done" for slide, found in status(rows).items()} == {"a": True, "b": False, "c": True}
    trouble = next(row for row in rows if row.slide_id == "b")
    assert trouble.message == "its file is damaged"
    assert trouble.remedy == "write it again"
    assert trouble.code.startswith("E_")


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
    assert [path.name for path in Path(".sammil/store/test").iterdir() if path.name.startswith(".work")] == []


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
    assert [path.name for path in Path(".sammil/store/test").iterdir() if path.name.startswith(".work")] == []
    again = status(run(**slides))
    assert sorted(again.values()) == ["done", "done", "reused", "reused"]
    assert {f"{slide}.txt" for slide, found in again.items() if found == "reused"} == finished
