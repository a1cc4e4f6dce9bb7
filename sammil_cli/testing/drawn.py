"""A small picture that the contracts look at: drawn, and the same on every machine."""

import cv2
import numpy as np

from sammil_cli.slides.pixels import RGB

GLASS, PINK, PURPLE = (243, 242, 244), (226, 160, 190), (120, 70, 140)  # the latter two: stroma, nuclei


def draw_tissue() -> RGB:
    """400 x 300 px: a large piece left with a hole and a nest of large nuclei, a small piece bottom right."""
    rng = np.random.default_rng(1)
    rgb, piece = np.full((300, 400, 3), PINK, np.uint8), np.zeros((300, 400, 1), np.uint8)
    for count, radius_px, left, top, right, bottom in ((1500, 2, 0, 0, 400, 300), (60, 6, 180, 90, 270, 170)):
        for place in rng.integers((left, top), (right, bottom), (count, 2)).tolist():
            cv2.circle(rgb, place, int(rng.integers(radius_px - 1, radius_px + 1)), PURPLE, -1)
    for centre, radii_px, painted in (((150, 140), (130, 110), 1), ((90, 110), (24, 24), 0), ((345, 240), (40, 32), 1)):
        cv2.ellipse(piece, centre, radii_px, 0, 0, 360, painted, -1)
    noisy = np.where(piece > 0, rgb, np.array(GLASS)) + rng.normal(0, 2, piece.shape)
    return np.clip(noisy, 0, 255).astype(np.uint8)
