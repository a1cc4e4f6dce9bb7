"""A project of features or tiles in hand: which stages it has, and how its dvc.yaml is read back.

They lie in data/features or data/tiles as links, which Git keeps: so they are there in the copies of the project, too,
in which DVC runs queued and temporary experiments.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from sammil_cli.errors import InputError
from sammil_cli.storage.guarded_yaml import read_yaml

if TYPE_CHECKING:
    from sammil_cli.project.pipeline import StageFiles

FEATURES, TILES = "data/features", "data/tiles"
UNGROUPED = "artifacts/features"  # bags before regions are found for them


@dataclass(frozen=True, kw_only=True)
class InHand:
    """Features or tiles in hand: what a project has of them, and what it does with them.

    Args:
        folders: their names in data/features, or data/tiles.
        tiles: whether they are pre-cut tiles, which `sammil tiles` encodes.
        beside: whether they come beside the project's slides, whose bags are made by `extract`.
        regions: whether regions are found for them. pixels: whether the slides are read for that.
        places: whether they have coordinates, which pictures need.
    """

    folders: tuple[str, ...]
    tiles: bool = False
    beside: bool = False
    regions: bool = False
    pixels: bool = False
    places: bool = True

    @property
    def deps(self) -> tuple[str, ...]:
        """The folders, each by itself: DVC follows a link that it is given, and none inside a folder."""
        return tuple(f"{self.root}/{name}" for name in self.folders)

    @property
    def root(self) -> str:
        """The folder that they lie in."""
        return TILES if self.tiles else FEATURES

    @property
    def stage(self) -> str:
        """The stage that makes bags of them."""
        return "tiles" if self.tiles else "convert-legacy"

    @property
    def kind(self) -> str:
        """What they are, in one word."""
        return "tiles" if self.tiles else "features"


def in_hand_of(dvc_yaml: Path) -> InHand | None:
    """What a dvc.yaml does with features in hand; None where it knows of none.

    Its folders are those that lie in data/features or data/tiles now: a renewed dvc.yaml names them.
    """
    try:
        loaded = read_yaml(dvc_yaml)
        stages = loaded["stages"] if isinstance(loaded, dict) else {}
        deps = {name: {str(dep) for dep in entry.get("deps", ())} for name, entry in stages.items()}
    except (OSError, InputError, KeyError, TypeError, ValueError, AttributeError):
        return None
    beside = any(dep.startswith(f"{FEATURES}/") for dep in deps.get("extract", ()))
    tiles = "tiles" in deps
    if not beside and not tiles and "convert-legacy" not in deps:
        return None
    return InHand(
        folders=names_in(dvc_yaml.parent / (TILES if tiles else FEATURES)),
        tiles=tiles,
        beside=beside,
        regions=not beside and "sam" in deps,
        pixels=not beside and "data/slides" in deps.get("sam", ()),
        places=beside or "visualize" in deps,
    )


def features_in(project: Path) -> tuple[str, ...]:
    """The names in a project's data/features, in order."""
    return names_in(project / FEATURES)


def names_in(folder: Path) -> tuple[str, ...]:
    """What lies in a folder and is not hidden, in order; nothing where it is not there."""
    return tuple(sorted(path.name for path in folder.glob("[!.]*"))) if folder.is_dir() else ()


def stages_of_features(in_hand: InHand, files: Mapping[str, "StageFiles"]) -> dict[str, "StageFiles"]:
    """The stages of a project of features or tiles in hand, in their order; `files`: what all stages read and write."""
    first = in_hand.stage
    slides = ("data/slides",) if in_hand.pixels else ()
    checked = () if in_hand.tiles else slides
    convert = replace(files[first], deps=(*in_hand.deps, *files[first].deps, *checked))
    if not in_hand.regions:
        found = {first: convert}
    else:
        found = {
            first: replace(convert, outs=(UNGROUPED,)),
            "sam": replace(files["sam"], deps=(UNGROUPED, *slides, "data/slides.csv", "data/annotations")),
            "extract": replace(files["extract"], deps=(UNGROUPED, "artifacts/regions")),
        }
    found |= {name: files[name] for name in ("train", "evaluate")}
    if in_hand.places:
        regions = ("artifacts/regions",) if in_hand.regions else ()
        drawn_from = ("artifacts/bags", "runs/models", "runs/splits.csv")
        found["visualize"] = replace(files["visualize"], deps=(*slides, *regions, *drawn_from))
    return found


def with_regions(stages: Mapping[str, dict[str, object]], first: str) -> None:
    """Has regions found for what is in hand, between the stage that comes `first` and training."""
    stages[first]["cmd"] = f"sammil {first} --out {UNGROUPED}"
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
