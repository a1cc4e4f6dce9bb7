"""A project of features in hand: which stages it has, and how its dvc.yaml is read back.

Features lie in data/features as links, which Git keeps: so they are there in the copies of the project, too, in which
DVC runs queued and temporary experiments.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from sammil_cli.errors import InputError
from sammil_cli.storage.guarded_yaml import read_yaml

if TYPE_CHECKING:
    from sammil_cli.project.pipeline import StageFiles

FEATURES = "data/features"
UNGROUPED = "artifacts/features"  # bags before regions are found for them


@dataclass(frozen=True, kw_only=True)
class InHand:
    """Features in hand: what a project has of them, and what it does with them.

    Args:
        folders: their names in data/features.
        beside: whether they come beside the project's slides, whose bags are made by `extract`.
        regions: whether regions are found for them. pixels: whether the slides are read for that.
        places: whether the features have coordinates, which pictures need.
    """

    folders: tuple[str, ...]
    beside: bool = False
    regions: bool = False
    pixels: bool = False
    places: bool = True

    @property
    def deps(self) -> tuple[str, ...]:
        """The folders, each by itself: DVC follows a link that it is given, and none inside a folder."""
        return tuple(f"{FEATURES}/{name}" for name in self.folders)


def in_hand_of(dvc_yaml: Path) -> InHand | None:
    """What a dvc.yaml does with features in hand; None where it knows of none.

    Its folders are those that lie in data/features now: a renewed dvc.yaml names them.
    """
    try:
        loaded = read_yaml(dvc_yaml)
        stages = loaded["stages"] if isinstance(loaded, dict) else {}
        deps = {name: {str(dep) for dep in entry.get("deps", ())} for name, entry in stages.items()}
    except (OSError, InputError, KeyError, TypeError, ValueError, AttributeError):
        return None
    beside = any(dep.startswith(f"{FEATURES}/") for dep in deps.get("extract", ()))
    if not beside and "convert-legacy" not in deps:
        return None
    return InHand(
        folders=features_in(dvc_yaml.parent),
        beside=beside,
        regions=not beside and "sam" in deps,
        pixels=not beside and "data/slides" in deps.get("sam", ()),
        places=beside or "visualize" in deps,
    )


def features_in(project: Path) -> tuple[str, ...]:
    """The names in a project's data/features, in order."""
    folder = project / FEATURES
    return tuple(sorted(path.name for path in folder.glob("[!.]*"))) if folder.is_dir() else ()


def stages_of_features(in_hand: InHand, files: Mapping[str, "StageFiles"]) -> dict[str, "StageFiles"]:
    """The stages of a project of features in hand, in their order; `files`: what all stages read and write."""
    convert = files["convert-legacy"]
    slides = ("data/slides",) if in_hand.pixels else ()
    convert = replace(convert, deps=(*in_hand.deps, *convert.deps, *slides))
    if not in_hand.regions:
        found = {"convert-legacy": convert}
    else:
        found = {
            "convert-legacy": replace(convert, outs=(UNGROUPED,)),
            "sam": replace(files["sam"], deps=(UNGROUPED, *slides, "data/slides.csv", "data/annotations")),
            "extract": replace(files["extract"], deps=(UNGROUPED, "artifacts/regions")),
        }
    found |= {name: files[name] for name in ("train", "evaluate")}
    if in_hand.places:
        regions = ("artifacts/regions",) if in_hand.regions else ()
        drawn_from = ("artifacts/bags", "runs/models", "runs/splits.csv")
        found["visualize"] = replace(files["visualize"], deps=(*slides, *regions, *drawn_from))
    return found


def with_regions(stages: Mapping[str, dict[str, object]]) -> None:
    """Has regions found for features in hand, between their conversion and training."""
    stages["convert-legacy"]["cmd"] = f"sammil convert-legacy --out {UNGROUPED}"
    for name in ("sam", "extract"):
        stages[name]["cmd"] = f"sammil {name} --features {UNGROUPED}"


def merge(stages: Mapping[str, dict[str, object]], in_hand: InHand, code: str, settings: Sequence[str]) -> None:
    """Has features in hand converted behind `extract`, in its stage: DVC gives each folder to one stage alone.

    Each of the two commands leaves the other's bags where they are.

    Args:
        code: the file of convert-legacy's code. settings: that it reads.
    """
    extract = stages["extract"]
    extract["cmd"] = ["sammil extract", "sammil convert-legacy"]
    extract["deps"] = [*_list(extract["deps"]), *in_hand.deps, "data/slides.csv", code]
    extract["params"] = sorted({*_list(extract["params"]), *settings})


def _list(value: object) -> list[str]:
    return [str(one) for one in value] if isinstance(value, list) else []
