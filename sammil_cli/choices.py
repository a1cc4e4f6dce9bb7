"""The kinds of things that can be chosen by a word: each choice is one file, here, in a plug-in or in the project.

A file's name is the word that the user types (`_` is typed `-`). Files are found in a folder of the package, by the
entry points of installed packages (`sammil.models`, …: the name is the word, the value its module), and in the
folder `plugins/` of the project, where what a file defines says of which kind it is.

Beside the modules of a folder there may be *rows*: choices that are facts only, `<word>.json` (the word as it is). A
row goes by the name that its module would have, and one module makes all of a kind: its `choice(word)` gives what the
module of such a choice would.
"""

import ast
import difflib
import importlib
import pkgutil
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

from sammil_cli.errors import InputError

Named = Mapping[str, Any]  # settings of a stage by their names, as a choice is given them
PROJECT_FOLDER = "plugins"
_LONGEST_WORD = 100  # no file system takes much longer names, and nobody reads them
# What a plug-in's own mistake may raise when it is imported.
_AT_IMPORT = (
    *(ImportError, SyntaxError, NameError, AttributeError, TypeError, ValueError, LookupError),
    *(OSError, RuntimeError, ArithmeticError, AssertionError),
)
_PROJECT_PACKAGE = "sammil_plugins"  # the name under which the project's own files are imported


@dataclass(frozen=True)
class Kind:
    """A kind of choice.

    `folder`: the package that holds our own. `offers`: the name that a file of this kind defines itself; `needs`:
    others that it must have.
    `group`: of entry points; None = there are no plug-ins of this kind. `setting`: the key of params.yaml that picks
    one; None = all that there are take part. `rows`: the module that makes choices of rows; None = there are no rows;
    `rows_hint`: what is said in their place where words are listed.
    """

    noun: str
    folder: str
    offers: str
    group: str | None = None
    setting: str | None = None
    needs: tuple[str, ...] = ()
    rows: str | None = None
    rows_hint: str = ""


SEGMENTERS = Kind(
    "segmenter", "sammil_cli.tissue.segmenters", "foreground", "sammil.segmenters", "segmenter", ("SETTINGS",)
)
PROPOSERS = Kind("proposer", "sammil_cli.regions.proposers", "make", "sammil.proposers", "proposer", ("SETTINGS",))
ENCODERS = Kind(
    *("encoder", "sammil_cli.features.encoders", "build", "sammil.encoders", "encoder"),
    rows="sammil_cli.features.published_encoder",
    rows_hint="or a published one, such as uni2_h (docs/encoders.md)",
)
MODELS = Kind("model", "sammil_cli.mil.models", "Model", "sammil.models", "model")
FORMATS = Kind(
    "slide format", "sammil_cli.slides.formats", "open_slide", "sammil.slide_formats", needs=("SUFFIXES", "PRIORITY")
)
EXECUTORS = Kind("executor", "sammil_cli.runner.executors", "open_executor")


PICKED = (SEGMENTERS, PROPOSERS, ENCODERS, MODELS)  # those that a setting picks one of
_MAKERS = {kind.folder: kind.rows for kind in PICKED if kind.rows}


def names(kind: Kind) -> list[str]:
    """The choices of a kind, as the user types them; imports none of them."""
    return sorted(_modules(kind))


def module_name(kind: Kind, name: str) -> str:
    """The module of a choice, which is not imported.

    Raises:
        InputError: there is no such choice, or there are two; the message lists those there are.
    """
    return _only(kind, name, _modules(kind))


def _only(kind: Kind, name: str, known: Mapping[str, Sequence[str]]) -> str:
    if name not in known:
        word, hint = name[:_LONGEST_WORD], ""
        own = Path(PROJECT_FOLDER, f"{name.replace('-', '_')}.py")
        if kind.group and word == name and own.is_file():
            hint = f"{own} defines no {kind.offers}, which makes a {kind.noun}; "
        raise InputError(f"unknown {kind.noun} {word!r}", remedy=f"{hint}{one_of(word, sorted(known))}")
    found = known[name]
    if len(found) > 1:
        raise InputError(f"there are two of the {kind.noun} {name!r}: {' and '.join(found)}", remedy="rename one")
    return found[0]


def one_of(word: str, known: Collection[str]) -> str:
    """The remedy for a word that is no choice: the one that was probably meant, and all there are."""
    near = difflib.get_close_matches(word, known, 1)
    return f"{f'did you mean {near[0]}? ' if near else ''}one of: {', '.join(known)}"


def check(kind: Kind, name: str) -> None:
    """Refuses a word that is no choice; imports nothing, and looks at plug-ins only for words that are not ours.

    Raises:
        InputError: see `module_name`.
    """
    if name not in dict(_own(kind)):
        module_name(kind, name)


def load(kind: Kind, name: str) -> ModuleType:
    """Imports one choice.

    Raises:
        InputError: see `module_name`; or a plug-in cannot be imported, or lacks what makes it one.
    """
    return _imported(kind, name, module_name(kind, name))


def load_all(kind: Kind) -> list[ModuleType]:
    """Imports all choices of a kind, in the order of their words; raises as `load`."""
    known = _modules(kind)
    return [_imported(kind, name, _only(kind, name, known)) for name in sorted(known)]


def _imported(kind: Kind, name: str, module: str) -> ModuleType:
    if module.startswith(f"{_PROJECT_PACKAGE}."):
        _open_project_package()
    if made := row_of(module):
        loaded: ModuleType = importlib.import_module(made.maker).choice(name)
        return loaded
    if module.startswith("sammil_cli."):
        return importlib.import_module(module)
    try:
        loaded = importlib.import_module(module)
    except _AT_IMPORT as error:
        raise InputError(
            f"the {kind.noun} {name!r} ({module}) cannot be imported: {type(error).__name__}: {error}",
            remedy="mend that file, or install what it needs",
        ) from error
    if lost := [needed for needed in (kind.offers, *kind.needs) if not hasattr(loaded, needed)]:
        raise InputError(f"the {kind.noun} {name!r} ({module}) has no {lost[0]}", remedy="see docs/add-your-own.md")
    return loaded


def hints(kind: Kind) -> dict[str, str]:
    """What each choice, but the rows, says of itself in a word or two, in its constant HINT; imports none of them."""
    known = sorted(_modules(kind).items())
    return {name: _hint(found[0]) for name, found in known if row_of(found[0]) is None}


def source_of(module: str) -> Path | None:
    """The source file of a choice's module, or of one that it imports; None for a row; imports nothing."""
    top, *inner = module.split(".")
    package, _, last = module.rpartition(".")
    if package in sys.modules:
        places = [str(place) for place in getattr(sys.modules[package], "__path__", ())]
    elif top == _PROJECT_PACKAGE:
        places = [PROJECT_FOLDER]
    else:
        spec = find_spec(top)
        if not inner:
            return Path(spec.origin) if spec and spec.origin and spec.origin.endswith(".py") else None
        around = (spec.submodule_search_locations if spec else None) or []
        places = [str(Path(place, *inner[:-1])) for place in around]
    files = (file for place in places for file in (Path(place, f"{last}.py"), Path(place, last, "__init__.py")))
    return next((file for file in files if file.is_file()), None)


@dataclass(frozen=True)
class Row:
    """A choice that is a file of facts. `maker`: the module that makes the choice of it."""

    path: Path
    maker: str


def row_of(module: str) -> Row | None:
    """The row that goes by the name of a module; None where it is none. Imports nothing but the folder."""
    folder, _, word = module.rpartition(".")
    maker = _MAKERS.get(folder)
    path = next((path for path in _rows(folder) if path.stem == word), None) if maker else None
    return Row(path, maker) if path and maker else None


def _modules(kind: Kind) -> Mapping[str, Sequence[str]]:
    """Word -> the modules that have it: more than one is a clash. Asked many times for each slide."""
    shipped = _shipped(_own(kind), _installed(kind.group) if kind.group else ())
    if not kind.group or not Path(PROJECT_FOLDER).is_dir():
        return shipped
    found = {word: list(modules) for word, modules in shipped.items()}
    for path in sorted(Path(PROJECT_FOLDER).glob("[!.]*.py")):
        if path.is_file() and kind.offers in _defined(path.resolve(), path.stat().st_mtime_ns):
            found.setdefault(path.stem.replace("_", "-"), []).append(f"{_PROJECT_PACKAGE}.{path.stem}")
    return found


@cache
def _shipped(own: tuple[tuple[str, str], ...], installed: tuple[tuple[str, str], ...]) -> Mapping[str, tuple[str, ...]]:
    """As `_modules`, without the project's."""
    found = [*own, *((name.replace("_", "-"), module) for name, module in installed)]
    return {word: tuple(module for other, module in found if other == word) for word, _ in found}


@cache
def _own(kind: Kind) -> tuple[tuple[str, str], ...]:
    """Our own choices: word and module, rows with the name that their module would have."""
    package = importlib.import_module(kind.folder)
    stems = [module.name for module in pkgutil.iter_modules(package.__path__) if not module.name.startswith("_")]
    files = [(stem.replace("_", "-"), f"{kind.folder}.{stem}") for stem in stems]
    return (*files, *((path.stem, f"{kind.folder}.{path.stem}") for path in (_rows(kind.folder) if kind.rows else ())))


@cache
def _rows(folder: str) -> tuple[Path, ...]:
    places = importlib.import_module(folder).__path__
    return tuple(sorted(path for place in places for path in Path(place).glob("[!._]*.json")))


@cache
def _installed(group: str) -> tuple[tuple[str, str], ...]:
    from importlib.metadata import entry_points  # for those who need it: it takes a tenth of a second

    return tuple((entry.name, entry.module) for entry in entry_points(group=group))


@cache
def _defined(path: Path, changed: int) -> frozenset[str]:
    """The names that a file defines at its top."""
    del changed  # a part of the cache's key
    try:
        body = ast.parse(path.read_bytes(), path.name).body
    except (SyntaxError, ValueError, OSError) as error:
        raise InputError(
            f"the plug-in {PROJECT_FOLDER}/{path.name} cannot be read: {error}",
            remedy=f"mend it, or take it out of {PROJECT_FOLDER}/",
        ) from None
    return frozenset(node.name for node in body if isinstance(node, ast.FunctionDef | ast.ClassDef))


@cache
def _hint(module: str) -> str:
    path = source_of(module)
    try:
        body = ast.parse(path.read_bytes()).body if path else []
    except (SyntaxError, ValueError, OSError):  # said where it is loaded
        body = []
    found = [n.value for n in body if isinstance(n, ast.Assign) and ast.unparse(n.targets[0]) == "HINT"]
    return next((str(value.value) for value in found if isinstance(value, ast.Constant)), "")


def _open_project_package() -> None:
    """Makes the project's plug-ins importable, in workers, too; those of another project are forgotten."""
    place = [str(Path(PROJECT_FOLDER).resolve())]
    package = sys.modules.get(_PROJECT_PACKAGE)
    if package is None or package.__path__ != place:
        for name in [name for name in sys.modules if name.partition(".")[0] == _PROJECT_PACKAGE]:
            del sys.modules[name]
        importlib.invalidate_caches()
        package = ModuleType(_PROJECT_PACKAGE)
        package.__path__ = place
        sys.modules[_PROJECT_PACKAGE] = package
