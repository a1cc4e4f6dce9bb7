"""The encoder `texture` in plain numpy, as sammil had it: what `bench_extract.py` holds ours against."""

import cv2
import numpy as np
from numpy.typing import NDArray

# What is measured is the same; how it is computed is what is compared.
from sammil_cli.features.encoders.texture import (
    _CHANNELS,
    _DENSITY,
    _DEPTHS_PX,
    _LEVELS,
    _OFFSETS_PX,
    _PATTERN_CLASS,
    _QUANTILES,
    _RING,
    WHITE_DENSITY,
    Bytes,
    Plane,
)


def measure(patch: Bytes) -> Plane:
    """Unscaled features (dim,), in the order and the units of `FEATURES`."""
    channels: Plane = np.asarray(cv2.transform(cv2.LUT(patch, _DENSITY), _CHANNELS), np.float32)
    haematoxylin, eosin = (np.maximum(channels[..., channel], 0) for channel in (0, 1))
    density = np.ascontiguousarray(channels[..., 2])
    white = cv2.GaussianBlur(density, (0, 0), 1.0) < WHITE_DENSITY
    grey = _stretched(density)
    parts = [
        _stain_statistics(haematoxylin, eosin, ~white),
        _nuclear_statistics(haematoxylin, eosin, ~white),
        _local_patterns(grey),
        _local_patterns(grey[::3, ::3]),
        _cooccurrence(grey),
        _orientation(grey),
        _depth_shares(white.astype(np.uint8), (4, 10), white.size)[0],
        np.array([white.mean()]),
    ]
    return np.concatenate(parts).astype(np.float32)


def _stretched(plane: Plane) -> Bytes:
    """0..255 from the patch's 1st to 99th percentile; a range below 0.2 is not blown up, lest grain become texture."""
    low, high = _quantiles(plane, (0.01, 0.99))
    scaled: Bytes = np.clip((plane - low) * np.float32(255 / max(high - low, 0.2)), 0, 255).astype(np.uint8)
    return scaled


def _quantiles(values: Plane, shares: tuple[float, ...]) -> list[float]:
    """Nearest-rank quantiles: one partial sort for all of them, several times quicker than `np.quantile`."""
    ranks = [round(share * (values.size - 1)) for share in shares]
    ordered = np.partition(values, ranks, axis=None)
    return [float(ordered[rank]) for rank in ranks]


def _stain_statistics(h: Plane, e: Plane, tissue: NDArray[np.bool_]) -> Plane:
    if tissue.sum() < 16:
        return np.zeros(4 + 2 * len(_QUANTILES), np.float32)
    inside_h, inside_e = h[tissue], e[tissue]
    *quantiles_h, top_h = _quantiles(inside_h, (*_QUANTILES, 0.98))
    *quantiles_e, top_e = _quantiles(inside_e, (*_QUANTILES, 0.98))
    mean_h, mean_e = float(inside_h.mean()), float(inside_e.mean())
    share = mean_h / max(mean_h + mean_e, 0.05)
    return np.concatenate(
        [
            [share, mean_h + mean_e, inside_h.std() / max(mean_h, 0.05), inside_e.std() / max(mean_e, 0.05)],
            np.array(quantiles_h) / max(top_h, 0.1),
            np.array(quantiles_e) / max(top_e, 0.1),
        ]
    ).astype(np.float32)


def _nuclear_statistics(h: Plane, e: Plane, tissue: NDArray[np.bool_]) -> Plane:
    """Nuclei are what Otsu's threshold parts from the rest of the smoothed haematoxylin."""
    smooth: Plane = np.asarray(cv2.GaussianBlur(h, (0, 0), 1.5), np.float32)
    top = max(_quantiles(smooth, (0.99,))[0], 0.3)
    scaled = np.clip(smooth * (200 / top), 0, 255).astype(np.uint8)
    threshold, mask = cv2.threshold(scaled, 0, 1, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    nuclei = mask > 0
    area = int(nuclei.sum())
    depth_shares, depth = _depth_shares(mask, _DEPTHS_PX, max(area, 1))
    if area < 16 or area == nuclei.size:
        return np.concatenate([np.zeros(14, np.float32), depth_shares])
    inside, outside = float(h[nuclei].mean()), float(h[~nuclei].mean())
    rim, core = nuclei & (depth < 3), depth >= 4
    pale = float(h[core].mean() / max(h[rim].mean(), 0.05)) if core.any() else 1.0
    high_pass = h - smooth
    count, areas, elongation, fill = _components(mask)
    return np.concatenate(
        [
            [
                area / nuclei.size,
                area / max(int((tissue | nuclei).sum()), 1),
                count / nuclei.size * 1e4,
                areas.mean(),
                areas.std(),
                elongation.mean(),
                elongation.std(),
                fill.mean(),
                threshold / 200,
                (inside - outside) / max(inside + outside, 0.05),
                h[nuclei].std() / max(inside, 0.05),
                pale,
                high_pass[nuclei].std() / max(inside, 0.05),
                float(e[nuclei].mean()) / max(inside, 0.05),
            ],
            depth_shares,
        ]
    ).astype(np.float32)


def _components(mask: Bytes) -> tuple[int, Plane, Plane, Plane]:
    """Parts of at least 12 px: count, log10 areas, elongations (0 round .. 1 line), share of their boxes filled."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=4)
    area = np.maximum(stats[:, cv2.CC_STAT_AREA], 1).astype(np.float64)
    y, x = np.nonzero(mask)
    part = labels[y, x]
    mean_x, mean_y = np.bincount(part, x, count) / area, np.bincount(part, y, count) / area
    dx, dy = x - mean_x[part], y - mean_y[part]
    xx, yy, xy = (np.bincount(part, product, count) / area for product in (dx * dx, dy * dy, dx * dy))
    elongation = np.sqrt((xx - yy) ** 2 + 4 * xy**2) / (xx + yy + 1 / 6)
    fill = area / (stats[:, cv2.CC_STAT_WIDTH] * stats[:, cv2.CC_STAT_HEIGHT])
    real = np.arange(count) > 0
    real &= (area >= 12) | (area == area[1:].max(initial=0))
    return (
        int(real.sum()),
        np.log10(area[real]).astype(np.float32),
        elongation[real].astype(np.float32),
        fill[real].astype(np.float32),
    )


def _depth_shares(mask: Bytes, depths_px: tuple[int, ...], area: int) -> tuple[Plane, Plane]:
    """Pixels at least so deep inside the mask, as shares of `area`, and the depth of each pixel (h, w)."""
    depth = cv2.distanceTransform(mask, cv2.DIST_L2, 3).astype(np.float32)
    return np.array([(depth >= d).sum() / area for d in depths_px], np.float32), depth


def _local_patterns(grey: Bytes) -> Plane:
    """Shares (10,) of the uniform local binary patterns of radius 1; a neighbour counts from 4 grey levels above."""
    middle = grey[1:-1, 1:-1].astype(np.int16) + 4
    code = np.zeros(middle.shape, np.uint8)
    height, width = grey.shape
    for bit, (dy, dx) in enumerate(_RING):
        code |= (grey[1 + dy : height - 1 + dy, 1 + dx : width - 1 + dx] > middle).astype(np.uint8) << np.uint8(bit)
    return (np.bincount(_PATTERN_CLASS[code].ravel(), minlength=10) / code.size).astype(np.float32)


def _cooccurrence(grey: Bytes) -> Plane:
    """Contrast, homogeneity and correlation of grey levels (8) at each offset, mean of both axes."""
    levels = (grey >> 5).astype(np.int64)
    i, j = np.mgrid[0:_LEVELS, 0:_LEVELS]
    values = []
    for offset in _OFFSETS_PX:
        pairs = np.bincount((levels[:, :-offset] * _LEVELS + levels[:, offset:]).ravel(), minlength=_LEVELS**2)
        pairs = pairs + np.bincount((levels[:-offset] * _LEVELS + levels[offset:]).ravel(), minlength=_LEVELS**2)
        p = pairs.reshape(_LEVELS, _LEVELS) / pairs.sum()
        mean_i, mean_j = (p * i).sum(), (p * j).sum()
        spread = np.sqrt((p * (i - mean_i) ** 2).sum() * (p * (j - mean_j) ** 2).sum())
        covariance = (p * (i - mean_i) * (j - mean_j)).sum()
        values += [
            (p * (i - j) ** 2).sum(),
            (p / (1 + (i - j) ** 2)).sum(),
            covariance / spread if spread > 1e-6 else 1.0,
        ]
    return np.array(values, np.float32)


def _orientation(grey: Bytes) -> Plane:
    """How far edges share one direction (whole patch; windows of sigma 6 px), and their mean strength at two scales."""
    values = []
    for sigma in (1.0, 3.0):
        smooth = cv2.GaussianBlur(grey, (0, 0), sigma).astype(np.float32)
        gx, gy = cv2.Sobel(smooth, cv2.CV_32F, 1, 0), cv2.Sobel(smooth, cv2.CV_32F, 0, 1)
        xx, yy, xy = gx * gx, gy * gy, gx * gy
        energy = xx + yy
        values.append(np.log10(energy.mean() + 1))
        if sigma == 1.0:
            whole = np.hypot(xx.mean() - yy.mean(), 2 * xy.mean()) / (energy.mean() + 1)
            window = [cv2.blur(product, (13, 13)) for product in (xx - yy, 2 * xy, energy)]
            local = (np.hypot(window[0], window[1]) / (window[2] + 50)).mean()
            values += [whole, local]
    return np.array(values, np.float32)
