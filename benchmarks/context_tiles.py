"""Tiles of a folder as features, for `context.py`: white-balanced, in several stains, encoded once and cached.

The encoder is sammil's `texture`: fixed, without weights. A folder of tiles has a table `tiles.csv` with the columns
`file`, `tissue` and `group`; tiles of one group are near-duplicates, and never lie on both sides of a split.
"""

import csv
import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from sammil_cli.features.encoders import texture
from sammil_cli.storage.files import atomic_path, sha256_file

Floats = NDArray[np.float32]

STAINS = ((1.0, 1.0), (1.25, 0.85), (0.8, 1.2))  # factors of the density of haematoxylin and of eosin
THUMBNAIL = 4  # pixels a side of what superpixels see of a tile
_WHITE_SHARE = 98  # percentile of each channel that becomes white
_STAIN_VECTORS = np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11], [0.27, 0.57, 0.78]])  # Ruifrok and Johnston 2001
_THREADS = 2


@dataclass(frozen=True, kw_only=True)
class Tiles:
    """n tiles in s stains: `features` (s, n, d), `thumbnails` (s, n, 4, 4, 3), `tumour` (n,), `group` (n,).

    `digest`: of what they were made of.
    """

    features: Floats
    thumbnails: Floats
    tumour: NDArray[np.bool_]
    group: NDArray[np.int64]
    digest: str


def read_tiles(folder: Path, normal: str, cache: Path) -> Tiles:
    """The tiles of a folder; encoded where the cache does not have them.

    Args:
        normal: the tissue that is no tumour; all others are. cache: a folder.

    Raises:
        SystemExit: there is no table, or no tile of one of the two kinds.
    """
    table = folder / "tiles.csv"
    if not table.is_file():
        raise SystemExit(f"{table} does not exist: --tiles wants a folder with tiles.csv (file,tissue,group)")
    with table.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    tumour = np.array([row["tissue"] != normal for row in rows])
    if tumour.all() or not tumour.any():
        known = ", ".join(sorted({row["tissue"] for row in rows}))
        raise SystemExit(f"--normal {normal} leaves tiles of one kind only; {table} has: {known}")
    names = sorted({row["group"] for row in rows})
    made_of = [sha256_file(table), sha256_file(Path(texture.__file__)), sha256_file(Path(__file__))]
    digest = hashlib.sha256("".join(made_of).encode()).hexdigest()[:16]
    kept = cache / f"tiles-{digest}.npz"
    if not kept.is_file():
        print(f"encoding {len(rows)} tiles in {len(STAINS)} stains with texture, once")
        with ThreadPoolExecutor(_THREADS) as pool:
            encoded = list(pool.map(partial(_encode, folder), [row["file"] for row in rows]))
        cache.mkdir(parents=True, exist_ok=True)
        with atomic_path(kept) as temporary, temporary.open("wb") as stream_out:
            np.savez(
                stream_out,
                features=np.stack([features for features, _ in encoded], axis=1),
                thumbnails=np.stack([thumbnail for _, thumbnail in encoded], axis=1),
            )
    with np.load(kept) as arrays:
        return Tiles(
            features=arrays["features"],
            thumbnails=arrays["thumbnails"],
            tumour=tumour,
            group=np.array([names.index(row["group"]) for row in rows]),
            digest=digest + normal,
        )


def _encode(folder: Path, name: str) -> tuple[Floats, Floats]:
    """Features (s, d) and thumbnails (s, 4, 4, 3) of one tile in every stain."""
    read = cv2.imread(str(folder / name))
    if read is None:
        raise SystemExit(f"{folder / name} cannot be read: fix tiles.csv or the file")
    picture = cv2.cvtColor(read, cv2.COLOR_BGR2RGB)
    encoder = texture.build(weights=None, device="cpu", input_px=picture.shape[0])
    stained = [stain(picture, *factors) for factors in STAINS]
    small = [cv2.resize(one, (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_AREA) for one in stained]
    return np.stack([encoder.prepare(one) for one in stained]), np.stack(small).astype(np.float32) / np.float32(255)


def stain(picture: NDArray[Any], haematoxylin: float, eosin: float) -> NDArray[np.uint8]:
    """A white-balanced picture (h, w, 3) with other densities of its two stains."""
    white = np.percentile(picture, _WHITE_SHARE, axis=(0, 1))
    density = -np.log(np.clip(picture / np.maximum(white, 1), 1 / 255, 1))
    vectors = _STAIN_VECTORS / np.linalg.norm(_STAIN_VECTORS, axis=1, keepdims=True)
    amounts = density @ np.linalg.inv(vectors) * (haematoxylin, eosin, 1.0)
    return np.asarray(np.clip(255 * np.exp(-amounts @ vectors), 0, 255), np.uint8)
