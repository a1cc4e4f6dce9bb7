"""Whether a model looks at tissue: the patches' scores of pen, dirt and blur, in words for pictures and remarks."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from sammil_cli.report.scales import Values

Scores = Mapping[str, NDArray[np.float16]]  # by artefact, (n,), 0-1; see `patches.patch_grid.PatchGrid`

_FROM = {"pen": 0.1, "dark": 0.1, "blur": 0.7}  # from this score on a patch counts as one with the artefact
_WORDS = {"pen": "pen", "dark": "black", "blur": "blurred"}
_NAMES = {"pen": "pen", "dark": "black (folds, dirt)", "blur": "blur"}
_MUCH = 0.1  # of a slide's attention


def artefact_of(scores: Scores, index: int) -> str:
    """The artefact that a patch has most of, such as `pen 40%`; empty for clean ones, and where none was scored."""
    found = {name: float(scores[name][index]) for name in _FROM if name in scores}
    most = max(found, key=lambda name: found[name] / _FROM[name], default=None)
    if most is None or found[most] < _FROM[most]:
        return ""
    return _WORDS[most] if most == "blur" else f"{_WORDS[most]} {found[most]:.0%}"


def artefact_remarks(scores: Scores, attention: Values) -> list[str]:
    """A remark for each artefact whose patches have a tenth of the attention (n,) or more."""
    remarks, total = [], max(float(attention.sum()), 1e-300)
    for name, least in _FROM.items():
        having = scores[name] >= least if name in scores else np.zeros(len(attention), np.bool_)
        share = float(attention[having].sum()) / total
        if share >= _MUCH:
            remarks.append(
                f"looks-at-{name}: {share:.0%} of the attention on patches with {_NAMES[name]}, "
                f"{having.mean():.0%} of all patches"
            )
    return remarks
