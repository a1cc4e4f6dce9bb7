"""Learning curves can be read while training writes them."""

from pathlib import Path

import pytest

from sammil_cli.training.learning_curves import CurveFile, epochs_done


def test_each_epoch_is_on_disk_as_soon_as_it_is_added(tmp_path: Path) -> None:
    path = tmp_path / "curves" / "fold.csv"
    assert epochs_done(path) == 0
    with CurveFile(path) as curve:
        assert epochs_done(path) == 0
        curve.add(0, {"loss_bag": 0.6931471805, "val_auc": 0.5})
        assert path.read_text(encoding="utf-8") == "epoch,loss_bag,val_auc\n0,0.693147,0.5\n"
        assert epochs_done(path) == 1
        curve.add(1, {"loss_bag": 0.25, "val_auc": float("nan")})
        assert path.read_text(encoding="utf-8").splitlines()[2] == "1,0.25,nan"
        assert epochs_done(path) == 2


def test_a_new_training_starts_a_new_file(tmp_path: Path) -> None:
    path = tmp_path / "fold.csv"
    for value in (1.0, 2.0):
        with CurveFile(path) as curve:
            curve.add(0, {"loss": value})
    assert path.read_text(encoding="utf-8") == "epoch,loss\n0,2\n"


def test_nothing_is_added_after_the_block(tmp_path: Path) -> None:
    with CurveFile(tmp_path / "fold.csv") as curve:
        curve.add(0, {"loss": 1.0})
    with pytest.raises(ValueError, match="closed file"):
        curve.add(1, {"loss": 1.0})


def test_what_was_written_stays_when_training_fails(tmp_path: Path) -> None:
    path = tmp_path / "fold.csv"

    def fail() -> None:
        with CurveFile(path) as curve:
            curve.add(0, {"loss": 1.5})
            raise RuntimeError("training failed")

    with pytest.raises(RuntimeError, match="training failed"):
        fail()
    assert epochs_done(path) == 1
