"""What a file says about how it was made, whatever kind of file it is."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sammil_cli.errors import InputError
from sammil_cli.storage.geojson import read_facts
from sammil_cli.storage.hdf5 import read_provenance
from sammil_cli.storage.paths import PACKED_GEOJSON, suffix_of


def read_key(path: Path) -> dict[str, Any] | None:
    """The key in a file's provenance; None if it cannot be read."""
    record = read_record(path, suffix_of(path))
    return None if record is None else dict(record["key"])


def read_record(path: Path, suffix: str) -> dict[str, Any] | None:
    """A file's provenance (see `storage.files.provenance`), with a `key`; None if it cannot be read.

    Args:
        suffix: what kind of file it is, whatever it is called.
    """
    try:
        if suffix == ".h5":
            record = read_provenance(path)
        elif suffix in (".geojson", PACKED_GEOJSON):
            record = read_facts(path, packed=suffix == PACKED_GEOJSON)
        else:
            return None
        known = isinstance(record["key"], Mapping)
    except (InputError, OSError, ValueError, KeyError, TypeError):
        return None
    return dict(record) if known else None
