"""Rows of older feature files: patches first, then SAM-MIL's group features, marked by coordinates or by nothing."""

import math
import pickle
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from sammil_cli.errors import SlideError

Floats = NDArray[np.floating[Any]]

_WRITE_AGAIN = "copy or write the file again"


@dataclass(frozen=True, kw_only=True)
class Rows:
    """One slide's rows: patches `features` (n, d), `xy` (n, 2) level-0 corners; `groups` (g, d) as they were stored."""

    features: Floats
    xy: NDArray[np.int32]
    groups: Floats


@dataclass(frozen=True, kw_only=True)
class PatchFile:
    """What a `patches/<slide>.h5` says: coordinates (n, 2) and, where it does, sides in level and level-0 pixels."""

    coords: NDArray[np.int64]
    patch_px: int | None
    patch_px_level0: int | None
    level: int


def read_feature_h5(path: Path) -> tuple[Floats, NDArray[np.int64]]:
    """Reads `features` (rows, d) and `coords` (rows, 2).

    Raises:
        SlideError: `E_LEGACY_MISSING`, `E_LEGACY_DAMAGED`; `E_LEGACY_MISMATCH` where their rows differ.
    """
    arrays, _ = _read_h5(path, ("features", "coords"))
    features, coords = _as_features(path, arrays["features"]), _as_coords(path, arrays["coords"])
    if len(features) != len(coords):
        raise SlideError(
            "E_LEGACY_MISMATCH",
            f"{path} has {len(features)} rows of features and {len(coords)} of coordinates",
            remedy="extract the features of this slide again",
        )
    return features, coords


def read_feature_pt(path: Path) -> Floats:
    """Reads a tensor (rows, d); torch runs nothing that the file asks for.

    Raises:
        SlideError: `E_LEGACY_MISSING`, `E_LEGACY_UNSAFE`, `E_LEGACY_DAMAGED`.
    """
    # Not at the top: the h5 form needs no torch, which takes seconds to load.
    import torch

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns of old protocols just before it refuses them
            tensor = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise _missing(path) from None
    except pickle.UnpicklingError as error:
        if "GLOBAL" not in str(error):  # torch's word for a forbidden name
            raise _damaged(path, "torch cannot read it") from None
        raise SlideError(
            "E_LEGACY_UNSAFE",
            f"{path} holds more than a tensor, and what it holds could run code; nothing was run",
            remedy="write the features alone: torch.save(tensor, path)",
        ) from None
    except (RuntimeError, EOFError, OSError, ValueError, TypeError, LookupError) as error:
        raise _damaged(path, str(error).partition("\n")[0] or "it is empty") from None
    if not isinstance(tensor, torch.Tensor) or not tensor.is_floating_point():
        raise _damaged(path, f"it holds a {type(tensor).__name__}, no tensor of floating-point features")
    if tensor.dtype == torch.bfloat16:  # numpy has no such type
        tensor = tensor.float()
    return _as_features(path, tensor.detach().numpy())


def read_patch_file(path: Path) -> PatchFile:
    """Reads a coordinate file of CLAM, SAM-MIL or TRIDENT, or the `coords` of a feature file.

    Raises:
        SlideError: `E_LEGACY_MISSING`, `E_LEGACY_DAMAGED`.
    """
    arrays, facts = _read_h5(path, ("coords",))
    try:
        side = int(facts["patch_size"]) if "patch_size" in facts else None
        level = int(facts.get("patch_level", 0))
        downsample = float(np.ravel(facts["downsample"])[0]) if "downsample" in facts else float(2**level)
        level0 = int(facts["patch_size_level0"]) if "patch_size_level0" in facts else None
    except (TypeError, ValueError, OverflowError) as error:
        raise _damaged(path, f"its attributes are no numbers: {error}") from None
    if level0 is None and side is not None:
        if not math.isfinite(side * downsample) or side * downsample < 1:
            raise _damaged(path, f"its patches have a side of {side} x {downsample} level-0 pixels")
        level0 = round(side * downsample)
    return PatchFile(coords=_as_coords(path, arrays["coords"]), patch_px=side, patch_px_level0=level0, level=level)


def split(features: Floats, coords: NDArray[np.int64], slide_id: str) -> tuple[Rows, bool]:
    """Takes patches and group rows apart.

    Group rows have the coordinates (-1, -1); where these hold patches only, the rows behind the last are groups.

    Returns:
        The rows, and whether it is by their count alone that group rows were told.

    Raises:
        SlideError: `E_LEGACY_MISMATCH`: fewer rows than patches, or no patches.
    """
    is_group = (coords == -1).all(axis=1)
    xy = coords[~is_group].astype(np.int32)
    if not len(xy) or len(features) < len(xy) or (is_group.any() and len(features) not in (len(xy), len(coords))):
        raise SlideError(
            "E_LEGACY_MISMATCH",
            f"{slide_id} has {len(features)} rows of features for {len(xy)} patches and {is_group.sum()} group rows",
            remedy="the files are of different runs: bring those of one run together, or extract again",
        )
    if len(features) == len(coords):
        return Rows(features=features[~is_group], xy=xy, groups=features[is_group]), False
    rows = Rows(features=features[: len(xy)], xy=xy, groups=features[len(xy) :])
    return rows, len(rows.groups) > 0


def _read_h5(path: Path, names: tuple[str, ...]) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Some data sets, and the attributes of the file and of its `coords`."""
    try:
        with h5py.File(path, "r", locking=False) as file:
            lacking = [name for name in names if not isinstance(file.get(name), h5py.Dataset)]
            if lacking:
                raise _damaged(path, f"it has no data set {lacking[0]!r}; it has {', '.join(file) or 'none'}")
            return {name: file[name][()] for name in names}, {**file.attrs, **file["coords"].attrs}
    except FileNotFoundError:
        raise _missing(path) from None
    except (OSError, RuntimeError, KeyError) as error:
        raise _damaged(path, str(error)) from None


def _as_features(path: Path, array: NDArray[Any]) -> Floats:
    if array.ndim != 2 or not np.issubdtype(array.dtype, np.floating) or not array.size:
        raise _damaged(path, f"its features have the shape {array.shape} and type {array.dtype}, not (rows, d) floats")
    return array if array.dtype in (np.float16, np.float32) else array.astype(np.float32)


def _as_coords(path: Path, array: NDArray[Any]) -> NDArray[np.int64]:
    sound = array.ndim == 2 and array.shape[1] == 2 and np.issubdtype(array.dtype, np.number)
    if not sound or (array.size and not (np.abs(array) < 2**31).all()) or (array != np.trunc(array)).any():
        raise _damaged(path, f"its coords have the shape {array.shape} and type {array.dtype}, not (rows, 2) pixels")
    return np.asarray(array, np.int64)


def _missing(path: Path) -> SlideError:
    return SlideError("E_LEGACY_MISSING", f"{path} does not exist", remedy="bring it back, or leave the slide out")


def _damaged(path: Path, reason: str) -> SlideError:
    return SlideError("E_LEGACY_DAMAGED", f"{path} cannot be read: {reason}", remedy=_WRITE_AGAIN)
