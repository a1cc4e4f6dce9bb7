"""All checks by name, in their order: OpenSlide before torch, as in every process of sammil."""

import importlib

from sammil_cli.stages.doctor.finding import Check

# `file.function`: imported one by one where they are made, since what a check imports may be what is broken.
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
    "dvc.pipeline",
    "settings.valid",
    "settings.device",
    "weight_files.folders",
    "weight_files.files",
)


def load(name: str) -> Check:
    """The check of a name in `CHECKS`."""
    file, _, function = name.partition(".")
    check: Check = getattr(importlib.import_module(f"sammil_cli.stages.doctor.{file}"), function)
    return check
