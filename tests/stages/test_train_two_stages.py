"""A fold whose model has two stages: what it leaves, and that a kill anywhere changes none of its bytes."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from encoded_project import DIM, make_project

from sammil_cli.jobs.train import TrainJob, work
from sammil_cli.mil.models.ibmil import Model
from sammil_cli.stages import train
from sammil_cli.training import epoch as epoch_run
from sammil_cli.training.learning_curves import read_curve
from sammil_cli.training.trained_model import read_model

EPOCHS = 3
SETTINGS = {
    "model": "ibmil",
    "model_options": {"confounders": 5},
    "folds": 2,
    "epochs": EPOCHS,
    "min_epochs": 0,
    "learning_rate": 0.001,
}
FILES = {"model.json", "model.safetensors", "curve.csv", "first_stage.csv"}


class Killed(BaseException):
    """Not caught by anything that tidies up."""


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sammil: Callable[..., Any], inline_training: None) -> TrainJob:
    """One fold as the stage hands it out, after the whole training has run undisturbed."""
    monkeypatch.chdir(make_project(tmp_path / "project", SETTINGS))
    jobs: list[TrainJob] = []

    def spying(job: TrainJob) -> None:
        jobs.append(job)
        work(job)

    monkeypatch.setattr(train, "work", spying)
    answer = sammil("train")
    assert answer.code == 0, answer
    return jobs[0]


def elsewhere(job: TrainJob, folder: Path) -> TrainJob:
    return replace(job, out=folder / "out", curve=folder / "curve.csv", checkpoint=folder / "checkpoint.safetensors")


def written(job: TrainJob) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in Path(job.out).iterdir()}


def kill_at(patch: pytest.MonkeyPatch, epochs: int) -> None:
    """Dies in the middle of the next epoch after `epochs`, counted over both stages."""
    epoch, done = epoch_run.Run.epoch, [0]

    def dying(self: epoch_run.Run, number: int, load: epoch_run.Loader) -> epoch_run.EpochLog:
        loaded = [0]

        def half(slide: str) -> Any:
            loaded[0] += 1
            if done[0] == epochs and loaded[0] == 3:
                raise Killed
            return load(slide)

        figures = epoch(self, number, half)
        done[0] += 1
        return figures

    patch.setattr(epoch_run.Run, "epoch", dying)


def kill_between(patch: pytest.MonkeyPatch) -> None:
    def dying(*_: object) -> None:
        raise Killed

    patch.setattr(Model, "begin", dying)


@pytest.mark.parametrize("when", ["between", 0, 1, EPOCHS - 1, EPOCHS, EPOCHS + 1, 2 * EPOCHS - 1])
def test_a_kill_in_or_between_the_stages_changes_no_byte(job: TrainJob, tmp_path: Path, when: int | str) -> None:
    undisturbed, again = elsewhere(job, tmp_path / "one"), elsewhere(job, tmp_path / "other")
    work(undisturbed)
    assert set(written(undisturbed)) == FILES
    with pytest.MonkeyPatch.context() as patch:
        if isinstance(when, int):
            kill_at(patch, when)
        else:
            kill_between(patch)
        with pytest.raises(Killed):
            work(again)
    assert not (Path(again.out) / "model.json").exists()
    work(again)
    assert written(again) == written(undisturbed)


def test_the_model_has_the_dictionary_and_the_curve_of_each_stage(
    job: TrainJob, sammil: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path("runs/models/repeat_0_fold_0")
    model, facts = read_model(folder, "cpu")
    assert isinstance(model, Model)
    assert 1 <= len(model.confounders) <= 5
    assert model.confounders.abs().sum() > 0
    assert (facts.model_options, facts.spec.dim) == ({"confounders": 5}, DIM)
    curves = [
        read_curve(path) for path in (folder / "first_stage.csv", Path(f"runs/learning_curves/{folder.name}.csv"))
    ]
    assert [len(curve) for curve in curves] == [EPOCHS, EPOCHS]
    assert curves[0] != curves[1]
    before = written(replace(job, out=folder))
    shutil.rmtree("runs")
    monkeypatch.setattr(train, "work", lambda _: 1 / 0)
    assert sammil("train").code == 0  # from the store
    assert written(replace(job, out=folder)) == before
