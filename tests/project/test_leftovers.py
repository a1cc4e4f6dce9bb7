"""What a run leaves that was killed in the middle of writing is gone after the next command, whichever that is."""

import errno
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from processes_seen import dead_owner

from sammil_cli.project.leftovers import tidy
from sammil_cli.project.project import Project
from sammil_cli.storage.claims import Claims, owner_tag
from sammil_cli.storage.store import Result, ResultStore

Sammil = Callable[..., Any]

# The process kills itself where it would give a finished file its name; with a number, when it does so again.
DIES = """
import os, pathlib, signal, sys
left, replace = [int(sys.argv.pop(1))], pathlib.Path.replace
def dying(self, target):
    left[0] -= 1
    if left[0] < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return replace(self, target)
pathlib.Path.replace = dying
"""
RUNS = "from sammil_cli.cli.app import main; main()"
INLINE = "import study_fixtures\nwith study_fixtures.training_inline(): " + RUNS


def kill(*words: str, after: int = 0, inline: bool = False) -> None:
    """Starts a command and sees it killed."""
    ended = subprocess.run(
        [sys.executable, "-c", DIES + (INLINE if inline else RUNS), str(after), *words],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == -signal.SIGKILL, (ended.stdout, ended.stderr)


def left() -> list[str]:
    """Temporary files and folders, and claims, anywhere."""
    return [str(path) for path in Path().rglob("*") if path.name.startswith(".work-") or path.parent.name == "claims"]


# Killed after this number of files; convert-legacy and sam are killed where any per-slide stage is.
KILLED: dict[str, tuple[list[str], int, bool]] = {
    "segment": (["segment", "--workers", "1"], 1, False),
    "process-list": (["extract", "--workers", "1"], 12, False),
    "train": (["train", "--workers", "1"], 4, True),
    "evaluate": (["evaluate"], 0, False),
    "predict": (["predict"], 0, False),
    "code": (["code"], 1, False),
    "demo": (["demo", "--workers", "1"], 1, False),
    "reproduce": (["reproduce", "--workers", "1"], 1, True),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", KILLED)
def test_a_killed_run_of_any_kind_is_tidied_up_by_another_command(kind: str, done: Path, sammil: Sammil) -> None:
    if kind in ("segment", "process-list"):
        shutil.rmtree(f".sammil/store/{'segment' if kind == 'segment' else 'extract'}")
    if kind == "train":
        shutil.rmtree(".sammil/store/train")
    words, after, inline = KILLED[kind]
    kill(*words, after=after, inline=inline)
    assert left()
    assert sammil("code").code == 0
    assert left() == []
    assert kind == "train" or not list(Path(".sammil/store").rglob("unfinished/*"))
    assert not Path(".sammil/reproduce").exists()


@pytest.mark.parametrize("command", ["code", "segment", "train", "evaluate", "predict", "visualize", "reproduce"])
def test_every_command_that_writes_tidies_everywhere(
    command: str, done: Path, sammil: Sammil, inline_training: None
) -> None:
    tag = dead_owner()
    places = [Path(), *map(Path, ("data", "artifacts/bags", "artifacts/process_lists", "artifacts/code", "runs"))]
    places += [Path("report"), Path(".sammil/reproduce"), Path(".sammil/store"), Path(".sammil/store/sam")]
    for place in places:
        place.mkdir(parents=True, exist_ok=True)
        (place / f".work-{tag}-abc.csv").touch()
        (place / f".work-{tag}-folder/inner").mkdir(parents=True)
    assert sammil(command).code == 0
    assert left() == []


def test_curves_that_a_killed_training_had_set_aside_come_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    hidden = Path("runs/models") / f".work-{dead_owner()}-training"
    (hidden / "curves").mkdir(parents=True)
    (hidden / "curves/repeat_0_fold_0.csv").write_text("of before")
    curve = Path("runs/learning_curves/repeat_0_fold_0.csv")
    curve.parent.mkdir()
    curve.write_text("of the killed one")
    tidy(Project())
    assert curve.read_text() == "of before"
    assert not hidden.exists()


def fails_at(number: int, monkeypatch: pytest.MonkeyPatch, *steps: tuple[object, str]) -> None:
    """Lets the given one of all these steps fail, as on a full disk; counted from 0."""
    left = [number]

    def failing(step: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*words: Any, **named: Any) -> Any:
            left[0] -= 1
            if left[0] < 0:
                raise OSError(errno.ENOSPC, "No space left on device")
            return step(*words, **named)

        return wrapped

    for place, name in steps:
        monkeypatch.setattr(place, name, failing(getattr(place, name)))


STEPS = ((shutil, "copy2"), (shutil, "move"), (Path, "unlink"), (Path, "rename"))


@pytest.mark.parametrize("step", range(6))
def test_earlier_curves_are_lost_at_no_step_of_bringing_them_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    monkeypatch.chdir(tmp_path)
    hidden = Path("runs/models") / f".work-{dead_owner()}-training"
    (hidden / "curves").mkdir(parents=True)
    curves = Path("runs/learning_curves")
    curves.mkdir()
    for fold in range(3):
        (hidden / f"curves/repeat_0_fold_{fold}.csv").write_text(f"{fold} of before")
    for fold in (0, 7):
        (curves / f"repeat_0_fold_{fold}.csv").write_text("of the killed one")
    with pytest.MonkeyPatch.context() as patch:
        fails_at(step, patch, *STEPS)
        tidy(Project())
    tidy(Project())
    assert {path.name: path.read_text() for path in curves.iterdir()} == {
        f"repeat_0_fold_{fold}.csv": f"{fold} of before" for fold in range(3)
    }
    assert not hidden.exists()


def test_a_folder_with_a_dot_in_its_name_is_tidied_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    bags = Path("artifacts/bags_0.5mpp")
    bags.mkdir(parents=True)
    (bags / f".work-{dead_owner()}-x.h5").touch()
    tidy(Project(bags=bags))
    assert left() == []


def test_what_lives_and_what_is_a_users_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    kept = [
        Path(f".work-{owner_tag()}-mine"),
        Path(f".work-{'0' * 12}-1-of-another-host"),
        Path(".work-notes.txt"),
        Path(".tmp-notes"),
    ]
    for path in kept:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    os.utime(kept[2], (0, 0))
    with Claims(Path(".sammil/store/sam/claims")) as claims:
        assert claims.take("mine")
        tidy(Project())
        assert [path for path in kept if not path.exists()] == []
        assert len(list(Path(".sammil/store/sam/claims").iterdir())) == 1
    os.utime(kept[1], (0, 0))
    tidy(Project())
    assert not kept[1].exists()


def test_checkpoints_stay_for_a_month_unless_their_result_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    store, now = ResultStore(tmp_path / ".sammil/store/train"), time.time()
    folder = store.root / "unfinished"
    folder.mkdir(parents=True)
    for name, days in (("a" * 64, 29), ("b" * 64, 31), ("c" * 64, 0)):
        for path in (folder / f"{name}.safetensors", folder / f"{name}.seen"):
            path.touch()
            os.utime(path, (now - 86400 * days,) * 2)
    os.utime(folder / f"{'a' * 64}.seen", (0, 0))  # written once, when the training began
    store.put("c" * 64, store.workspace(), Result())
    tidy(Project())
    assert {path.name for path in folder.iterdir()} == {f"{'a' * 64}.safetensors", f"{'a' * 64}.seen"}


def test_where_nothing_may_be_written_nothing_is_tidied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path(f".work-{'0' * 12}-1-old").touch()

    def refused(folder: Path) -> float:
        raise PermissionError(13, "denied", str(folder))

    monkeypatch.setattr("sammil_cli.storage.store.clock", refused)
    tidy(Project())
    assert len(left()) == 1
