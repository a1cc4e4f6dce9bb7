"""`sammil train` from published weights: what it takes, what its keys hold, and that a stopped run ends the same."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from encoded_project import DIM, make_project
from published_files import FEATHER, drawn, without_classifier
from safetensors.torch import load_file, save_file
from torch import Tensor

from sammil_cli.jobs.train import TrainJob
from sammil_cli.stages import train
from sammil_cli.storage.files import sha256_file
from sammil_cli.training import epoch as epoch_run
from sammil_cli.training.model_facts import read_facts

Sammil = Callable[..., Any]

QUICK = {
    "model": "abmil",
    "model_options": {"gated": True, "attention": 384},
    "start_from": "weights/feather.safetensors",
    "folds": 2,
    "epochs": 2,
    "patience": 99,
    "min_epochs": 0,
    "learning_rate": 0.001,
}
FEATHERS = Path(QUICK["start_from"])
FOLDS = ["repeat_0_fold_0", "repeat_0_fold_1"]
TAKEN = [name for name in FEATHER.names(2).values() if not name.startswith("classifier.")]


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An encoded project with a file like FEATHER's, as working directory."""
    monkeypatch.chdir(make_project(tmp_path / "project", QUICK))
    FEATHERS.parent.mkdir()
    save_file(published(), FEATHERS)


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch, inline_training: None) -> list[str]:
    """The folds that were trained, and not taken from the store."""
    names: list[str] = []
    work = train.work

    def spying(job: TrainJob) -> None:
        names.append(job.fold.name)
        work(job)

    monkeypatch.setattr(train, "work", spying)
    return names


def published() -> dict[str, Tensor]:
    """Small, as trained weights are: training begins where it can go on."""
    return {name: tensor * 0.1 for name, tensor in without_classifier(FEATHER, DIM).items()}


def say(sammil: Sammil, *words: object) -> Any:
    answer = sammil(*words)
    assert answer.code == 0, answer
    return answer


def models() -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(Path("runs/models").rglob("*.*")) if path.is_file()}


def test_folds_in_processes_of_their_own_start_from_the_file(sammil: Sammil) -> None:
    """With hardly any learning they end where they began; the classifier is random, another one in each fold."""
    answer = say(sammil, "train", "-S", "learning_rate=1e-12", "-S", "weight_decay=0", "-S", "epochs=1")
    sha256 = sha256_file(FEATHERS)
    said = (
        "train: starts from 8 tensors of weights/feather.safetensors (AB-MIL of MIL-Lab (FEATHER), sha256 "
        f"{sha256[:12]}…); anew: classifier"
    )
    assert said in answer.out
    assert answer.err.count("published weights") == 1
    assert "they have seen test slides" in answer.err
    ours = FEATHER.names(2)
    wanted = {ours[name]: tensor for name, tensor in published().items()}
    assert set(wanted) == set(TAKEN)
    states = [load_file(f"runs/models/{fold}/model.safetensors") for fold in FOLDS]
    for state in states:
        assert all(torch.allclose(state[name], tensor, rtol=0, atol=1e-9) for name, tensor in wanted.items())
    assert not torch.equal(states[0]["classifier.weight"], states[1]["classifier.weight"])
    assert states[0]["classifier.weight"].std() > 0.01
    facts = {"architecture": "AB-MIL of MIL-Lab (FEATHER)", "sha256": sha256}
    key = read_facts(Path("runs/models") / FOLDS[0]).provenance["key"]
    assert key["start"].items() > facts.items()
    assert "weights/feather" not in Path("runs/models", FOLDS[0], "model.json").read_text(encoding="utf-8")
    assert json.loads(Path("runs/record.json").read_text(encoding="utf-8"))["start"] == facts
    say(sammil, "evaluate")
    say(sammil, "predict", "--no-pictures", "--only", "slide_00")


def test_the_content_of_the_file_counts_and_its_place_and_name_do_not(sammil: Sammil, trained: list[str]) -> None:
    say(sammil, "train")
    before = models()
    FEATHERS.rename("elsewhere.safetensors")
    assert "2 of 2 folds trained before" in say(sammil, "train", "-S", "start_from=elsewhere.safetensors").out
    assert trained == FOLDS
    assert models() == before
    save_file({name: tensor * 1.5 for name, tensor in published().items()}, FEATHERS)
    say(sammil, "train")
    assert trained == FOLDS * 2
    assert models() != before
    say(sammil, "train", "-S", "start_from=null")
    assert trained == FOLDS * 3
    assert json.loads(Path("runs/record.json").read_text(encoding="utf-8"))["start"] is None


def test_the_form_of_the_file_changes_no_weight(sammil: Sammil, trained: list[str]) -> None:
    """torch's with a classifier of five classes, and half of the names' wrappers, as a training leaves it."""
    say(sammil, "train")
    weights = {fold: Path(f"runs/models/{fold}/model.safetensors").read_bytes() for fold in FOLDS}
    whole = {**drawn(FEATHER, DIM, 5), **published()}
    torch.save({"model": {f"module.{name}": tensor for name, tensor in whole.items()}}, "whole.pt")
    say(sammil, "train", "-S", "start_from=whole.pt")
    assert trained == FOLDS * 2
    assert {fold: Path(f"runs/models/{fold}/model.safetensors").read_bytes() for fold in FOLDS} == weights


def test_a_run_that_was_stopped_ends_with_the_same_bytes(
    sammil: Sammil, trained: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    say(sammil, "train")
    undisturbed = models()
    shutil.rmtree(".sammil")
    shutil.rmtree("runs")
    epoch = epoch_run.Run.epoch

    def killed(self: epoch_run.Run, number: int, load: epoch_run.Loader) -> epoch_run.EpochLog:
        if number == 1:
            raise KeyboardInterrupt
        return epoch(self, number, load)

    with monkeypatch.context() as patch:
        patch.setattr(epoch_run.Run, "epoch", killed)
        assert sammil("train").code == 130
    assert len(list(Path(".sammil/store/train/unfinished").glob("*.safetensors"))) == 1
    say(sammil, "train")
    assert models() == undisturbed


def test_a_file_that_changes_during_the_run_is_noticed(
    sammil: Sammil, trained: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    work = train.work

    def changing(job: TrainJob) -> None:
        work(job)
        save_file({name: tensor + 1 for name, tensor in published().items()}, FEATHERS)

    with monkeypatch.context() as patch:
        patch.setattr(train, "work", changing)
        answer = sammil("train")
    assert answer.code == 2
    assert "E_CHANGED" in answer.err
    assert f"the input of sammil train changed while it ran: {FEATHERS}" in answer.err
    assert not Path("runs/record.json").exists()
    say(sammil, "train")


@pytest.mark.parametrize(
    ("words", "code", "message", "fix"),
    [
        (["start_from=gone.pt"], 3, "gone.pt does not exist", "correct start_from"),
        (["model=sam-mil", "model_options={}"], 2, "the settings train sam-mil", "set model: abmil and model_options"),
        (["model=mhim", "model_options={}"], 2, "a first stage of its own", "set start_from: null"),
    ],
)
def test_what_cannot_start_is_refused_before_anything_is_written(
    sammil: Sammil, trained: list[str], words: list[str], code: int, message: str, fix: str
) -> None:
    answer = sammil("train", *(part for word in words for part in ("-S", word)))
    assert answer.code == code
    assert message in answer.err
    assert fix in answer.err
    assert trained == []
    assert not Path("runs").exists()


def test_a_fold_of_ones_own_is_no_start_and_an_export_is(sammil: Sammil, trained: list[str]) -> None:
    say(sammil, "train")
    fold = Path("runs/models", FOLDS[0])
    for own in (fold, fold / "model.safetensors"):
        answer = sammil("train", "-S", f"start_from={own}")
        assert answer.code == 2
        assert "may have seen patients of the test parts" in answer.err
    say(sammil, "export", fold, "--out", "mine.safetensors")
    assert "starts from 8 tensors of mine.safetensors" in say(sammil, "train", "-S", "start_from=mine.safetensors").out


def test_status_names_a_file_that_is_another_one_or_gone(sammil: Sammil, trained: list[str]) -> None:
    Path("data/slides").mkdir()
    Path("data/slides/slide_00.png").write_bytes(b"")  # status wants a slide, and this is no reason to train again
    say(sammil, "train")

    def said() -> str:
        return " ".join(sammil("status").out.split())

    assert str(FEATHERS) not in said()
    save_file({name: tensor + 1 for name, tensor in published().items()}, FEATHERS)
    assert f"{FEATHERS} changed since the models were trained" in said()
    FEATHERS.unlink()
    assert f"{FEATHERS} is gone since the models were trained" in said()


def test_reproduce_starts_from_the_same_file_or_refuses(sammil: Sammil, trained: list[str]) -> None:
    say(sammil, "train")
    say(sammil, "evaluate")
    assert "identical" in say(sammil, "reproduce").out
    save_file({name: tensor + 1 for name, tensor in published().items()}, FEATHERS)
    answer = sammil("reproduce")
    assert answer.code == 2
    assert f"{FEATHERS} is not the file that the run started from" in answer.err
    assert f"bring {FEATHERS} back" in answer.err
