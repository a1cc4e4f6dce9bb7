"""Weight files that are something else: each is called what it is, with what to do, and torch's own words stay out."""

import gzip
import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from sammil_cli.errors import MissingError, SlideError
from sammil_cli.legacy.rows import read_features
from sammil_cli.storage.state_dict import load_state

STATE = {"fc.weight": torch.arange(6.0).reshape(2, 3)}


def script(path: Path) -> None:
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.script(torch.nn.Linear(3, 2)), buffer)
    path.write_bytes(buffer.getvalue())


def zipped(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model/readme.txt", "hello")


def cut(path: Path) -> None:
    torch.save(STATE, path)
    path.write_bytes(path.read_bytes()[:-300])


def garbled(path: Path) -> None:
    torch.save(STATE, path, _use_new_zipfile_serialization=False)
    data = path.read_bytes()
    path.write_bytes(data[:60] + b"\xff" * 40 + data[100:])


def hdf5(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["features"] = np.ones((2, 2))


KINDS: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "TorchScript": (script, "a TorchScript program, whose code was not run", "state_dict()"),
    "a web page": (lambda path: path.write_text("\n<!DOCTYPE html><title>Sign in"), "a web page", "login"),
    "an LFS pointer": (
        lambda path: path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0"),
        "a Git LFS pointer",
        "git lfs pull",
    ),
    "nothing": (lambda path: path.write_bytes(b""), "it is empty", "again"),
    "zeros": (lambda path: path.write_bytes(bytes(4000)), "filled with zeros", "again"),
    "gzip": (lambda path: path.write_bytes(gzip.compress(b"x" * 99)), "a gzip archive", "unpack"),
    "a zip": (zipped, "a zip archive that torch did not write (model/readme.txt)", "unpack"),
    "HDF5": (hdf5, "an HDF5 file", ".h5"),
    "safetensors": (lambda path: save_file(STATE, path), "a safetensors file", "name it .safetensors"),
    "text": (lambda path: path.write_text("fc.weight 1 2 3"), "no file that torch wrote", "state dict"),
    "garbled": (garbled, "", ""),
    "cut": (cut, "cut or damaged", "again"),
}


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("suffix", [".pth", ".PT"])
def test_what_is_no_weight_file_is_called_by_its_name(tmp_path: Path, kind: str, suffix: str) -> None:
    write, what, remedy = KINDS[kind]
    path = tmp_path / f"a{suffix}"
    write(path)
    with pytest.raises(MissingError) as caught:
        load_state(path)
    assert what in caught.value.message
    assert remedy in caught.value.remedy
    assert "more than tensors" not in caught.value.message
    assert not any(word in caught.value.message for word in ("weights_only", "torch.load", "Pytorch"))
    with pytest.raises(SlideError) as refused:  # and as features
        read_features(path, [])
    assert (refused.value.code, what in refused.value.message) == ("E_LEGACY_DAMAGED", True)


def test_a_web_page_is_one_as_h5_and_as_safetensors_too(tmp_path: Path) -> None:
    for name in ("a.h5", "a.safetensors"):
        (tmp_path / name).write_text("<html>no")
    with pytest.raises(SlideError, match="it is a web page"):
        read_features(tmp_path / "a.h5", [])
    with pytest.raises(MissingError, match="it is a web page"):
        load_state(tmp_path / "a.safetensors")


def test_one_tensor_is_no_state_dict(tmp_path: Path) -> None:
    torch.save(torch.zeros(7, 3), tmp_path / "a.pth")
    with pytest.raises(MissingError, match=r"one tensor \(7 x 3\) without a name"):
        load_state(tmp_path / "a.pth")


@pytest.mark.parametrize("modern", [True, False])
def test_state_dicts_are_read_also_from_tables_in_tables(tmp_path: Path, modern: bool) -> None:
    path = tmp_path / "a.pth"
    for content in (STATE, {"state_dict": STATE, "epoch": 3}, {"model": STATE, "teacher": None}):
        torch.save(content, path, _use_new_zipfile_serialization=modern)
        assert {name: tensor.tolist() for name, tensor in load_state(path).items()} == {
            "fc.weight": [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]
        }
    torch.save({"head": STATE, "bias": torch.ones(1)}, path, _use_new_zipfile_serialization=modern)
    assert sorted(load_state(path)) == ["bias", "head.fc.weight"]
    save_file(STATE, tmp_path / "a.SAFETENSORS")
    assert list(load_state(tmp_path / "a.SAFETENSORS")) == ["fc.weight"]
