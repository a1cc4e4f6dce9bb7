"""An old file on a disk that fails is no damaged one, whatever library reads it."""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from sammil_cli.errors import MissingError
from sammil_cli.legacy.h5_file import read_h5
from sammil_cli.legacy.torch_file import read_torch, write_torch
from sammil_cli.legacy.unpickler import read_pickles
from sammil_cli.storage.state_dict import load_state


def failing(*_: object, **__: object) -> None:
    raise OSError(errno.EIO, os.strerror(errno.EIO))


def old_h5(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["coords"] = np.zeros((2, 2))


READERS: dict[str, tuple[Callable[[Path], Any], Callable[[Path], Any], tuple[object, str]]] = {
    "HDF5": (old_h5, lambda path: read_h5(path, ("coords",)), (h5py, "File")),
    "a tensor": (lambda path: write_torch(path, np.zeros((2, 2))), read_torch, (torch, "load")),
    "weights": (lambda path: torch.save({"a": torch.zeros(2)}, path), load_state, (torch, "load")),
    "a pickle": (lambda path: path.write_bytes(b"N."), read_pickles, (Path, "open")),
}


@pytest.mark.parametrize("kind", READERS)
def test_a_disk_that_fails_has_its_own_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    write, read, (holder, name) = READERS[kind]
    path = tmp_path / "s.pt"
    write(path)
    read(path)
    with monkeypatch.context() as patched:
        patched.setattr(holder, name, failing)
        with pytest.raises(MissingError) as caught:
            read(path)
    assert caught.value.code == "E_DISK"
