"""What every encoder keeps, whatever file it comes from."""

import re
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType

import numpy as np
import pytest

from sammil_cli import choices
from sammil_cli.config import ExtractSettings
from sammil_cli.features.encoder import Encoder
from sammil_cli.slides.pixels import RGB
from sammil_cli.testing.drawn import draw_tissue
from sammil_cli.testing.weights import check_wanted_weights, with_random_weights


@lru_cache(maxsize=1)  # the largest takes a second
def _build(module: ModuleType, backbone: str | None) -> Encoder:
    input_px = getattr(module, "INPUT_PX", 64)
    settings = ExtractSettings(encoder_backbone=backbone, encoder_input_px=input_px).model_dump()
    with TemporaryDirectory() as folder:
        own = with_random_weights(module, settings, Path(folder))["encoder_weights"]
        weights = Path(own) if own else None
        built: Encoder = module.build(weights=weights, device="cpu", backbone=backbone, input_px=input_px)
    return built


def _patches() -> list[RGB]:
    """Tissue, a nest of large nuclei, glass and black, 96 px."""
    tissue, black = draw_tissue(), np.zeros((96, 96, 3), np.uint8)
    return [*(tissue[y : y + 96, x : x + 96] for x, y in ((60, 140), (175, 80), (304, 0))), black]


class EncoderContract:
    """The tests of an encoder. A subclass has the fixture `word`: what the user types.

    `backbone`: the setting encoder_backbone. The constant INPUT_PX of an encoder is the only side that it can see.
    """

    backbone: str | None = None

    @pytest.fixture
    def encoder(self, word: str) -> Encoder:
        """The encoder, with random weights where it wants any."""
        return _build(choices.load(choices.ENCODERS, word), self.backbone)

    def test_it_says_which_weights_it_wants(self, word: str, encoder: Encoder) -> None:
        module = choices.load(choices.ENCODERS, word)
        check_wanted_weights(module, ExtractSettings(encoder=word, encoder_backbone=self.backbone).model_dump())
        expected = "[0-9a-f]{64}" if hasattr(module, "wanted_weights") else "None"
        assert re.fullmatch(expected, str(encoder.weights_sha256))
        assert encoder.name.split(":")[0] == word

    def test_patches_are_prepared_alike_and_by_several_threads_at_once(self, encoder: Encoder) -> None:
        patches = _patches() * 4
        serial = [encoder.prepare(patch) for patch in patches]
        with ThreadPoolExecutor(4) as pool:
            np.testing.assert_array_equal(list(pool.map(encoder.prepare, patches)), serial)
        assert {(one.shape, str(one.dtype)) for one in serial} == {(serial[0].shape, "float32")}
        np.testing.assert_array_equal(patches, _patches() * 4)

    def test_different_patches_get_different_features_each_time_the_same(self, encoder: Encoder) -> None:
        batch = np.stack([encoder.prepare(patch) for patch in _patches()])
        features = encoder.encode(batch)
        scale = np.abs(features).max()
        assert (features.shape, str(features.dtype)) == ((4, encoder.dim), "float32")
        assert np.isfinite(features).all()
        np.testing.assert_array_equal(encoder.encode(batch), features)
        alone = np.concatenate([encoder.encode(batch[index : index + 1]) for index in range(4)])
        np.testing.assert_allclose(alone, features, rtol=1e-3, atol=1e-4 * scale)
        for one, other in zip(*np.triu_indices(4, 1), strict=True):
            assert np.abs(features[one] - features[other]).max() > 1e-4 * scale
