"""How many patients a class needs, so that every fold can test, validate and train on it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class SmallClass:
    """A class that is too small, and what can be done."""

    name: str
    message: str
    fix: str


def small_classes(
    patients: Mapping[str, int], folds: int, *, validated: bool, here: str = "", shared: Mapping[str, int] | None = None
) -> Iterator[SmallClass]:
    """The classes that the folds cannot be drawn with, in their order.

    A test part takes at least one patient of each class. Where a validation part is taken from the rest, that needs
    one, too, and so does training: with two folds the larger test part takes half of the class, rounded up.

    Args:
        patients: class -> patients, each under the highest class of its slides.
        folds: outer folds.
        validated: whether validation is taken from the training patients (`protocol: honest`).
        here: which patients are counted, for the message, such as ` with slides`.
        shared: class -> patients of a higher class with slides of this one, for the message.
    """
    needed = 4 if validated and folds == 2 else folds
    why = ", two beside each test part" if needed > folds else ""
    for name, number in patients.items():
        if number >= needed:
            continue
        higher = (shared or {}).get(name, 0)
        counted = f" ({higher} more have slides of a higher class, which counts)" if number + higher >= needed else ""
        plural = "" if number == 1 else "s"
        enough = number >= (3 if validated else 2) and number != folds
        fewer = f", set folds to {number} in params.yaml," if enough else ""
        yield SmallClass(
            name=name,
            message=f"class {name!r} has {number or 'no'} patient{plural}{here}{counted}; "
            f"{folds} folds need {needed}{why}",
            fix=f"add patients{fewer} or drop the class",
        )
