"""params.yaml: valid, its choices exist, this machine can do what it asks for."""

from collections.abc import Iterator
from pathlib import Path

from sammil_cli import choices
from sammil_cli.backends.backend import check_backend
from sammil_cli.config import Settings, load_settings
from sammil_cli.doctor.causes import one_line
from sammil_cli.doctor.finding import Asked, Finding, note, ok, wrong
from sammil_cli.doctor.python_packages import BROKEN
from sammil_cli.errors import SammilError

GROUP = "Settings"
_USUAL = Path("params.yaml")  # another one was asked for: then it is missed
_CHOICES = {str(kind.setting): kind for kind in choices.PICKED}


def read(asked: Asked) -> Settings | None:
    """The settings; None without a params.yaml, or with a wrong one, which `valid` reports."""
    if not asked.in_project:
        return None
    try:
        return load_settings(asked.params, asked.assignments)
    except SammilError:
        return None


def valid(asked: Asked) -> Iterator[Finding]:
    """The first thing that is wrong with the settings file."""
    if not asked.in_project and asked.params == _USUAL:
        yield note(GROUP, "settings", f"no {asked.params} here: nothing of a project was looked at")
        return
    name = str(asked.params)
    try:
        settings = load_settings(asked.params, asked.assignments)
        for key, kind in _CHOICES.items():
            choices.load(kind, getattr(settings, key))
    except SammilError as error:
        yield wrong(GROUP, name, error.message, error.remedy)
        return
    except BROKEN as error:
        yield note(GROUP, name, f"a part that it names cannot be loaded: {one_line(error)}", "see Python above")
        return
    picked = {key: getattr(settings, key) for key in _CHOICES}
    said = ", ".join(f"{key} {word}" for key, word in picked.items())
    yield ok(GROUP, name, f"valid: {said}; slides and labels: sammil check", **picked)


def device(asked: Asked) -> Iterator[Finding]:
    """Whether encoder and proposer can compute on this machine as they are set to."""
    settings = read(asked)
    if settings is None:
        return
    try:
        check_backend(settings.encode_backend, "encode_backend", "cpu")
    except SammilError as error:
        yield wrong(GROUP, "encoder", error.message, error.remedy)
    if settings.proposer != "sam":
        return
    try:
        from sammil_cli.regions.light_torchvision import import_torchvision

        import_torchvision()
        from sammil_cli.regions.sam_models.embed import check_embedder
        from sammil_cli.runner.machine import choose_device

        on = choose_device("auto") if settings.sam_backend == "torch" else "cpu"
        check_embedder(settings.model_dump(), on)
    except SammilError as error:
        yield wrong(GROUP, "SAM", error.message, error.remedy)
    except BROKEN as error:
        yield note(GROUP, "SAM", f"cannot be loaded: {one_line(error)}", "see Python above")
    else:
        hint = "; how long it takes: sammil sam --estimate" if on == "cpu" else ""
        yield ok(GROUP, "SAM", f"{settings.sam_model} in {settings.sam_precision} on the {on}{hint}", device=on)
