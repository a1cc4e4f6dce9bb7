"""sammil check in a project of features or tiles in hand: which slides there are, by these and by bags."""

from dataclasses import replace
from pathlib import Path

from sammil_cli.cohort.finding import Finding
from sammil_cli.errors import InputError, SlideError
from sammil_cli.exchange.convert_legacy import slides_in_hand
from sammil_cli.patches.tile_folders import find_tiles
from sammil_cli.project.in_hand import in_hand_of
from sammil_cli.project.pipeline import PIPELINE
from sammil_cli.project.project import Project


def is_of_features(pipeline: Path = Path(PIPELINE)) -> bool:
    """Whether the project here has features or tiles in hand, and no slides."""
    in_hand = in_hand_of(pipeline)
    return in_hand is not None and not in_hand.beside


def for_features(finding: Finding) -> Finding:
    """The finding with a fix for a project of features, where nobody adds a slide."""
    if finding.kind != "no-slide":
        return finding
    fix = "nothing, if they have no features; else: sammil init . --update --from-features FOLDER"
    if (in_hand := in_hand_of(Path(PIPELINE))) and in_hand.tiles:
        fix = "nothing, if they have no tiles; else: put a link to their folder into data/tiles, sammil init . --update"
    return replace(finding, fix=fix)


def check_features(project: Project) -> tuple[dict[str, Path], list[Finding]]:
    """The file of each slide in data/features, or its folder in data/tiles, and what is wrong there.

    Never raises for what it looks at.
    """
    if (in_hand := in_hand_of(Path(PIPELINE))) and in_hand.tiles:
        return _check_tiles(project.tiles)
    try:
        return slides_in_hand(project), []
    except (InputError, SlideError) as error:
        return {}, [Finding(file=str(project.features), kind="features", message=error.message, fix=error.remedy)]


def _check_tiles(tiles: Path) -> tuple[dict[str, Path], list[Finding]]:
    try:
        found = find_tiles(tiles)
    except InputError as error:
        return {}, [Finding(file=str(tiles), kind="tiles", message=error.message, fix=error.remedy)]
    wrong = [
        Finding(file=str(tiles), kind="tiles", message=f"{slide}: {error.message}", fix=error.remedy)
        for slide, error in found.refused.items()
    ]
    return dict(found.folders), wrong
