"""What every region proposer has to keep; a new file in `regions/proposers/` is tested at once."""

from typing import Any

import numpy as np
import pytest
from slide_maker import draw_tissue

from sammil_cli import choices
from sammil_cli.config import SamSettings
from sammil_cli.errors import MissingError
from sammil_cli.regions.propose import Proposer

NAMES = choices.names(choices.PROPOSERS)


@pytest.fixture
def settings(request: pytest.FixtureRequest) -> dict[str, Any]:
    """The settings as the stage gives them; SAM's weights are random ones."""
    name = request.node.callspec.params["name"]
    if name == "sam":
        found: dict[str, Any] = request.getfixturevalue("tiny_sam") | {"sam_points_per_side": 2}
        return found
    return SamSettings(proposer=name).model_dump()


def make(name: str, settings: dict[str, Any]) -> Proposer:
    """The proposer; one whose weights no test here makes is skipped if it says what is missing."""
    try:
        made: Proposer = choices.load(choices.PROPOSERS, name).make(settings, "cpu")
    except MissingError as error:
        if name in ("sam", "superpixels"):  # these have all that they need
            raise
        assert error.remedy  # noqa: PT017 - the error is one of two right answers
        pytest.skip(f"{name} needs weights: {error.message}")
    return made


@pytest.mark.parametrize("name", NAMES)
def test_its_settings_are_keys_of_the_stage(name: str) -> None:
    proposer = choices.load(choices.PROPOSERS, name)
    assert isinstance(proposer.SETTINGS, tuple)
    assert set(proposer.SETTINGS) <= set(SamSettings.model_fields)
    assert len(set(proposer.SETTINGS)) == len(proposer.SETTINGS)


@pytest.mark.parametrize("name", NAMES)
def test_what_needs_weights_can_say_which_and_where(name: str) -> None:
    proposer = choices.load(choices.PROPOSERS, name)
    assert hasattr(proposer, "find_checkpoint") == hasattr(proposer, "pinned_weights")
    if hasattr(proposer, "pinned_weights"):
        pinned = proposer.pinned_weights(SamSettings(proposer=name).model_dump())
        assert len(pinned.sha256) == 64
        assert pinned.url.startswith("https://")
        assert pinned.licence


@pytest.mark.parametrize("name", NAMES)
def test_it_needs_no_setting_that_it_does_not_name(name: str, settings: dict[str, Any]) -> None:
    # The stage puts into the recipe what SETTINGS names, and the checkpoint: anything else would go stale unseen.
    proposer = choices.load(choices.PROPOSERS, name)
    checkpoint = {"sam_checkpoint", "sam_checkpoint_sha256"} if hasattr(proposer, "find_checkpoint") else set()
    named = {key: value for key, value in settings.items() if key in {*proposer.SETTINGS, *checkpoint}}
    made = make(name, named)
    assert made.weights_sha256 is None or len(made.weights_sha256) == 64


@pytest.mark.parametrize("name", NAMES)
def test_regions_are_masks_on_the_canvas_that_touch_the_tissue(name: str, settings: dict[str, Any]) -> None:
    proposer = make(name, settings)
    image = np.ascontiguousarray(draw_tissue(seed=2, tumour=True)[::8, ::8])
    tissue = np.ptp(image.astype(int), axis=2) > 20
    shown, inside = image.copy(), tissue.copy()
    found = proposer.propose(image, tissue)
    assert found
    for proposal in found:
        assert (proposal.mask.dtype, proposal.mask.shape) == (bool, tissue.shape)
        assert (proposal.mask & tissue).any()
        assert np.isfinite([proposal.predicted_iou, proposal.stability]).all()
    np.testing.assert_array_equal(image, shown)
    np.testing.assert_array_equal(tissue, inside)
