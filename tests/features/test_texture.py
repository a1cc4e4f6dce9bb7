"""The texture encoder: finite on anything, thread-safe, and about texture more than about stain."""

from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from sammil_cli.features.encoders.texture import FEATURES, TextureEncoder, build, measure

NAMES = [name for name, _, _ in FEATURES]
HAEMATOXYLIN = np.array([0.5626, 0.7201, 0.4062])
EOSIN = np.array([0.2159, 0.8012, 0.5581])


@pytest.fixture
def encoder() -> TextureEncoder:
    return build(weights=None, device="cpu", input_px=224)


def field(
    radius_px: int, *, spacing_px: int, gain: float = 1.0, size: tuple[int, int] = (96, 128)
) -> NDArray[np.uint8]:
    """Round nuclei of one radius on a lattice over pink ground, (height, width, 3)."""
    nuclei = np.zeros(size, np.float32)
    for y in range(spacing_px // 2, size[0], spacing_px):
        for x in range(spacing_px // 2, size[1], spacing_px):
            cv2.circle(nuclei, (x, y), radius_px, 1.0, -1)
    nuclei = np.asarray(cv2.GaussianBlur(nuclei, (0, 0), 0.7))
    density = nuclei[..., None] * 1.1 * HAEMATOXYLIN + (0.5 - 0.2 * nuclei[..., None]) * EOSIN
    return (255 * np.exp(-gain * density)).astype(np.uint8)


def value(patch: NDArray[np.uint8], name: str) -> float:
    return float(measure(patch)[NAMES.index(name)])


def noise(seed: int, size: tuple[int, int] = (64, 80)) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)


@pytest.mark.parametrize("level", [0, 1, 128, 254, 255])
def test_flat_patches_give_finite_numbers_of_order_one(encoder: TextureEncoder, level: int) -> None:
    features = encoder.prepare(np.full((128, 128, 3), level, np.uint8))
    assert features.shape == (encoder.dim,)
    assert features.dtype == np.float32
    assert np.isfinite(features).all()
    assert np.abs(features).max() <= 6


@pytest.mark.parametrize("size", [(32, 32), (33, 47), (128, 128), (300, 256)])
def test_the_length_is_the_same_for_any_patch_size(encoder: TextureEncoder, size: tuple[int, int]) -> None:
    features = encoder.prepare(noise(1, size))
    assert features.shape == (encoder.dim,)
    assert np.isfinite(features).all()


@pytest.mark.parametrize("shape", [(31, 64, 3), (64, 64), (64, 64, 4)])
def test_what_is_no_patch_is_refused(encoder: TextureEncoder, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="at least 32 px"):
        encoder.prepare(np.zeros(shape, np.uint8))


def test_it_needs_no_weights_and_encoding_changes_nothing(encoder: TextureEncoder) -> None:
    assert (encoder.name, encoder.weights_sha256) == ("texture", None)
    batch = np.stack([encoder.prepare(noise(seed)) for seed in range(3)])
    assert np.array_equal(encoder.encode(batch), batch)


def test_threads_give_the_same_numbers_as_one(encoder: TextureEncoder) -> None:
    patches = [noise(seed) for seed in range(24)]
    with ThreadPoolExecutor(8) as pool:
        threaded = list(pool.map(encoder.prepare, patches))
    assert all(np.array_equal(a, encoder.prepare(b)) for a, b in zip(threaded, patches, strict=True))


def test_a_patch_that_is_a_quarter_white_says_so() -> None:
    patch = field(5, spacing_px=24)
    patch[:48, :64] = 250
    assert value(patch, "white share") == pytest.approx(0.25, abs=0.02)
    assert value(field(5, spacing_px=24), "white share") == 0


def test_the_nuclear_share_is_that_of_the_drawn_discs() -> None:
    drawn = 20 * np.pi * 6.0**2 / (96 * 128)  # 4 rows of 5 whole discs
    assert value(field(6, spacing_px=24), "nuclear share of patch") == pytest.approx(drawn, rel=0.35)
    assert value(field(6, spacing_px=24), "nuclei per 1e4 px") == pytest.approx(20 / (96 * 128) * 1e4, rel=0.1)


def test_larger_nuclei_are_deeper_whatever_their_number() -> None:
    small, large = field(6, spacing_px=16), field(12, spacing_px=32)
    name = "nuclear depth >= 8 px"
    assert value(small, name) == 0
    assert value(large, name) > 0.05


@pytest.mark.parametrize("gain", [0.75, 1.3])
def test_a_stronger_or_weaker_stain_moves_the_features_less_than_larger_nuclei_do(
    encoder: TextureEncoder, gain: float
) -> None:
    usual = encoder.prepare(field(6, spacing_px=20))
    stained = encoder.prepare(field(6, spacing_px=20, gain=gain))
    larger = encoder.prepare(field(10, spacing_px=28))
    assert np.linalg.norm(stained - usual) < 0.5 * np.linalg.norm(larger - usual)


def test_turning_a_patch_by_half_changes_little(encoder: TextureEncoder) -> None:
    patch = noise(3, (96, 96))
    turned = np.ascontiguousarray(patch[::-1, ::-1])
    assert np.abs(encoder.prepare(patch) - encoder.prepare(turned)).mean() < 0.1
