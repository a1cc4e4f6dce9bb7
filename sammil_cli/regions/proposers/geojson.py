"""A pathologist's own annotations as regions: no model, and no weights."""

from shapely import MultiPolygon

from sammil_cli.choices import Named
from sammil_cli.regions.propose import View
from sammil_cli.regions.region_map import Proposal
from sammil_cli.regions.region_mask import RegionMask
from sammil_cli.tissue.mask import paint_area

HINT = "your own, in data/annotations"
SETTINGS: tuple[str, ...] = ()
INPUTS = "annotations"
SEES = "drawings"
USES_GPU = False
_SPARSE = "fine if you drew only what matters"
ADVICE = {"uncovered": _SPARSE, "few-regions": _SPARSE, "fragments": "fine if such small areas are meant"}


def make(settings: Named, device: str) -> "Annotations":
    """Builds the proposer; see `regions.propose`."""
    del settings, device
    return Annotations()


class Annotations:
    """Each annotation that `View.drawn` has in the picture is one region; `regions.annotations` says which there are.

    A pixel is in it when its centre is, so that pictures of one grid agree where they overlap.
    """

    partition = False
    weights_sha256: str | None = None

    def propose(self, view: View) -> list[Proposal]:
        """The annotations in the file's order; they may overlap, and are not cut to the tissue."""
        found = (_paint(area, view) for area in view.drawn)
        return [Proposal(mask=mask, key=key) for key, mask in enumerate(found) if mask is not None]


def _paint(area: MultiPolygon, view: View) -> RegionMask | None:
    """The area on the view's picture; None where no pixel's centre is in it."""
    rows, columns = view.tissue.shape
    found = paint_area(area, view.origin_px, view.downsample, (rows, columns))
    return None if found is None else RegionMask.of(*found)
