"""A look at bags before anything is learned from them or judged: whether they are whole, and how they were made."""

import os
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from sammil_cli.errors import InputError, SlideError
from sammil_cli.features.bag import FeatureBag, read_bag
from sammil_cli.features.bag_check import read_checked
from sammil_cli.features.making import Making
from sammil_cli.features.places import grid_places
from sammil_cli.storage.paths import BagPath

_SHOWN = 5


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What a look at one bag shows: how it was made, how many patches and regions it has.

    `placed`: whether it is known where its patches lie on their grid (`features.places`).
    """

    making: Making
    patches: int
    regions: int
    placed: bool


def look(path: BagPath, read: Callable[[BagPath], FeatureBag] = read_bag) -> Seen:
    """Looks at one bag, all of its features included; arguments and errors as `features.bag_check.read_checked`."""
    bag = read_checked(path, read)
    return Seen(
        making=Making(encoder=bag.encoder, made_with=bag.made_with),
        patches=len(bag.features),
        regions=len(bag.region_area),
        placed=grid_places(bag.xy, bag.encoder.patch_px_level0) is not None,
    )


def survey(
    paths: Mapping[str, BagPath], slides: Iterable[str], read: Callable[[BagPath], FeatureBag] = read_bag
) -> dict[str, Seen]:
    """Looks at the bags of slides, each once, in the order given.

    Args:
        read: opens a bag; called by several threads.

    Raises:
        InputError: bags that cannot be used; all are counted, the first ones are named with what is wrong with them.
    """
    wanted = list(dict.fromkeys(slides))
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = dict(zip(wanted, pool.map(lambda slide: _try(paths[slide], read), wanted), strict=True))
    bad = {slide: seen for slide, seen in found.items() if isinstance(seen, SlideError)}
    if bad:
        named = [f"slide {slide}: {error.code} {error.message}" for slide, error in list(bad.items())[:_SHOWN]]
        more = [f"and {len(bad) - _SHOWN} more"] if len(bad) > _SHOWN else []
        raise InputError(
            f"{len(bad)} of {len(found)} bags cannot be used: {'; '.join([*named, *more])}",
            remedy=next(iter(bad.values())).remedy,
        )
    return {slide: seen for slide, seen in found.items() if not isinstance(seen, SlideError)}


def _try(path: BagPath, read: Callable[[BagPath], FeatureBag]) -> Seen | SlideError:
    try:
        return look(path, read)
    except SlideError as error:
        return error
