"""libopenslide: exactly one in the process, the one of openslide-bin. Another one may take a slide for another format.

A libopenslide of the system or of conda, mostly an older one, gets in through LD_PRELOAD, or where openslide-bin is
missing; after an import of torch it has turned Philips slides into plain TIFFs (openslide-python issue 372).
"""

import importlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

from sammil_cli.doctor.causes import install, not_loaded
from sammil_cli.doctor.finding import Asked, Finding, ok, wrong
from sammil_cli.doctor.python_packages import BROKEN

GROUP = "OpenSlide"
_MAPS = Path("/proc/self/maps")  # Linux only
_LIBRARY = re.compile(r"(/\S*libopenslide[^/\s]*\.so[^/\s]*)(?: \(deleted\))?$", re.MULTILINE)


def mapped() -> list[str] | None:
    """The libopenslide files in this process; None where the system does not say."""
    try:
        return sorted(set(_LIBRARY.findall(_MAPS.read_text(encoding="utf-8", errors="replace"))))
    except OSError:
        return None


def library(_: Asked) -> Iterator[Finding]:
    """The library as sammil's slide reader loads it, before torch; and others that lie in wait."""
    try:
        importlib.import_module("sammil_cli.slides.formats.openslide")
        openslide = importlib.import_module("openslide")
    except BROKEN as error:
        yield not_loaded(GROUP, "libopenslide", "cannot be loaded", error, "openslide-python", "openslide-bin")
        return
    yield _judge("libopenslide", str(openslide.__library_version__), mapped(), "loaded before torch")


def beside_torch(_: Asked) -> Iterator[Finding]:
    """Whether there is still but one after torch and torchvision are loaded."""
    try:
        importlib.import_module("sammil_cli.slides.formats.openslide")
        importlib.import_module("sammil_cli.regions.light_torchvision").import_torchvision()
    except BROKEN:
        return  # said where it belongs
    files = mapped()
    if files is None:
        return
    if len(files) > 1:
        yield _judge("beside torch", "", files, "")
    else:
        yield ok(GROUP, "beside torch", "still the only one after torch and torchvision are loaded", files=files)


def _judge(name: str, number: str, files: list[str] | None, when: str) -> Finding:
    own = _own()
    facts = {"version": number, "files": files}
    if own is None:
        found = f"{number} is the system's: openslide-bin is not installed"
        return wrong(GROUP, name, found, install("openslide-bin"), **facts)
    others = [file for file in files or [] if Path(file).resolve() != own.resolve()]
    if files and others:
        here = ", ".join(others)
        found = (
            f"{len(files)} in one process: {own}, {here}"
            if len(files) > len(others)
            else f"{here} is loaded, not {own}"
        )
        return wrong(GROUP, name, found, _get_rid(others), **facts)
    if files == []:
        return wrong(GROUP, name, f"{own} was not loaded", install("openslide-bin", "openslide-python"), **facts)
    only = "" if files is None else "the only one, "
    return ok(GROUP, name, f"{number}, {only}{when}, {own}", path=str(own), **facts)


def _get_rid(others: list[str]) -> str:
    if "openslide" in os.environ.get("LD_PRELOAD", ""):
        return "unset LD_PRELOAD"
    folders = " and ".join(sorted({str(Path(path).parent) for path in others}))
    return f"keep {folders} out: unset LD_LIBRARY_PATH, and uninstall openslide there (conda remove openslide)"


def _own() -> Path | None:
    """The library file of openslide-bin."""
    try:
        package = importlib.import_module("openslide_bin")
    except BROKEN:
        return None
    return next(iter(sorted(Path(str(package.__file__)).parent.glob("libopenslide*"))), None)
