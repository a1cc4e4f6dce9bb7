"""All checks by name, and a process that makes some, apart from the one that reports: a broken library may kill it.

Its argument says as JSON what to look at, and which checks to make. What it tells are lines on stdout that begin with
`MARK`; whatever else appears there are words of libraries.
"""

import faulthandler
import importlib
import json
import sys
from dataclasses import asdict
from pathlib import Path

from sammil_cli.doctor.finding import Asked, Check

# What loads torch is one process's work, and takes about as long as everything else, which another process looks at.
TORCH = (
    *("libopenslide.library", "python_packages.torch", "python_packages.torchvision", "libopenslide.beside_torch"),
    *("gpu.driver", "gpu.devices", "settings.valid", "settings.device"),
)
MARK = "\x1e"  # the record separator: no library prints it

# In their order, OpenSlide before torch, as in every process of sammil. `file.function`: imported one by one where they
# are made, since what a check imports may be what is broken.
CHECKS = (
    "python_packages.python",
    "python_packages.sammil",
    "python_packages.packages",
    "python_packages.modules",
    "libopenslide.library",
    "python_packages.torch",
    "python_packages.torchvision",
    "libopenslide.beside_torch",
    "python_packages.hdf5",
    "gpu.driver",
    "gpu.devices",
    "machine_limits.cores_and_memory",
    "machine_limits.shared_memory",
    "machine_limits.temporary_folder",
    "machine_limits.home",
    "folders.project",
    "folders.writing",
    "git.repository",
    "dvc.project",
    "dvc.cache_of_pickles",
    "dvc.pipeline",
    "settings.valid",
    "settings.device",
    "weight_files.folders",
    "weight_files.files",
)


def main() -> None:
    """Makes the checks; one that raises ends the process."""
    faulthandler.enable()  # says on stderr where a crash was
    words = json.loads(sys.argv[1])
    asked = Asked(params=Path(words["params"]), assignments=tuple(words["assignments"]))
    for name in words["checks"]:
        for finding in load(name)(asked):
            tell({"found": asdict(finding)})
        tell({"done": name})


def load(name: str) -> Check:
    """The check of a name in `CHECKS`."""
    file, _, function = name.partition(".")
    check: Check = getattr(importlib.import_module(f"sammil_cli.doctor.{file}"), function)
    return check


def tell(record: dict[str, object]) -> None:
    """One record for the process that reports."""
    sys.stdout.write(MARK + json.dumps(record, default=str) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
