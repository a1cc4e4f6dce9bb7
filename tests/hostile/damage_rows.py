"""Rows of the table of damages: what a line is, and what several of them share; the table is in `damage_table.py`."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import damages as d
import h5py
import numpy as np
import torch
from damages import Damage

Lines = Mapping[str, tuple[Damage | str | bytes, str]]


@dataclass(frozen=True)
class Row:
    """One damage of one kind of file; `code` is `anew` or `different` where it is no error."""

    kind: str
    what: str
    damage: Damage
    code: str
    message: str

    @property
    def is_sealed(self) -> bool:
        """Whether the damage makes the file's sums fit."""
        return getattr(self.damage, "func", None) in d.SEALING


def of(kinds: str, lines: Lines) -> list[Row]:
    """Rows of several kinds, whose names are separated by commas."""
    rows = []
    for what, (damage, expected) in lines.items():
        code, _, message = expected.partition(": ")
        make = damage if callable(damage) else partial(d.write, damage)
        rows += [Row(kind.strip(), what, make, code, message) for kind in kinds.split(",")]
    return rows


class Calls:
    """Asks whoever unpickles it to run a command."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch was-run",)


def saved(value: object, path: Path) -> None:
    torch.save(value, path)


def array(value: object, path: Path) -> None:
    """Writes what `numpy.save` writes; objects as a pickle."""
    np.save(path, np.asarray(value), allow_pickle=True)


def array_header(shape: str) -> bytes:
    """A `.npy` file with a header that says that shape, and a few numbers."""
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes(64)


def drawn(*geometries: object) -> str:
    shapes = [{"type": "Feature", "geometry": shape, "properties": {}} for shape in geometries]
    return json.dumps({"type": "FeatureCollection", "features": shapes})


def polygon(*points: tuple[float, float]) -> dict[str, object]:
    return {"type": "Polygon", "coordinates": [[*points, points[0]]]}


def old_rows(path: Path, *, coords: int = 4, shape: tuple[int, ...] = (4, 8)) -> None:
    with h5py.File(path, "w") as file:
        file["features"], file["coords"] = np.ones(shape, np.float32), np.ones((coords, 2), np.int64)
