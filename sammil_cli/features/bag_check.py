"""Whether a bag can be learned from and judged: what is wrong with it is found here, and not by a loss or a library."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sammil_cli.errors import InputError, SlideError
from sammil_cli.features.bag import FeatureBag, check_finite, read_bag
from sammil_cli.storage.paths import BagPath

_ROWS = 1024  # looked at together: more would need memory of their own
# Of a float16: all bits but the sign; the bits of infinity, which those of NaN are above.
_HALF_UNSIGNED, _HALF_INFINITE = 0x7FFF, 0x7C00


def read_checked(path: BagPath, read: Callable[[BagPath], FeatureBag] = read_bag) -> FeatureBag:
    """Reads a bag that is whole.

    Args:
        read: opens it, as `features.bag.read_bag` does.

    Raises:
        SlideError: `E_NAN`, features that are not finite · `E_DAMAGED`, a damaged file, no patch, or parts that do not
            fit together · `E_MIXED`, of another slide. The message names the file, the remedy makes it anew.
    """
    again = f"make it again (sammil extract --only {path.stem}, or convert-legacy), or delete it: the slide is left out"
    again += f"; under DVC: dvc checkout {path.parent}"
    try:
        bag = read(path)
        check_bag(bag)
    except SlideError as error:
        raise SlideError(
            error.code,
            f"{path}: {error.message}",
            remedy=f"{error.remedy}; then {again}" if error.remedy else again,
            set_aside=False,
        ) from None
    except InputError as error:
        raise SlideError(error.code or "E_INPUT", error.message, remedy=again, set_aside=False) from None
    return bag


def check_bag(bag: FeatureBag) -> None:
    """Refuses a bag that no model can take; reads all features.

    Raises:
        SlideError: see `read_checked`.
    """
    if not _finite(bag.features):
        check_finite(bag.features)
    if not _finite(bag.group_features):
        raise SlideError("E_NAN", "it has NaN or infinite group features", remedy="", set_aside=False)


def _finite(features: NDArray[np.floating[Any]]) -> bool:
    """Whether all numbers are finite; numpy's own test of float16 takes ten times as long."""
    for start in range(0, len(features), _ROWS):
        rows = features[start : start + _ROWS]
        if rows.dtype == np.float16:
            bits = np.ascontiguousarray(rows).view(np.uint16) & _HALF_UNSIGNED
            if rows.size and bits.max() >= _HALF_INFINITE:
                return False
        elif not np.isfinite(rows).all():
            return False
    return True
