"""Why a library cannot be loaded, by its own words, and the fix; and whether fixes are for a container."""

import os
import re
import signal
import sys
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

from sammil_cli.doctor.finding import Finding, wrong
from sammil_cli.project.environment import image_name

REPORT = "report it, with the output of: sammil doctor --json"
_UNSET = "libraries of two installations may be mixed: unset LD_LIBRARY_PATH LD_PRELOAD"
_PACKAGE = "sammil-cli"
_LONGEST = 200  # characters of a library's own words
_MARKS = (Path("/.dockerenv"), Path("/run/.containerenv"))
_APPTAINER = ("APPTAINER_CONTAINER", "SINGULARITY_CONTAINER")


def requirement(name: str) -> str:
    """A requirement of sammil as pip takes it, such as `'torch==2.13.0'`; the bare name where nothing is known."""
    try:
        lines = requires(_PACKAGE) or []
    except PackageNotFoundError:
        lines = []
    plain = (line.partition(";")[0].strip() for line in lines if "extra ==" not in line)
    return next((f"'{line}'" for line in plain if re.split(r"[<>=!~ ]", line)[0] == name), name)


def install(*names: str) -> str:
    """The command that installs these packages anew, in the versions that sammil needs."""
    if image_name():
        return "take sammil's image anew: docker build -t sammil . (docs/containers.md)"
    return f"{sys.executable} -m pip install --force-reinstall {' '.join(map(requirement, names))}"


def why_not_loaded(words: str, *packages: str) -> str:
    """The fix for a library that cannot be imported; `packages` are those that it comes from."""
    again = install(*packages)
    if "GLIBC" in words:
        return "this system is older than the package allows: use sammil's container image (docs/containers.md)"
    if "undefined symbol" in words or "version `" in words:
        return f"{_UNSET}; if it stays: {again}"
    if missing := re.search(r"(libGL|libgthread|libSM|libXext)[\w.-]*", words):
        return f"{missing[0]} belongs to desktops: python -m pip uninstall opencv-python opencv-contrib-python; {again}"
    if "cannot open shared object file" in words:
        return f"{words.partition(':')[0].split()[-1]} is missing on this system; the package may be damaged: {again}"
    return again


def not_loaded(group: str, name: str, found: str, error: BaseException, *packages: str) -> Finding:
    """A library that does not load or work: what was `found`, its own words, and the fix by `why_not_loaded`."""
    words = one_line(error)
    return wrong(group, name, f"{found}: {words}", why_not_loaded(words, *packages))


def why_it_died(code: int) -> tuple[str, str]:
    """What killed a process, and the fix, from its exit status (negative: the signal)."""
    if code >= 0:
        return f"ended with {code}", REPORT
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    fixes = {
        "SIGILL": "this processor lacks instructions that the package was built for: take another machine",
        "SIGBUS": "shared memory or a disk is full: docker run --shm-size 1g …; and look at df -h",
        "SIGKILL": "the system took the process away, mostly for want of memory: ask for more (--mem of the job)",
        "SIGSEGV": f"{_UNSET}; if it stays, {REPORT}",
    }
    return f"killed by {name}", fixes.get(name, REPORT)


def one_line(error: BaseException | str) -> str:
    """An error in its own words, on one line, not endless."""
    words = " ".join(str(error).split()) or type(error).__name__
    return words if len(words) <= _LONGEST else words[:_LONGEST] + " …"


def is_apptainer() -> bool:
    """Apptainer or Singularity: the caller's own user, home and network; GPUs come with `--nv`."""
    return any(os.environ.get(name) for name in _APPTAINER)


def in_container() -> bool:
    """Docker, Podman, Apptainer or sammil's own image."""
    return is_apptainer() or image_name() is not None or any(mark.exists() for mark in _MARKS)
