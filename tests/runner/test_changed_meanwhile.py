"""What changes while a per-slide stage runs: it is done in that run, or named; nothing false is stored."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import text_slides as stage
from csv_rows import by_slide
from inline_executor import open_inline
from text_slides import EDITS, OUT, SLIDES, after, before, make_plan, outputs, put, swap, swap_back, worked

from sammil_cli.errors import InputError
from sammil_cli.project.process_list import Row, exit_code
from sammil_cli.project.project import RunOptions
from sammil_cli.runner import inputs, per_slide
from sammil_cli.runner.executor import Limits
from sammil_cli.runner.inputs import Unchanged, content, slide_input
from sammil_cli.runner.per_slide import run_plan
from sammil_cli.storage.files import sha256_file
from sammil_cli.storage.paths import SlidePath


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(per_slide, "open_executor", open_inline)
    stage.reset()


def run(only: str | None = None, setting: int = 0) -> dict[str, Row]:
    options = RunOptions(only=frozenset({only}) if only else None)
    return {row.slide_id: row for row in run_plan(lambda: make_plan(options, setting), options, Limits())}


def states(rows: dict[str, Row]) -> dict[str, str]:
    return {slide: row.code or row.status for slide, row in rows.items()}


def aged(slide: str) -> None:
    """As if it had lain there for an hour: what is so old is not read again while nobody touches it."""
    path = SLIDES / f"{slide}.txt"
    os.utime(path, (path.stat().st_mtime - 3600,) * 2)


def test_a_slide_that_is_added_during_the_run_is_done_in_it(capsys: pytest.CaptureFixture[str]) -> None:
    put("a", "alpha")
    after["a"] = [lambda: put("b", "beta")]
    rows = run()
    assert states(rows) == {"a": "done", "b": "done"}
    assert outputs() == {"a.geojson": "alpha - 0", "a.txt": "odd alpha", "b.geojson": "beta - 0"}
    assert worked == ["a", "b"]
    assert by_slide(stage.LISTS / "text.csv").keys() == {"a", "b"}
    assert "1 slide(s) added (b) in the meantime: another round" in capsys.readouterr().out


def test_a_slide_that_is_replaced_after_it_was_done_is_done_again() -> None:
    put("a", "alpha")
    put("b", "beta")
    after["b"] = [swap("a", "even")]
    assert states(run()) == {"a": "done", "b": "done"}
    assert outputs() == {"a.geojson": "even - 0", "b.geojson": "beta - 0"}  # and not its old second file
    assert worked == ["a", "b", "a"]


def test_a_slide_that_is_removed_during_the_run_leaves_nothing() -> None:
    put("a", "alpha")
    put("b", "beta")
    after["b"] = [lambda: (SLIDES / "a.txt").unlink()]
    assert states(run()) == {"b": "done"}
    assert outputs() == {"b.geojson": "beta - 0"}
    assert by_slide(stage.LISTS / "text.csv").keys() == {"b"}


@pytest.mark.parametrize("how", ["added", "changed", "removed"])
def test_a_drawing_counts_as_the_slide_does(how: str) -> None:
    put("a", "alpha")
    put("b", "beta")
    if how != "added":
        put("a", "first", EDITS)
    after["b"] = [(EDITS / "a.txt").unlink if how == "removed" else lambda: put("a", "second", EDITS)]
    assert states(run()) == {"a": "done", "b": "done"}
    assert outputs()["a.geojson"] == f"alpha {'-' if how == 'removed' else 'second'} 0"


def test_with_only_the_others_are_not_looked_at() -> None:
    put("a", "alpha")
    after["a"] = [lambda: put("b", "beta"), swap("a", "even")]
    assert states(run("a")) == {"a": "done"}
    assert worked == ["a"]
    after["a"] = [swap("a", "even")]
    put("a", "gamma")
    assert states(run("a")) == {"a": "done"}
    assert worked == ["a", "a", "a"]
    assert outputs() == {"a.geojson": "even - 0"}


def test_a_slide_that_is_still_copied_is_done_when_it_is_whole() -> None:
    put("a", "al")
    grow = lambda text: lambda: put("a", text)  # noqa: E731
    before["a"] = [grow("alph"), grow("alpha")]
    assert states(run()) == {"a": "done"}
    assert worked == ["a", "a", "a"]
    assert outputs()["a.geojson"] == "alpha - 0"


def test_a_cut_slide_that_became_whole_is_done() -> None:
    put("a", stage.CUT)
    after["a"] = [lambda: put("a", "alpha")]
    assert states(run()) == {"a": "done"}


def test_what_never_comes_to_rest_fails_whatever_is_allowed_for(capsys: pytest.CaptureFixture[str]) -> None:
    put("a", "1")
    put("b", "beta")
    before["a"] = [lambda size=size: put("a", "x" * size) for size in range(2, 9)]  # type: ignore[misc]
    rows = run()
    assert states(rows) == {"a": "E_CHANGED", "b": "done"}
    assert worked == ["a", "b", "a", "a"]
    assert rows["a"].message.startswith("slides/a.txt grew from 3 to 4 bytes while")
    assert "wait until nothing writes there any more" in rows["a"].remedy
    assert "run the same command again" in rows["a"].remedy
    assert outputs() == {"b.geojson": "beta - 0"}
    assert exit_code(list(rows.values()), 0.9) == 1
    before.clear()
    assert states(run()) == {"a": "done", "b": "reused"}


def test_what_comes_or_changes_during_the_last_round_fails_and_leaves_nothing() -> None:
    put("a", "alpha")
    put("c", "gamma")
    touch_a = lambda: put("a", "x" + (SLIDES / "a.txt").read_text())  # noqa: E731
    after["c"] = [touch_a]
    after["a"] = [lambda: None, lambda: put("c", "delta"), lambda: None]
    after["c"].append(lambda: (put("d", "late"), swap("a", "later")()))
    rows = run()
    assert states(rows) == {"a": "E_CHANGED", "c": "done", "d": "E_CHANGED"}
    assert rows["d"].message == "the slide was added while sammil text ran"
    assert rows["a"].message == "the slide, or what belongs to it, changed while sammil text ran"
    assert set(outputs()) == {"c.geojson", "c.txt"}
    assert states(run()) == {"a": "done", "c": "reused", "d": "done"}


@pytest.mark.parametrize("old", [False, True], ids=["just-written", "old"])
def test_a_slide_that_was_swapped_and_came_back_leaves_nothing_false_in_the_store(old: bool) -> None:
    put("a", "alpha")
    if old:
        aged("a")
    before["a"] = [swap("a", "WRONG")]
    after["a"] = [swap_back("a")]
    assert states(run()) == {"a": "done"}
    assert worked == ["a", "a"]
    assert outputs()["a.geojson"] == "alpha - 0"
    OUT.rename("old")
    assert states(run()) == {"a": "reused"}
    assert outputs()["a.geojson"] == "alpha - 0"


def test_a_slide_that_was_swapped_for_good_leaves_nothing_false_in_the_store() -> None:
    put("a", "alpha")
    before["a"] = [swap("a", "WRONG")]
    assert states(run()) == {"a": "done"}
    assert outputs()["a.geojson"] == "WRONG - 0"
    (SLIDES / "a.txt").unlink()
    swap_back("a")()
    assert states(run()) == {"a": "done"}
    assert outputs()["a.geojson"] == "alpha - 0"


def test_content_that_changed_in_place_and_back_is_seen_by_its_times() -> None:
    put("a", "alpha")
    aged("a")
    facts = (SLIDES / "a.txt").stat()

    def back() -> None:
        put("a", "alpha")
        os.utime(SLIDES / "a.txt", ns=(facts.st_atime_ns, facts.st_mtime_ns))  # as rsync --times does

    before["a"], after["a"] = [lambda: put("a", "WRONG")], [back]
    assert states(run()) == {"a": "done"}
    assert worked == ["a", "a"]
    assert outputs()["a.geojson"] == "alpha - 0"


def test_what_makes_a_new_look_impossible_ends_the_run_and_keeps_what_is_done() -> None:
    put("a", "alpha")
    after["a"] = [lambda: (SLIDES / "a.txt").rename("a.txt")]
    with pytest.raises(InputError, match=r"not in slides \(it was in order when sammil text began; what it finished"):
        run("a")
    listed = by_slide(stage.LISTS / "text.csv")["a"]
    assert (listed["code"], listed["message"]) == (
        "E_CHANGED",
        "slides/a.txt went away while the slide was worked on; nothing of that was kept",
    )
    assert outputs() == {}


def test_a_file_that_nobody_touched_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    put("a", "alpha")
    aged("a")
    monkeypatch.setattr(inputs.time, "time_ns", lambda: 2 * (SLIDES / "a.txt").stat().st_ctime_ns)
    reads: list[Path] = []
    read: Callable[[Path], str] = inputs.sha256_file
    monkeypatch.setattr(inputs, "sha256_file", lambda path: (reads.append(path), read(path))[1])
    first = content(SLIDES / "a.txt")
    assert first is not None
    assert first.trouble() == ""
    assert content(SLIDES / "a.txt") == first
    assert len(reads) == 1
    put("a", "other")
    assert first.trouble() == "slides/a.txt changed"
    again = content(SLIDES / "a.txt")
    assert again is not None
    assert again.digest != first.digest
    (SLIDES / "a.txt").unlink()
    assert first.trouble() == "slides/a.txt went away"


def test_a_slide_of_many_files_whose_folder_goes_away_costs_that_slide_only(tmp_path: Path) -> None:
    series = tmp_path / "series"
    series.mkdir()
    for number in range(2):
        (series / f"{number}.dcm").write_bytes(b"level")
    slide = slide_input(SlidePath(series / "0.dcm"))
    shutil.rmtree(series)
    assert slide.trouble() == f"{series}/0.dcm went away"
    assert slide_input(SlidePath(series / "0.dcm")).digest == "gone"


@pytest.mark.timeout(20)
def test_a_pipe_among_the_inputs_is_not_waited_for(tmp_path: Path) -> None:
    pipe = tmp_path / "a.h5"
    os.mkfifo(pipe)
    Unchanged(lambda: [pipe]).check("train")
    with pytest.raises(InputError, match=r"a\.h5 is no file but a pipe"):
        content(pipe)


def test_files_of_a_whole_command_are_refused_when_they_were_touched() -> None:
    a, b, c = (put(name, name) for name in "abc")
    sums = {path: sha256_file(path) for path in (a, b, c)}
    watched = Unchanged(lambda: sorted(SLIDES.glob("*.txt")))
    watched.check("train")
    put("b", "b")  # the same content
    watched.check("train", [a, c])
    watched.check("train", known=sums)
    with pytest.raises(
        InputError, match=r"the input of sammil train changed while it ran: slides/b.txt \(written"
    ) as caught:
        watched.check("train")
    assert caught.value.code == "E_CHANGED"
    put("b", "B")
    with pytest.raises(InputError, match=r"slides/b.txt \("):
        watched.check("train", known=sums)
    put("b", "b")
    put("d", "d")
    with pytest.raises(InputError, match=r"slides/d.txt \("):
        watched.check("train", known=sums)
    c.unlink()
    with pytest.raises(InputError, match=r"slides/c.txt and 1 more \("):
        watched.check("train", known=sums)
