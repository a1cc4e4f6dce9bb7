"""Membership of patches in regions against the plain loop over regions and patches, in the same run.

Prints CPU seconds of both and their ratio. The baseline asks each patch's window of each mask for a set pixel, which is
what the published protocol does (without its corner-in-box condition), so that both must find the same pairs.
"""

import time

import cv2
import numpy as np

from sammil_cli.regions.membership import find_members
from sammil_cli.regions.region_map import Canvas, Proposal, build

PATCHES, REGIONS, CANVAS_PX, SIDE_PX = 5000, 100, 1024, 16


def main() -> None:
    """Runs both on one seeded canvas of ellipses."""
    rng = np.random.default_rng(0)
    masks = []
    for _ in range(REGIONS):
        mask = np.zeros((CANVAS_PX, CANVAS_PX), np.uint8)
        centre, axes = rng.integers(0, CANVAS_PX, 2), rng.integers(10, 160, 2)
        cv2.ellipse(mask, centre.tolist(), axes.tolist(), float(rng.uniform(0, 180)), 0, 360, 1, -1)
        masks.append(mask.astype(bool))
    canvas = Canvas(origin_px=(0, 0), downsample=1.0, size_px=(CANVAS_PX, CANVAS_PX), mpp=8.0)
    regions = build("bench", canvas, [Proposal(mask=mask) for mask in masks])
    xy = rng.integers(0, CANVAS_PX - SIDE_PX, (PATCHES, 2)).astype(np.int32)

    start = time.process_time()
    members = find_members(regions, xy, SIDE_PX, 0.0)
    ours = time.process_time() - start
    start = time.process_time()
    pairs = sum(bool(mask[y : y + SIDE_PX, x : x + SIDE_PX].any()) for mask in masks for x, y in xy)
    loop = time.process_time() - start
    if pairs != len(members.patch):
        raise SystemExit(f"the two disagree: {len(members.patch)} pairs, the loop finds {pairs}")
    print(
        f"membership, {PATCHES} patches x {REGIONS} regions: {ours:.3f} s, loop {loop:.3f} s, ratio {loop / ours:.0f}x"
    )


if __name__ == "__main__":
    main()
