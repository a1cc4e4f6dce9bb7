"""What a file says about how it was made, whatever kind of file it is."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sammil_cli.errors import InputError
from sammil_cli.storage.files import Key
from sammil_cli.storage.hdf5 import read_provenance


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
            record = read_provenance(path)
        elif suffix == ".geojson":
            record = json.loads(path.read_text(encoding="utf-8"))["sammil"]
        else:
            return None
        known = isinstance(record["key"], Mapping)
    except (InputError, OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return dict(record) if known else None


def as_stored(key: Key) -> dict[str, Any]:
    """A key as it reads back from a file: what JSON makes of its values."""
    stored: dict[str, Any] = json.loads(json.dumps(key, default=str))
    return stored
