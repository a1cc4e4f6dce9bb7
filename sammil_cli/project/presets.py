"""Presets that come with the package, and params.yaml as `sammil init` writes it."""

from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

import yaml

from sammil_cli.choices import one_of
from sammil_cli.config import ON_REQUEST, STAGES, check, describe
from sammil_cli.errors import InputError
from sammil_cli.storage.guarded_yaml import parse_yaml


def preset_names() -> list[str]:
    """The presets that come with the package."""
    folder = files("sammil_cli") / "presets"
    return sorted(file.name.removesuffix(".yaml") for file in folder.iterdir() if file.name.endswith(".yaml"))


def preset(name: str) -> dict[str, Any]:
    """The keys that a preset sets.

    Raises:
        InputError: there is no such preset.
    """
    if name not in preset_names():
        raise InputError(f"unknown preset {name!r}", remedy=one_of(name, preset_names()))
    text = (files("sammil_cli") / "presets" / f"{name}.yaml").read_text(encoding="utf-8")
    loaded: dict[str, Any] = parse_yaml(text, name) or {}
    return loaded


def render_params(name: str, *, stages: Sequence[str], changed: Mapping[str, object] | None = None) -> str:
    """The text of a params.yaml with every key of the stages, commented, with a preset's values but for those changed.

    Raises:
        InputError: there is no such preset, or what is changed cannot have that value.
    """
    settings = check({**preset(name), **(changed or {})}, f"preset {name}")
    lines = [
        f"# sammil's settings, preset {name}. One key is one setting; sammil and `dvc exp run` take -S key=value.",
        "# A key is listed once, under the first stage that uses it. An unknown key is an error.",
    ]
    listed: set[str] = set()
    for stage in stages:
        fields = {k: f for k, f in {**STAGES, **ON_REQUEST}[stage].model_fields.items() if k not in listed}
        if fields:
            lines += ["", f"# {stage}"]
        for key in fields:
            # An empty table as null: DVC's -S sets that as a whole, and would refuse to add to {}.
            value = getattr(settings, key)
            value = yaml.safe_dump({key: None if value == {} else value}, default_flow_style=True, width=10_000)
            lines.append(f"{value.strip()[1:-1]:<36} # {describe(key)}")
        listed |= set(fields)
    return "\n".join(lines) + "\n"
