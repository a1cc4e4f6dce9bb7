"""The table of a slide's patches: where each lies, its attention, and its evidence for each class."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sammil_cli.errors import InputError
from sammil_cli.storage.files import read_csv, write_csv

_PLACE, _EVIDENCE = ("x", "y", "attention"), "evidence_"
_AGAIN = "delete it, and run the same command again"


@dataclass(frozen=True, kw_only=True)
class PatchTable:
    """`xy` (n, 2): level-0 corners; `attention` (n,) and `evidence` (n, C), not calibrated, of the C `classes`."""

    classes: tuple[str, ...]
    xy: NDArray[np.int32]
    attention: NDArray[np.float64]
    evidence: NDArray[np.float64]


def write_patch_table(path: Path, table: PatchTable) -> None:
    """Writes the table, numbers to nine digits."""
    rows = [
        (x, y, f"{weight:.9g}", *(f"{share:.9g}" for share in shares))
        for (x, y), weight, shares in zip(table.xy.tolist(), table.attention, table.evidence, strict=True)
    ]
    write_csv(path, (*_PLACE, *(f"{_EVIDENCE}{name}" for name in table.classes)), rows)


def read_patch_table(path: Path) -> PatchTable:
    """Reads what `write_patch_table` wrote.

    Raises:
        InputError: no such table; `E_DAMAGED`, it holds something else than numbers, or no patch.
    """
    rows = read_csv(path, _PLACE)
    try:
        columns = [name for name in rows[0] if name.startswith(_EVIDENCE)]
        return PatchTable(
            classes=tuple(name.removeprefix(_EVIDENCE) for name in columns),
            xy=np.array([[int(row["x"]), int(row["y"])] for row in rows], np.int32),
            attention=np.array([float(row["attention"]) for row in rows]),
            evidence=np.array([[float(row[name]) for name in columns] for row in rows]),
        )
    except (ValueError, IndexError, OverflowError) as error:
        raise InputError(f"{path} is no table of patches: {error}", remedy=_AGAIN, code="E_DAMAGED") from None
