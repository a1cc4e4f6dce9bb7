"""Membership of patches in regions against the published loop over masks and patches, in the same run.

Prints CPU seconds and their ratio. The baseline asks, for each mask and each patch, whether the patch's corner lies in
the mask's box and any pixel of the mask in the patch's window, as the published script does (docs/methods.md §10.1, 4);
our rule `released` must find the same pairs. Masks are taken from their run lengths, not from arrays decoded before.
"""

import time

import cv2
import numpy as np
from numpy.typing import NDArray

from sammil_cli.regions.members import find_members
from sammil_cli.regions.region_map import Canvas, Proposal, build
from sammil_cli.regions.region_mask import RegionMask

PATCHES, REGIONS, CANVAS_PX, SIDE_PX = 20_000, 300, 1024, 7
TARGET_SECONDS = 0.3


def ellipses(rng: np.random.Generator) -> list[NDArray[np.bool_]]:
    """Masks of the whole canvas, of all sizes up to 320 px."""
    masks = []
    for _ in range(REGIONS):
        mask = np.zeros((CANVAS_PX, CANVAS_PX), np.uint8)
        centre, axes = rng.integers(0, CANVAS_PX, 2), rng.integers(10, 160, 2)
        cv2.ellipse(mask, centre.tolist(), axes.tolist(), float(rng.uniform(0, 180)), 0, 360, 1, -1)
        masks.append(mask.astype(bool))
    return masks


def published_pairs(masks: list[NDArray[np.bool_]], boxes: NDArray[np.int32], xy: NDArray[np.int32]) -> int:
    """How many patches the masks have in all, by the published loop; boxes as SAM records them."""
    pairs = 0
    corners = xy.tolist()
    for mask, (left, top, width, height) in zip(masks, boxes.tolist(), strict=True):
        for x, y in corners:
            if left <= x < left + width and top <= y < top + height:
                pairs += bool(mask[y : y + SIDE_PX, x : x + SIDE_PX].any())
    return pairs


def main() -> None:
    """Runs all on one seeded canvas of ellipses and a full grid of patches."""
    cv2.setNumThreads(1)
    masks = ellipses(np.random.default_rng(0))
    canvas = Canvas(origin_px=(0, 0), downsample=1.0, size_px=(CANVAS_PX, CANVAS_PX), mpp=8.0)
    regions = build("bench", canvas, [Proposal(mask=RegionMask.of(mask)) for mask in masks])
    at = np.linspace(0, CANVAS_PX - SIDE_PX, 142).astype(np.int32)
    xy = np.stack(np.meshgrid(at, at), -1).reshape(-1, 2)[:PATCHES]

    seconds, pairs = {}, {}
    for rule in ("overlap", "released"):
        start = time.process_time()
        pairs[rule] = len(find_members(regions, xy, SIDE_PX, 0.0, rule).patch)
        seconds[rule] = time.process_time() - start
    start = time.process_time()
    published = published_pairs(masks, regions.box - np.array([0, 0, 1, 1], np.int32), xy)
    loop = time.process_time() - start
    if published != pairs["released"]:
        raise SystemExit(f"the two disagree: {pairs['released']} pairs, the published loop finds {published}")
    print(f"membership of {len(xy)} patches in {REGIONS} regions; the published loop takes {loop:.2f} s")
    for rule, taken in seconds.items():
        missed = "" if taken < TARGET_SECONDS else ": MISSED"
        print(
            f"  {rule:8} {taken:.3f} s (target {TARGET_SECONDS} s{missed}), {loop / taken:.0f}x faster, "
            f"{pairs[rule]} pairs"
        )


if __name__ == "__main__":
    main()
