"""Progress where there is no terminal: which lines are said when, by a clock that tests set."""

import io
import re
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from rich.console import Console

from sammil_cli import console
from sammil_cli.console import ProgressLines, progress


class Clock:
    """Seconds since a start; `sleep_until_due` goes on to the next line."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def _lines_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "_FIRST_LINE", 10.0)


@pytest.fixture
def clock() -> Clock:
    return Clock()


def said(capsys: pytest.CaptureFixture[str]) -> list[str]:
    captured = capsys.readouterr()
    assert captured.out == ""  # stdout is for results
    return captured.err.splitlines()


def test_the_first_line_comes_after_ten_seconds_and_the_next_ones_every_thirty(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = ProgressLines(300, "train", clock)
    waited = []
    for _ in range(3):
        waited.append(lines.wait())
        clock.now += waited[-1] - 0.5
        lines.say()
        assert said(capsys) == []
        clock.now += 0.5
        lines.say()
        assert len(said(capsys)) == 1
    assert waited == [10, 30, 30]


def test_a_line_says_how_much_is_done_how_fast_and_how_long_it_takes_still(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = ProgressLines(3000, "train", clock)
    clock.now += 10
    lines.at(1200, "fold 2")
    lines.say()
    assert said(capsys) == ["train: 1,200 of 3,000 in 10 s, 120 a second, about 15 s left, fold 2"]
    clock.now += 30
    lines.at(1210, "fold 3")
    lines.say()
    assert said(capsys) == ["train: 1,210 of 3,000 in 40 s, 30.2 a second, about 59 s left, fold 3"]


def test_slow_work_is_told_by_how_long_each_takes(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    lines = ProgressLines(100, "sam", clock)
    clock.now += 600
    lines.at(5, "slide_5")
    lines.say()
    assert said(capsys) == ["sam: 5 of 100 in 10 min 0 s, 120 s each, about 3 h 10 min left, slide_5"]


def test_the_pace_is_that_of_the_last_minute(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    """Workers take half a minute to start, and what was in the store takes none."""
    lines = ProgressLines(1000, "train", clock)
    for wait, done in ((10, 0), (30, 0), (30, 60), (30, 120), (30, 180)):
        clock.now += wait
        lines.at(done, "")
        lines.say()
    assert said(capsys)[2:] == [
        "train: 60 of 1,000 in 1 min 10 s, 1.17 s each, about 18 min 17 s left",
        "train: 120 of 1,000 in 1 min 40 s, 1.33 a second, about 11 min 0 s left",
        "train: 180 of 1,000 in 2 min 10 s, 2 a second, about 6 min 50 s left",
    ]


def test_nothing_done_yet_is_said_without_a_guess(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    lines = ProgressLines(100, "sam", clock)
    clock.now += 10
    lines.say()
    assert said(capsys) == ["sam: 0 of 100 in 10 s"]


def test_the_end_is_said_of_what_took_long_enough_for_a_line(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    short, long, broken_off = (ProgressLines(2, name, clock) for name in ("short", "long", "broken off"))
    clock.now += 5
    short.at(2, "b")
    short.end()
    clock.now += 90
    long.at(2, "b")
    long.end()
    broken_off.at(1, "a")
    broken_off.end()
    assert said(capsys) == ["long: 2 of 2 in 1 min 35 s"]


def test_lines_come_while_nothing_gets_done_and_names_are_shown(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console, "_FIRST_LINE", 0.01)
    monkeypatch.setattr(console, "_NEXT_LINE", 0.02)
    with progress(2, "look\ning") as bar:
        bar.advance("a\x1b[31m")
        time.sleep(0.2)
    lines = said(capsys)
    assert len(lines) > 2
    assert re.fullmatch(r"look\\ning: 1 of 2 in 0 s, .* a second, about 0 s left, a\\x1b\[31m", lines[-1])


def test_what_is_over_soon_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with progress(2, "quick") as bar:
        bar.advance("a")
        bar.advance("b")
    assert said(capsys) == []


def test_within_a_progress_another_one_says_nothing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console, "_FIRST_LINE", 0.0)
    with progress(2, "rows") as bar:
        with progress(300, "train", "epochs") as inner:
            inner.at(300, "")
        bar.at(2, "")
    assert "train" not in "".join(said(capsys))
    with progress(1, "after") as bar:
        bar.advance("")
    assert said(capsys)[-1] == "after: 1 of 1 in 0 s"


def test_what_several_threads_do_is_counted(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console, "_FIRST_LINE", 0.0)
    with console.counted(abs, 1000, "hash bags") as counted, ThreadPoolExecutor(8) as pool:
        assert list(pool.map(counted, range(-1000, 0))) == list(range(1000, 0, -1))
    assert said(capsys)[-1] == "hash bags: 1,000 of 1,000 in 0 s"


@pytest.mark.parametrize(("seconds", "stays"), [(0.0, False), (1.0, True)])
def test_a_bar_that_is_full_at_once_is_taken_away(seconds: float, stays: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "_AT_ONCE", 1.0 - seconds)
    screen = io.StringIO()
    with console._live_bar(Console(file=screen, force_terminal=True, width=80), 1, "look at bags") as bar:
        bar.advance("")
    after_the_last_frame = screen.getvalue().rpartition("look at bags")[2]
    assert ("\x1b[1A\x1b[2K" in after_the_last_frame) is not stays  # a line up, and cleared
