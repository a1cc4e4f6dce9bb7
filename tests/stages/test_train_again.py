"""What a second `sammil train` does: nothing that was done before; what was interrupted goes on to the same bytes."""

import csv
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import chdir
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from encoded_project import make_project, write_random_bag, write_settings
from study_fixtures import call, training_inline

from sammil_cli.features.bag import read_bag, write_bag
from sammil_cli.jobs.train import TrainJob
from sammil_cli.regions.membership import Membership
from sammil_cli.stages import train
from sammil_cli.training import epoch as epoch_run
from sammil_cli.training.checkpoint import read_checkpoint
from sammil_cli.training.model_facts import read_facts

Sammil = Callable[..., Any]

QUICK = {"folds": 3, "epochs": 3, "patience": 99, "min_epochs": 0, "learning_rate": 0.001}
LONG = {"folds": 2, "epochs": 50, "patience": 99, "min_epochs": 0, "learning_rate": 0.001}
LIMIT_S = 120.0


def outputs(folder: Path = Path()) -> dict[str, bytes]:
    """All that training leaves."""
    files = (folder / "runs").rglob("*")
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files if path.is_file()}


def learned() -> dict[str, bytes]:
    """The same without the run record, which names settings that change no fold, and the manifest; both name bags."""
    named = ("runs/record.json", "runs/models/manifest.json")
    return {name: content for name, content in outputs().items() if name not in named}


@pytest.fixture(autouse=True)
def inline(inline_training: None) -> None:
    """In this process, except where a test starts another one."""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An encoded project, as working directory."""
    folder = make_project(tmp_path / "project", QUICK)
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture(scope="module")
def trained_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Such a project, trained."""
    folder = make_project(tmp_path_factory.mktemp("trained") / "project", QUICK)
    with chdir(folder), training_inline():
        say(call, "train")
    return folder


@pytest.fixture
def trained_project(trained_once: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, as working directory."""
    folder = tmp_path / "project"
    shutil.copytree(trained_once, folder)
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The folds that were trained, and not taken from the store; for a test to look at and to empty."""
    names: list[str] = []
    work = train.work

    def spying(job: TrainJob) -> None:
        names.append(job.fold.name)
        work(job)

    monkeypatch.setattr(train, "work", spying)
    return names


@pytest.fixture
def epochs_run(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The epochs that were run, one after another."""
    numbers: list[int] = []
    epoch = epoch_run.Run.epoch

    def spying(self: epoch_run.Run, number: int, load: epoch_run.Loader) -> epoch_run.EpochLog:
        numbers.append(number)
        return epoch(self, number, load)

    monkeypatch.setattr(epoch_run.Run, "epoch", spying)
    return numbers


def say(sammil: Sammil, *words: object) -> str:
    answer = sammil(*words)
    assert answer.code == 0, answer
    return str(answer.out)


FOLDS = [f"repeat_0_fold_{fold}" for fold in range(3)]


def test_a_second_run_trains_nothing_and_changes_nothing(project: Path, sammil: Sammil, trained: list[str]) -> None:
    first = say(sammil, "train")
    assert trained == FOLDS
    assert "trained before" not in first
    before = outputs()
    assert {f"runs/models/{fold}/model.safetensors" for fold in FOLDS} < before.keys()
    assert {f"runs/learning_curves/{fold}.csv" for fold in FOLDS} < before.keys()
    trained.clear()
    second = say(sammil, "train")
    assert trained == []
    assert "3 of 3 folds trained before" in second
    assert outputs() == before


@pytest.mark.parametrize(
    ("weight", "form", "said"),
    [
        (0, "divergence", None),
        (1e-6, "variance", "raise consistency_weight"),
        (1e5, "distance", "lower consistency_weight"),
    ],
)
def test_training_says_what_the_consistency_term_amounts_to_and_warns_where_it_is_out_of_proportion(
    project: Path, sammil: Sammil, weight: float, form: str, said: str | None
) -> None:
    settings = [f"consistency_weight={weight}", f"consistency_form={form}", "folds=2", "epochs=1"]
    words = ("train", *(word for setting in settings for word in ("-S", setting)))
    for answer in (sammil(*words), sammil(*words)):  # also of folds that come from the store
        assert answer.code == 0, answer
        about = f"consistency ({form}, β = {weight:g}, 24 patches a slide)"
        assert (f"{about} " in answer.out) == (weight > 0)
        assert "gradient, of the bag's: pseudo_bags " in answer.out
        warned = [line for line in answer.err.splitlines() if "gradient of consistency" in line]
        assert len(warned) == (said is not None)
        assert all(f"{about} is " in line and "in all 2 folds: " in line and str(said) in line for line in warned)


def test_models_come_back_after_dvc_has_emptied_their_folder(
    trained_project: Path, sammil: Sammil, trained: list[str]
) -> None:
    before = outputs()
    shutil.rmtree("runs")
    say(sammil, "train")
    assert trained == []
    assert outputs() == before


@pytest.mark.parametrize("assignment", ["mask_ratio=0.5", "precision=bfloat16", "seed=7"])
def test_a_changed_setting_trains_anew_and_the_old_one_brings_all_back(
    trained_project: Path, sammil: Sammil, trained: list[str], assignment: str
) -> None:
    before = outputs()
    say(sammil, "train", "-S", assignment)
    assert trained == FOLDS
    assert outputs().keys() == before.keys()
    changed = [
        fold
        for fold in FOLDS
        if outputs()[f"runs/models/{fold}/model.json"] != before[f"runs/models/{fold}/model.json"]
    ]
    assert changed == FOLDS
    say(sammil, "train")
    assert len(trained) == 3
    assert outputs() == before


def test_auto_and_what_it_comes_to_are_the_same_folds(project: Path, sammil: Sammil, trained: list[str]) -> None:
    for model, groups in (("sam-mil", True), ("abmil", False)):
        trained.clear()
        words = ("train", "-S", f"model={model}", "-S", "folds=2", "-S", "epochs=1")
        said = [say(sammil, *words)]
        before = learned()
        said += [say(sammil, *words, "-S", f"group_features={str(groups).lower()}")]
        assert trained == FOLDS[:2]
        assert learned() == before
        assert all(f"train: {model} {'with' if groups else 'without'} group features on" in text for text in said)
        facts = read_facts(project / "runs/models" / FOLDS[0])
        assert facts.spec.group_features is facts.provenance["key"]["settings"]["group_features"] is groups


def test_another_number_of_folds_and_back_finds_the_old_ones(
    trained_project: Path, sammil: Sammil, trained: list[str]
) -> None:
    before = outputs()
    say(sammil, "train", "-S", "folds=2")
    assert trained == FOLDS[:2]
    assert {path for path in outputs() if "fold_2" in path} == set()
    assert len(outputs()) == 2 * 3 + 3
    trained.clear()
    say(sammil, "train")
    assert trained == []
    assert outputs() == before


def test_parts_that_are_given_are_the_same_fold_whatever_draws_folds_otherwise(
    project: Path, sammil: Sammil, trained: list[str]
) -> None:
    labels = Path("data/labels.csv")
    header, *rows = labels.read_text(encoding="utf-8").split()
    roles = ["train"] * 6 + ["val"] * 2 + ["test"] * 4
    given = [f"{row},{role}" for row, role in zip(rows, roles, strict=True)]
    labels.write_text("\n".join([f"{header},split", *given, ""]), encoding="utf-8")
    say(sammil, "train")
    assert trained == ["repeat_0_fold_0"]
    before = learned()
    say(sammil, "train", "-S", "folds=5", "-S", "val_fraction=0.4")
    assert len(trained) == 1
    assert learned() == before


def test_more_repeats_train_the_new_ones_only(trained_project: Path, sammil: Sammil, trained: list[str]) -> None:
    before = learned()
    say(sammil, "train", "-S", "repeats=2")
    assert trained == [f"repeat_1_fold_{fold}" for fold in range(3)]
    after = learned()
    assert all(after[path] == content for path, content in before.items() if path != "runs/splits.csv")


def test_a_changed_bag_trains_those_folds_anew_that_learn_or_choose_by_it(
    trained_project: Path, sammil: Sammil, trained: list[str]
) -> None:
    before = learned()
    write_random_bag(trained_project / "artifacts/bags", "slide_05", seed=99)
    say(sammil, "train")
    with Path("runs/splits.csv").open(encoding="utf-8", newline="") as stream:
        role = {row["fold"]: row["role"] for row in csv.DictReader(stream) if row["slide_id"] == "slide_05"}
    assert sorted(role.values()) in (["test", "train", "train"], ["test", "train", "val"], ["test", "val", "val"])
    assert trained == [f"repeat_0_fold_{fold}" for fold in "012" if role[fold] != "test"]
    changed = {path for path, content in learned().items() if before[path] != content}
    assert {path.split("/")[2].removesuffix(".csv") for path in changed} == set(trained)


def test_a_fold_that_is_damaged_in_the_store_is_trained_anew(
    trained_project: Path, sammil: Sammil, trained: list[str]
) -> None:
    before = outputs()
    weights = before["runs/models/repeat_0_fold_1/model.safetensors"]
    stored = [path for path in Path(".sammil/store/train").rglob("model.safetensors") if path.read_bytes() == weights]
    assert len(stored) == 1
    stored[0].write_bytes(weights[:-8] + bytes(8))
    say(sammil, "train")
    assert trained == ["repeat_0_fold_1"]
    assert outputs() == before


def test_the_paper_protocol_is_another_training_and_is_kept_whole(
    trained_project: Path, sammil: Sammil, trained: list[str]
) -> None:
    say(sammil, "train", "-S", "protocol=paper")
    assert trained == FOLDS
    before = outputs()
    assert {f"runs/models/{fold}/epochs.safetensors" for fold in FOLDS} < before.keys()
    shutil.rmtree("runs")
    say(sammil, "train", "-S", "protocol=paper")
    assert len(trained) == 3
    assert outputs() == before


def test_nothing_unfinished_is_left_when_all_is_trained(trained_project: Path, sammil: Sammil) -> None:
    store = Path(".sammil/store/train")
    assert len(list(store.glob("*/*/model.safetensors"))) == len(FOLDS)
    assert list(store.glob("unfinished/*")) == []
    assert list(store.glob(".work-*")) == []


def test_two_projects_of_the_same_content_end_with_the_same_bytes(
    project: Path, tmp_path: Path, sammil: Sammil, trained: list[str]
) -> None:
    twin = make_project(tmp_path / "elsewhere" / "twin", QUICK)
    found = []
    for folder in (project, twin):
        with chdir(folder):
            torch.manual_seed(len(found))  # whatever was drawn before
            say(sammil, "train")
            say(sammil, "evaluate")
            report = {name: Path(name).read_bytes() for name in ("runs/predictions.csv", "report/metrics.json")}
            found.append({**outputs(), **report})
    assert trained == FOLDS * 2
    assert found[0] == found[1]


def test_only_what_train_has_made_is_removed_and_what_does_not_come_back_is_said(
    trained_project: Path, sammil: Sammil
) -> None:
    shutil.copytree("runs/models/repeat_0_fold_0", "runs/models/published")
    facts = json.loads(Path("runs/models/published/model.json").read_text(encoding="utf-8"))
    facts["provenance"]["stage"] = "convert-legacy"
    Path("runs/models/published/model.json").write_text(json.dumps(facts), encoding="utf-8")
    for path in (Path("runs/models/mine/notes.md"), Path("runs/learning_curves/mine.csv")):
        path.parent.mkdir(exist_ok=True)
        path.touch()
    said = say(sammil, "train", "-S", "folds=2")
    assert "train: removed 1 fold(s) of the training before: repeat_0_fold_2" in said
    assert "train: left 2 folder(s) that it has not made in runs/models: mine, published" in said
    assert sorted(path.name for path in Path("runs/models").iterdir()) == [
        "manifest.json",
        "mine",
        "published",
        *FOLDS[:2],
    ]
    curves = [path.stem for path in Path("runs/learning_curves").iterdir()]
    assert sorted(curves) == ["mine", *FOLDS[:2]]


def test_sam_mil_is_not_trained_on_bags_without_regions(project: Path, sammil: Sammil) -> None:
    for path in Path("artifacts/bags").iterdir():
        bag = read_bag(path)
        none = {
            name: getattr(bag, name)[:0]
            for name in ("region_area", "region_area_um2", "group_features", "group_region")
        }
        members = Membership(start=np.zeros(1, np.int64), patch=np.empty(0, np.int32))
        bag = replace(bag, **none, region=np.full(len(bag.xy), -1, np.int32), members=members)
        write_bag(path, bag, {})
    answer = sammil("train")
    assert answer.code == 2
    assert "error: no bag has regions: masking, group features and consistency would do nothing" in answer.err
    assert not Path("runs").exists()
    ways = answer.err.partition("no regions: ")[2].split()
    assert "sam-mil without group features on 6 normal, 6 tumour" in say(sammil, "train", *ways)
    assert "no bag has regions" in sammil("train", "-S", "model=abmil", "-S", "group_features=true").err


# Interrupted runs, in processes of their own.


@pytest.fixture(scope="module")
def kept() -> dict[str, bytes]:
    """What `undisturbed` gives, once for all tests."""
    return {}


@pytest.fixture
def undisturbed(kept: dict[str, bytes], tmp_path: Path, sammil: Sammil, inline: None) -> dict[str, bytes]:
    """What LONG leaves without interruption, in another folder."""
    if not kept:
        folder = make_project(tmp_path / "undisturbed", LONG)
        with chdir(folder):
            say(sammil, "train")
        kept.update(outputs(folder))
    return kept


IN_WORKERS = "from sammil_cli.cli.app import main; main()"
# Folds in the process itself: a worker would import torch once more, and dies with it in any case.
IN_ONE_PROCESS = "import study_fixtures\nwith study_fixtures.training_inline(): " + IN_WORKERS


def start_training(folder: Path, code: str) -> subprocess.Popen[str]:
    """`sammil train` in a process group of its own; folds one after another."""
    return subprocess.Popen(
        [sys.executable, "-c", code, "train", "--workers", "1", "--device", "cpu"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])},
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def epochs_saved(folder: Path) -> list[int]:
    """The epochs in each checkpoint of an unfinished fold."""
    files = sorted((folder / ".sammil/store/train/unfinished").glob("[!.]*.safetensors"))
    saved = [read_checkpoint(file) for file in files]
    return [len(checkpoint.history) for checkpoint in saved if checkpoint is not None]


def wait_for(process: subprocess.Popen[str], reached: Callable[[], bool]) -> None:
    began = time.monotonic()
    while not reached():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() - began < LIMIT_S
        time.sleep(0.03)


def signal_group(process: subprocess.Popen[str], kind: signal.Signals) -> tuple[str, str]:
    """What the process said, and nothing of it lives any more."""
    os.killpg(process.pid, kind)
    return process.communicate(timeout=LIMIT_S)


@pytest.mark.stress
def test_a_killed_run_goes_on_after_its_last_epoch_and_ends_with_the_same_bytes(
    undisturbed: dict[str, bytes], project: Path, sammil: Sammil, trained: list[str], epochs_run: list[int]
) -> None:
    write_settings(project, LONG)
    epoch = random.randint(3, 20)
    with start_training(project, IN_ONE_PROCESS) as process:
        wait_for(process, lambda: max(epochs_saved(project), default=0) >= epoch)
        time.sleep(random.random() / 50)  # somewhere inside an epoch, or inside the writing
        signal_group(process, signal.SIGKILL)
    saved = epochs_saved(project)
    assert len(saved) == 1
    assert epoch <= saved[0] < LONG["epochs"]
    assert not list(Path("runs/models").glob("[!.]*"))
    say(sammil, "train")
    assert trained == FOLDS[:2]
    assert epochs_run == [*range(saved[0], LONG["epochs"]), *range(LONG["epochs"])]
    assert outputs() == undisturbed
    assert epochs_saved(project) == []


@pytest.mark.slow
def test_ctrl_c_ends_at_once_with_130_and_keeps_what_was_finished(
    undisturbed: dict[str, bytes], project: Path, sammil: Sammil, trained: list[str], epochs_run: list[int]
) -> None:
    write_settings(project, LONG)
    store = project / ".sammil/store/train"
    with start_training(project, IN_WORKERS) as process:
        wait_for(process, lambda: any(store.glob("*/*/model.json")) and max(epochs_saved(project), default=0) >= 2)
        _, error = signal_group(process, signal.SIGINT)
    assert process.returncode == 130
    assert "interrupted; everything that was finished is kept" in error
    assert "Traceback" not in error
    saved = epochs_saved(project)
    assert len(saved) == 1
    (finished,) = store.glob("*/*/model.json")
    assert finished.read_bytes() == undisturbed["runs/models/repeat_0_fold_0/model.json"]
    assert not Path("runs/models").exists()
    assert list(Path(".sammil/store/train").glob(".work-*")) == []
    assert "folds trained before" in say(sammil, "train")
    assert trained == ["repeat_0_fold_1"]
    assert epochs_run == [*range(saved[0], LONG["epochs"])]
    assert outputs() == undisturbed
