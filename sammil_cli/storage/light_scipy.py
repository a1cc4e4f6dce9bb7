"""scipy with its docstrings as they are written, which saves each process half a second.

While it is imported scipy parses the docstrings of some 600 functions, to add notes to them. Processes of sammil's own
leave that out: `leave_docstrings`, before anything imports scipy. Who imports sammil as a library gets scipy whole.
"""

import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

_PARSER = "scipy._lib._docscrape"


def leave_docstrings() -> None:
    """Has this process import scipy without adding to its docstrings; nothing is imported by this."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


class _Finder(MetaPathFinder):
    """Finds scipy's parser of docstrings, and nothing else."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        del target
        spec = PathFinder.find_spec(fullname, path) if fullname == _PARSER else None
        if spec and spec.loader:
            spec.loader = _Loader(spec.loader)
        return spec


class _Loader(Loader):
    """Loads the parser, and has it take the docstrings of functions for empty."""

    def __init__(self, loader: Loader) -> None:
        self._loader = loader

    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)
        document = getattr(module, "FunctionDoc", None)
        sections = getattr(getattr(module, "NumpyDocString", None), "sections", None)
        if document is None or sections is None:  # another scipy: it is left alone
            return

        def begin(self: object, func: object, *_: object, **__: object) -> None:
            parts = {name: list(part) if isinstance(part, list) else part for name, part in sections.items()}
            vars(self).update(_f=func, _parsed_data=parts)

        document.__init__, document.__str__ = begin, lambda self: f"\n{self._f.__doc__ or ''}"
