"""Cohorts of `context.py`: slides laid out of tiles, the label in their arrangement or in weak single patches."""

from dataclasses import dataclass

import numpy as np
import torch
from context_regions import KINDS, Layout, draw_regions, mean_iou
from context_tiles import STAINS, Tiles
from numpy.typing import NDArray

from sammil_cli.mil.contract import Bag

# `arrangement`: 3 to 10 % of the patches are tumour in either class, in nests of whole regions or scattered.
# `weak`: no tumour, or lesions of whole regions with 1 to 10 % of the patches, each patch one fifth tumour: features
# of a tile without tumour, moved that far towards those of a tile of tumour, so that no single patch says much.
TASKS = {"arrangement": (0.03, 0.10), "weak": (0.01, 0.10)}
PATCHES = (80, 300)
REGION_SIZE = (5.0, 14.0)  # patches of a region, mean of a slide
CANVAS_PX = 1024
_TUMOUR_IN_PATCH = 0.2  # in `weak`: with half, one patch gives the slide away, and every model ranks perfectly


@dataclass(frozen=True, kw_only=True)
class Slide:
    """A slide before any regions are proposed; `seed` draws those that are drawn."""

    layout: Layout
    label: int
    seed: int


def make_cohort(tiles: Tiles, task: str, slides: int, cohort: int) -> tuple[list[Slide], list[Slide]]:
    """Half of the slides to train on and half to test on, of tiles of other groups; as many of either class."""
    rng = np.random.default_rng([cohort, sorted(TASKS).index(task)])
    groups = rng.permutation(np.unique(tiles.group))
    ours = np.isin(tiles.group, groups[: len(groups) // 2])
    parts = []
    for allowed in (ours, ~ours):
        kinds = (np.flatnonzero(allowed & ~tiles.tumour), np.flatnonzero(allowed & tiles.tumour))
        parts.append([_slide(tiles, task, number % 2, kinds, rng) for number in range(slides // 2)])
    return parts[0], parts[1]


def _slide(
    tiles: Tiles, task: str, label: int, kinds: tuple[np.ndarray, np.ndarray], rng: np.random.Generator
) -> Slide:
    count = int(rng.integers(PATCHES[0], PATCHES[1] + 1))
    columns = int(np.ceil(np.sqrt(count)))
    place = np.stack([np.arange(count) % columns, np.arange(count) // columns], axis=1)
    true = draw_regions(place, rng.uniform(*REGION_SIZE), rng)
    wanted = max(1, round(rng.uniform(*TASKS[task]) * count))
    nests = np.concatenate([rng.permutation(np.flatnonzero(true == r)) for r in rng.permutation(true.max() + 1)])
    tumour = np.zeros(count, bool)
    if task == "arrangement":
        tumour[nests[:wanted] if label else rng.choice(count, wanted, replace=False)] = True
    elif label:
        tumour[nests[:wanted]] = True
    stain = int(rng.integers(len(STAINS)))
    normal, other = rng.choice(kinds[0], count), rng.choice(kinds[1], count)
    share = tumour * np.float32(1.0 if task == "arrangement" else _TUMOUR_IN_PATCH)

    def mixed(of: NDArray[np.float32]) -> NDArray[np.float32]:
        by = share.reshape(-1, *(1,) * (of.ndim - 2))
        return np.asarray((1 - by) * of[stain, normal] + by * of[stain, other], np.float32)

    layout = Layout(place=place, true=true, features=mixed(tiles.features), thumbnails=mixed(tiles.thumbnails))
    return Slide(layout=layout, label=label, seed=int(rng.integers(2**31)))


def with_regions(slide: Slide, kind: str) -> tuple[Bag, float]:
    """The slide's bag with regions of a kind (a key of `context_regions.KINDS`), and their IoU with the true ones."""
    layout = slide.layout
    region = KINDS[kind](layout, np.random.default_rng(slide.seed))
    size = np.bincount(region)
    held = np.flatnonzero(size)
    sums = np.zeros((len(size), layout.features.shape[1]))
    np.add.at(sums, region, layout.features)
    patch_px = (CANVAS_PX / (layout.place.max() + 1)) ** 2
    bag = Bag(
        features=torch.from_numpy(layout.features),
        group_features=torch.from_numpy((sums[held] / size[held, None]).astype(np.float32)),
        region=torch.from_numpy(region),
        group_region=torch.from_numpy(held),
        region_area=torch.from_numpy(np.maximum(size * patch_px, 1).astype(np.float32)),
    )
    return bag, mean_iou(layout.true, region)
