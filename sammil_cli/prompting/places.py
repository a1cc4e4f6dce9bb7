"""Where a prompt is looked at: its field, by the prompt alone: its answer is the same whatever else is asked."""

import math

from sammil_cli.prompting.asked import Prompt
from sammil_cli.regions.wsi_sam.field import RATIO, Field

LEAST_EXTENT, MOST_EXTENT = 0.05, 0.5  # see `field_of`; a prompt the size of a slide would have a field of metres
_COARSER = 2.0


def field_of(prompt: Prompt, *, mpp: float, slide_mpp: float, out_px: int, extent: float) -> Field:
    """The field in which a prompt is answered.

    Fields lie on a grid: their middles are half a field apart, so that neighbours share a field, and its embedding. The
    field is the one whose middle is nearest to the prompt's. It is half as fine, once or several times, where the
    prompt would take more of it than `extent`.

    Args:
        prompt: in level-0 pixels of the whole file.
        mpp: µm per pixel of HR, if the prompt is small enough.
        out_px: pixels along the picture's side.
        extent: largest share of the field's side that the prompt may take, at most 0.5: its middle is at most a
            quarter of the side off, so that all of it is in view.

    Raises:
        SlideError: `E_COARSE`, see `Field.around`.
    """
    x0, y0, x1, y1 = prompt.bounds
    middle = ((x0 + x1) / 2, (y0 + y1) / 2)
    longest = max(x1 - x0, y1 - y0)
    while True:
        near = Field.around(middle, mpp=mpp, slide_mpp=slide_mpp, out_px=out_px)
        if longest <= extent * near.side_px0:
            break
        mpp *= _COARSER
    step = near.side_px0 // RATIO
    x, y = (step * math.floor(place / step + 0.5) for place in middle)
    return Field.around((x, y), mpp=mpp, slide_mpp=slide_mpp, out_px=out_px)
