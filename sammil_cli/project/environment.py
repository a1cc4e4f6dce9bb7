"""What a result was computed with: libraries, processor, GPU, Git, image. The run record and the doctor tell it."""

import os
import platform
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from sammil_cli import __version__
from sammil_cli.errors import IMAGE_VARIABLE

# Those whose version can change a number, in the order of the pipeline.
LIBRARIES = (
    "numpy",
    "openslide-python",
    "openslide-bin",
    "tifffile",
    "imagecodecs",
    "opencv-python-headless",
    "scikit-image",
    "scipy",
    "shapely",
    "h5py",
    "torch",
    "torchvision",
    "segment-anything",
    "safetensors",
    "scikit-learn",
)
_GIT_SECONDS = 20


class GitState(BaseModel):
    """Where a working tree stands: the commit, and the paths that differ from it."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    revision: str
    changed: list[str]


def library_versions() -> dict[str, str]:
    """Versions of Python, sammil and the libraries that numbers depend on; `absent` for one that is not installed."""
    found = {"python": platform.python_version(), "sammil": __version__}
    return found | {name: _version(name) for name in LIBRARIES}


def device_facts(device: str) -> dict[str, str]:
    """What computes: `cpu`, or a torch device such as `cuda:0` with its name and torch's CUDA version."""
    facts = {"device": device, "processor": _processor(), "system": f"{platform.system()} {platform.machine()}"}
    if device.startswith("cuda"):
        import torch

        facts |= {"gpu": torch.cuda.get_device_name(device), "cuda": str(torch.version.cuda)}
    return facts


def describe(device: str) -> dict[str, dict[str, str]]:
    """What a result is computed with, for its provenance: `libraries` and `device`, of GPUs without their number."""
    return {"libraries": library_versions(), "device": {**device_facts(device), "device": device.split(":")[0]}}


def git_state(folder: Path) -> GitState | None:
    """The Git state of a project; None without Git, without a commit, or outside of a repository."""
    revision = _git(folder, "rev-parse", "HEAD")
    status = _git(folder, "status", "--porcelain", "-z", "--no-renames", "--untracked-files=no")
    if revision is None or status is None:
        return None
    return GitState(revision=revision.strip(), changed=[entry[3:] for entry in status.split("\0") if entry])


def image_name() -> str | None:
    """What the container's image was built from; None outside of sammil's image."""
    return os.environ.get(IMAGE_VARIABLE)


@cache  # it parses a file of the package; a training asks once for each fold
def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "absent"


def _git(folder: Path, *words: str) -> str | None:
    try:
        answer = subprocess.run(  # noqa: S603 - fixed words
            ["git", "-C", str(folder), *words],  # noqa: S607 - the user's own git
            capture_output=True,
            text=True,
            check=True,
            timeout=_GIT_SECONDS,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout


def _processor() -> str:
    """The processor's model, as Linux names it; elsewhere what Python knows."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
