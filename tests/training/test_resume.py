"""Interrupted trainings: a stop in any way, then a fresh start with the same checkpoint."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from toy_cohort import BEST, CHANCE, GOOD, TRAIN, VAL, Scripted, build, recipe, toy_bag

from sammil_cli.mil.contract import Bag, MILModel
from sammil_cli.mil.recipe import Recipe
from sammil_cli.training import checkpoint as checkpoints
from sammil_cli.training.checkpoint import read_checkpoint
from sammil_cli.training.loop import Trained, train_fold

RESUMED = [
    ("sam-mil", {}, {}),
    ("sam-mil", {"sammil_mode": "released"}, {"class_weights": "balanced"}),
    ("sam-mil", {}, {"precision": "bfloat16"}),
    ("abmil", {"dropout": 0.1}, {"optimiser": "lookahead-radam", "accumulate": 2}),
    pytest.param("transmil", {"dropout": 0.1}, {"optimiser": "lookahead-radam"}, marks=pytest.mark.stress),
    ("mhim", {}, {}),
    ("dtfd", {"dropout": 0.25}, {"schedule": "step", "clip_norm": 0.5}),
    ("ibmil", {"dropout": 0.5}, {}),
    ("dsmil", {"dropout": 0.5, "loss": "binary"}, {"chosen_by": "auc-and-accuracy", "betas": (0.5, 0.9)}),
    ("clam-sb", {}, {"sampling": "balanced"}),
    ("clam-mb", {}, {"sampling": "balanced", "precision": "bfloat16"}),
    ("max", {"dropout": 0.5}, {}),  # draws dropout from torch's global generator
    ("abmil", {"dropout": 0.5}, {}),
    ("abmil", {"dropout": 0.5}, {"precision": "bfloat16"}),
    ("transformer", {"dropout": 0.5}, {"learning_rate": 5e-5}),
    ("srmil", {"dropout": 0.11}, {"optimiser": "adamw", "sampling": "fixed", "chosen_by": "loss"}),
]
# A first stage is trained before these; the number is that of bags loaded between the stages.
STAGED = {"ibmil": len(TRAIN), "mhim": 0}


@pytest.fixture(autouse=True)
def _kept_after_every_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Writing may take all of the time, so that a stop comes where a test wants it."""
    monkeypatch.setattr(checkpoints, "SHARE", 1.0)


class Stopped(Exception):
    """Stands in for a kill."""


def train_with(
    checkpoint: Path | None,
    name: str,
    changes: dict[str, object],
    plan: Recipe,
    *,
    weights: int = 0,
    stop_at: int | None = None,
    stop_at_slide: int | None = None,
) -> tuple[Trained, list[dict[str, float]], MILModel]:
    """Trains a fresh model; stops after the epoch `stop_at`, or when this many bags have been loaded."""
    logs: list[dict[str, float]] = []
    loaded = [0]

    def log(epoch: int, figures: dict[str, float], *, first_stage: bool = False) -> None:
        if first_stage:
            return
        assert epoch == len(logs)
        logs.append(figures)
        if epoch == stop_at:
            raise Stopped

    def load(slide: str) -> Bag:
        loaded[0] += 1
        if loaded[0] == stop_at_slide:
            raise Stopped
        return toy_bag(slide)

    model = build(name, seed=weights, **changes)
    return train_fold(model, load, TRAIN, VAL, plan, seed=1, log=log, checkpoint=checkpoint), logs, model


@cache
def undisturbed_in_two_stages(name: str) -> tuple[Trained, list[dict[str, float]], MILModel]:
    """What every interrupted training below has to end with: trained once for all of them."""
    return train_with(None, name, TWO_STAGES, recipe(EPOCHS))


def assert_same(
    one: tuple[Trained, list[dict[str, float]], MILModel], other: tuple[Trained, list[dict[str, float]], MILModel]
) -> None:
    """Bit by bit: history, chosen epoch, its weights, all probabilities and the weights of the last epoch."""
    assert repr(one[1]) == repr(other[1])  # NaN, as the gradients of most epochs are, does not equal itself
    assert repr(one[0].first_stage) == repr(other[0].first_stage)
    assert (one[0].epoch, one[0].val_auc, one[0].val_loss) == (other[0].epoch, other[0].val_auc, other[0].val_loss)
    assert one[0].state.keys() == other[0].state.keys()
    assert all(torch.equal(one[0].state[name], other[0].state[name]) for name in one[0].state)
    assert (one[0].val_probabilities == other[0].val_probabilities).all()
    assert one[0].every_epoch.shape == other[0].every_epoch.shape == (len(one[1]), len(VAL), 2)
    assert (one[0].every_epoch == other[0].every_epoch).all()
    last = other[2].state_dict()
    assert all(torch.equal(tensor, last[name]) for name, tensor in one[2].state_dict().items())


@pytest.mark.parametrize(("name", "changes", "how"), RESUMED, ids=str)
def test_an_interrupted_training_ends_with_the_same_bits(
    tmp_path: Path, name: str, changes: dict[str, object], how: dict[str, object]
) -> None:
    plan = recipe(4, **how)
    undisturbed = train_with(None, name, changes, plan)
    assert undisturbed[0].epoch > 0
    file = tmp_path / "fold.safetensors"
    with pytest.raises(Stopped):
        train_with(file, name, changes, plan, stop_at=2)  # epoch 2 was not yet saved
    saved = read_checkpoint(file)
    assert saved is not None
    assert saved.history == undisturbed[1][:2]
    torch.manual_seed(999)
    # Other weights and another state of torch's generator: all must come from the checkpoint.
    assert_same(train_with(file, name, changes, plan, weights=77), undisturbed)


def test_a_training_may_be_interrupted_again_and_again(tmp_path: Path) -> None:
    plan, file = recipe(6), tmp_path / "fold.safetensors"
    undisturbed = train_with(None, "sam-mil", {}, plan)
    for slide in (4, 20, 37, 16 + 13, 3):  # an epoch loads 16 bags: 10 to train on, 6 of validation
        with pytest.raises(Stopped):
            train_with(file, "sam-mil", {}, plan, weights=slide if file.exists() else 0, stop_at_slide=slide)
    saved = read_checkpoint(file)
    assert saved is not None
    assert len(saved.history) == 0 + 1 + 2 + 1 + 0
    assert_same(train_with(file, "sam-mil", {}, plan, weights=5), undisturbed)


TWO_STAGES = {"dropout": 0.5}
EPOCHS, PER_EPOCH = 4, len(TRAIN) + len(VAL)
FIRST = EPOCHS * PER_EPOCH  # bags that the first stage loads
STOPS = {  # bags loaded: since the start, or since the second stage has begun
    "first epoch": (5, False),
    "first stage": (2 * PER_EPOCH + 3, False),
    "last validation of the first stage": (FIRST, False),
    "first bag after the first stage": (FIRST + 1, False),
    "first bag of the second stage": (1, True),
    "first validation of the second stage": (len(TRAIN) + 1, True),
    "second stage": (2 * PER_EPOCH + 3, True),
}


@pytest.mark.parametrize("name", STAGED)
@pytest.mark.parametrize("where", STOPS)
def test_a_training_in_two_stages_that_is_interrupted_ends_with_the_same_bits(
    tmp_path: Path, name: str, where: str
) -> None:
    plan, file = recipe(EPOCHS), tmp_path / "fold.safetensors"
    undisturbed = undisturbed_in_two_stages(name)
    assert len(undisturbed[0].first_stage) == EPOCHS
    count, begun = STOPS[where]
    with pytest.raises(Stopped):
        train_with(file, name, TWO_STAGES, plan, stop_at_slide=count + begun * (FIRST + STAGED[name]))
    saved = read_checkpoint(file)
    in_second = saved is not None and saved.first_stage is not None
    assert in_second == (where == "second stage")
    # The second stage's checkpoint has all its weights; before it, they are drawn again from the same seed.
    assert_same(train_with(file, name, TWO_STAGES, plan, weights=77 if in_second else 0), undisturbed)


@pytest.mark.parametrize("name", STAGED)
def test_a_training_in_two_stages_may_be_interrupted_again_and_again(tmp_path: Path, name: str) -> None:
    plan, file = recipe(EPOCHS), tmp_path / "fold.safetensors"
    undisturbed = undisturbed_in_two_stages(name)
    # Bags loaded since the last start: inside the first stage, at its end, between, inside the second.
    between = STAGED[name]
    for slide in (PER_EPOCH + 1, 3 * PER_EPOCH, 1 + PER_EPOCH, 4, between + 2 * PER_EPOCH + 1, PER_EPOCH + 2):
        with pytest.raises(Stopped):
            train_with(file, name, TWO_STAGES, plan, stop_at_slide=slide)
    saved = read_checkpoint(file)
    assert saved is not None
    assert (repr(saved.first_stage), len(saved.history)) == (repr(undisturbed[0].first_stage), 3)
    assert_same(train_with(file, name, TWO_STAGES, plan, weights=5), undisturbed)


@pytest.mark.parametrize("name", STAGED)
def test_a_finished_training_in_two_stages_is_read_and_not_repeated(tmp_path: Path, name: str) -> None:
    plan, file = recipe(EPOCHS), tmp_path / "fold.safetensors"
    first = train_with(file, name, {}, plan)
    assert_same(first, train_with(None, name, {}, plan))
    assert_same(train_with(file, name, {}, plan, weights=8, stop_at_slide=1), first)


@pytest.mark.parametrize("name", STAGED)
def test_a_first_stage_that_stopped_early_does_not_go_on_after_an_interruption(tmp_path: Path, name: str) -> None:
    plan, file = recipe(12, patience=1, learning_rate=0.05), tmp_path / "fold.safetensors"
    undisturbed = train_with(None, name, {}, plan)
    epochs = len(undisturbed[0].first_stage)
    assert 1 < epochs < 12
    with pytest.raises(Stopped):
        train_with(file, name, {}, plan, stop_at_slide=epochs * PER_EPOCH + 1)  # it is over, the second not begun
    assert_same(train_with(file, name, {}, plan), undisturbed)


def test_a_training_without_interruption_is_the_same_with_and_without_a_checkpoint(tmp_path: Path) -> None:
    plan = recipe(4)
    assert_same(train_with(tmp_path / "a.safetensors", "abmil", {}, plan), train_with(None, "abmil", {}, plan))


def test_a_finished_training_is_read_and_not_repeated(tmp_path: Path) -> None:
    plan, file = recipe(4), tmp_path / "fold.safetensors"
    first = train_with(file, "sam-mil", {}, plan)
    assert_same(train_with(file, "sam-mil", {}, plan, weights=8, stop_at_slide=1), first)


@pytest.mark.parametrize("stop_at", [1, 2, 3, 4])
def test_early_stopping_comes_at_the_same_epoch_after_an_interruption(tmp_path: Path, stop_at: int) -> None:
    script = [CHANCE, GOOD, CHANCE, CHANCE, CHANCE, BEST]
    plan, file = recipe(6, patience=3), tmp_path / "fold.safetensors"

    def stop(epoch: int, figures: dict[str, float]) -> None:
        if epoch == stop_at:
            raise Stopped

    with pytest.raises(Stopped):
        train_fold(Scripted(script), toy_bag, TRAIN, VAL, plan, seed=1, log=stop, checkpoint=file)
    model, logs = Scripted(script), list[int]()
    trained = train_fold(
        model, toy_bag, TRAIN, VAL, plan, seed=1, log=lambda epoch, _: logs.append(epoch), checkpoint=file
    )
    assert logs == [0, 1, 2, 3, 4]
    assert model.asked == len(VAL) * (5 - stop_at)  # the epochs before were read: `stop_at` was not yet saved
    assert (trained.epoch, trained.val_auc) == (1, pytest.approx(8 / 9))
    assert trained.val_probabilities[:, 1].tolist() == pytest.approx(GOOD)


def _truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def _other_tensors(file: Path) -> None:
    save_file({"weight": torch.ones(3)}, file)


@pytest.mark.parametrize(
    "damage",
    [
        _truncate,
        _other_tensors,
        lambda file: file.write_bytes(b""),
        lambda file: file.write_text("no tensors at all", encoding="utf-8"),
        lambda file: file.write_bytes(bytes(file.stat().st_size)),
    ],
    ids=["half", "other", "empty", "text", "zeros"],
)
def test_a_damaged_checkpoint_is_passed_over(tmp_path: Path, damage: Callable[[Path], object]) -> None:
    plan, file = recipe(3), tmp_path / "fold.safetensors"
    undisturbed = train_with(None, "abmil", {}, plan)
    with pytest.raises(Stopped):
        train_with(file, "abmil", {}, plan, stop_at=2)
    damage(file)
    assert_same(train_with(file, "abmil", {}, plan), undisturbed)
