"""Pictures as proposers see them, and their answers as masks."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sammil_cli.regions.propose import View
from sammil_cli.regions.region_map import Proposal
from sammil_cli.slides.pixels import RGB


def view_of(image: RGB, tissue: NDArray[np.bool_], **changes: Any) -> View:
    """The picture at level 0, from the slide's corner on, with no drawing."""
    return View(
        **{"slide_id": "s", "image": image, "tissue": tissue, "origin_px": (0, 0), "downsample": 1.0, **changes}
    )


def masks_of(found: Sequence[Proposal], view: View) -> NDArray[np.bool_]:
    """(m, h, w): what each region has of the view's picture."""
    rows, columns = view.tissue.shape
    return np.array([proposal.mask.within((0, 0, columns, rows)) for proposal in found]).reshape(-1, rows, columns)
