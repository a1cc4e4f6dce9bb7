"""`texture`: colour, nuclei and texture statistics of a patch; an encoder that needs no weights and no GPU.

Lengths are pixels of the patch as it comes: nothing is resized, so all patches of a study share one mpp.
Where a ratio says the same as an absolute density the ratio is taken, so that a stain's strength matters little.
"""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from sammil_cli.features.encoder_details import EncoderDetails

HINT = "needs no weights"
USES_GPU = False

Plane = NDArray[np.float32]
Bytes = NDArray[np.uint8]

# Rows: haematoxylin, eosin (Macenko's reference vectors), and what is neither; optical density in red, green, blue.
_STAINS = np.array([[0.5626, 0.7201, 0.4062], [0.2159, 0.8012, 0.5581]])
_UNMIXED = np.linalg.inv(
    np.vstack([_STAINS, np.cross(_STAINS[0], _STAINS[1]) / np.linalg.norm(np.cross(_STAINS[0], _STAINS[1]))])
)
# One row each: haematoxylin, eosin, mean density, as sums over red, green and blue.
_CHANNELS = np.vstack([_UNMIXED[:, :2].T, np.full(3, 1 / 3)]).astype(np.float32)
_DENSITY = (-np.log((np.arange(256) + 1) / 256)).astype(np.float32)

WHITE_DENSITY = 0.12  # mean optical density below which a pixel is glass, lumen or fat
_DEPTHS_PX = (2, 3, 4, 5, 6, 8, 10)
_QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)
_OFFSETS_PX = (1, 3, 6, 12)
_LEVELS = 8


def _uniform_patterns() -> Bytes:
    """Class of each 8-bit local binary pattern: 0..8 = set bits of a pattern with two changes at most, 9 = the rest."""
    bits = (np.arange(256)[:, None] >> np.arange(8)) & 1
    changes = (bits != np.roll(bits, 1, axis=1)).sum(axis=1)
    return np.where(changes <= 2, bits.sum(axis=1), 9).astype(np.uint8)


_PATTERN_CLASS = _uniform_patterns()
_RING = ((-1, -1), (-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1))


def _kernel(sigma: float) -> Plane:
    """The whole numbers, of 256 in all, by which `cv2.GaussianBlur` weighs the pixels of 8-bit pictures."""
    point = np.zeros((1, 129), np.uint8)
    point[0, 64] = 255
    weights = cv2.GaussianBlur(point, (0, 0), sigma)[0]
    return np.asarray(weights[weights > 0], np.float32)


_KERNELS = (_kernel(1.0), _kernel(3.0))
_HALF = 2**15  # of the product of two weights' sums


class TextureEncoder:
    """Patches -> `dim` numbers of order one; the work is done in `prepare`, in the reader's threads."""

    def __init__(self) -> None:
        self.name, self.dim = "texture", len(FEATURES)
        self.weights_sha256: str | None = None
        self.details = EncoderDetails(precision="float32", preparation="patches as they are")

    def prepare(self, patch: Bytes) -> Plane:
        """Features (dim,) of one RGB patch (h, w, 3), at least 32 pixels a side. Finite on any input."""
        if patch.ndim != 3 or patch.shape[2] != 3 or min(patch.shape[:2]) < 32:
            raise ValueError(f"texture needs an RGB patch (h, w, 3) of at least 32 px a side, not {patch.shape}")
        values = measure(patch)
        return np.asarray(np.clip((values - _CENTRE) / _SPREAD, -6, 6), np.float32)

    def encode(self, batch: Plane) -> Plane:
        """The batch (b, dim) as it is: `prepare` has done everything."""
        return np.asarray(batch, np.float32)


def build(*, weights: Path | None, device: str, backbone: str | None = None, input_px: int) -> TextureEncoder:
    """The encoder; there are no weights to load, no device to choose, and patches keep their size."""
    del weights, device, backbone, input_px
    return TextureEncoder()


def measure(patch: Bytes) -> Plane:
    """Unscaled features (dim,), in the order and the units of `FEATURES`."""
    channels: Plane = np.asarray(cv2.transform(cv2.LUT(patch, _DENSITY), _CHANNELS), np.float32)
    haematoxylin, eosin, density = (np.ascontiguousarray(channels[..., channel]) for channel in range(3))
    for stain in (haematoxylin, eosin):
        cv2.threshold(stain, 0, 0, cv2.THRESH_TOZERO, dst=stain)
    white = cv2.GaussianBlur(density, (0, 0), 1.0) < WHITE_DENSITY
    grey = _stretched(density)
    parts = [
        _stain_statistics(haematoxylin, eosin, ~white),
        _nuclear_statistics(haematoxylin, eosin, ~white),
        _local_patterns(grey),
        _local_patterns(np.ascontiguousarray(grey[::3, ::3])),
        _cooccurrence(grey),
        _orientation(grey),
        _depth_shares(_depths(white.view(np.uint8)), (4, 10), white.size),
        np.array([np.count_nonzero(white) / white.size]),
    ]
    return np.concatenate(parts).astype(np.float32)


def _stretched(plane: Plane) -> Bytes:
    """0..255 from the patch's 1st to 99th percentile; a range below 0.2 is not blown up, lest grain become texture."""
    low, high = _quantiles(plane, (0.01, 0.99))
    return _bytes(plane - np.float32(low), np.float32(255 / max(high - low, 0.2)))


def _bytes(plane: Plane, factor: np.float32) -> Bytes:
    """Whole numbers of 0..255, rounded down."""
    scaled = plane * factor
    return np.asarray(np.clip(scaled, 0, 255, out=scaled).astype(np.uint8))


def _quantiles(values: Plane, shares: tuple[float, ...]) -> list[float]:
    """Nearest-rank quantiles of rising shares.

    numpy parts at one rank, and sorts, with vector instructions; at several ranks it parts without.
    """
    ordered, ranks = values.flatten(), [round(share * (values.size - 1)) for share in shares]
    if len(ranks) > 2:
        ordered.sort()
    else:
        for rank, end in zip(ranks[::-1], (None, *ranks[::-1]), strict=False):
            if rank != end:
                ordered[:end].partition(rank)
    return [float(ordered[rank]) for rank in ranks]


def _mean_and_spread(values: Plane) -> tuple[float, float]:
    """Mean and standard deviation, summed up in double precision."""
    mean = cv2.sumElems(values)[0] / values.size
    return mean, float(np.sqrt(max(cv2.norm(values, cv2.NORM_L2SQR) / values.size - mean * mean, 0.0)))


def _stain_statistics(h: Plane, e: Plane, tissue: NDArray[np.bool_]) -> Plane:
    if np.count_nonzero(tissue) < 16:
        return np.zeros(4 + 2 * len(_QUANTILES), np.float32)
    inside_h, inside_e = h[tissue], e[tissue]
    *quantiles_h, top_h = _quantiles(inside_h, (*_QUANTILES, 0.98))
    *quantiles_e, top_e = _quantiles(inside_e, (*_QUANTILES, 0.98))
    (mean_h, spread_h), (mean_e, spread_e) = _mean_and_spread(inside_h), _mean_and_spread(inside_e)
    share = mean_h / max(mean_h + mean_e, 0.05)
    return np.concatenate(
        [
            [share, mean_h + mean_e, spread_h / max(mean_h, 0.05), spread_e / max(mean_e, 0.05)],
            np.array(quantiles_h) / max(top_h, 0.1),
            np.array(quantiles_e) / max(top_e, 0.1),
        ]
    ).astype(np.float32)


def _nuclear_statistics(h: Plane, e: Plane, tissue: NDArray[np.bool_]) -> Plane:
    """Nuclei are what Otsu's threshold parts from the rest of the smoothed haematoxylin."""
    smooth: Plane = np.asarray(cv2.GaussianBlur(h, (0, 0), 1.5), np.float32)
    top = max(_quantiles(smooth, (0.99,))[0], 0.3)
    scaled = _bytes(smooth, np.float32(200 / top))
    threshold, found = cv2.threshold(scaled, 0, 1, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    mask: Bytes = np.asarray(found, np.uint8)
    nuclei = np.flatnonzero(mask.view(np.bool_))
    area = len(nuclei)
    depths = _depths(mask)
    depth = depths.ravel()[nuclei]
    depth_shares = _depth_shares(depth, _DEPTHS_PX, max(area, 1))
    if area < 16 or area == mask.size:
        return np.concatenate([np.zeros(14, np.float32), depth_shares])
    h_inside, smooth_inside, e_inside = (plane.ravel()[nuclei] for plane in (h, smooth, e))
    inside, spread = _mean_and_spread(h_inside)
    outside = (cv2.sumElems(h)[0] - inside * area) / (mask.size - area)
    core, rim = h_inside[depth >= 4], h_inside[depth < 3]
    pale = float(core.mean(dtype=np.float64)) / max(float(rim.mean(dtype=np.float64)), 0.05) if len(core) else 1.0
    count, areas, elongation, fill = _components(mask)
    return np.concatenate(
        [
            [
                area / mask.size,
                area / max(int(np.count_nonzero(tissue | mask.view(np.bool_))), 1),
                count / mask.size * 1e4,
                areas.mean(),
                areas.std(),
                elongation.mean(),
                elongation.std(),
                fill.mean(),
                threshold / 200,
                (inside - outside) / max(inside + outside, 0.05),
                spread / max(inside, 0.05),
                pale,
                _mean_and_spread(h_inside - smooth_inside)[1] / max(inside, 0.05),
                _mean_and_spread(e_inside)[0] / max(inside, 0.05),
            ],
            depth_shares,
        ]
    ).astype(np.float32)


def _components(mask: Bytes) -> tuple[int, Plane, Plane, Plane]:
    """Parts of at least 12 px: count, log10 areas, elongations (0 round .. 1 line), share of their boxes filled.

    All are sums over runs of pixels in a row, of which there are far fewer than pixels.
    """
    _, labels = cv2.connectedComponents(mask, connectivity=4)
    width = mask.shape[1] + 1  # with a gap behind each row, so that no run goes on in the next one
    flat = np.zeros(mask.shape[0] * width + 1, np.bool_)
    flat[1:].reshape(-1, width)[:, :-1] = mask.view(np.bool_)
    ends = np.flatnonzero(flat[1:] != flat[:-1])
    y, first = np.divmod(ends[::2], width)
    part, length = labels[y, first] - 1, ends[1::2] - ends[::2]
    order = np.argsort(part, kind="stable")  # within a part they stay in the order of rows
    part, length, y, first = part[order], length[order], y[order], first[order]
    starts = np.flatnonzero(np.diff(part, prepend=-1))
    area, middle = np.add.reduceat(length, starts), first + (length - 1) / 2
    dx, dy = (at - (np.add.reduceat(length * at, starts) / area)[part] for at in (middle, y))
    within = (length**2 - 1) / 12  # variance of the columns of one run
    moments = np.stack([dx * dx + within, dy * dy, dx * dy]) * length
    xx, yy, xy = np.add.reduceat(moments, starts, axis=1) / area
    elongation = np.sqrt((xx - yy) ** 2 + 4 * xy**2) / (xx + yy + 1 / 6)
    columns = np.maximum.reduceat(first + length, starts) - np.minimum.reduceat(first, starts)
    rows = y[np.append(starts[1:], len(y)) - 1] - y[starts] + 1
    fill = area / (columns * rows)
    real = (area >= 12) | (area == area.max())
    return (
        int(real.sum()),
        np.log10(area[real]).astype(np.float32),
        elongation[real].astype(np.float32),
        fill[real].astype(np.float32),
    )


def _depths(mask: Bytes) -> Plane:
    """How deep each pixel lies inside the mask (h, w)."""
    return np.asarray(cv2.distanceTransform(mask, cv2.DIST_L2, 3), np.float32)


def _depth_shares(depths: Plane, depths_px: tuple[int, ...], area: int) -> Plane:
    """Pixels at least so deep, as shares of `area`."""
    return np.array([np.count_nonzero(depths >= depth) / area for depth in depths_px], np.float32)


def _counts(codes: Bytes) -> NDArray[np.float64]:
    """How often each of 0..255 stands in an array: (256,)."""
    return np.asarray(cv2.calcHist([codes], [0], None, [256], [0, 256]).ravel(), np.float64)


def _local_patterns(grey: Bytes) -> Plane:
    """Shares (10,) of the uniform local binary patterns of radius 1; a neighbour counts from 4 grey levels above."""
    middle = np.minimum(grey[1:-1, 1:-1], 251) + np.uint8(4)  # above 255 no neighbour is
    code = np.zeros(middle.shape, np.uint8)
    height, width = grey.shape
    for bit, (dy, dx) in enumerate(_RING):
        above = grey[1 + dy : height - 1 + dy, 1 + dx : width - 1 + dx] > middle
        code |= above.view(np.uint8) << np.uint8(bit)
    return (np.bincount(_PATTERN_CLASS, _counts(code), 10) / code.size).astype(np.float32)


def _cooccurrence(grey: Bytes) -> Plane:
    """Contrast, homogeneity and correlation of grey levels (8) at each offset, mean of both axes."""
    levels, values = grey >> 5, []
    for offset in _OFFSETS_PX:
        pairs = (levels[:, :-offset], levels[:, offset:]), (levels[:-offset], levels[offset:])
        number = sum(one.size for one, _ in pairs)
        i, j = (sum(cv2.sumElems(pair[side])[0] for pair in pairs) / number for side in (0, 1))
        ii, jj = (sum(cv2.norm(pair[side], cv2.NORM_L2SQR) for pair in pairs) / number for side in (0, 1))
        contrast = sum(cv2.norm(one, other, cv2.NORM_L2SQR) for one, other in pairs) / number
        apart = [cv2.absdiff(one, other) for one, other in pairs]
        shares = [sum(_number(part == step) for part in apart) / number for step in range(1, _LEVELS)]
        homogeneity = 1 - sum(shares) + sum(share / (1 + step**2) for step, share in enumerate(shares, 1))
        spread = np.sqrt(max((ii - i * i) * (jj - j * j), 0.0))
        covariance = (ii + jj - contrast) / 2 - i * j
        values += [contrast, homogeneity, covariance / spread if spread > 1e-6 else 1.0]
    return np.array(values, np.float32)


def _number(true: NDArray[np.bool_]) -> int:
    return cv2.countNonZero(true.view(np.uint8))


def _blurred(grey: Bytes, kernel: Plane) -> Bytes:
    """What `cv2.GaussianBlur` gives, in floats, which hold its whole numbers exactly and are several times quicker."""
    sums = cv2.sepFilter2D(grey, cv2.CV_32F, kernel, kernel, delta=_HALF)
    return np.asarray((sums * np.float32(0.5 / _HALF)).astype(np.uint8))


def _orientation(grey: Bytes) -> Plane:
    """How far edges share one direction (whole patch; windows of sigma 6 px), and their mean strength at two scales."""
    fine, coarse = (cv2.spatialGradient(_blurred(grey, kernel)) for kernel in _KERNELS)
    strength = [sum(cv2.norm(edges, cv2.NORM_L2SQR) for edges in scale) / grey.size for scale in (fine, coarse)]
    gx, gy = (edges.astype(np.float32) for edges in fine)
    xx, yy, xy = gx * gx, gy * gy, np.multiply(gx, gy, out=gx)
    xy *= 2
    planes = xx - yy, xy, xx + yy
    along, across = (cv2.sumElems(plane)[0] / grey.size for plane in planes[:2])
    along_here, across_here, here = (cv2.blur(plane, (13, 13)) for plane in planes)
    here += 50
    local = cv2.divide(cv2.magnitude(along_here, across_here), here)
    return np.array(
        [
            np.log10(strength[0] + 1),
            np.hypot(along, across) / (strength[0] + 1),
            cv2.sumElems(local)[0] / grey.size,
            np.log10(strength[1] + 1),
        ],
        np.float32,
    )


# What is measured, in order, with the centre and spread that bring it to order one. They were read off the tissue of
# one public slide (OpenSlide's CMU-1-Small-Region, 128 px at 0.5 um), rounded, and are never fitted to a cohort.
FEATURES: tuple[tuple[str, float, float], ...] = (
    ("haematoxylin share of density", 0.58, 0.18),
    ("mean density", 1.4, 0.41),
    ("haematoxylin variation", 1.3, 0.52),
    ("eosin variation", 0.7, 0.22),
    ("haematoxylin q10", 0.0014, 0.057),
    ("haematoxylin q25", 0.042, 0.081),
    ("haematoxylin q50", 0.13, 0.097),
    ("haematoxylin q75", 0.28, 0.12),
    ("haematoxylin q90", 0.52, 0.13),
    ("eosin q10", 0.06, 0.06),
    ("eosin q25", 0.2, 0.094),
    ("eosin q50", 0.35, 0.1),
    ("eosin q75", 0.55, 0.11),
    ("eosin q90", 0.75, 0.092),
    ("nuclear share of patch", 0.16, 0.13),
    ("nuclear share of tissue", 0.18, 0.17),
    ("nuclei per 1e4 px", 7.6, 5.1),
    ("log10 nuclear area px", 1.9, 0.2),
    ("log10 nuclear area, sd", 0.41, 0.19),
    ("nuclear elongation", 0.55, 0.096),
    ("nuclear elongation, sd", 0.2, 0.046),
    ("box filled by nucleus", 0.66, 0.062),
    ("Otsu threshold", 0.39, 0.061),
    ("nuclear contrast", 0.76, 0.14),
    ("nuclear variation", 0.65, 0.14),
    ("core over rim", 1.3, 0.27),
    ("chromatin grain", 0.48, 0.13),
    ("eosin over haematoxylin in nuclei", 0.22, 0.2),
    ("nuclear depth >= 2 px", 0.46, 0.12),
    ("nuclear depth >= 3 px", 0.24, 0.15),
    ("nuclear depth >= 4 px", 0.13, 0.15),
    ("nuclear depth >= 5 px", 0.058, 0.13),
    ("nuclear depth >= 6 px", 0.017, 0.11),
    ("nuclear depth >= 8 px", 0.0, 0.078),
    ("nuclear depth >= 10 px", 0.0, 0.06),
    ("pattern 0", 0.15, 0.13),
    ("pattern 1", 0.11, 0.018),
    ("pattern 2", 0.11, 0.021),
    ("pattern 3", 0.18, 0.033),
    ("pattern 4", 0.17, 0.033),
    ("pattern 5", 0.06, 0.016),
    ("pattern 6", 0.023, 0.0084),
    ("pattern 7", 0.021, 0.0097),
    ("pattern 8", 0.0049, 0.005),
    ("pattern 9", 0.13, 0.03),
    ("coarse pattern 0", 0.13, 0.12),
    ("coarse pattern 1", 0.12, 0.016),
    ("coarse pattern 2", 0.063, 0.013),
    ("coarse pattern 3", 0.069, 0.019),
    ("coarse pattern 4", 0.073, 0.021),
    ("coarse pattern 5", 0.038, 0.0088),
    ("coarse pattern 6", 0.032, 0.008),
    ("coarse pattern 7", 0.067, 0.019),
    ("coarse pattern 8", 0.035, 0.014),
    ("coarse pattern 9", 0.33, 0.066),
    ("contrast at 1 px", 0.57, 0.18),
    ("homogeneity at 1 px", 0.82, 0.043),
    ("correlation at 1 px", 0.88, 0.041),
    ("contrast at 3 px", 1.9, 0.55),
    ("homogeneity at 3 px", 0.68, 0.068),
    ("correlation at 3 px", 0.58, 0.12),
    ("contrast at 6 px", 2.9, 0.71),
    ("homogeneity at 6 px", 0.6, 0.075),
    ("correlation at 6 px", 0.35, 0.16),
    ("contrast at 12 px", 3.6, 0.8),
    ("homogeneity at 12 px", 0.55, 0.074),
    ("correlation at 12 px", 0.17, 0.16),
    ("edge strength, fine", 4.2, 0.3),
    ("edge direction, patch", 0.43, 0.16),
    ("edge direction, local", 0.54, 0.1),
    ("edge strength, coarse", 3.4, 0.3),
    ("white depth >= 4 px", 0.013, 0.14),
    ("white depth >= 10 px", 0.0, 0.11),
    ("white share", 0.091, 0.17),
)
_CENTRE = np.array([centre for _, centre, _ in FEATURES], np.float32)
_SPREAD = np.array([spread for _, _, spread in FEATURES], np.float32)
