"""sammil check in a project of features in hand: which slides there are, by their features and bags."""

from dataclasses import replace
from pathlib import Path

from sammil_cli.cohort.finding import Finding
from sammil_cli.errors import InputError, SlideError
from sammil_cli.exchange.convert_legacy import slides_in_hand
from sammil_cli.project.in_hand import in_hand_of
from sammil_cli.project.pipeline import PIPELINE
from sammil_cli.project.project import Project


def is_of_features(pipeline: Path = Path(PIPELINE)) -> bool:
    """Whether the project here has features in hand, and no slides."""
    in_hand = in_hand_of(pipeline)
    return in_hand is not None and not in_hand.beside


def for_features(finding: Finding) -> Finding:
    """The finding with a fix for a project of features, where nobody adds a slide."""
    if finding.kind != "no-slide":
        return finding
    fix = "nothing, if they have no features; else: sammil init . --update --from-features FOLDER"
    return replace(finding, fix=fix)


def check_features(project: Project) -> tuple[dict[str, Path], list[Finding]]:
    """The file of each slide in data/features, and what is wrong there.

    Never raises for what it looks at.
    """
    try:
        return slides_in_hand(project), []
    except (InputError, SlideError) as error:
        return {}, [Finding(file=str(project.features), kind="features", message=error.message, fix=error.remedy)]
