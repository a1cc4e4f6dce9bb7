"""A small soak, and that a soak's verdict sees what it is there for."""

import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

import soak_verdict  # noqa: E402
from soak_commands import Commands, Span  # noqa: E402
from soak_slides import Cohort  # noqa: E402
from soak_storm import Excuse  # noqa: E402

HEADER = "slide_id,status,code,message,remedy,seconds,remarks\n"


@pytest.mark.slow
@pytest.mark.stress
def test_nothing_is_lost_stale_or_twice(tmp_path: Path) -> None:
    words = ["--slides", "25", "--seconds", "8", "--passes", "2", "--no-dask", "--keep", str(tmp_path)]
    ended = subprocess.run([sys.executable, str(BENCHMARKS / "soak.py"), *words], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout
    assert "0 lost, 0 stale, 0 twice; 0 trouble(s)" in ended.stdout
    assert "2 kill-command, 2 kill-worker" in ended.stdout


@pytest.mark.parametrize(
    ("code", "printed", "is_trouble"),
    [
        (0, "segment: 2 done", False),
        (1, "failed: a  E_CHANGED  data/slides/a.tif grew", False),
        (1, "failed: a  E_READ  a tile cannot be decoded", True),
        (2, "error: no slides", False),
        (2, "", True),
        (0, "Traceback (most recent call last):", True),
        (-11, "", True),
        (-9, "", False),
    ],
)
def test_what_commands_may_end_with(tmp_path: Path, code: int, printed: str, is_trouble: bool) -> None:
    commands = Commands(tmp_path, tmp_path / "log", tmp_path, 1.0)
    commands._judge("0001-segment", code, printed)
    assert bool(commands.troubles) == is_trouble


def cohort() -> Cohort:
    return Cohort(Path(), {"cut-1": "cut", "plain-2": "plain", "removed-3": "removed"})


def test_a_missing_file_is_a_lost_slide_and_other_bytes_or_too_many_files_are_stale() -> None:
    want = {"tissue/plain-2.geojson": "a", "bags/plain-2.h5": "b"}
    for have, lost, stale in (
        (want, set(), set()),
        ({"tissue/plain-2.geojson": "a"}, {"plain-2"}, set()),
        ({**want, "bags/plain-2.h5": "c"}, set(), {"plain-2"}),
        ({**want, "bags/removed-3.h5": "d"}, set(), {"removed-3"}),
        ({**want, "bags/.work-1-2-3": "d"}, set(), {"bags/.work-1-2-3"}),
    ):
        assert soak_verdict.differences(have, want, cohort()) == (lost, stale)


def test_a_second_computation_is_twice_unless_something_was_done_to_the_slide() -> None:
    def line(at: float, key: str = "k", event: str = "end") -> dict[str, object]:
        return {"slide": "plain-2", "stage": "patch", "key": key, "event": event, "at": at}

    lines = [line(100.0), line(200.0)]
    spans = [Span("patch", 90.0, 120.0), Span("patch", 40.0, 60.0), Span("sam", 0.0, 300.0)]
    assert soak_verdict.twice(lines, [], spans) == {"plain-2": {"patch"}}
    assert soak_verdict.twice([line(100.0), line(200.0, "other"), line(300.0, event="begin")], [], spans) == {}
    excused = [Excuse("plain-2", 150.0), Excuse("plain-2", 150.0, "patch", "k"), Excuse("plain-2", 91.0)]
    idle = [Excuse("cut-1", 150.0), Excuse("plain-2", 150.0, "sam"), Excuse("plain-2", 150.0, "patch", "other")]
    late = [Excuse("plain-2", 250.0), Excuse("plain-2", 89.0)]
    assert [bool(soak_verdict.twice(lines, [excuse], spans)) for excuse in excused] == [False] * len(excused)
    assert [bool(soak_verdict.twice(lines, [excuse], spans)) for excuse in (*idle, *late)] == [True] * 5


def test_a_command_that_did_changed_slides_again_is_excused_for_its_own_computations_alone() -> None:
    def line(at: float, run: str) -> dict[str, object]:
        return {"slide": "plain-2", "stage": "patch", "key": "k", "event": "end", "at": at, "run": run}

    for again, run, found in (
        (True, "7", {}),
        (True, "8", {"plain-2": {"patch"}}),
        (False, "7", {"plain-2": {"patch"}}),
    ):
        spans = [Span("patch", 90.0, 220.0, "7", again)]
        assert soak_verdict.twice([line(100.0, "7"), line(200.0, run)], [], spans) == found


def test_what_dask_ends_for_a_killed_command_reaches_nobody() -> None:
    def line(at: float, run: str) -> dict[str, object]:
        return {"slide": "plain-2", "stage": "patch", "key": "k", "event": "end", "at": at, "run": run}

    lines, twice = [line(100.0, "dask"), line(200.0, "9")], {"plain-2": {"patch"}}
    for started, ended, run, killed, found in (
        (90.0, 95.0, "dask", True, {}),
        (90.0, 95.0, "dask", False, twice),
        (90.0, 95.0, "8", True, twice),
        (20.0, 60.0, "dask", True, twice),
        (120.0, 130.0, "dask", True, twice),
    ):
        assert soak_verdict.twice(lines, [], [Span("patch", started, ended, run, killed=killed)]) == found


def test_what_python_prints_for_the_orphan_of_a_killed_command_is_no_traceback_of_ours(tmp_path: Path) -> None:
    orphan = (
        "Traceback (most recent call last):\n"
        '  File "<string>", line 1, in <module>\n'
        '  File "spawn.py", line 130, in _main\n'
        "    preparation_data = reduction.pickle.load(from_parent)\n"
        "                       ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^\n"
        "EOFError: Ran out of input\n"
    )
    own = orphan.replace("reduction.pickle.load(from_parent)", "read_tissue(path)")
    for code, printed, troubles in ((-9, orphan, 0), (0, orphan, 1), (-9, own, 1), (-9, orphan + own, 1)):
        commands = Commands(tmp_path, tmp_path / "log", tmp_path, 1.0)
        commands._judge("0001-segment-local", code, printed)
        assert len(commands.troubles) == troubles, (code, printed)


def test_the_lists_must_name_each_fault_with_its_code_and_remedy(tmp_path: Path) -> None:
    lists = tmp_path / "artifacts/process_lists"
    lists.mkdir(parents=True)
    for stage in ("segment", "patch", "sam", "extract"):
        (lists / f"{stage}.csv").write_text(f"{HEADER}plain-2,done,,,,0.1,\n", encoding="utf-8")

    def troubles(row: str) -> list[str]:
        (lists / "segment.csv").write_text(f"{HEADER}{row}plain-2,reused,,,,0.0,\n", encoding="utf-8")
        return soak_verdict.listed(tmp_path, cohort())[1]

    assert troubles("cut-1,set-aside,E_OPEN,cut,copy it again,0.1,\n") == []
    assert troubles("cut-1,set-aside,E_OPEN,cut,,0.1,\n") == ["cut-1: E_OPEN without a remedy"]
    assert troubles("cut-1,failed,E_BUG,cut,report,0.1,\n") == ["cut-1: listed as E_BUG, not as E_OPEN or E_READ"]
    assert troubles("") == ["cut-1: listed as not there, not as E_OPEN or E_READ"]
    wrong = "cut-1,set-aside,E_OPEN,cut,copy it again,0.1,\nremoved-3,done,,,,0.1,\n"
    assert troubles(wrong) == ["removed-3: listed as done in part, not as not there"]
