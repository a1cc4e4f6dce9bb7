"""Sums of files of ours, made to fit what they hold now: what is wrong all the same, schemas must refuse."""

import contextlib
import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from sammil_cli.storage.summed import SUM, with_sum
from sammil_cli.storage.sums import sum_of_array, sum_of_facts


def seal(path: Path) -> None:
    """Writes the sums of an HDF5 file, a GeoJSON or a JSON anew; other files, and what has none, stay as they are."""
    if path.suffix == ".h5":
        with h5py.File(path, "r+", locking=False) as file:
            if "sums" in file.attrs:
                _seal_hdf5(file)
    elif path.suffix in (".json", ".geojson"):
        with contextlib.suppress(ValueError, RecursionError):
            tree = json.loads(path.read_text(encoding="utf-8"))
            path.write_text(json.dumps(sealed_tree(tree)), encoding="utf-8")


def sealed_tree(tree: Any) -> Any:
    """JSON with the sum of what it holds, where it has one."""
    if not isinstance(tree, dict):
        return tree
    if isinstance(facts := tree.get("sammil"), dict) and SUM in facts:
        return {**tree, "sammil": _sealed(facts, tree.get("features"))}
    return _sealed(tree, None) if SUM in tree else tree


def _sealed(facts: dict[str, Any], covered: object) -> dict[str, Any]:
    return with_sum({name: value for name, value in facts.items() if name != SUM}, covered)


def _seal_hdf5(file: h5py.File) -> None:
    sums = {"attributes": sum_of_facts(_facts(file))}
    for name in file:
        if isinstance(file.get(name, getlink=True), h5py.HardLink) and isinstance(file[name], h5py.Dataset):
            sums[name] = "00000000"
            if file[name].shape is not None and file[name].nbytes < 1 << 24:
                with contextlib.suppress(OSError, ValueError, TypeError):
                    sums[name] = sum_of_array(np.ascontiguousarray(file[name][()]))
        else:
            sums[name] = "00000000"
    file.attrs["sums"] = json.dumps(sums, sort_keys=True)


def _facts(file: h5py.File) -> dict[str, Any]:
    """The attributes as they are read, without the sums; what is no number and no text is left out."""
    facts: dict[str, Any] = {}
    for name, value in file.attrs.items():
        if name != "sums" and not isinstance(value, h5py.Empty):
            facts[name] = value if isinstance(value, str) else np.asarray(value).tolist()
    return {name: value for name, value in facts.items() if not isinstance(value, (bytes, complex))}
