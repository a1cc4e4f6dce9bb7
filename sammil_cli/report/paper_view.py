"""The paper's Fig. 11: which patches speak for the positive class, and which have most attention."""

import numpy as np

from sammil_cli.report.patch_paint import strongest
from sammil_cli.report.scales import Values, min_max
from sammil_cli.slides.pixels import RGB

# docs/methods.md §10.9
EVIDENCE_ABOVE = 0.5001
ATTENTION_FROM = 0.4
CYAN, WHITE = (0, 255, 255), (255, 255, 255)


def paper_view(image: RGB, xy: Values, side: float, attention: Values, evidence: Values) -> RGB:
    """A slide (h, w, 3), darkened, with two kinds of patches painted on it.

    Cyan: p_n = softmax_c(W (a_n e_n)) of the positive class is above 0.5001. White, over it: attention, min-max
    normalised over the patches, is 0.4 or more. Group features are no patches and take no part.

    Args:
        xy: (n, 2) corners in pixels. side: of a patch. attention, evidence: (n,).
    """
    picture = 0.55 * image.astype(np.float32)
    for chosen, colour, opacity in (
        (evidence > EVIDENCE_ABOVE, CYAN, 0.65),
        (min_max(attention) >= ATTENTION_FROM, WHITE, 0.7),
    ):
        painted = strongest(picture.shape[:2], xy[chosen], side, attention[chosen]) >= 0
        picture[painted] = (1 - opacity) * picture[painted] + opacity * np.array(colour, np.float32)
    return np.asarray(picture.round(), np.uint8)
