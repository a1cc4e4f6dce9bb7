"""HDF5 files: named arrays, attributes and provenance, written atomically, byte-identical for the same content."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from sammil_cli.errors import InputError
from sammil_cli.storage.files import SCHEMA_VERSION, atomic_path

Arrays = dict[str, NDArray[Any]]


def write_hdf5(
    path: Path,
    kind: str,
    arrays: Mapping[str, NDArray[Any]],
    attributes: Mapping[str, Any],
    provenance: Mapping[str, Any],
    *,
    compressed: tuple[str, ...] = (),
) -> None:
    """Writes arrays (contiguous, or gzip for the names in `compressed`) and attributes.

    Args:
        kind: what the file holds (`patches`, `regions`, `bag`), checked on reading.
        provenance: see `storage.files.provenance`; stored as JSON in the attribute `provenance`.
    """
    # mkstemp has made the file; h5py truncates it. Locks are not needed: nobody knows the temporary name.
    with atomic_path(path) as temporary, h5py.File(temporary, "w", libver="v110", locking=False) as file:
        for name, array in arrays.items():
            options = {"compression": "gzip", "shuffle": True} if name in compressed and array.size else {}
            file.create_dataset(name, data=array, track_times=False, **options)
        file.attrs["kind"] = kind
        file.attrs["schema"] = SCHEMA_VERSION
        for name, value in attributes.items():
            if value is not None:
                file.attrs[name] = value
        file.attrs["provenance"] = json.dumps(provenance, sort_keys=True)


def read_hdf5(path: Path, kind: str, *, arrays: bool = True) -> tuple[Arrays, dict[str, Any]]:
    """Reads all arrays (none if not asked for) and all attributes (`provenance` decoded).

    Raises:
        InputError: not an HDF5 file, another kind, or a newer schema.
    """
    try:
        with h5py.File(path, "r", locking=False) as file:
            attributes: dict[str, Any] = {
                name: value.item() if isinstance(value, np.generic) else value for name, value in file.attrs.items()
            }
            if attributes.get("kind") != kind:
                found = attributes.get("kind", "not written by sammil")
                raise InputError(
                    f"{path} is no {kind} file ({found})",
                    remedy="older tools' files come in through: sammil convert-legacy",
                )
            if attributes["schema"] > SCHEMA_VERSION:
                raise InputError(f"{path} was written by a newer sammil", remedy="upgrade sammil")
            content = {name: dataset[()] for name, dataset in file.items()} if arrays else {}
    except FileNotFoundError:
        raise InputError(f"{path} does not exist", remedy="run the stage that writes it first") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error}", remedy="delete it and run the stage again") from None
    attributes["provenance"] = json.loads(attributes["provenance"])
    return content, attributes
