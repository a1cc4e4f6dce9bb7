"""The checkpoint of an unfinished training: what was written comes back to the last bit."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from sammil_cli.training import checkpoint as checkpoints
from sammil_cli.training.checkpoint import Checkpoint, Keeper, read_checkpoint, write_checkpoint


def make(epochs: int = 2) -> Checkpoint:
    generator = torch.Generator().manual_seed(1)
    return Checkpoint(
        tensors={
            "model.best.weight": torch.randn(3, 4, generator=generator),  # a name with a prefix of the file in it
            "adam.0.step": torch.tensor(7.0),
            "adam.0.exp_avg": torch.randn(3, 4, generator=generator).T,  # not contiguous
            "random.generator": generator.get_state(),
            "half": torch.randn(5, generator=generator).bfloat16(),
            "flags": torch.tensor([True, False]),
        },
        best={"best.weight": torch.randn(3, 4, generator=generator), "epoch": torch.tensor(-1)},
        best_epoch=1,
        history=[{"loss_bag": 0.1 + 0.2, "val_auc": float("nan")}, {"loss_bag": 1e-300, "val_auc": 1 / 3}][:epochs],
        probabilities=list(np.random.default_rng(2).random((epochs, 5, 2))),
    )


def test_everything_comes_back_to_the_last_bit(tmp_path: Path) -> None:
    written = make()
    write_checkpoint(tmp_path / "new" / "fold.safetensors", written)
    found = read_checkpoint(tmp_path / "new" / "fold.safetensors")
    assert found is not None
    for kind in ("tensors", "best"):
        one, other = getattr(written, kind), getattr(found, kind)
        assert one.keys() == other.keys()
        assert all(one[name].dtype == other[name].dtype and torch.equal(one[name], other[name]) for name in one)
    assert found.best_epoch == 1
    assert math.isnan(found.history[0].pop("val_auc"))
    assert found.history == [{"loss_bag": 0.30000000000000004}, {"loss_bag": 1e-300, "val_auc": 1 / 3}]
    assert list(found.history[1]) == ["loss_bag", "val_auc"]  # the columns of the learning curve
    assert len(found.probabilities) == 2
    assert all((one == other).all() for one, other in zip(found.probabilities, written.probabilities, strict=True))


def test_writing_takes_a_twentieth_of_the_time_at_most(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]

    def write(path: Path, checkpoint: Checkpoint) -> None:
        clock[0] += 0.5

    monkeypatch.setattr(checkpoints.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(checkpoints, "write_checkpoint", write)
    keeper, written = Keeper(tmp_path / "fold.safetensors"), []
    for epoch in range(100):
        clock[0] += 1.0
        if keeper.is_due:
            keeper.keep(make())
            written.append(epoch)
    assert written == [*range(0, 100, 10)]  # the first, and each after 9.5 s


def test_what_was_read_outlives_the_file(tmp_path: Path) -> None:
    path = tmp_path / "fold.safetensors"
    write_checkpoint(path, make())
    found = read_checkpoint(path)
    assert found is not None
    path.write_bytes(bytes(path.stat().st_size))
    assert torch.equal(found.tensors["model.best.weight"], make().tensors["model.best.weight"])
    assert (found.probabilities[1] == make().probabilities[1]).all()


def test_tensors_that_share_memory_are_kept_apart(tmp_path: Path) -> None:
    whole = torch.arange(6.0)
    shared = Checkpoint(
        tensors={"a": whole, "b": whole, "c": whole[2:4]},
        best={"a": whole},
        best_epoch=0,
        history=[{}],
        probabilities=[np.ones((1, 2))],
    )
    write_checkpoint(tmp_path / "fold.safetensors", shared)
    found = read_checkpoint(tmp_path / "fold.safetensors")
    assert found is not None
    assert {name: tensor.tolist() for name, tensor in found.tensors.items()} == {
        "a": [0, 1, 2, 3, 4, 5],
        "b": [0, 1, 2, 3, 4, 5],
        "c": [2, 3],
    }


def test_no_file_is_no_checkpoint(tmp_path: Path) -> None:
    assert read_checkpoint(tmp_path / "fold.safetensors") is None


@pytest.mark.parametrize("share", [0.0, 0.001, 0.01, 0.3, 0.9, 0.9999])
def test_a_file_that_ends_too_early_is_no_checkpoint(tmp_path: Path, share: float) -> None:
    path = tmp_path / "fold.safetensors"
    write_checkpoint(path, make())
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    assert read_checkpoint(path) is None


def test_a_later_epoch_replaces_the_earlier_one_and_leaves_nothing_beside(tmp_path: Path) -> None:
    path = tmp_path / "fold.safetensors"
    for epochs in (1, 2):
        write_checkpoint(path, make(epochs))
    found = read_checkpoint(path)
    assert found is not None
    assert len(found.history) == 2
    assert [file.name for file in tmp_path.iterdir()] == ["fold.safetensors"]


def test_an_interruption_of_the_writing_leaves_the_earlier_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "fold.safetensors"
    write_checkpoint(path, make(1))

    def stop(self: Path, content: bytes) -> int:
        with self.open("wb") as stream:
            stream.write(content[:100])
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "write_bytes", stop)
    with pytest.raises(KeyboardInterrupt):
        write_checkpoint(path, make(2))
    monkeypatch.undo()
    found = read_checkpoint(path)
    assert found is not None
    assert len(found.history) == 1
    assert [file.name for file in tmp_path.iterdir()] == ["fold.safetensors"]
