"""The results of a training stay until those of the next one are all there; what is mixed up is refused."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from encoded_project import SLIDES, make_project, write_random_bag
from processes_seen import dead_owner

from sammil_cli.cli.app import main
from sammil_cli.errors import InputError
from sammil_cli.features.bag import read_bag, write_bag
from sammil_cli.jobs.train import TrainJob
from sammil_cli.project.leftovers import tidy
from sammil_cli.project.project import Project
from sammil_cli.stages import evaluate, models_folder, train
from sammil_cli.storage.paths import BagPath
from sammil_cli.storage.store import open_store
from sammil_cli.training.manifest import check_fold, read_manifest, read_trained_folds

Sammil = Callable[..., Any]
QUICK = {"folds": 2, "epochs": 2, "patience": 99, "min_epochs": 0, "learning_rate": 0.001, "model": "abmil"}
FOLDS = ["repeat_0_fold_0", "repeat_0_fold_1"]


def outputs() -> dict[str, bytes]:
    """All that training leaves, but for leavings of killed runs."""
    files = (path for path in Path("runs").rglob("*") if path.is_file())
    return {p.as_posix(): p.read_bytes() for p in files if not any(part.startswith(".") for part in p.parts)}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inline_training: None) -> Path:
    """An encoded project, as working directory."""
    folder = make_project(tmp_path / "project", QUICK)
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def trained(project: Path, sammil: Sammil) -> dict[str, bytes]:
    """What a training has left."""
    assert sammil("train").code == 0
    return outputs()


def spoil(slide: str) -> None:
    """A NaN among the features of a bag, whose sums fit."""
    path = BagPath(Path(f"artifacts/bags/{slide}.h5"))
    bag = read_bag(path)
    bag.features[0, 0] = np.nan  # of the map in memory
    write_bag(path, bag, {})


def test_a_bag_of_nan_leaves_the_run_before_as_it_was(trained: dict[str, bytes], sammil: Sammil) -> None:
    spoil("slide_03")
    answer = sammil("train")
    assert answer.code == 2
    assert "slide slide_03: E_NAN" in answer.err
    assert outputs() == trained


@pytest.mark.parametrize("failing", FOLDS)
def test_a_training_that_fails_midway_leaves_the_run_before_as_it_was(
    trained: dict[str, bytes], sammil: Sammil, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    work, live = train.work, []

    def fail(job: TrainJob) -> None:
        live.append(job.curve.exists())
        work(job)
        live.append(job.curve.read_bytes() != trained[job.curve.as_posix()])
        if job.fold.name == failing:
            raise InputError("no")

    monkeypatch.setattr(train, "work", fail)
    assert sammil("train", "-S", "seed=5").code == 2
    assert outputs() == trained
    assert [path.name for path in Path("runs/models").iterdir() if path.name.startswith(".")] == []
    assert live == [False, True] * (1 + FOLDS.index(failing))  # curves of this training, in their place, to be watched


@pytest.mark.parametrize("step", range(6))
def test_curves_are_lost_at_no_step_of_setting_them_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    monkeypatch.chdir(tmp_path)
    curves = Path("runs/learning_curves")
    curves.mkdir(parents=True)
    for fold in range(3):
        (curves / f"repeat_0_fold_{fold}.csv").write_text(str(fold))
    left = [step]

    def failing(step: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*words: Any, **named: Any) -> Any:
            left[0] -= 1
            if left[0] == -1:
                raise OSError
            return step(*words, **named)

        return wrapped

    with models_folder.new_models(Project()) as new:
        for place, name in ((shutil, "copy2"), (shutil, "move"), (Path, "unlink"), (Path, "rename")):
            monkeypatch.setattr(place, name, failing(getattr(place, name)))
        with contextlib.suppress(OSError):
            new.set_curves_aside()
        new.bring_curves_back()
    assert {path.name: path.read_text() for path in curves.iterdir()} == {
        f"repeat_0_fold_{fold}.csv": str(fold) for fold in range(3)
    }


def test_nothing_is_left_of_a_first_training_that_fails(
    project: Path, sammil: Sammil, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train, "work", lambda job: job.curve.parent.mkdir(parents=True) or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        sammil("train")
    assert outputs() == {}
    assert not Path("runs/models").exists()


def test_labels_folds_and_an_unknown_option_are_looked_at_before_anything_goes(
    trained: dict[str, bytes], sammil: Sammil
) -> None:
    for setting in ("folds=50", "model_options={x: 1}", "model=nonesuch"):
        assert sammil("train", "-S", setting).code == 2
        assert outputs() == trained


# A kill between the steps of the swap, in a process of its own: the parent counts renames and dies at the given one.
KILLED = """
import os, shutil, signal, sys
import study_fixtures
from pathlib import Path
from sammil_cli.cli.app import main
from sammil_cli.stages import models_folder
left = [int(sys.argv.pop(1))]
def counted(step):
    def wrapped(*words, **named):
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        left[0] -= 1
        return step(*words, **named)
    return wrapped
take_over = models_folder.NewModels.take_over
def counting(self):
    Path.rename, Path.replace, shutil.move = map(counted, (Path.rename, Path.replace, shutil.move))
    return take_over(self)
models_folder.NewModels.take_over = counting
with study_fixtures.training_inline():
    main()
"""


def kill_at(step: int, *words: str) -> int:
    """Trains until the given step of the swap; the exit code."""
    path = os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])
    ended = subprocess.run(
        [sys.executable, "-c", KILLED, str(step), "train", "--device", "cpu", *words],
        env={**os.environ, "PYTHONPATH": path},
        check=False,
        capture_output=True,
    )
    return ended.returncode


def is_training(files: dict[str, bytes], of: dict[str, bytes]) -> bool:
    """Whether models and splits are those of one training."""
    judged = ("runs/models", "runs/splits")
    return all(files.get(name) == content for name, content in of.items() if name.startswith(judged))


@pytest.mark.stress
def test_a_kill_within_the_swap_is_refused_and_the_next_training_goes_on(
    trained: dict[str, bytes], sammil: Sammil
) -> None:
    assert kill_at(4, "-S", "seed=5") == -signal.SIGKILL
    assert not is_training(outputs(), trained)
    answer = sammil("evaluate", "-S", "bootstrap_draws=100")
    assert answer.code == 2
    assert "E_DAMAGED" in answer.err
    assert "sammil train" in answer.err
    assert sammil("train").code == 0
    assert outputs() == trained
    assert [path.name for path in Path("runs/models").iterdir() if path.name.startswith(".")] == []


def test_whatever_a_kill_within_the_swap_leaves_is_old_or_new_or_refused(
    trained: dict[str, bytes], sammil: Sammil, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    project, left = Path.cwd(), []

    def watched(step: Callable[..., Any]) -> Callable[..., Any]:
        def look_then_do(*words: Any, **named: Any) -> Any:
            left.append(shutil.copytree(project / "runs", tmp_path / f"left_{len(left)}"))
            return step(*words, **named)

        return look_then_do

    take_over = models_folder.NewModels.take_over

    def watching(new: models_folder.NewModels) -> list[str]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(models_folder.shutil, "move", watched(shutil.move))
            for name in ("rename", "replace", "unlink"):
                patch.setattr(Path, name, watched(getattr(Path, name)))
            return list(take_over(new))

    monkeypatch.setattr(models_folder.NewModels, "take_over", watching)
    assert sammil("train", "-S", "seed=5").code == 0
    new, verdicts = outputs(), []
    assert len(left) > 8
    for runs in left:
        shutil.rmtree("runs")
        shutil.copytree(runs, "runs")
        try:
            folds, manifest = read_trained_folds(Path("runs/models"), Path("runs/splits.csv"))
            for fold in folds:
                check_fold(Path("runs/models"), fold.name, manifest)
            verdicts.append("old" if is_training(outputs(), trained) else "new" if is_training(outputs(), new) else "")
        except InputError as error:
            verdicts.append(error.code)
    assert verdicts[0] == "old"
    assert set(verdicts) == {"old", "E_DAMAGED"}  # the last step completes it
    assert verdicts == sorted(verdicts, reverse=True)


@pytest.mark.parametrize("name", ["runs/splits.csv", "runs/models/manifest.json", f"runs/models/{FOLDS[1]}/model.json"])
def test_parts_of_two_trainings_are_never_judged_together(trained: dict[str, bytes], sammil: Sammil, name: str) -> None:
    assert sammil("train", "-S", "seed=5").code == 0
    new = outputs()
    assert sammil("train").code == 0
    Path(name).write_bytes(new[name])
    for command in ("evaluate", "predict"):
        answer = sammil(command)
        if (command, name) == ("predict", "runs/splits.csv"):
            assert answer.code == 0  # models say what they have seen; another's table says nothing
            continue
        assert answer.code == 2, command
        assert "E_DAMAGED" in answer.err
        assert "sammil train" in answer.err


def test_a_removed_fold_of_the_training_is_missed(trained: dict[str, bytes]) -> None:
    project = Project()
    folds, manifest = read_trained_folds(project.models, project.splits)
    assert [fold.name for fold in folds] == FOLDS
    assert manifest is not None
    assert sorted(manifest.bags) == SLIDES
    (project.models / FOLDS[0] / "model.json").unlink()
    with pytest.raises(InputError, match="it is missing"):
        check_fold(project.models, FOLDS[0], manifest)
    Path("runs/models/manifest.json").unlink()
    assert read_manifest(project.models) is None  # as of an earlier version


def test_bags_that_are_others_than_at_the_training_are_not_judged(trained: dict[str, bytes], sammil: Sammil) -> None:
    write_random_bag(Path("artifacts/bags"), "slide_04", seed=77)
    answer = sammil("evaluate")
    assert answer.code == 2
    assert "1 of 12 bags in artifacts/bags are not those that the models were trained with: slide_04" in answer.err


def test_curves_of_before_come_back_after_a_kill_with_the_next_command(
    trained: dict[str, bytes], monkeypatch: pytest.MonkeyPatch, sammil: Sammil
) -> None:
    with models_folder.new_models(Project()) as new:
        new.set_curves_aside()
        hidden = new.place.models.parent
        dead = hidden.rename(hidden.with_name(f".work-{dead_owner()}-x"))
    Path("runs/learning_curves").mkdir(exist_ok=True)
    Path(f"runs/learning_curves/{FOLDS[0]}.csv").write_text("epoch\n0\n", encoding="utf-8")
    assert dead.is_dir()
    tidy(Project())
    assert outputs() == trained
    assert not dead.exists()


def test_a_fold_that_the_store_does_not_give_back_ends_the_training_and_nothing_goes(
    trained: dict[str, bytes], sammil: Sammil, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = type(open_store("train"))
    monkeypatch.setattr(store, "fetch", lambda self, name, out: None)
    answer = sammil("train")
    assert answer.code == 3
    assert "E_STORE" in answer.err
    assert outputs() == trained


def test_under_dvc_a_failure_says_how_the_results_come_back(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    spoil("slide_03")
    monkeypatch.setattr(sys, "argv", ["sammil", "train"])
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    for root, said in (("", False), (str(project), True)):
        monkeypatch.setenv("DVC_ROOT", root)
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == 2
        assert ("dvc checkout (report" in capsys.readouterr().err) == said


def test_evaluate_replaces_its_results_together_or_not_at_all(
    trained: dict[str, bytes], sammil: Sammil, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert sammil("evaluate", "-S", "bootstrap_draws=100").code == 0
    names = ["report/metrics.json", "report/index.html", "runs/predictions.csv", "report/curves/roc.csv"]
    before = {name: Path(name).read_bytes() for name in (*names, "report/curves/sums.json")}
    monkeypatch.setattr(evaluate, "write_page", lambda *words: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        sammil("evaluate", "-S", "bootstrap_draws=150")
    assert {name: Path(name).read_bytes() for name in before} == before
    assert [path for path in Path().rglob(".work-*") if ".sammil" not in path.parts] == []
