"""What a file says about how it was made, whatever kind of file it is."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py

from sammil_cli.errors import InputError
from sammil_cli.storage.files import Key
from sammil_cli.storage.guarded_json import parse_json, read_json
from sammil_cli.storage.packed import MOST_BYTES


def read_key(path: Path) -> dict[str, Any] | None:
    """The key in a file's provenance; None if it cannot be read."""
    record = read_record(path, path.suffix)
    return None if record is None else dict(record["key"])


def read_record(path: Path, suffix: str) -> dict[str, Any] | None:
    """A file's provenance (see `storage.files.provenance`), with a `key`; None if it cannot be read.

    Args:
        suffix: what kind of file it is, whatever it is called.
    """
    try:
        if suffix == ".h5":
            with h5py.File(path, "r", locking=False) as file:
                record = parse_json(file.attrs["provenance"], path, with_nan=True)
        elif suffix == ".geojson":
            record = read_json(path, most_bytes=MOST_BYTES)["sammil"]
        else:
            return None
        known = isinstance(record["key"], Mapping)
    except (
        OSError,
        ValueError,
        KeyError,
        TypeError,
        RuntimeError,
        InputError,
    ):  # h5py's ways to say that a file is damaged, too
        return None
    return dict(record) if known else None


def as_stored(key: Key) -> dict[str, Any]:
    """A key as it reads back from a file: what JSON makes of its values."""
    stored: dict[str, Any] = json.loads(json.dumps(key, default=str))
    return stored
