"""MATLAB files of the classical MIL data sets: the rows of all bags, the bag of each row, the label of each bag."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sammil_cli.errors import InputError
from sammil_cli.legacy.mat_file import read_mat_arrays
from sammil_cli.legacy.patch_lists import PatchList

ROWS = "X"
_NAMES = (ROWS, "Bag2", "bagI")
_CLASSES = ("negative", "positive")


@dataclass(frozen=True, kw_only=True)
class MatBags:
    """`bags`: name -> its rows, without coordinates. `labels`: name -> `positive` or `negative`. `files`: all read."""

    bags: dict[str, PatchList]
    labels: dict[str, str]
    files: tuple[Path, ...]


def read_mat_bags(path: Path) -> MatBags:
    """Reads the bags of a cohort; a bag is called like the folder and its number, such as `fox_scaled_007`.

    Args:
        path: the file with the matrix `X` (n, d). `Bag2` (n, 1), the number of each row's bag from 1 to b, and `bagI`
            (b, 1), 1 for a positive bag and 0 for another, lie in it or in the files beside it.

    Raises:
        InputError: a file is damaged or missing, or the three do not fit together.
        MissingError: the system lacks memory or files.
    """
    held = {path: read_mat_arrays(path)}
    beside = {other: read_mat_arrays(other) for other in sorted(path.parent.glob("*.mat")) if other != path}
    held |= {other: arrays for other, arrays in beside.items() if ROWS not in arrays}
    files = [_holder(path, held, name) for name in _NAMES]
    rows, bag_of_row, positive = (held[file][name] for file, name in zip(files, _NAMES, strict=True))
    bag_of_row, positive = bag_of_row.reshape(-1), positive.reshape(-1)
    if rows.ndim != 2 or not rows.size:
        raise _refused(path, f"X has the shape {rows.shape}, not rows of numbers")
    if len(bag_of_row) != len(rows):
        raise _refused(path, f"X has {len(rows)} rows, and Bag2 names the bag of {len(bag_of_row)}")
    numbers = np.arange(1, len(positive) + 1)
    if not np.isin(bag_of_row, numbers).all() or not np.isin(numbers, bag_of_row).all():
        raise _refused(path, f"Bag2 does not number the {len(positive)} bags of bagI from 1 to {len(positive)}")
    if not np.isin(positive, (0, 1)).all():
        raise _refused(path, "bagI holds other numbers than 0 and 1")
    with np.errstate(
        over="ignore"
    ):  # what float32 cannot hold is refused as infinite, with the row, when a bag is made
        features = rows.astype(np.float32)
    width = len(str(len(positive)))
    name_of = {number: f"{path.resolve().parent.name}_{number:0{width}d}" for number in numbers.tolist()}
    return MatBags(
        bags={
            name: PatchList(features=features[bag_of_row == number], xy=None, side_px0=None)
            for number, name in name_of.items()
        },
        labels={name: _CLASSES[int(positive[number - 1])] for number, name in name_of.items()},
        files=tuple(dict.fromkeys(files)),
    )


def _refused(path: Path, reason: str) -> InputError:
    return InputError(
        f"{path} holds no bags: {reason}",
        remedy="put X (rows x features), Bag2 (each row's bag, from 1 on), bagI (each bag 0 or 1) into one folder",
    )


def _holder(path: Path, held: dict[Path, dict[str, NDArray[Any]]], name: str) -> Path:
    """The one file that holds an array."""
    found = [file for file, arrays in held.items() if name in arrays]
    if not found:
        raise _refused(path, f"neither it nor another .mat beside it holds {name}")
    if len(found) > 1:
        raise _refused(path, f"{name} lies in {' and in '.join(file.name for file in found)}")
    return found[0]
