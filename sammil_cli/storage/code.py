"""The code that a result depends on, found from the sources: what a module imports, and what that imports, and so on.

Each file counts by what it means (`code_meaning`). Files that cannot change a number (`SILENT`) do not count. A row
(`choices`) counts, too, with the module that makes a choice of it and what that imports; and a package with the
templates that lie in it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from sammil_cli.choices import row_of, source_of
from sammil_cli.storage.code_meaning import keep_meanings, meaning_of, meaning_of_row, short_digest

PACKAGE = Path(__file__).resolve().parents[1]
# They say how, where and when work is done and what is said of it, never what comes out; settings are in every key.
SILENT = (
    *("errors", "choices", "settings", "config", "console", "project", "runner"),
    *("backends.backend", "backends.kept_networks"),
    *(
        "storage.claims",
        "storage.code",
        "storage.code_meaning",
        "storage.content",
        "storage.hdf5_process",
        "storage.nearest_ids",
    ),
    *("storage.store", "storage.hub", "storage.weight_download", "storage.web_file"),
)
_TEMPLATES = (".j2", ".css", ".js")
# What computes, by the name that is imported, and the packages that it comes in; those of the same name first.
_COMPUTING: dict[str, tuple[str, ...]] = {
    **{
        name: (name,)
        for name in (
            *("imagecodecs", "numpy", "openvino", "scipy", "shapely", "tifffile", "timm", "torch", "torchvision"),
        )
    },
    **{"cv2": ("opencv-python-headless",), "openslide": ("openslide-python", "openslide-bin"), "PIL": ("pillow",)},
    **{"segment_anything": ("segment-anything",), "skimage": ("scikit-image",), "sklearn": ("scikit-learn",)},
}


@dataclass(frozen=True)
class Code:
    """The code behind a result: `files`, module -> digest of its meaning; `libraries` that compute, and versions."""

    files: Mapping[str, str]
    libraries: Mapping[str, str]

    @cached_property
    def version(self) -> str:
        """One digest of all files, in hex, 16 digits."""
        return short_digest(repr(sorted(self.files.items())))

    def as_key(self, *, strict: bool) -> dict[str, object]:
        """What a result's key holds of it: the version, and where the user is strict, the libraries."""
        return {"code": self.version} | ({"libraries": dict(self.libraries)} if strict else {})


@cache
def code_of(*modules: str) -> Code:
    """The code that these modules run, whatever they choose by a word: such a choice is given as a module of its own.

    Raises:
        FileNotFoundError: a module has no source.
    """
    source = cache(_source)  # while nothing changes
    todo = [part for name in modules for part in _with_packages(name) if part in modules or source(part)]
    files, foreign = dict[str, str](), set[str]()
    own = {"sammil_cli", *(name.partition(".")[0] for name in modules)}
    while todo:
        name = todo.pop()
        if name in files or _is_silent(name):
            continue
        if row := row_of(name) if name in modules else None:
            files[name] = meaning_of_row(PACKAGE.joinpath(*name.split(".")[1:-1], row.path.name))
            todo += _with_packages(row.maker)
            continue
        path = source(name) or (source_of(name) if name in modules else None)
        if path is None:
            raise FileNotFoundError(f"the module {name} has no source file")
        text = path.read_bytes()
        files[name], imported = meaning_of(text, name, is_package=path.name == "__init__.py")
        if beside := _templates(path):
            files[name] = short_digest(repr([files[name], *(file.read_text(encoding="utf-8") for file in beside)]))
        for other in imported:
            if other.partition(".")[0] not in own:
                foreign.add(other.partition(".")[0])
                continue
            todo += [found for found in _with_packages(other) if source(found)]  # the last may be no module: a name
    keep_meanings()
    packages = [package for name in sorted(foreign) for package in _COMPUTING.get(name, ())]
    return Code(dict(sorted(files.items())), {package: _version_of(package) for package in packages})


def installed_code() -> str:
    """A digest of all of the package's sources, in hex, 16 digits: machines that share a run must agree on it.

    The schemas of HDF5 files, the rows of encoders and the templates of pages are sources, too.
    """
    files = sorted(file for file in PACKAGE.rglob("*") if file.suffix in (".py", ".json", *_TEMPLATES))
    return short_digest(repr([(file.relative_to(PACKAGE).as_posix(), file.read_bytes().split()) for file in files]))


def _templates(path: Path) -> list[Path]:
    """The files that a package of templates fills in, which are a part of it: pages, their style, their scripts."""
    files = path.parent.iterdir() if path.name == "__init__.py" else ()
    return sorted(file for file in files if file.suffix in _TEMPLATES)


def _with_packages(name: str) -> list[str]:
    """A module and the packages around it, which are run before it."""
    parts = name.split(".")
    return [".".join(parts[:count]) for count in range(1, len(parts) + 1)]


def _is_silent(name: str) -> bool:
    rest = name.removeprefix("sammil_cli.")
    return name == "sammil_cli" or (rest != name and any(f"{rest}.".startswith(f"{silent}.") for silent in SILENT))


def _source(name: str) -> Path | None:
    """The file of a module; None for what is no module. Nothing of the package is imported to find it."""
    top, *rest = name.split(".")
    if top != "sammil_cli":
        return source_of(name)
    path = PACKAGE.joinpath(*rest)
    candidates = (path.with_suffix(".py"), path / "__init__.py") if rest else (path / "__init__.py",)
    return next((file for file in candidates if file.is_file()), None)


@cache
def _version_of(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "absent"
