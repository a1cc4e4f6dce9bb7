"""What a model wants of bags beside their features: the places of the patches, and enough instances."""

import logging
from collections.abc import Mapping

from sammil_cli.errors import InputError
from sammil_cli.mil.contract import MILModel
from sammil_cli.training.bag_survey import Seen

_SHOWN = 5
NO_PLACES = "it is not known where its patches lie on their grid"
GIVE_PLACES = "convert the bags with their coordinates and --patch-px-level0 N, or choose a model that needs no places"

log = logging.getLogger(__name__)


def check_bags_of(model: type[MILModel], word: str, seen: Mapping[str, Seen]) -> None:
    """Refuses bags without places to a model that needs them; warns of bags that are small for it.

    Args:
        word: the model's name.

    Raises:
        InputError: see `check_places`.
    """
    check_places(model, word, seen)
    if small := [slide for slide, one in seen.items() if one.patches < model.least_instances]:
        log.warning(
            "%s have fewer than %d patches, which %s looks at: it takes as many as there are",
            _some(small, seen),
            model.least_instances,
            word,
        )


def check_places(model: type[MILModel], word: str, seen: Mapping[str, Seen]) -> None:
    """Refuses bags without places to a model that needs them; arguments as `check_bags_of`.

    Raises:
        InputError: bags whose patches have no known places.
    """
    if model.needs_places and (lost := [slide for slide, one in seen.items() if not one.placed]):
        raise InputError(f"{word} looks at neighbours, and of {_some(lost, seen)} {NO_PLACES}", remedy=GIVE_PLACES)


def _some(slides: list[str], of: Mapping[str, Seen]) -> str:
    listed = ", ".join(slides[:_SHOWN]) + (", …" if len(slides) > _SHOWN else "")
    return f"{len(slides)} of {len(of)} bags ({listed})"
