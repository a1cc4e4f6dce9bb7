"""Whether a model looks at tissue: pen, dirt, glass and blur of patches, in words for pictures and remarks."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from sammil_cli.report.scales import Values

Scores = Mapping[str, NDArray[np.float16]]  # by artefact, (n,), 0-1; see `patches.patch_grid.PatchGrid`

# From this score on a patch counts as one with the artefact. Tissue of lung and fat may be half glass.
_FROM = {"pen": 0.1, "dark": 0.1, "blank": 0.8, "blur": 0.7}
_WORD = {"pen": "pen", "dark": "black", "blank": "glass", "blur": "blur"}
_NAMES = {"pen": "pen", "dark": "black (folds, dirt)", "blank": "little but glass", "blur": "blur"}
_MUCH = 0.1  # of a slide's attention


def artefact_of(scores: Scores, index: int) -> str:
    """The artefact that a patch has most of, such as `pen 40%`; empty for clean ones, and where none was scored."""
    found = {name: float(scores[name][index]) for name, having in _having(scores).items() if having[index]}
    if not found:
        return ""
    most = max(found, key=lambda name: found[name] / _FROM[name])
    return "blurred" if most == "blur" else f"{_WORD[most]} {found[most]:.0%}"


def artefact_remarks(scores: Scores, attention: Values) -> list[str]:
    """A remark for each artefact whose patches have a tenth of the attention (n,) or more."""
    remarks, total = [], max(float(attention.sum()), 1e-300)
    for name, having in _having(scores).items():
        share = float(attention[having].sum()) / total
        if share >= _MUCH:
            remarks.append(
                f"looks-at-{_WORD[name]}: {share:.0%} of the attention on patches with "
                f"{_NAMES[name]}, {having.mean():.0%} of all patches"
            )
    return remarks


def _having(scores: Scores) -> dict[str, NDArray[np.bool_]]:
    """The patches (n,) with each artefact. Glass has nothing that could be sharp, and is not called blurred."""
    having = {name: scores[name] >= least for name, least in _FROM.items() if name in scores}
    if "blur" in having and "blank" in having:
        having["blur"] = having["blur"] & ~having["blank"]
    return having
