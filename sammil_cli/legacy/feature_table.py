"""Features as a table (`.csv`), a line for each patch: numbered columns, and before them perhaps x and y."""

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sammil_cli.errors import limit_met
from sammil_cli.legacy.h5_file import damaged, missing
from sammil_cli.storage.csv_text import no_table, separator_of
from sammil_cli.storage.regular_file import is_endless

SUFFIX = ".csv"
_PLACES = (("x", "y"), ("coord_x", "coord_y"), ("coords_x", "coords_y"), ("x_coord", "y_coord"))
_ROW_NUMBER = ("", "unnamed: 0")  # what pandas calls the column that it adds
_NUMBERED = re.compile(r"(\D*)(\d+)")
_FEWEST = 2  # features; fewer numbered columns may be anything


@dataclass(frozen=True, kw_only=True)
class Columns:
    """Which columns hold what: `features`, and of a patch's corner `places` (x, y), None = not there."""

    features: tuple[int, ...]
    places: tuple[int, int] | None


def columns_of(header: Sequence[str]) -> Columns | None:
    """What the columns of a table are; None where they are not features.

    Features are numbered one after the other from 0 or 1, behind the same word or none: `0,1,2`, `feature_0,feature_1`.
    Beside them there may be x and y, and the row's number that pandas writes; nothing else.
    """
    names = [name.strip().lower() for name in header]
    rest = [index for index, name in enumerate(names) if index or name not in _ROW_NUMBER]
    pair = next((pair for pair in _PLACES if set(pair) <= set(names)), None)
    places = (names.index(pair[0]), names.index(pair[1])) if pair else None
    features = [index for index in rest if index not in (places or ())]
    parts = [_NUMBERED.fullmatch(names[index]) for index in features]
    found = [(part[1], int(part[2])) for part in parts if part]
    if len(found) < _FEWEST or len(found) < len(parts):
        return None
    word, first = found[0]
    if first > 1 or found != [(word, first + place) for place in range(len(found))]:
        return None
    return Columns(features=tuple(features), places=places)


def read_feature_table(path: Path) -> tuple[NDArray[np.float32], NDArray[Any] | None]:
    """Features (rows, d), and the patches' corners (rows, 2) where the table has them.

    Raises:
        SlideError: `E_LEGACY_MISSING` · `E_LEGACY_DAMAGED`, its columns or a cell are something else.
        MissingError: the disk failed.
    """
    if not path.exists():
        raise missing(path)
    if is_endless(path):
        raise damaged(path, "it is no file but a pipe, a socket or a device")
    try:
        data = path.read_bytes()
        if trouble := no_table(data):
            raise damaged(path, f"it {trouble}")
        text = data.decode("utf-8-sig").lstrip("\r\n ")
        head, _, body = text.partition("\n")
        separator = separator_of(head)[0]
        columns = columns_of([name.strip('" \r') for name in head.split(separator)])
        if columns is None:
            raise damaged(path, "its first line does not name columns of features, such as x,y,0,1,2 or 0,1,2")
        if not body.strip():
            raise damaged(path, "it has no rows")
        numbers = np.loadtxt(io.StringIO(body), np.float64, delimiter=separator, comments=None, ndmin=2, quotechar='"')
    except UnicodeDecodeError:
        raise damaged(path, "it is not UTF-8 text") from None
    except (OSError, MemoryError) as error:
        raise limit_met(error) or damaged(path, str(error)) from None
    except ValueError as error:  # of a row or a cell, which numpy names
        raise damaged(path, str(error).partition(";")[0]) from None
    if numbers.shape[1] != len(head.split(separator)):
        raise damaged(path, f"its rows have {numbers.shape[1]} cells, its first line {len(head.split(separator))}")
    with np.errstate(over="ignore"):  # what is no float32 is infinite, and refused as such
        features = numbers[:, columns.features].astype(np.float32)
    return features, None if columns.places is None else numbers[:, columns.places]
