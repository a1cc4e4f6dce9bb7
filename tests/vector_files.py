"""HDF5 files as other tools write slide embeddings."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py


def write_vectors(path: Path, arrays: Mapping[str, Any]) -> Path:
    """Data sets by name, groups between slashes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            file[name] = array
    return path
