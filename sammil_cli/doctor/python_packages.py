"""Python, sammil, and the libraries: versions, where they lie, whether they work."""

import importlib
import os
import site
import sys
import tempfile
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

import sammil_cli
from sammil_cli.doctor.causes import install, not_loaded
from sammil_cli.doctor.finding import Asked, Finding, note, ok, wrong
from sammil_cli.project.environment import image_name, library_versions

GROUP = "Python"
BROKEN = (ImportError, OSError, RuntimeError, AttributeError, ValueError)  # how libraries that do not fit say so
# The modules that work needs, by the package that brings them; torch and OpenSlide are looked at on their own.
_MODULES = {
    "numpy": "numpy",
    "opencv-python-headless": "cv2",
    "scipy": "scipy.sparse",
    "scikit-image": "skimage.segmentation._slic",
    "shapely": "shapely",
    "scikit-learn": "sklearn.linear_model",
    "tifffile": "tifffile",
    "imagecodecs": "imagecodecs._jpeg8",
    "matplotlib": "matplotlib",
    "safetensors": "safetensors",
}
_RIVALS = ("opencv-python", "opencv-contrib-python", "opencv-contrib-python-headless")


def python(_: Asked) -> Iterator[Finding]:
    """The interpreter, and what could bring in modules of another installation."""
    facts = {"executable": sys.executable, "prefix": sys.prefix, "venv": sys.prefix != sys.base_prefix}
    yield ok(GROUP, "Python", f"{sys.version.split()[0]}, {sys.executable}", version=sys.version.split()[0], **facts)
    if path := os.environ.get("PYTHONPATH"):
        yield note(GROUP, "PYTHONPATH", f"{path}: modules there win over installed ones", "unset PYTHONPATH")
    user = Path(site.getusersitepackages())
    if site.ENABLE_USER_SITE and user.is_dir() and not Path(sammil_cli.__file__).is_relative_to(user):
        found = f"packages in {user} win over those beside sammil"
        yield note(GROUP, "user packages", found, "export PYTHONNOUSERSITE=1", path=str(user))


def sammil(_: Asked) -> Iterator[Finding]:
    """Which sammil this is, and from where."""
    path, image = str(Path(sammil_cli.__file__).parent), image_name()
    found = f"{sammil_cli.__version__}, {path}" + (f", image {image}" if image else "")
    yield ok(GROUP, "sammil", found, version=sammil_cli.__version__, path=path, image=image)


def packages(_: Asked) -> Iterator[Finding]:
    """Whether each package is there in a version that sammil allows."""
    try:
        lines = requires("sammil-cli") or []
    except PackageNotFoundError:
        yield note(GROUP, "packages", "sammil is not installed as a package: versions are not compared")
        return
    unfit = list(_unfit(lines))
    for name, found in unfit:
        yield wrong(GROUP, name, found, install(name))
    versions = library_versions()
    if not unfit:
        number = sum("extra ==" not in line for line in lines)
        yield ok(GROUP, "packages", f"{number} packages in versions that sammil allows", **versions)
    if both := [name for name in _RIVALS if _version(name)]:
        found = f"{' and '.join(both)} and opencv-python-headless overwrite each other's files"
        remedy = f"{sys.executable} -m pip uninstall -y {' '.join(both)}; {install('opencv-python-headless')}"
        yield note(GROUP, "OpenCV", found, remedy)


def _unfit(lines: list[str]) -> Iterator[tuple[str, str]]:
    """Packages that are missing, or in a version that is not allowed, with words for it."""
    from packaging.requirements import Requirement

    for line in lines:
        wanted = Requirement(line)
        if wanted.marker and not wanted.marker.evaluate({"extra": ""}):
            continue
        there = _version(wanted.name)
        if there is None:
            yield wanted.name, "is not installed"
        elif not wanted.specifier.contains(there, prereleases=True):
            yield wanted.name, f"is {there}; sammil needs {wanted.specifier}"


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def modules(_: Asked) -> Iterator[Finding]:
    """Whether the libraries can be imported."""
    paths = {}
    for package, name in _MODULES.items():
        try:
            module = importlib.import_module(name)
        except BROKEN as error:
            yield not_loaded(GROUP, package, "cannot be imported", error, package)
        else:
            paths[package] = str(module.__file__)
    if len(paths) == len(_MODULES):
        numpy = Path(paths["numpy"]).parent
        yield ok(GROUP, "libraries", f"{len(paths)} of them load; numpy {version('numpy')}, {numpy}", **paths)


def torch(_: Asked) -> Iterator[Finding]:
    """torch: its version, what it was built for, and where it lies."""
    try:
        import torch

        total = float(torch.ones(3, 3).matmul(torch.ones(3, 3)).sum())
    except BROKEN as error:
        yield not_loaded(GROUP, "torch", "cannot be loaded", error, "torch", "torchvision")
        return
    if total != 27.0:
        yield wrong(GROUP, "torch", f"computes wrong: 27 came out as {total}", install("torch", "torchvision"))
        return
    build = f"CUDA {torch.version.cuda}" if torch.version.cuda else "CPU only"
    path, number = str(Path(torch.__file__).parent), torch.__version__
    yield ok(GROUP, "torch", f"{number}, built for {build}, {path}", version=number, build=build, path=path)


def torchvision(_: Asked) -> Iterator[Finding]:
    """torchvision's compiled operators, run: where its build is not the one for this torch, they are missing."""
    try:
        import torch

        from sammil_cli.regions.light_torchvision import import_torchvision

        torchvision = import_torchvision()
        boxes = torch.tensor([[0.0, 0.0, 4.0, 4.0], [0.0, 0.0, 4.0, 3.9], [8.0, 8.0, 9.0, 9.0]])
        kept = torchvision.ops.nms(boxes, torch.tensor([0.9, 0.8, 0.7]), 0.5).tolist()
        mean = torchvision.ops.roi_align(torch.full((1, 1, 8, 8), 3.0), [boxes[:1]], output_size=2).mean().item()
    except BROKEN as error:
        yield not_loaded(GROUP, "torchvision", "does not work with this torch", error, "torch", "torchvision")
        return
    path, number = str(Path(str(torchvision.__file__)).parent), torchvision.__version__
    if kept != [0, 2] or mean != 3.0:
        found = f"{number} computes wrong: nms gave {kept}, roi_align {mean}"
        yield wrong(GROUP, "torchvision", found, install("torch", "torchvision"))
        return
    yield ok(GROUP, "torchvision", f"{number}, nms and roi_align work, {path}", version=number, path=path)


def hdf5(_: Asked) -> Iterator[Finding]:
    """HDF5: its library, and a file written and read as the stages do it."""
    try:
        tempfile.gettempdir()
    except OSError:
        yield note(GROUP, "HDF5", "not tried: no temporary file can be written", "see temporary files below")
        return
    try:
        import numpy as np

        from sammil_cli.storage.hdf5 import read_hdf5, write_hdf5

        with tempfile.TemporaryDirectory(prefix="sammil-doctor-") as folder:
            path = Path(folder) / "maps.h5"
            cells = np.arange(6, dtype=np.uint8).reshape(3, 2)
            maps = dict.fromkeys(("blank", "pen", "dark", "blur"), cells)
            write_hdf5(path, "artefacts", maps, {"slide_id": path.stem, "cell_px0": (4.0, 4.0), "mpp": 8.0}, {})
            back = read_hdf5(path, "artefacts", mapped=True)[0]["blur"].tolist()
        h5py = importlib.import_module("h5py")
    except BROKEN as error:
        yield not_loaded(GROUP, "HDF5", "does not work", error, "h5py")
        return
    library, place = h5py.version.hdf5_version, str(Path(str(h5py.__file__)).parent)
    facts = {"version": library, "h5py": h5py.__version__, "path": place}
    if back != cells.tolist():
        yield wrong(GROUP, "HDF5", f"{library} reads other numbers than were written", install("h5py"), **facts)
        return
    yield ok(GROUP, "HDF5", f"{library}, h5py {h5py.__version__}, {place}", **facts)
    if (locking := os.environ.get("HDF5_USE_FILE_LOCKING", "")).upper() in ("1", "TRUE", "BEST_EFFORT"):
        found = f"HDF5_USE_FILE_LOCKING={locking} overrules sammil, which locks no file: some network disks refuse"
        yield note(GROUP, "HDF5 locks", found, "unset HDF5_USE_FILE_LOCKING")
