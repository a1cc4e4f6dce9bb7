"""The measures of the texture encoder, against plain words for them: quick ways to a number must not change it."""

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from sammil_cli.features.encoders import texture

Bytes = NDArray[np.uint8]


def pictures() -> list[Bytes]:
    """Smooth, noisy, of two values, of one value; of several shapes."""
    rng = np.random.default_rng(5)
    noise = rng.integers(0, 256, (67, 90), dtype=np.uint8)
    smooth = np.asarray(cv2.GaussianBlur(rng.integers(0, 256, (128, 128), dtype=np.uint8), (0, 0), 3))
    smooth = np.asarray(cv2.normalize(smooth, smooth.copy(), 0, 255, cv2.NORM_MINMAX))
    return [smooth, noise, (noise > 200).astype(np.uint8) * 255, np.full((32, 40), 255, np.uint8)]


@pytest.mark.parametrize("shares", [(0.99,), (0.01, 0.99), (0.5, 0.5), (0.1, 0.25, 0.5, 0.75, 0.9, 0.98)])
def test_quantiles_are_values_in_order(shares: tuple[float, ...]) -> None:
    rng = np.random.default_rng(2)
    tied = np.maximum(rng.normal(0, 1, 5000), 0).round(1)
    for values in (rng.random((60, 50)), tied, np.zeros(300), rng.random(16)):
        plane = values.astype(np.float32)
        ordered = np.sort(plane, axis=None)
        expected = [float(ordered[round(share * (plane.size - 1))]) for share in shares]
        assert texture._quantiles(plane, shares) == expected


@pytest.mark.parametrize(("sigma", "kernel"), list(zip((1.0, 3.0), texture._KERNELS, strict=True)))
def test_blurring_in_floats_gives_opencv_s_bytes(sigma: float, kernel: NDArray[np.float32]) -> None:
    for grey in pictures():
        np.testing.assert_array_equal(texture._blurred(grey, kernel), cv2.GaussianBlur(grey, (0, 0), sigma))


def test_cooccurrence_is_that_of_counted_pairs() -> None:
    i, j = np.mgrid[0:8, 0:8]
    for grey in pictures():
        levels, expected = (grey >> 5).astype(int), []
        for offset in (1, 3, 6, 12):
            p = np.zeros((8, 8))
            np.add.at(p, (levels[:, :-offset], levels[:, offset:]), 1)
            np.add.at(p, (levels[:-offset], levels[offset:]), 1)
            p /= p.sum()
            di, dj = i - (p * i).sum(), j - (p * j).sum()
            spread = np.sqrt((p * di**2).sum() * (p * dj**2).sum())
            correlation = (p * di * dj).sum() / spread if spread > 1e-6 else 1.0
            expected += [(p * (i - j) ** 2).sum(), (p / (1 + (i - j) ** 2)).sum(), correlation]
        np.testing.assert_allclose(texture._cooccurrence(grey), expected, rtol=1e-6, atol=1e-7)


def test_local_patterns_are_those_of_each_pixel() -> None:
    grey = pictures()[1][:20, :30]
    found = np.zeros(10)
    for y in range(1, 19):
        for x in range(1, 29):
            bits = [int(grey[y + dy, x + dx]) > int(grey[y, x]) + 4 for dy, dx in texture._RING]
            changes = sum(one != other for one, other in zip(bits, bits[1:] + bits[:1], strict=True))
            found[sum(bits) if changes <= 2 else 9] += 1
    np.testing.assert_allclose(texture._local_patterns(grey), found / found.sum(), rtol=1e-6)


def test_parts_have_the_moments_of_their_pixels() -> None:
    drawn = np.zeros((96, 128), np.uint8)
    cv2.ellipse(drawn, (40, 40), (30, 9), 30, 0, 360, 1, -1)
    cv2.circle(drawn, (100, 60), 12, 1, 4)
    drawn[0, :] = drawn[70:, -1] = drawn[90, 3:6] = 1  # at the borders, and one that is too small
    for mask in (drawn, (pictures()[1] > 180).view(np.uint8), np.ones((40, 33), np.uint8)):
        _, labels = cv2.connectedComponents(mask, connectivity=4)
        areas, elongations, fills = [], [], []
        for part in range(1, labels.max() + 1):
            y, x = np.nonzero(labels == part)
            if len(x) < 12:
                continue
            (xx, xy), (_, yy) = np.cov(np.stack([x, y]), bias=True)
            areas.append(np.log10(len(x)))
            elongations.append(np.sqrt((xx - yy) ** 2 + 4 * xy**2) / (xx + yy + 1 / 6))
            fills.append(len(x) / (np.ptp(x) + 1) / (np.ptp(y) + 1))
        count, *found = texture._components(mask)
        assert count == len(areas)
        for values, expected in zip(found, (areas, elongations, fills), strict=True):
            np.testing.assert_allclose(values, expected, rtol=1e-6)


def test_means_and_spreads_are_in_double_precision() -> None:
    values = np.random.default_rng(1).gamma(0.3, 1.0, 20_000).astype(np.float32)
    wide = values.astype(np.float64)
    np.testing.assert_allclose(texture._mean_and_spread(values), (wide.mean(), wide.std()), rtol=1e-9)
    assert texture._mean_and_spread(np.full(50, 0.3, np.float32))[1] == pytest.approx(0, abs=1e-7)
