"""What every encoder has to keep; a new file in `features/encoders/` is tested at once."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from slide_maker import draw_tissue

from sammil_cli import choices
from sammil_cli.errors import MissingError
from sammil_cli.features.encoder import Encoder

NAMES = choices.names(choices.ENCODERS)
BACKBONE = "squeezenet1_1"  # the smallest one


def _random_weights(name: str, folder: Path) -> Path | None:
    """Random weights for the encoders that cannot be built without."""
    import torch
    from torchvision.models import resnet50, squeezenet1_1

    from sammil_cli.features.clip import ImageTower

    def shared_layers(**_: object) -> Any:
        """Weights of CLIP's depth and width; its layers are alike, which keeps the file small."""
        tower = ImageTower()
        first, *others = tower.vision_model.encoder.layers
        for layer in others:
            layer.load_state_dict(first.state_dict(), assign=True)
        return tower

    models: dict[str, Any] = {"resnet50": resnet50, "torchvision": squeezenet1_1, "plip": shared_layers}
    if name not in models:
        return None
    with torch.random.fork_rng():
        torch.manual_seed(0)
        torch.save(models[name](weights=None).state_dict(), folder / f"{name}.pth")
    return folder / f"{name}.pth"


@pytest.fixture(scope="module", params=NAMES)
def encoder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Encoder:
    weights = _random_weights(request.param, tmp_path_factory.mktemp("weights"))
    module = choices.load(choices.ENCODERS, request.param)
    try:
        input_px = getattr(module, "INPUT_PX", 64)  # of those that see one size only
        built: Encoder = module.build(weights=weights, device="cpu", backbone=BACKBONE, input_px=input_px)
    except MissingError as error:
        if weights is not None or request.param == "texture":  # it has all that it needs
            raise
        assert error.remedy  # noqa: PT017 - the error is one of two right answers
        pytest.skip(f"{request.param} needs weights: {error.message}")
    return built


@pytest.fixture(scope="module")
def patches() -> list[NDArray[np.uint8]]:
    """Tissue, a tumour nest, glass and black, 96 px."""
    tissue = draw_tissue(seed=1, tumour=True)
    corners = ((300, 150), (330, 480), (10, 1000))
    return [*(tissue[y : y + 96, x : x + 96] for y, x in corners), np.zeros((96, 96, 3), np.uint8)]


def encode(encoder: Encoder, patches: list[NDArray[np.uint8]]) -> NDArray[np.float32]:
    return encoder.encode(np.stack([encoder.prepare(patch) for patch in patches]))


def test_features_are_single_precision_one_row_a_patch(encoder: Encoder, patches: list[NDArray[np.uint8]]) -> None:
    prepared = [encoder.prepare(patch) for patch in patches]
    assert len({(one.shape, one.dtype) for one in prepared}) == 1
    assert prepared[0].dtype == np.float32
    features = encoder.encode(np.stack(prepared))
    assert (features.shape, features.dtype) == ((4, encoder.dim), np.float32)
    assert np.isfinite(features).all()


def test_one_patch_alone_gets_the_features_it_gets_among_others(
    encoder: Encoder, patches: list[NDArray[np.uint8]]
) -> None:
    together = encode(encoder, patches)
    alone = np.concatenate([encode(encoder, [patch]) for patch in patches])
    np.testing.assert_allclose(alone, together, rtol=1e-3, atol=1e-4 * np.abs(together).max())


def test_the_same_patch_gets_the_same_features_again_and_is_left_as_it_is(
    encoder: Encoder, patches: list[NDArray[np.uint8]]
) -> None:
    kept = [patch.copy() for patch in patches]
    np.testing.assert_array_equal(encode(encoder, patches), encode(encoder, patches))
    np.testing.assert_array_equal(patches, kept)


def test_different_patches_get_different_features(encoder: Encoder, patches: list[NDArray[np.uint8]]) -> None:
    features = encode(encoder, patches)
    scale = np.abs(features).max()
    for one in range(len(patches)):
        for other in range(one):
            assert np.abs(features[one] - features[other]).max() > 1e-4 * scale


def test_patches_are_prepared_by_several_threads_at_once(encoder: Encoder, patches: list[NDArray[np.uint8]]) -> None:
    serial = [encoder.prepare(patch) for patch in patches * 4]
    with ThreadPoolExecutor(4) as pool:
        np.testing.assert_array_equal(list(pool.map(encoder.prepare, patches * 4)), serial)


def test_it_says_what_made_the_features(encoder: Encoder, request: pytest.FixtureRequest) -> None:
    name = request.node.callspec.params["encoder"]
    assert encoder.name.split(":")[0] == name
    assert encoder.weights_sha256 is None or len(encoder.weights_sha256) == 64
    assert encoder.dim > 0
