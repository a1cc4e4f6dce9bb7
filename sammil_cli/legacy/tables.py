"""Tables of a whole CLAM run: which slides each split trains, validates and tests on, and what its models said."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sammil_cli.errors import InputError
from sammil_cli.legacy.unpickler import read_pickles
from sammil_cli.storage.files import read_csv

_ROLES = ("train", "val", "test")
_NUMBER = re.compile(r"(\d+)(?!.*\d)")  # the last number of a file's name


@dataclass(frozen=True)
class Split:
    """Slide ids by role, and the file it was read from."""

    number: int
    parts: dict[str, tuple[str, ...]]
    path: Path


@dataclass(frozen=True, kw_only=True)
class Result:
    """What a model said of a test slide: its label as a number, and a probability per class (c,)."""

    slide_id: str
    label: int
    probability: NDArray[np.float64]


def read_splits(paths: tuple[Path, ...]) -> list[Split]:
    """Reads `splits_<k>.csv`, one split a file: columns of ids (train, val, test), or ids with True and False.

    A split that lies there in both forms is read once; they must agree.

    Raises:
        InputError: no such table, a slide with two roles, or two files of one number that differ.
    """
    splits: dict[int, Split] = {}
    for path in paths:
        found = _NUMBER.search(path.stem)
        split = Split(int(found.group(1)) if found else 0, _read_split(path), path)
        other = splits.setdefault(split.number, split)
        if any(set(other.parts[role]) != set(split.parts[role]) for role in _ROLES):
            raise InputError(
                f"{other.path} and {path} are both of split {split.number} and differ",
                remedy="name the folder of one run's splits with --splits",
            )
    return [splits[number] for number in sorted(splits)]


def _read_split(path: Path) -> dict[str, tuple[str, ...]]:
    rows = read_csv(path, ("train", "test"))
    roles = [role for role in _ROLES if rows and role in rows[0]]
    cells = {row[role].lower() for row in rows for role in roles}
    if cells <= {"true", "false", "1", "0", "1.0", "0.0", ""} and cells & {"true", "1", "1.0"}:
        key = next(name for name in rows[0] if name not in _ROLES)
        parts = {role: tuple(row[key] for row in rows if row[role].lower() in ("true", "1", "1.0")) for role in roles}
    else:
        parts = {role: tuple(row[role] for row in rows if row[role]) for role in roles}
    role_of: dict[str, str] = {}
    for role, slides in parts.items():
        for slide in slides:
            if slide in role_of:
                raise InputError(
                    f"{path}: slide {slide!r} is in {role_of[slide]} and in {role}", remedy="keep it in one part"
                )
            role_of[slide] = role
    if not role_of:
        raise InputError(f"{path} names no slides", remedy="give the splits of CLAM: columns train,val,test")
    return {role: parts.get(role, ()) for role in _ROLES}


def read_results(path: Path) -> list[Result]:
    """Reads CLAM's `split_<k>_results.pkl`: by slide, its label and the probabilities of the test.

    Raises:
        UnsafePickleError: it asks for more than data; nothing was run. InputError: damaged, or something else.
    """
    try:
        [content] = read_pickles(path)
        if not isinstance(content, dict) or not content:
            raise ValueError("it is no table of slides")
        return [_result(str(slide), entry) for slide, entry in content.items()]
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise InputError(
            f"{path} is no results file of CLAM: {error}", remedy="give split_<k>_results.pkl of a results folder"
        ) from None


def _result(slide: str, entry: Any) -> Result:
    probability = np.asarray(entry["prob"], np.float64).reshape(-1)
    label = int(np.asarray(entry["label"]).reshape(()))
    if str(np.asarray(entry["slide_id"]).reshape(())) != slide:
        raise ValueError(f"slide {slide!r} stands under another name")
    sound = len(probability) > 1 and 0 <= label < len(probability) and abs(probability.sum() - 1) < 1e-3
    if not sound or not ((probability >= 0) & (probability <= 1)).all():
        raise ValueError(f"slide {slide!r} has no probabilities of its classes")
    return Result(slide_id=slide, label=label, probability=probability)
