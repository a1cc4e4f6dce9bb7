"""Our own proposers keep what every region proposer keeps (`sammil_cli.testing.proposers`); the example of the docs."""

import re
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from region_views import masks_of, view_of
from slide_maker import draw_tissue

from sammil_cli import choices
from sammil_cli.config import SamSettings
from sammil_cli.testing.proposers import ProposerContract
from sammil_cli.testing.weights import with_random_weights

PROPOSERS = choices.names(choices.PROPOSERS)


class TestOwnProposers(ProposerContract):
    @pytest.fixture(params=PROPOSERS)
    def word(self, request: pytest.FixtureRequest) -> str:
        return str(request.param)

    @pytest.fixture
    def settings(self, word: str, request: pytest.FixtureRequest) -> dict[str, Any]:
        if word == "sam":  # a tiny one
            found: dict[str, Any] = request.getfixturevalue("tiny_sam") | {"sam_points_per_side": 2}
            return found
        if word == "wsi-sam":
            tiny: dict[str, Any] = request.getfixturevalue("tiny_wsi_sam")
            return tiny
        return SamSettings(proposer=word).model_dump()


def test_the_folder_holds_the_proposers_of_this_release() -> None:
    assert {"sam", "wsi-sam", "superpixels", "geojson", "features"} <= set(PROPOSERS)


def test_a_proposer_with_random_weights_is_given_them_pinned(tmp_path: Path) -> None:
    mine = ModuleType("mine")
    mine.wanted_weights = choices.load(choices.PROPOSERS, "sam").wanted_weights
    mine.random_weights = lambda settings: {"drawn": torch.randn(4)}
    found = with_random_weights(mine, SamSettings().model_dump(), tmp_path)
    assert mine.wanted_weights(found).find() == (tmp_path / "random.safetensors", found["sam_checkpoint_sha256"])


def test_the_example_of_the_docs_runs() -> None:
    page = Path(__file__).resolve().parents[2] / "docs" / "add-your-own.md"
    (code,) = (text for text in re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL) if "View" in text)
    example: dict[str, Any] = {}
    exec(code, example)
    assert set(example["SETTINGS"]) <= set(SamSettings.model_fields)
    image = np.ascontiguousarray(draw_tissue(seed=2, tumour=True)[::8, ::8])
    view = view_of(image, np.ptp(image.astype(int), axis=2) > 20, downsample=8.0)
    masks = masks_of(example["make"]({"superpixel_area_px": 4}, "cpu").propose(view), view)
    assert len(masks) > 3
    assert masks.sum((1, 2)).min() >= 4
    assert (masks.sum(0) <= view.tissue).all()
