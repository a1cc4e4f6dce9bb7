"""All settings, read from the sources: a shell that completes a word cannot wait until pydantic is loaded."""

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]
_SOURCES = ("config.py", "settings")
_MAKERS = "setting"  # what makes a field ends like this: `setting`, `seed_setting`; `config` calls the first `_field`
_KNOWN = {"bool": ("true", "false"), "None": ("null",)}


@dataclass(frozen=True, kw_only=True)
class Glance:
    """A setting at a glance.

    Args:
        words: that it may have, besides numbers and texts.
        default: as it is typed; empty where the sources do not say it in one place.
        text: one line, as in params.yaml; empty where several stages share it.
    """

    words: tuple[str, ...]
    default: str = ""
    text: str = ""


@cache
def settings_at_a_glance() -> Mapping[str, Glance]:
    """Every key of params.yaml. Imports nothing."""
    files = [file for place in _SOURCES for file in _files(_PACKAGE / place)]
    return {key: found for file in files for key, found in _fields(_tree(file))}


def _files(place: Path) -> list[Path]:
    return sorted(place.glob("*.py")) if place.is_dir() else [place]


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_bytes())


def _fields(tree: ast.Module) -> Iterator[tuple[str, Glance]]:
    for line in (line for part in tree.body if isinstance(part, ast.ClassDef) for line in part.body):
        if not isinstance(line, ast.AnnAssign) or not isinstance(line.value, ast.Call):
            continue
        made_by = ast.unparse(line.value.func)
        if made_by == "_field" or made_by.endswith(_MAKERS):
            default, text = (*(_typed(one) for one in line.value.args[:2]), "", "")[:2]
            words = tuple(dict.fromkeys(_words(line.annotation, tree)))
            yield ast.unparse(line.target), Glance(words=words, default=default, text=text)


def _typed(value: ast.expr) -> str:
    """A constant as params.yaml has it."""
    if not isinstance(value, ast.Constant):
        return ""
    found = value.value
    return "null" if found is None else str(found).lower() if isinstance(found, bool) else str(found)


def _words(kind: ast.expr, tree: ast.Module) -> Iterator[str]:
    """The words of a type: of `Literal`, by whatever name; of truth values, and of what may be null."""
    if isinstance(kind, ast.BinOp):
        yield from (*_words(kind.left, tree), *_words(kind.right, tree))
    elif isinstance(kind, ast.Subscript) and ast.unparse(kind.value) == "Literal":
        yield from (str(one.value) for one in ast.walk(kind.slice) if isinstance(one, ast.Constant))
    elif (name := ast.unparse(kind)) in _KNOWN:
        yield from _KNOWN[name]
    elif isinstance(kind, ast.Name):
        yield from _named(name, tree)


def _named(name: str, tree: ast.Module) -> Iterator[str]:
    """The words of a type that has a name, here or in the module that it comes from."""
    for line in tree.body:
        if isinstance(line, ast.Assign) and ast.unparse(line.targets[0]) == name:
            yield from _words(line.value, tree)
        elif isinstance(line, ast.ImportFrom) and name in (one.name for one in line.names):
            file = _PACKAGE.joinpath(*str(line.module).split(".")[1:]).with_suffix(".py")
            if file.is_file():
                yield from _named(name, _tree(file))
