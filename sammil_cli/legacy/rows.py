"""Rows of older feature files: patches first, then SAM-MIL's group features, marked by coordinates or by nothing."""

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
_EXPANSION = 1000  # times its file: gzip reaches 1000 on zeros


@dataclass(frozen=True, kw_only=True)
class Rows:
    """One slide's rows: patches `features` (n, d), `xy` (n, 2) corners; `groups` (g, d) as they were stored."""

    features: Floats
    xy: NDArray[np.float64]
    groups: Floats


def read_feature_h5(path: Path) -> tuple[Floats, NDArray[np.float64]]:
    """Reads `features` (rows, d), which STAMP calls `feats`, and `coords` (rows, 2); a leading axis of 1 is taken off.

    Raises:
        SlideError: `E_LEGACY_MISSING` also where there are no coordinates, `E_LEGACY_DAMAGED`; `E_LEGACY_MISMATCH`
            where their rows differ.
    """
    _, _, shapes = read_h5(path, ())
    name = "feats" if "feats" in shapes and "features" not in shapes else "features"
    if name in shapes and "coords" not in shapes:
        raise SlideError(
            "E_LEGACY_MISSING",
            f"{path} has features and no coordinates; it has {', '.join(shapes)}",
            remedy="name the folder of the coordinate files with --coords, or convert without them with --no-coords",
        )
    arrays, facts, _ = read_h5(path, (name, "coords"))
    features = as_features(path, arrays[name])
    coords = as_coords(path, arrays["coords"], whole=facts.get("unit") not in ("um", b"um"))
    if len(features) != len(coords):
        raise SlideError(
            "E_LEGACY_MISMATCH",
            f"{path} has {len(features)} rows of features and {len(coords)} of coordinates",
            remedy="extract the features of this slide again",
        )
    return features, coords


def read_bare_features(path: Path) -> Floats:
    """The features alone, of an h5 or pt file.

    Raises:
        SlideError: as `read_feature_h5` and `read_feature_pt`.
    """
    if path.suffix == ".pt":
        return read_feature_pt(path)
    _, _, shapes = read_h5(path, ())
    name = "feats" if "feats" in shapes and "features" not in shapes else "features"
    return as_features(path, read_h5(path, (name,))[0][name])


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
            raise damaged(path, "torch cannot read it") from None
        raise SlideError(
            "E_LEGACY_UNSAFE",
            f"{path} holds more than a tensor, and what it holds could run code; nothing was run",
            remedy="write the features alone: torch.save(tensor, path)",
        ) from None
    except (RuntimeError, EOFError, OSError, ValueError, TypeError, LookupError) as error:
        raise damaged(path, str(error).partition("\n")[0] or "it is empty") from None
    if not isinstance(tensor, torch.Tensor) or not tensor.is_floating_point():
        raise damaged(path, f"it holds a {type(tensor).__name__}, no tensor of floating-point features")
    if tensor.dtype == torch.bfloat16:  # numpy has no such type
        tensor = tensor.float()
    return as_features(path, tensor.detach().numpy())


def split(features: Floats, coords: NDArray[np.float64], slide_id: str) -> tuple[Rows, bool]:
    """Takes patches and group rows apart.

    Group rows have the coordinates (-1, -1); where these hold patches only, the rows behind the last are groups.

    Returns:
        The rows, and whether it is by their count alone that group rows were told.

    Raises:
        SlideError: `E_LEGACY_MISMATCH`: fewer rows than patches, or no patches.
    """
    is_group = (coords == -1).all(axis=1)
    xy = coords[~is_group]
    if not len(xy) or len(features) < len(xy) or (is_group.any() and len(features) not in (len(xy), len(coords))):
        raise mismatch(
            f"{slide_id} has {len(features)} rows of features for {len(xy)} patches and {is_group.sum()} group rows"
        )
    if len(features) == len(coords):
        return Rows(features=features[~is_group], xy=xy, groups=features[is_group]), False
    rows = Rows(features=features[: len(xy)], xy=xy, groups=features[len(xy) :])
    return rows, len(rows.groups) > 0


def read_h5(
    path: Path, names: tuple[str, ...], *, rows: NDArray[np.int64] | None = None
) -> tuple[dict[str, NDArray[Any]], dict[str, Any], dict[str, tuple[int, ...]]]:
    """Some data sets (or some `rows` of each), the attributes of the file and of what it names, every set's shape.

    Links to other files are not followed.

    Raises:
        SlideError: `E_LEGACY_MISSING`, `E_LEGACY_DAMAGED`.
    """
    try:
        with h5py.File(path, "r", locking=False) as file:
            held = {name: file[name] for name in file if _is_own_dataset(file, name)}
            lacking = [name for name in names if name not in held]
            if lacking:
                raise damaged(path, f"it has no data set {lacking[0]!r}; it has {', '.join(file) or 'none'}")
            facts = dict(file.attrs)
            for name in ("imgs", "features", "coords"):
                facts |= dict(held[name].attrs) if name in held else {}
            for name in names:
                _check_size(path, held[name])
            arrays = {name: held[name][() if rows is None else rows] for name in names}
            return arrays, facts, {name: data.shape or () for name, data in held.items()}
    except FileNotFoundError:
        raise _missing(path) from None
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, OverflowError, MemoryError) as error:
        raise damaged(path, str(error) or type(error).__name__) from None


def _is_own_dataset(file: h5py.File, name: str) -> bool:
    # A link could lead to any other file on this machine.
    if not isinstance(file.get(name, getlink=True), h5py.HardLink):
        return False
    data = file.get(name)
    # Nor may a data set take its numbers from elsewhere, or be there without any.
    return isinstance(data, h5py.Dataset) and data.shape is not None and not data.is_virtual and data.external is None


def _check_size(path: Path, data: h5py.Dataset) -> None:
    """Refuses a data set that claims far more than the file can hold: a few bytes could ask for all memory."""
    if data.dtype.kind == "O" or data.dtype.hasobject:
        raise damaged(path, f"its {data.name.strip('/')} are of no fixed size")
    if data.nbytes > _EXPANSION * max(path.stat().st_size, 1 << 20):
        raise damaged(path, f"its {data.name.strip('/')} of shape {data.shape} would be {data.nbytes >> 20} MiB")


def as_features(path: Path, array: NDArray[Any]) -> Floats:
    """Features as (rows, d) float16 or float32; `E_LEGACY_DAMAGED` where they are something else."""
    if array.ndim == 3 and array.shape[0] == 1:
        array = array[0]
    if array.ndim != 2 or not np.issubdtype(array.dtype, np.floating) or not array.size:
        raise damaged(path, f"its features have the shape {array.shape} and type {array.dtype}, not (rows, d) floats")
    return narrow(array)


def narrow(features: Floats) -> Floats:
    """Features as float16 or float32: those that are neither become float32."""
    return features if features.dtype in (np.float16, np.float32) else features.astype(np.float32)


def as_coords(path: Path, array: NDArray[Any], *, whole: bool = True) -> NDArray[np.float64]:
    """Coordinates as (rows, 2) float64, `whole` numbers of pixels or µm; `E_LEGACY_DAMAGED` otherwise."""
    if array.ndim == 3 and array.shape[0] == 1:
        array = array[0]
    sound = array.ndim == 2 and array.shape[1] == 2 and np.issubdtype(array.dtype, np.number)
    sound = sound and not np.issubdtype(array.dtype, np.complexfloating)
    if not sound or (array.size and not (np.abs(array.astype(np.float64)) < 2**31).all()):
        raise damaged(path, f"its coords have the shape {array.shape} and type {array.dtype}, not (rows, 2) pixels")
    if whole and (array != np.trunc(array)).any():
        raise damaged(path, "its coords are no whole pixels")
    return np.asarray(array, np.float64)


def _missing(path: Path) -> SlideError:
    return SlideError("E_LEGACY_MISSING", f"{path} does not exist", remedy="bring it back, or leave the slide out")


def mismatch(message: str) -> SlideError:
    """The error of files that contradict each other."""
    remedy = "the files are of different runs: bring those of one run together, or extract again"
    return SlideError("E_LEGACY_MISMATCH", message, remedy=remedy)


def damaged(path: Path, reason: str) -> SlideError:
    """The error of a file that is cut, or laid out otherwise."""
    return SlideError("E_LEGACY_DAMAGED", f"{path} cannot be read: {reason}", remedy=_WRITE_AGAIN)
