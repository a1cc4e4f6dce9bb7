"""Changes of good files, drawn from a seed: blind ones to bytes, and such as keep the file readable as what it is.

Every form of file (`Kind.form`) has a function that takes its bytes, or its path where a library must open it, and a
generator of random numbers, and says in words what it changed.
"""

import copy
import csv
import gzip
import io
import json
import random
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import h5py
import numpy as np
import yaml
from sealing import seal

SEALED = "; its sums made to fit"
BLIND = 0.4  # of the changes go to bytes, whatever they mean
NUMBERS = (0, -1, 1, 2**31, 2**63, -(2**70), 0.5, -0.25, 1e-320, 1e308, float("nan"), float("inf"), float("-inf"))
TEXTS = (
    "",
    "a",
    "slide_02",
    "../../evil",
    "/etc/passwd",
    "nan",
    "1e999",
    "prä ñ\u202e",
    "=1+1",
    "x" * 5000,
    "\0",
    "\ud800",
)
VALUES = (*NUMBERS, *TEXTS, None, True, [], {}, [[]], {"a": 1}, [1, 2, 3])


def mutate(path: Path, form: str, rng: random.Random) -> str:
    """Changes a file in place once, sometimes twice."""
    structured = _STRUCTURED.get(form)
    blind = structured is None or rng.random() < BLIND
    said = _bytes(path, rng) if blind else structured(path, rng)  # type: ignore[misc]
    if not blind and rng.random() < 0.5:
        seal(path)
        return said + SEALED
    if rng.random() < 0.15:
        said += "; " + _bytes(path, rng)
    return said


# ------------------------------------------------------------------------------------------------------ bytes


def _bytes(path: Path, rng: random.Random) -> str:
    data, said = _changed_bytes(path.read_bytes(), rng)
    path.write_bytes(data)
    return said


def _changed_bytes(data: bytes, rng: random.Random) -> tuple[bytes, str]:
    if not data:
        return b"x", "a byte in an empty file"
    at, length = rng.randrange(len(data)), rng.choice((1, 8, 64, 512, max(1, len(data) // 4)))
    part = data[at : at + length]
    match rng.choice(("flip", "flip", "flip", "zeros", "noise", "cut", "insert", "drop", "swap", "repeat")):
        case "flip":
            bits = sorted(rng.sample(range(8 * len(data)), min(rng.choice((1, 1, 3)), 8 * len(data))))
            changed = bytearray(data)
            for bit in bits:
                changed[bit // 8] ^= 1 << bit % 8
            return bytes(changed), f"bits {bits} flipped"
        case "zeros":
            return data[:at] + bytes(len(part)) + data[at + length :], f"{len(part)} bytes from {at} on zeroed"
        case "noise":
            return data[:at] + rng.randbytes(len(part)) + data[at + length :], f"{len(part)} bytes from {at} on random"
        case "cut":
            return data[:at], f"cut to {at} of {len(data)} bytes"
        case "insert":
            return data[:at] + rng.randbytes(length) + data[at:], f"{length} random bytes put in at {at}"
        case "drop":
            return data[:at] + data[at + length :], f"{len(part)} bytes at {at} taken out"
        case "swap":
            other = rng.randrange(len(data))
            low, high = sorted((at, other))
            middle = data[low + length : high]
            if high - low < length:
                return data[::-1], "reversed"
            return (
                data[:low] + data[high : high + length] + middle + data[low : low + length] + data[high + length :],
                f"{length} bytes at {low} and {high} swapped",
            )
    return data[: at + length] + part + data[at + length :], f"{len(part)} bytes at {at} repeated"


# ------------------------------------------------------------------------------------------------------ JSON, YAML


def _places(value: Any, way: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The ways to all parts of a tree."""
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [way, *(place for key, part in parts for place in _places(part, (*way, key)))]


def changed_tree(tree: Any, rng: random.Random) -> tuple[Any, str]:
    """A part of a tree of tables, lists and values made another, taken out or doubled."""
    tree = copy.deepcopy(tree)
    way = rng.choice(_places(tree)[1:] or [()])
    if not way:
        return rng.choice(VALUES), "another value in place of all"
    parent = tree
    for key in way[:-1]:
        parent = parent[key]
    key, where = way[-1], "/".join(map(str, way))
    match rng.choice(("value", "value", "near", "near", "drop", "more", "deep")):
        case "drop":
            del parent[key]
            return tree, f"{where} taken out"
        case "more" if isinstance(parent, list):
            parent.append(copy.deepcopy(parent[key]))
            return tree, f"{where} doubled"
        case "more":
            parent[f"{key}2"] = copy.deepcopy(parent[key])
            return tree, f"{where} again under another key"
        case "near" if isinstance(parent[key], (int, float)):
            parent[key] += rng.choice((1, -1, 0.5, 1e-9))
            return tree, f"{where} moved to {parent[key]!r}"
        case "near" if isinstance(parent[key], str) and parent[key]:
            parent[key] = parent[key][:-1] + rng.choice("0az/")
            return tree, f"{where} with another last letter"
        case "deep":
            for _ in range(rng.choice((3, 50))):
                parent[key] = [parent[key]]
            return tree, f"{where} in nested lists"
    parent[key] = rng.choice(VALUES)
    return tree, f"{where} is {str(parent[key])[:40]!r}"


def _json_text(text: str, rng: random.Random) -> tuple[str, str]:
    match rng.choice(("tree",) * 6 + ("twice", "nested", "long")):
        case "twice" if text.lstrip().startswith("{"):
            key = rng.choice(list(json.loads(text)) or ["a"])
            return text.replace("{", "{" + f"{json.dumps(key)}: {json.dumps(rng.choice(TEXTS))}, ", 1), f"{key} twice"
        case "nested":
            depth = rng.choice((100, 1_000, 100_000))
            return "[" * depth + text + "]" * depth, f"in {depth} brackets"
        case "long":
            digits = "9" * rng.choice((20, 400, 6000))
            return text.replace("1", digits, 1), f"a number of {len(digits)} digits"
    tree, said = changed_tree(json.loads(text), rng)
    return json.dumps(tree), said


def _json(path: Path, rng: random.Random) -> str:
    text, said = _json_text(path.read_text(encoding="utf-8"), rng)
    path.write_text(text, encoding="utf-8")
    return said


def _yaml(path: Path, rng: random.Random) -> str:
    text = path.read_text(encoding="utf-8")
    match rng.choice(("tree",) * 5 + ("anchor", "laugh", "nested", "tag")):
        case "anchor":
            text, said = text.replace(": ", ": &x ", 1) + "seed: *x\n", "an anchor and its alias"
        case "laugh":
            lines = ["a0: &a0 [x, x]", *(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]" for i in range(1, 40))]
            text, said = text + "\n".join([*lines, "folds: *a39", ""]), "a billion laughs"
        case "nested":
            text, said = text + "classes: " + "[" * 5000 + "\n", "5000 brackets"
        case "tag":
            text, said = text + "seed: !!python/object/apply:os.system ['touch was-run']\n", "a program"
        case _:
            tree, said = changed_tree(yaml.safe_load(text), rng)
            text = yaml.safe_dump(tree)
    path.write_text(text, encoding="utf-8")
    return said


# ------------------------------------------------------------------------------------------------------ CSV


def _csv(path: Path, rng: random.Random) -> str:
    rows = list(csv.reader(io.StringIO(path.read_text(encoding="utf-8"), newline="")))
    row, column = rng.randrange(len(rows)), rng.randrange(len(rows[0]))
    code, separator, tail = "utf-8", ",", ""
    match rng.choice(("cell",) * 4 + ("swap", "drop", "row", "wide", "narrow", "code", "separator", "quote", "column")):
        case "swap":
            other = rng.randrange(len(rows))
            rows[row], rows[other], said = rows[other], rows[row], f"rows {row} and {other} swapped"
        case "drop":
            del rows[row]
            said = f"row {row} taken out"
        case "row":
            rows.append(list(rows[row]))
            said = f"row {row} doubled"
        case "wide":
            rows[row].append("more")
            said = f"row {row} has a cell more"
        case "narrow":
            rows[row].pop()
            said = f"row {row} has a cell less"
        case "code":
            code = rng.choice(("utf-16", "utf-8-sig", "latin-1", "utf-32"))
            rows[-1][-1] += "ä"
            said = f"in {code}"
        case "separator":
            separator = rng.choice(";\t|")
            said = f"separated by {separator!r}"
        case "quote":
            tail = rng.choice(('"', '"a,b', "\0", "\r", "a" * 200_000, "sep=;\n"))
            said = f"{tail[:9]!r} at the end"
        case "column":
            rows = [[*cells[:column], *cells[column + 1 :]] for cells in rows]
            said = f"column {column} taken out"
        case _:
            found = rng.choice((*TEXTS[:-1], *map(str, NUMBERS), "-", "1.5", "true", "2"))  # all but half a letter
            cells = rows[row]
            cells[min(column, len(cells) - 1)] = found
            said = f"the cell {row}, {column} is {found[:40]!r}"
    stream = io.StringIO()
    csv.writer(stream, delimiter=separator, lineterminator="\n").writerows(rows)
    path.write_bytes((stream.getvalue() + tail).encode(code, "replace"))
    return said


# ------------------------------------------------------------------------------------------------------ XML


def _xml(path: Path, rng: random.Random) -> str:
    text = path.read_text(encoding="utf-8")
    if rng.random() < 0.15:
        entities = "".join(f'<!ENTITY e{i} "{f"&e{i - 1};" * 10 if i else "x"}">' for i in range(12))
        path.write_text(text.replace("?>", f"?><!DOCTYPE a [{entities}]>").replace("Tumour", "&e11;"), encoding="utf-8")
        return "entities in entities"
    root = ElementTree.fromstring(text)
    element = rng.choice(list(root.iter()))
    match rng.choice(("attribute",) * 4 + ("twice", "drop", "tag", "deep")):
        case "attribute" if element.attrib:
            name = rng.choice(sorted(element.attrib))
            element.set(name, rng.choice((*map(str, NUMBERS), "", "a", "2", "9", "1,5", "x" * 5000)))
            said = f"{element.tag}/{name} is {element.get(name, '')[:40]!r}"
        case "twice":
            root.append(copy.deepcopy(element))
            said = f"{element.tag} again below the root"
        case "drop" if len(element):
            del element[rng.randrange(len(element))]
            said = f"a part of {element.tag} taken out"
        case "deep":
            for _ in range(2000):
                root, inner = ElementTree.Element("Annotations"), root
                root.append(inner)
            said = "in 2000 elements"
        case _:
            said = f"{element.tag} is called otherwise"
            element.tag = rng.choice(("V", "Region", "Annotation", "x"))
    path.write_bytes(b'<?xml version="1.0"?>\n' + _xml_text(root).encode())
    return said


def _xml_text(root: ElementTree.Element) -> str:
    try:
        return ElementTree.tostring(root, encoding="unicode")
    except RecursionError:
        return "<a>" * 2000 + "</a>" * 2000


# ------------------------------------------------------------------------------------------------------ packed


def _gzip(path: Path, rng: random.Random) -> str:
    text, said = _json_text(gzip.decompress(path.read_bytes()).decode(), rng)
    path.write_bytes(gzip.compress(text.encode(), mtime=0))
    return said


def _zip(path: Path, rng: random.Random) -> str:
    """One member changed, its check sum made to fit."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name = rng.choice(sorted(members))
    if name.endswith(".geojson") and rng.random() < 0.6:
        text, said = _json_text(members[name].decode(), rng)
        members[name] = text.encode()
    elif rng.random() < 0.2:
        other = rng.choice(("../../evil.geojson", "more.geojson", "data.pkl"))
        members[other], said = members[name], f"again as {other}"
    else:
        members[name], said = _changed_bytes(members[name], rng)
    with zipfile.ZipFile(path, "w") as archive:
        for member, data in members.items():
            archive.writestr(member, data)
    return f"{name}: {said}"


def _safetensors(path: Path, rng: random.Random) -> str:
    """The head changed, its length made to fit."""
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    tree, said = changed_tree(json.loads(data[8 : 8 + length]), rng)
    head = json.dumps(tree).encode()
    path.write_bytes(struct.pack("<Q", len(head)) + head + data[8 + length :])
    return said


# ------------------------------------------------------------------------------------------------------ TIFF


def _tiff(path: Path, rng: random.Random) -> str:
    """One field of one tag of one page: its number, type, count or value."""
    data = bytearray(path.read_bytes())
    (at,) = struct.unpack_from("<I", data, 4)
    entries = []
    while at and at + 2 < len(data):
        (count,) = struct.unpack_from("<H", data, at)
        entries += [at + 2 + 12 * place for place in range(count)]
        (at,) = struct.unpack_from("<I", data, at + 2 + 12 * count)
    entry = rng.choice(entries)
    (tag,) = struct.unpack_from("<H", data, entry)
    match rng.choice(("value", "value", "value", "count", "type", "tag")):
        case "value":
            value = rng.choice((0, 1, 2, 3, 7, 255, 65535, 2**31, 2**32 - 1, len(data), rng.randrange(len(data))))
            struct.pack_into("<I", data, entry + 8, value)
            said = f"value {value}"
        case "count":
            value = rng.choice((0, 1, 2, 1000, 2**24, 2**31, 2**32 - 1))
            struct.pack_into("<I", data, entry + 4, value)
            said = f"count {value}"
        case "type":
            value = rng.randrange(20)
            struct.pack_into("<H", data, entry + 2, value)
            said = f"type {value}"
        case _:
            value = rng.choice(
                (254, 256, 257, 258, 259, 262, 270, 273, 277, 282, 284, 296, 322, 324, 330, 338, 347, 530)
            )
            struct.pack_into("<H", data, entry, value)
            said = f"the number {value}"
    path.write_bytes(bytes(data))
    return f"tag {tag} has {said}"


# ------------------------------------------------------------------------------------------------------ HDF5


def _hdf5(path: Path, rng: random.Random) -> str:
    with h5py.File(path, "r+") as file:
        return _attribute(file, rng) if rng.random() < 0.4 and len(file.attrs) else _array(file, rng)


def _attribute(file: h5py.File, rng: random.Random) -> str:
    name = rng.choice(sorted(file.attrs))
    value = file.attrs[name]
    match rng.choice(("value", "value", "near", "drop", "empty", "wide", "json")):
        case "drop":
            del file.attrs[name]
            return f"attribute {name} taken out"
        case "empty":
            file.attrs[name] = h5py.Empty("f")
            return f"attribute {name} is empty"
        case "wide":
            file.attrs[name] = np.arange(9)
            return f"attribute {name} is nine numbers"
        case "near" if isinstance(value, (int, float, np.number)):
            file.attrs[name] = value + rng.choice((1, -1, 0.5))
            return f"attribute {name} moved"
        case "json" if isinstance(value, str) and value.startswith("{"):
            tree, said = changed_tree(json.loads(value), rng)
            file.attrs[name] = json.dumps(tree)
            return f"attribute {name}: {said}"
    new = rng.choice((*(v for v in NUMBERS if abs(v) < 2**63 or v != v or isinstance(v, float)), *TEXTS[:-2]))
    file.attrs[name] = new
    return f"attribute {name} is {str(new)[:40]!r}"


def _array(file: h5py.File, rng: random.Random) -> str:
    name = rng.choice(sorted(file))
    array = file[name][()]
    other = rng.choice(sorted(file))
    kinds: dict[str, Callable[[], Any]] = {
        "wider": lambda: array.astype(np.float64),
        "narrower": lambda: array.astype(np.int8),
        "bytes": lambda: np.full(array.shape, b"text", "S4"),
        "complex": lambda: array.astype(np.complex64),
        "flat": array.ravel,
        "one axis more": lambda: array[None],
        "short": lambda: array[:-1],
        "long": lambda: np.concatenate([array, array[-1:]]),
        "no rows": lambda: array[:0],
        "a scalar": lambda: array.ravel()[:1].sum(),
        "reversed": lambda: array[::-1].copy(),
        "big-endian": lambda: array.astype(array.dtype.newbyteorder(">")),
        "empty": lambda: h5py.Empty(array.dtype),
        "text": lambda: "text",
        "another's": lambda: file[other][()],
        "a soft link": lambda: h5py.SoftLink(f"/{other}"),
        "a link to itself": lambda: h5py.SoftLink(f"/{name}"),
        "an external link": lambda: h5py.ExternalLink(file.filename, f"/{other}"),
    }
    match rng.choice(("number",) * 6 + ("form",) * 6 + ("drop", "more", "group", "huge", "attribute")):
        case "number" if array.size:
            values = array.ravel().copy()
            at, value = rng.randrange(values.size), rng.choice(NUMBERS)
            with np.errstate(all="ignore"):
                values[at] = np.array([value], np.float64).astype(values.dtype)[0]
            if rng.random() < 0.3:
                values[:] = values[at]
            file[name][...] = values.reshape(array.shape)
            return f"{name}[{at}] is {value}"
        case "drop":
            del file[name]
            return f"{name} taken out"
        case "more":
            file["more"] = array
            return f"{name} again as more"
        case "group":
            del file[name]
            file.create_group(name)
            return f"{name} is a group"
        case "huge":
            del file[name]
            shape = (1 << rng.choice((33, 60)), *array.shape[1:])
            file.create_dataset(name, shape, array.dtype, chunks=(1024, *array.shape[1:]))
            return f"{name} claims {shape[0]} rows"
        case "attribute":
            file.attrs["more"] = rng.choice(TEXTS[:-2])
            return "an attribute more"
    what = rng.choice(sorted(kinds))
    new = kinds[what]()
    del file[name]
    file[name] = new
    return f"{name} is {what}"


_STRUCTURED: dict[str, Callable[[Path, random.Random], str]] = {
    "json": _json,
    "yaml": _yaml,
    "csv": _csv,
    "xml": _xml,
    "gzip": _gzip,
    "zip": _zip,
    "safetensors": _safetensors,
    "tiff": _tiff,
    "hdf5": _hdf5,
}
