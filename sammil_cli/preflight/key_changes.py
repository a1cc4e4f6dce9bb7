"""Why a result is stale: the difference of two keys in words."""

import glob
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sammil_cli.config import ON_REQUEST, STAGES
from sammil_cli.project.project import Project
from sammil_cli.tissue.drawing_files import find_drawings

_SETTINGS = "settings"
_LEFT_OUT = {(_SETTINGS, "encoder_pooling"): "auto"}  # of keys that are to be as in earlier versions
_DIGEST = 16  # hex digits from which on a text is taken for a check sum
_UPSTREAM = {
    "tissue": "its tissue mask",
    "artefacts": "its artefact map",
    "patches": "its patches",
    "regions": "its regions",
}
# What a drawing is called, and the attribute of `Project` that is its folder.
_DRAWINGS = {
    "edit": ("edited polygons", "edits"),
    "roi": ("region of interest", "rois"),
    "drawing": ("annotations", "annotations"),
    "lesions": ("known lesions", "lesions"),
}
_LEARNED_DRAWINGS = {"wsi-sam-train": ("outlines to learn from", "lesions")}  # what its `drawing` is


@dataclass(frozen=True)
class Change:
    """One reason: short, the same for all slides that it concerns, and long, with the values or files.

    `file`: of the user's, that changed, was added or removed; None where it is something else.
    """

    short: str
    long: str
    file: Path | None = None


def changes(
    stage: str, slide_id: str, old: Mapping[str, object], new: Mapping[str, object], project: Project
) -> tuple[Change, ...]:
    """What is different between the key of a result and the one that is asked for now, both as read from JSON."""
    before, after = dict(_leaves(old)), dict(_leaves(new))
    names = dict.fromkeys([*after, *before])
    before, after = _LEFT_OUT | before, _LEFT_OUT | after
    return tuple(
        _in_words(stage, slide_id, name, before.get(name), after.get(name), project)
        for name in names
        if before.get(name) != after.get(name)
    )


def _leaves(value: Mapping[str, object], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], object]]:
    for key, part in value.items():
        if isinstance(part, Mapping):
            yield from _leaves(part, (*path, str(key)))
        else:
            yield (*path, str(key)), part


def _in_words(stage: str, slide_id: str, path: tuple[str, ...], old: object, new: object, project: Project) -> Change:
    name = path[0]
    if name == _SETTINGS:
        key = setting_name(stage, path[1:])
        return Change(f"{key} changed", f"{key}: {_shown(old)} → {_shown(new)}")
    if name == "code":
        return Change("code changed", f"sammil's code for {stage}, or that of a plug-in it uses, changed")
    if name == "libraries":
        return Change("other versions of libraries", f"{path[-1]}: {_shown(old)} → {_shown(new)}")
    if name == "slide":
        file = next(iter(sorted(project.slides.rglob(f"{glob.escape(slide_id)}.*"))), None)
        return Change("slide file changed", f"the slide file changed{_when(file)}", file)
    if name in _UPSTREAM:
        return Change(f"{_UPSTREAM[name]} changed", f"{_UPSTREAM[name]} changed")
    if name == "mpp":
        return Change(
            "resolution in slides.csv changed",
            f"its resolution in {project.slides_table}: {_shown(old)} → {_shown(new)} µm per pixel",
            project.slides_table,
        )
    if name == "scene":
        said = f"its scene in {project.slides_table}: {_shown(old)} → {_shown(new)}"
        return Change("scene in slides.csv changed", said, project.slides_table)
    if name in _DRAWINGS:
        what, folder = _LEARNED_DRAWINGS.get(stage, _DRAWINGS[name])
        return _drawing(what, getattr(project, folder), slide_id, old, new)
    if name == "models":
        return Change("other models", "the models that judge it were trained anew since")
    if name == "inputs":
        return Change("its bag, patches or regions changed", "its bag, patches or regions changed")
    if name == "weights":
        return Change("other weights", f"weights: {_shown(old)} → {_shown(new)}")
    label = " ".join(path)
    return Change(f"{label} changed", f"{label}: {_shown(old)} → {_shown(new)}")


def _drawing(what: str, folder: Path, slide_id: str, old: object, new: object) -> Change:
    file = find_drawings(folder).get(slide_id, folder / f"{slide_id}.geojson")
    if new is None:
        return Change(f"{what} removed", f"{file} was removed", file)
    if old is None:
        return Change(what, f"{file} was added{_when(file)}", file)
    return Change(what, f"{file} changed{_when(file)}", file)


def setting_name(stage: str, path: tuple[str, ...]) -> str:
    """The key of params.yaml of a setting in a key, where it may lack its beginning, such as `tissue_`, or its end."""
    known, part = {**STAGES, **ON_REQUEST}[stage].model_fields, path[-1]
    whole = (part if part in known else "", *(key for key in known if key.endswith(f"_{part}")))
    return next((key for key in (*whole, *(key for key in known if key.startswith(f"{part}_"))) if key), ".".join(path))


def listed_settings(stage: str, settings: Mapping[str, object]) -> str:
    """The settings of a key by their keys in params.yaml, for people; those that are null are left out."""
    named = ((setting_name(stage, path), value) for path, value in _leaves(settings))
    return ", ".join(f"{key} {_shown(value)}" for key, value in named if value is not None)


def _shown(value: object) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str) and len(value) >= _DIGEST and set(value) <= set("0123456789abcdef"):
        return f"{value[:8]}…"
    return f"{value:.10g}" if isinstance(value, float) else str(value)


def _when(file: Path | None) -> str:
    """` at 10:42`, with the date when it was not today."""
    if file is None or not file.exists():
        return ""
    changed = datetime.fromtimestamp(file.stat().st_mtime).astimezone()
    today = changed.date() == datetime.now().astimezone().date()
    return f" at {changed:%H:%M}" if today else f" on {changed:%Y-%m-%d at %H:%M}"
