"""Whether this is a container, and the words that start one so that a fault is gone."""

import os
from pathlib import Path

from sammil_cli.project.environment import image_name

_MARKS = (Path("/.dockerenv"), Path("/run/.containerenv"))
_APPTAINER = ("APPTAINER_CONTAINER", "SINGULARITY_CONTAINER")


def is_apptainer() -> bool:
    """Apptainer or Singularity: the caller's own user, home and network; GPUs come with `--nv`."""
    return any(os.environ.get(name) for name in _APPTAINER)


def in_container() -> bool:
    """Docker, Podman, Apptainer or sammil's own image."""
    return is_apptainer() or image_name() is not None or any(mark.exists() for mark in _MARKS)
