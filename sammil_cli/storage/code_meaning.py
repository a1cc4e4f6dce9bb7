"""What a source file means, as a digest, and what it imports.

Comments, docstrings and formatting mean nothing, nor do statements that only speak to the user. The digests are the
same on every supported Python.

Reading some two hundred sources takes seconds, and every command needs them. What was found is kept in the user's cache
under the sha256 of the source, so nothing there can be out of date.
"""

import ast
import contextlib
import hashlib
import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

from platformdirs import user_cache_path

from sammil_cli.errors import InputError
from sammil_cli.storage.guarded_json import read_json
from sammil_cli.storage.summed import read_summed, write_summed

_SPEAKERS = ("console", "log")
_MEANT_IN_ROWS = ("network", "preparation", "pooling", "poolings", "dim")
_NO_MEANING = ("kind", "type_comment", "type_ignores")
_KEPT = user_cache_path("sammil") / "code.json"
_MOST_KEPT = 5000  # sources: those of many versions


class Meaning(NamedTuple):
    """`digest`: 16 hex digits. `imported`: full names, at the top or in a function: `torch.nn`, `sammil_cli.errors`."""

    digest: str
    imported: tuple[str, ...]


_found: dict[str, Meaning] = {}  # by `_name_of`
_asked: set[str] = set()
_new: set[str] = set()


def meaning_of(text: bytes, name: str, *, is_package: bool) -> Meaning:
    """What the source of a module means. `name`: the module's, in full, which relative imports start from."""
    package = name if is_package else name.rpartition(".")[0]
    key = hashlib.sha256(package.encode() + b"\0" + text).hexdigest()
    _load_kept()
    _asked.add(key)
    if key not in _found:
        tree = ast.parse(text)
        lines: list[str] = []
        _add_meaning(tree, lines)
        _found[key] = Meaning(short_digest("\n".join(lines)), tuple(dict.fromkeys(_imported(tree, package))))
        _new.add(key)
    return _found[key]


def meaning_of_row(path: Path) -> str:
    """The digest of what a row of facts means for the numbers: 16 hex digits.

    What only describes, such as a licence or a citation, means nothing, nor does where the weights are found: their
    sha256 does.

    Raises:
        InputError: it is no valid JSON.
    """
    row = read_json(path, remedy="install sammil anew")
    meant = {name: row.get(name) for name in _MEANT_IN_ROWS} | {"sha256": row.get("source", {}).get("sha256")}
    return short_digest(json.dumps(meant, sort_keys=True))


def short_digest(text: str) -> str:
    """16 hex digits of the sha256."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def keep_meanings() -> None:
    """Writes what was found anew into the cache; where that cannot be written, the next command reads sources again."""
    if not _new:
        return
    found = _found if len(_found) <= _MOST_KEPT else {key: _found[key] for key in _asked}
    with contextlib.suppress(OSError):
        _KEPT.parent.mkdir(parents=True, exist_ok=True)
        write_summed(_KEPT, {"method": _method(), "meanings": dict(sorted(found.items()))})
    _new.clear()


@cache
def _load_kept() -> None:
    with contextlib.suppress(OSError, InputError, KeyError, TypeError, ValueError):
        kept = read_summed(_KEPT, "remove it")
        if kept["method"] == _method():
            _found.update({key: Meaning(digest, tuple(names)) for key, (digest, names) in kept["meanings"].items()})


def _method() -> str:
    """What kept digests were made by: another version of this file, another method."""
    return hashlib.sha256(Path(__file__).read_bytes()).hexdigest()


def _add_meaning(node: ast.AST, lines: list[str]) -> None:
    """A tree as lines, without what means nothing; fields that a Python does not have are empty in the others."""
    lines.append(type(node).__name__)
    for field in node._fields:
        value = getattr(node, field, None)
        if value is None or field in _NO_MEANING or value == []:
            continue
        lines.append(field)
        if isinstance(value, list):
            lines.append("[")
            for part in value:
                if not isinstance(part, ast.AST):
                    lines.append(repr(part))
                elif not (_is_empty_text(part, node) or _means_nothing(part)):
                    _add_meaning(part, lines)
            lines.append("]")
        elif isinstance(value, ast.AST):
            _add_meaning(value, lines)
        else:
            lines.append(repr(value))


def _is_empty_text(part: ast.AST, whole: ast.AST) -> bool:
    """Python 3.12 adds such parts to formatted strings."""
    return isinstance(whole, ast.JoinedStr) and isinstance(part, ast.Constant) and part.value == ""


def _means_nothing(node: ast.AST) -> bool:
    """Docstrings, what is there for type checkers only, and what only speaks to the user."""
    if isinstance(node, ast.If):
        return _is_for_types(node)
    if not isinstance(node, ast.Expr):
        return False
    if isinstance(node.value, ast.Constant):
        return True
    call = node.value.func if isinstance(node.value, ast.Call) else None
    speaks = isinstance(call, ast.Attribute) and isinstance(call.value, ast.Name) and call.value.id in _SPEAKERS
    return speaks and not any(isinstance(part, ast.NamedExpr | ast.Await | ast.Yield) for part in ast.walk(node))


def _is_for_types(node: ast.If) -> bool:
    return not node.orelse and ast.unparse(node.test).endswith("TYPE_CHECKING")


def _imported(node: ast.AST, package: str) -> Iterator[str]:
    """The full names that are imported anywhere, at the top or in a function: `torch.nn`, `sammil_cli.mil.groups`, …"""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        parts = package.split(".")
        around = parts[: len(parts) - node.level + 1] if node.level else []
        module = ".".join([*around, *([node.module] if node.module else [])])
        yield from (f"{module}.{alias.name}" for alias in node.names)
    elif not (isinstance(node, ast.If) and _is_for_types(node)):
        for child in ast.iter_child_nodes(node):
            yield from _imported(child, package)
