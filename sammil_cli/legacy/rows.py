"""Rows of older feature files: patches first, then SAM-MIL's group features, marked by coordinates or by nothing."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sammil_cli.errors import SlideError
from sammil_cli.legacy import feature_table, npy_file
from sammil_cli.legacy.h5_file import damaged, features_of, read_h5, um_per_unit
from sammil_cli.legacy.torch_file import read_torch

Floats = NDArray[np.floating[Any]]

H5_SUFFIXES = (".h5", ".hdf5")

_ATLAS_COLUMNS = 5  # x, y, width and height of what was read, pyramid level
_FLOAT16 = 2e-3  # of the features' largest value


@dataclass(frozen=True, kw_only=True)
class Rows:
    """One slide's rows: patches `features` (n, d), `xy` (n, 2) corners; `groups` (g, d) as they were stored."""

    features: Floats
    xy: NDArray[np.float64]
    groups: Floats


def read_features(
    path: Path, remarks: list[str], encoder: str | None = None
) -> tuple[Floats, NDArray[np.float64] | None]:
    """Features (rows, d) of an h5, pt, npy or csv file, and its coordinates (rows, 2), None where it has none.

    A leading axis of 1 is taken off; rows that STAMP marks as `augmented` are left out.

    Args:
        encoder: whose features, where the file holds those of several.

    Raises:
        SlideError: `E_LEGACY_MISSING`, `E_LEGACY_UNSAFE`, `E_LEGACY_DAMAGED`; `E_LEGACY_MISMATCH` where the numbers of
            rows differ, or are missing.
    """
    if path.suffix.lower() not in H5_SUFFIXES:
        matrix, places = _read_plain(path)
        features = as_features(path, matrix)
        coords = None if places is None else as_coords(path, places)
    else:
        _, _, shapes = read_h5(path, ())
        name = features_of(path, shapes, encoder)
        wanted = [name, *(part for part in ("coords", "augmented") if part in shapes)]
        arrays, facts, _ = read_h5(path, tuple(wanted))
        features = as_features(path, arrays[name])
        whole = um_per_unit(path, facts) is None
        coords = as_coords(path, arrays["coords"], whole=whole) if "coords" in arrays else None
        copies = arrays.get("augmented", np.zeros(0)).astype(bool).ravel()
        if copies.any() and len(copies) == len(features):
            remarks.append(f"{copies.sum()} rows of patches that STAMP changed at random (augmented) were left out")
            features, coords = features[~copies], None if coords is None else coords[~copies]
    if coords is not None and len(features) != len(coords):
        raise SlideError(
            "E_LEGACY_MISMATCH",
            f"{path} has {len(features)} rows of features and {len(coords)} of coordinates",
            remedy="extract the features of this slide again",
        )
    return features, coords


def _read_plain(path: Path) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """As `read_features`, of the forms that hold numbers and nothing else."""
    suffix = path.suffix.lower()
    if suffix == npy_file.SUFFIX:
        return npy_file.read_npy(path), None
    return feature_table.read_feature_table(path) if suffix == feature_table.SUFFIX else read_torch(path)


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


def as_features(path: Path, array: NDArray[Any]) -> Floats:
    """Features as (rows, d) float16 or float32; `E_LEGACY_DAMAGED` where they are something else."""
    if array.ndim == 3 and array.shape[0] == 1:
        array = array[0]
    if array.ndim == 2 and not len(array):
        raise SlideError(
            "E_LEGACY_MISMATCH",
            f"{path} has no patches: its features have the shape {array.shape}",
            remedy="look at this slide's tissue in the old run, or leave the slide out",
        )
    if array.ndim != 2 or not np.issubdtype(array.dtype, np.floating) or not array.size:
        raise damaged(path, f"its features have the shape {array.shape} and type {array.dtype}, not (rows, d) floats")
    return narrow(array)


def narrow(features: Floats) -> Floats:
    """Features as float16 or float32: those that are neither become float32."""
    return features if features.dtype in (np.float16, np.float32) else features.astype(np.float32)


def as_coords(path: Path, array: NDArray[Any], *, whole: bool = True) -> NDArray[np.float64]:
    """Coordinates as (rows, 2) float64, `whole` numbers of pixels or µm; `E_LEGACY_DAMAGED` otherwise.

    AtlasPatch writes five columns: x, y, the width and height that were read, and the pyramid level.
    """
    if array.ndim == 3 and array.shape[0] == 1:
        array = array[0]
    sound = array.ndim == 2 and np.issubdtype(array.dtype, np.number)
    sound = sound and not np.issubdtype(array.dtype, np.complexfloating)
    corners = array[:, :2] if sound and (array.shape[1] == 2 or _is_of_atlas_patch(array)) else None
    if corners is None or (corners.size and not (np.abs(corners.astype(np.float64)) < 2**31).all()):
        raise damaged(path, f"its coords have the shape {array.shape} and type {array.dtype}, not (rows, 2) pixels")
    if whole and (corners != np.trunc(corners)).any():
        raise damaged(path, "its coords are no whole pixels")
    return np.asarray(corners, np.float64)


def _is_of_atlas_patch(array: NDArray[Any]) -> bool:
    """Whether five columns are corners, one square size and one level, as AtlasPatch reads every patch of a slide."""
    if array.shape[1] != _ATLAS_COLUMNS:
        return False
    read = array[:, 2:]
    return not len(read) or bool((read == read[0]).all() and read[0, 0] == read[0, 1] > 0 <= read[0, 2] < 64)


def tidy(rows: Rows, slide_id: str, remarks: list[str]) -> Rows:
    """Leaves out patches that stand there twice, and rows of zeros that pad; says where others are all zero.

    Raises:
        SlideError: `E_LEGACY_MISMATCH`, one place has two patches that differ · `E_LEGACY_DAMAGED`, all are zero.
    """
    features, xy = rows.features, rows.xy
    zero = np.asarray(~features.any(axis=1))
    if zero.all():
        raise SlideError(
            "E_LEGACY_DAMAGED",
            f"the features of all {len(zero)} patches of {slide_id} are zero",
            remedy="extract the features of this slide again",
        )
    places, number = np.unique(xy, axis=0, return_inverse=True)
    number = number.ravel()
    filling = zero & (np.bincount(number, minlength=len(places))[number] > 1)
    if filling.any():
        remarks.append(f"{filling.sum()} rows of zeros at the places of other rows (padding) were left out")
    if (zero & ~filling).any():
        remarks.append(f"the features of {(zero & ~filling).sum()} patches are all zero; they are kept")
    kept = np.flatnonzero(~filling)
    _, first, place = np.unique(number[kept], return_index=True, return_inverse=True)
    original = first[place.ravel()]  # of each kept row the first at its place
    again = np.flatnonzero(original != np.arange(len(kept)))
    if len(again):
        one, other = features[kept[original[again]]], features[kept[again]]
        differ = np.abs(one.astype(np.float32) - other).max(axis=1) > rounding(features)
        if differ.any():
            at = tuple(xy[kept[again[differ.argmax()]]].astype(int).tolist())
            raise SlideError(
                "E_LEGACY_MISMATCH",
                f"{slide_id} has {differ.sum()} patches with other features than the patch at the same place, the "
                f"first at {at}: they are of several resolutions or encoders, or changed at random",
                remedy="extract the features of this slide again; as a bag without places: --no-coords",
            )
        remarks.append(f"{len(again)} patches stood there twice and were left out")
        kept = np.delete(kept, again)
    if len(kept) == len(features):
        return rows
    return Rows(features=features[kept], xy=xy[kept], groups=rows.groups)


def mismatch(message: str) -> SlideError:
    """The error of files that contradict each other."""
    remedy = "the files are of different runs: bring those of one run together, or extract again"
    return SlideError("E_LEGACY_MISMATCH", message, remedy=remedy)


def rounding(features: Floats) -> float:
    """How far apart two equal features may lie once one of them was stored as float16."""
    return _FLOAT16 * max(float(np.abs(features).max()), 1e-12)
