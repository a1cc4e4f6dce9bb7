"""Where the tissue of a bag's slide is: what `segment` found, or else what the bag's patches cover."""

from contextlib import ExitStack
from dataclasses import dataclass, replace
from math import nan

import numpy as np
import shapely
from shapely import MultiPolygon

from sammil_cli.features.bag import FeatureBag
from sammil_cli.features.bag_check import read_checked
from sammil_cli.features.grouping import check_placed
from sammil_cli.slides.slide import Slide
from sammil_cli.slides.without_mpp import known_mpp, open_or_none
from sammil_cli.storage.paths import BagPath, SlidePath, TissuePath
from sammil_cli.tissue.mask import TissueMask, read_tissue


@dataclass(frozen=True, kw_only=True)
class PlacedBag:
    """A bag, and what says where its slide's tissue is. `slide`, `tissue`: None where they are not here, or not needed.

    `mpp`, `scene`: what the user says of the slide, see `slides.table`.
    """

    bag: BagPath
    slide: SlidePath | None
    tissue: TissuePath | None
    mpp: float | None
    scene: int | None

    def open_slide(self, bag: FeatureBag, stack: ExitStack) -> Slide | None:
        """The slide, if it is wanted; its mpp is NaN where neither the slide, nor the user, nor the bag knows it.

        Args:
            stack: closes it.
        """
        tissue = None if self.tissue is None else read_tissue(self.tissue)
        given, scene = (self.mpp, self.scene) if tissue is None else (tissue.slide_mpp, tissue.scene)
        slide, _ = open_or_none(self.slide, given, scene)
        if slide is None:
            return None
        stack.callback(slide.close)
        return replace(slide, mpp=known_mpp(slide, given) or _bag_mpp(bag))

    def tissue_of(self, bag: FeatureBag, slide: Slide | None) -> TissueMask:
        """The tissue that was found on the slide; else what the patches cover together."""
        if self.tissue is not None:
            return read_tissue(self.tissue)
        x, y = bag.xy.astype(np.int64).T
        side = bag.encoder.patch_px_level0
        squares = shapely.union_all(shapely.box(x, y, x + side, y + side))
        size = (int(x.max()) + side, int(y.max()) + side) if slide is None else slide.size_px
        return TissueMask(
            slide_id=bag.slide_id,
            polygons=MultiPolygon([part for part in shapely.get_parts(squares) if part.geom_type == "Polygon"]),
            slide_mpp=(self.mpp or _bag_mpp(bag)) if slide is None else slide.mpp,
            slide_size_px=size,
            bounds_px=(0, 0, *size) if slide is None else slide.bounds_px,
            scene=self.scene if slide is None else slide.scene,
        )

    def read_tissue(self) -> TissueMask:
        """As `tissue_of`, for who needs nothing else of bag and slide.

        Raises:
            SlideError: `E_INPUT`, the bag has no coordinates.
        """
        if self.tissue is not None:
            return read_tissue(self.tissue)
        bag = read_checked(self.bag)
        check_placed(bag)
        with ExitStack() as stack:
            return self.tissue_of(bag, self.open_slide(bag, stack))


def _bag_mpp(bag: FeatureBag) -> float:
    """µm per level-0 pixel as the bag has it; NaN where it does not say."""
    encoder = bag.encoder
    return encoder.patch_mpp * encoder.patch_px / encoder.patch_px_level0 if encoder.patch_px else nan
