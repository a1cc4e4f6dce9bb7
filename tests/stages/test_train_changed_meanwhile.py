"""Bags and labels that change while `train`, `evaluate` or `predict` run: nothing false is stored, and it is said."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from csv_rows import by_slide
from encoded_project import make_project, write_random_bag

from sammil_cli.jobs.train import TrainJob
from sammil_cli.stages import predict, train
from sammil_cli.training import epoch as epoch_run
from sammil_cli.training import loop

Sammil = Callable[..., Any]

QUICK = {"folds": 2, "epochs": 2, "patience": 99, "min_epochs": 0, "learning_rate": 0.001}
BAGS, LABELS = Path("artifacts/bags"), Path("data/labels.csv")


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inline_training: None) -> None:
    """An encoded project, as working directory; folds are trained in this process."""
    monkeypatch.chdir(make_project(tmp_path / "project", QUICK))


@pytest.fixture
def during(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Lets something happen before and after a fold is trained, once; gives the list of folds that are trained."""

    def let(fold: str, before: Callable[[], object] | None, after: Callable[[], object] | None) -> list[str]:
        trained: list[str] = []
        work = train.work

        def spying(job: TrainJob) -> None:
            first = job.fold.name == fold not in trained
            trained.append(job.fold.name)
            if first and before:
                before()
            work(job)
            if first and after:
                after()

        monkeypatch.setattr(train, "work", spying)
        return trained

    return let


def swap() -> None:
    """Every bag makes way for another one, and is kept beside."""
    BAGS.rename("kept")
    BAGS.mkdir()
    for number, path in enumerate(sorted(Path("kept").iterdir())):
        write_random_bag(BAGS, path.stem, 100 + number)


def swap_back() -> None:
    shutil.rmtree(BAGS)
    Path("kept").rename(BAGS)
    for path in BAGS.iterdir():  # as each of them would be had it been moved itself
        path.rename(path.with_suffix(".moved")).rename(path)


def weights() -> dict[str, bytes]:
    return {path.parent.name: path.read_bytes() for path in Path("runs/models").glob("*/model.safetensors")}


def stored() -> int:
    return len(list(Path(".sammil/store/train").glob("??/*")))


@pytest.fixture
def right(tmp_path: Path, sammil: Sammil, monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """What an undisturbed training comes to."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(make_project(tmp_path / "undisturbed", QUICK))
        assert sammil("train").code == 0
        return weights()


FOLDS = ["repeat_0_fold_0", "repeat_0_fold_1"]


def test_bags_that_were_others_for_a_while_leave_no_fold_in_the_store(
    sammil: Sammil, during: Callable[..., list[str]], right: dict[str, bytes]
) -> None:
    during(FOLDS[0], swap, swap_back)
    answer = sammil("train")
    assert answer.code == 2
    assert "E_CHANGED" in answer.err
    assert "the input of sammil train changed while it ran: artifacts/bags/slide_" in answer.err
    assert "run the same command again" in answer.err
    assert stored() == 0
    assert not Path("runs/record.json").exists()
    assert sammil("train").code == 0
    assert weights() == right


def test_bags_that_are_others_now_leave_no_fold_in_the_store(
    sammil: Sammil, during: Callable[..., list[str]], right: dict[str, bytes]
) -> None:
    during(FOLDS[0], swap, None)
    assert sammil("train").code == 2
    assert stored() == 0
    swap_back()
    assert sammil("train").code == 0
    assert weights() == right


def test_an_unfinished_fold_does_not_go_on_from_bags_that_were_touched(
    sammil: Sammil, during: Callable[..., list[str]], right: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed after an epoch on other bags: the checkpoint has learned from them."""
    epoch = epoch_run.Run.epoch

    def killed(self: epoch_run.Run, number: int, load: epoch_run.Loader) -> epoch_run.EpochLog:
        if number == 1:
            raise KeyboardInterrupt
        return epoch(self, number, load)

    during(FOLDS[0], swap, None)
    with monkeypatch.context() as patch:
        patch.setattr(epoch_run.Run, "epoch", killed)
        assert sammil("train").code == 130
    assert len(list(Path(".sammil/store/train/unfinished").glob("*.safetensors"))) == 1
    swap_back()
    assert sammil("train").code == 0
    assert weights() == right
    assert not list(Path(".sammil/store/train/unfinished").iterdir())


@pytest.mark.parametrize("what", ["label", "new-bag", "gone-bag", "bag"])
def test_what_changes_when_the_folds_are_done_is_noticed(
    sammil: Sammil, during: Callable[..., list[str]], what: str
) -> None:
    def event() -> None:
        if what == "label":
            LABELS.write_text(LABELS.read_text().replace("slide_00,normal", "slide_00,tumour"), encoding="utf-8")
        elif what == "new-bag":
            write_random_bag(BAGS, "slide_99", 99)
        elif what == "gone-bag":
            (BAGS / "slide_00.h5").unlink()
        else:
            write_random_bag(BAGS, "slide_00", 99)

    during(FOLDS[1], None, event)
    answer = sammil("train")
    assert answer.code == 2
    assert "E_CHANGED" in answer.err
    assert not Path("runs/record.json").exists()
    assert sammil("train").code == 0
    assert Path("runs/record.json").exists()


def test_labels_and_bags_that_were_only_touched_are_the_same(sammil: Sammil, during: Callable[..., list[str]]) -> None:
    assert sammil("train").code == 0
    shutil.rmtree("runs")
    assert sammil("train").code == 0  # from the store
    shutil.rmtree(".sammil")
    during(FOLDS[1], None, lambda: LABELS.write_bytes(LABELS.read_bytes()))
    assert sammil("train").code == 0


def test_evaluate_writes_nothing_of_bags_that_changed_meanwhile(
    sammil: Sammil, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert sammil("train").code == 0
    assert sammil("evaluate").code == 0
    before = Path("report/metrics.json").read_bytes()
    judge = loop.predict

    def swapping(*arguments: Any) -> Any:
        said = judge(*arguments)
        write_random_bag(BAGS, "slide_00", 99)
        return said

    with monkeypatch.context() as patch:
        patch.setattr(loop, "predict", swapping)
        answer = sammil("evaluate")
    assert answer.code == 2
    assert "E_CHANGED" in answer.err
    assert "the input of sammil evaluate changed while it ran: artifacts/bags/slide_00.h5 (" in answer.err
    assert Path("report/metrics.json").read_bytes() == before


def test_evaluate_is_not_disturbed_by_a_training_that_begins_meanwhile(
    sammil: Sammil, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert sammil("train").code == 0
    judge = loop.predict

    def beginning(*arguments: Any) -> Any:
        hidden = Path(f"runs/models/.work-{'0' * 12}-1-another")
        (hidden / "models").mkdir(parents=True, exist_ok=True)
        return judge(*arguments)

    monkeypatch.setattr(loop, "predict", beginning)
    assert sammil("evaluate").code == 0


def test_predict_gives_no_verdict_on_a_bag_that_changed_meanwhile(
    sammil: Sammil, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert sammil("train").code == 0
    judge = predict.judge

    def swapping(slide: str, *arguments: Any) -> Any:
        if slide == "slide_03":
            os.utime(BAGS / "slide_03.h5")
        return judge(slide, *arguments)

    monkeypatch.setattr(predict, "judge", swapping)
    assert sammil("predict", "--no-pictures").code == 1
    rows = by_slide(Path("runs/new_predictions/process_lists/predict.csv"))
    assert {slide for slide, row in rows.items() if row["code"] == "E_CHANGED"} == {"slide_03"}
    assert sum(row["status"] == "done" for row in rows.values()) == 11
