"""Superpixels, merged where their colours are alike: regions without any weights."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from skimage.color import rgb2lab
from skimage.graph import cut_threshold, rag_mean_color
from skimage.segmentation import slic

from sammil_cli.regions.propose import View
from sammil_cli.regions.region_map import Proposal
from sammil_cli.regions.region_mask import RegionMask

SETTINGS = ("superpixel_area_px", "superpixel_merge")


def make(settings: Mapping[str, Any], device: str) -> "Superpixels":
    """Builds the proposer; see `regions.propose`."""
    del device
    return Superpixels(area_px=settings["superpixel_area_px"], merge=settings["superpixel_merge"])


class Superpixels:
    """SLIC inside the tissue, then neighbours whose mean Lab colours differ by less than `merge` become one region."""

    weights_sha256: str | None = None

    def __init__(self, *, area_px: int, merge: float) -> None:
        self._area_px, self._merge = area_px, merge

    def propose(self, view: View) -> list[Proposal]:
        """Regions that tile the tissue, largest first."""
        image, tissue = view.image, view.tissue
        count = max(1, round(tissue.sum() / self._area_px))
        pieces = slic(image, n_segments=count, mask=tissue, start_label=1, compactness=10, sigma=1, convert2lab=True)
        pieces[tissue & (pieces == 0)] = pieces.max() + 1  # all of it where one superpixel was asked for
        if pieces.max() < 2:
            return [Proposal(mask=RegionMask.of(tissue))] if tissue.any() else []
        graph = rag_mean_color(rgb2lab(image), pieces)  # type: ignore[no-untyped-call]
        if 0 in graph:
            graph.remove_node(0)  # glass, or it would join pieces that do not touch
        labels_from_0 = cut_threshold(pieces, graph, self._merge)  # type: ignore[no-untyped-call]
        merged = np.asarray(labels_from_0) + 1
        merged[~tissue] = 0
        labels, sizes = np.unique(merged[tissue], return_counts=True)
        order = labels[np.lexsort((labels, -sizes))]
        return [Proposal(mask=RegionMask.of(merged == label)) for label in order]
