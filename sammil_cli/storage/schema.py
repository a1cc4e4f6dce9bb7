"""What an HDF5 file of ours may hold, kind by kind: `schemas/<kind>.json`, described in docs/formats.md."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sammil_cli.errors import InputError
from sammil_cli.storage.guarded_json import parse_json, read_json

VERSION = 2  # of the files that are written; those of version 1 have no sums
FOLDER = Path(__file__).parent / "schemas"
_MIB = 1 << 20
_NUMBERS_AT_ONCE = 1 << 20  # so that a mapped array takes no memory

Value = str | int | float | list[int] | list[float]


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What numbers may be: at least `min`, more than `above`, at most `max`; always finite, unless `nan`."""

    min: float | None = None
    above: float | None = None
    max: float | None = None
    nan: bool = False

    def broken_by(self, low: float, high: float) -> str:
        """What is wrong with numbers between `low` and `high`; empty where nothing is."""
        if self.min is not None and low < self.min:
            return f"holds {low:g}, and {self.min:g} is the least that is possible"
        if self.above is not None and low <= self.above:
            return f"holds {low:g}, and must be more than {self.above:g}"
        if self.max is not None and high > self.max:
            return f"holds {high:g}, and {self.max:g} is the most that is possible"
        return ""


@dataclass(frozen=True, kw_only=True)
class ArraySpec(Limits):
    """One array. `shape`: a number or a letter per axis; a letter is the same length everywhere, `m+1` is one more.

    `rising`: never falls. `compressed`: gzip and shuffle, of at most `most_mib` unpacked; else it lies in one piece.
    """

    dtype: tuple[str, ...]
    shape: str
    rising: bool = False
    optional: bool = False
    compressed: bool = False
    most_mib: int = 0


@dataclass(frozen=True, kw_only=True)
class AttributeSpec(Limits):
    """One attribute: `text`, `json` (an object), `integer` or `number`, or `length` of the latter two.

    `since`: the version from which on files have it.
    """

    type: str
    length: int | None = None
    optional: bool = False
    since: int = 1


@dataclass(frozen=True, kw_only=True)
class Schema:
    """What a kind of file holds, and the stage that writes it."""

    kind: str
    stage: str
    arrays: Mapping[str, ArraySpec]
    attributes: Mapping[str, AttributeSpec]

    def wrong_facts(self, facts: Mapping[str, Value]) -> str:
        """What is wrong with the attributes of a file; empty where nothing is."""
        version = facts["schema"]
        for name, spec in self.attributes.items():
            if name in facts:
                if trouble := _wrong_value(facts[name], spec):
                    return f"the attribute {name} {trouble}"
            elif not spec.optional and isinstance(version, int) and version >= spec.since:
                return f"{name} is missing"
        return ""

    def wrong_shapes(self, found: Mapping[str, tuple[str, tuple[int, ...]]]) -> str:
        """What is wrong with the types and shapes of arrays, given by name; empty where nothing is."""
        lengths: dict[str, int] = {}
        for name, spec in self.arrays.items():
            if name not in found:
                if not spec.optional:
                    return f"{name} is missing"
                continue
            dtype, shape = found[name]
            if dtype not in spec.dtype:
                return f"{name} is of the type {dtype}, not {' or '.join(spec.dtype)}"
            if trouble := _wrong_shape(name, shape, spec.shape.split(), lengths):
                return trouble
            if spec.compressed and math.prod(shape) * np.dtype(dtype).itemsize > spec.most_mib * _MIB:
                return f"{name} of shape {shape} would be larger than {spec.most_mib} MiB"
        return ""

    def wrong_numbers(self, name: str, array: NDArray[Any]) -> str:
        """What is wrong with the numbers of an array; empty where nothing is."""
        spec = self.arrays[name]
        if not array.size or (spec.nan and spec.min is None and spec.above is None):
            return ""
        flat = array.reshape(-1)
        for start in range(0, len(flat), _NUMBERS_AT_ONCE):
            part = flat[start : start + _NUMBERS_AT_ONCE]
            part = part[~np.isnan(part)] if spec.nan else part
            if not part.size:
                continue
            low, high = part.min(), part.max()
            if not (np.isfinite(low) and np.isfinite(high)):
                return f"{name} holds numbers that are not finite"
            if trouble := spec.broken_by(low, high):
                return f"{name} {trouble}"
            before = flat[max(0, start - 1) : start + _NUMBERS_AT_ONCE]
            if spec.rising and (before[1:] < before[:-1]).any():
                return f"{name} falls"
        return ""


@cache
def schema_of(kind: str) -> Schema:
    """The schema of a kind of file."""
    content = read_json(FOLDER / f"{kind}.json")
    return Schema(
        kind=content["kind"],
        stage=content["stage"],
        arrays={name: ArraySpec(**{**spec, "dtype": tuple(spec["dtype"])}) for name, spec in content["arrays"].items()},
        attributes={name: AttributeSpec(**spec) for name, spec in content["attributes"].items()},
    )


@cache
def kinds() -> tuple[str, ...]:
    """The kinds of files that have a schema."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.json")))


def _wrong_shape(name: str, shape: tuple[int, ...], sides: Sequence[str], lengths: dict[str, int]) -> str:
    wanted = []
    for length, side in zip(shape, sides, strict=False):
        letter, _, more = side.partition("+")
        extra = int(more or 0)
        wanted.append(int(side) if side.isdigit() else lengths.setdefault(letter, length - extra) + extra)
    if tuple(wanted) == shape and len(shape) == len(sides) and min(lengths.values(), default=0) >= 0:
        return ""
    known = ", ".join(f"{letter} = {n}" for letter, n in lengths.items() if any(letter in side for side in sides))
    return f"{name} has the shape {shape}, not ({', '.join(sides)})" + (f" with {known}" if known else "")


def _wrong_value(value: Value, spec: AttributeSpec) -> str:
    if spec.type in ("text", "json"):
        if not isinstance(value, str):
            return "is no text"
        return _wrong_json(value) if spec.type == "json" else ""
    values: Sequence[object] = value if isinstance(value, list) else [value]
    wanted = (int,) if spec.type == "integer" else (int, float)
    if not all(isinstance(one, wanted) for one in values):
        return f"is no {spec.type}"
    if isinstance(value, list) != (spec.length is not None) or (spec.length or 1) != len(values):
        return f"has {len(values)} values, not {spec.length or 1}"
    numbers = [one for one in values if isinstance(one, int | float)]
    known = [one for one in numbers if not math.isnan(one)]
    if not all(math.isfinite(one) for one in known) or (len(known) < len(numbers) and not spec.nan):
        return "is no finite number"
    return spec.broken_by(min(known), max(known)) if known else ""


def _wrong_json(text: str) -> str:
    try:
        return "" if isinstance(parse_json(text, "it"), dict) else "is no JSON object"
    except InputError:
        return "is no JSON"
