"""A folder of choices: the file's name is the word the user types, so a new choice is one new file."""

import difflib
import importlib
import pkgutil
from types import ModuleType

from sammil_cli.errors import InputError

SEGMENTERS = "sammil_cli.tissue.segmenters"
PROPOSERS = "sammil_cli.regions.proposers"
ENCODERS = "sammil_cli.features.encoders"
MODELS = "sammil_cli.mil.models"
FORMATS = "sammil_cli.slides.formats"
EXECUTORS = "sammil_cli.stages.executors"


def names(folder: str) -> list[str]:
    """The choices of a folder, as the user types them; imports none of them."""
    package = importlib.import_module(folder)
    found = (module.name for module in pkgutil.iter_modules(package.__path__))
    return sorted(name.replace("_", "-") for name in found if not name.startswith("_"))


def load(folder: str, name: str) -> ModuleType:
    """Imports one choice.

    Raises:
        InputError: there is no such choice; the message lists those there are.
    """
    known = names(folder)
    if name not in known:
        kind = folder.rsplit(".", 1)[1].rstrip("s")
        near = difflib.get_close_matches(name, known, 1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise InputError(f"unknown {kind} {name!r}", remedy=f"{hint}one of: {', '.join(known)}")
    return importlib.import_module(f"{folder}.{name.replace('-', '_')}")
