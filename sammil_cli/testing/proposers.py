"""What every region proposer keeps, whatever file it comes from."""

import re
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
import shapely
from numpy.typing import NDArray
from shapely import MultiPolygon

from sammil_cli import choices
from sammil_cli.choices import Named
from sammil_cli.config import SamSettings
from sammil_cli.project.project import Project
from sammil_cli.regions.placed_patches import PlacedPatches
from sammil_cli.regions.propose import DRAWINGS, FEATURES, PIXELS, Proposer, View, seen_by
from sammil_cli.testing.drawn import draw_tissue
from sammil_cli.testing.weights import check_wanted_weights, with_random_weights


class ProposerContract:
    """The tests of a region proposer. A subclass has the fixture `word`: what the user types."""

    @pytest.fixture
    def settings(self, word: str) -> Iterator[Named]:
        """All settings of the stage; with random weights where the proposer wants any."""
        with TemporaryDirectory() as folder:
            settings = SamSettings(proposer=word).model_dump()
            yield with_random_weights(choices.load(choices.PROPOSERS, word), settings, Path(folder))

    @pytest.fixture
    def view(self) -> View:
        """Tissue on which two areas are drawn, one of which has a hole and lies partly on glass; and its patches."""
        image = np.ascontiguousarray(draw_tissue()[::2, ::2])
        ring = shapely.box(80, 160, 400, 400).difference(shapely.box(200, 200, 260, 260))
        drawn = (MultiPolygon([ring]), MultiPolygon([shapely.box(0, 240, 320, 480)]))
        tissue = np.ptp(image.astype(int), axis=2) > 20
        (rows, columns), side = tissue.shape, max(tissue.shape)
        around = np.full((side, side, 3), 255, np.uint8)
        corner = side // 4
        around[corner : corner + rows // 2, corner : corner + columns // 2] = image[::2, ::2]
        seen = View(
            slide_id="s", image=image, tissue=tissue, origin_px=(0, 0), downsample=8.0, drawn=drawn, around=around
        )
        return replace(seen, patches=_patches_of(seen))

    @pytest.fixture
    def proposer(self, word: str, settings: Named) -> Proposer:
        """Made as the stage makes it, from the settings that it names: others could change unseen by its results."""
        module = choices.load(choices.PROPOSERS, word)
        if hasattr(module, "check"):
            module.check(settings, "cpu")
        made: Proposer = module.make({key: settings[key] for key in module.SETTINGS}, "cpu")
        return made

    def test_what_it_says_of_itself_is_about_settings_flags_and_folders_that_there_are(self, word: str) -> None:
        module = choices.load(choices.PROPOSERS, word)
        assert isinstance(module.SETTINGS, tuple)
        assert len(set(module.SETTINGS) & set(SamSettings.model_fields)) == len(module.SETTINGS)
        assert set(getattr(module, "LOCAL", ())) <= set(module.SETTINGS)
        assert seen_by(module) in (PIXELS, DRAWINGS, FEATURES)
        advice = getattr(module, "ADVICE", {})
        assert set(advice) <= {"no-regions", "uncovered", "one-region", "few-regions", "flat", "fragments"}
        named = re.findall(r"\b[a-z]+(?:_[a-z]+)+\b", " ".join(advice.values()))
        assert set(named) <= {*module.SETTINGS, "sam_mpp"}
        assert getattr(module, "INPUTS", "slides") in {field.name for field in fields(Project)}

    def test_it_says_which_weights_it_wants(self, word: str, proposer: Proposer) -> None:
        module = choices.load(choices.PROPOSERS, word)
        check_wanted_weights(module, SamSettings(proposer=word).model_dump())
        expected = "[0-9a-f]{64}" if hasattr(module, "wanted_weights") else "None"
        assert re.fullmatch(expected, str(proposer.weights_sha256))

    def test_regions_lie_on_the_picture_and_touch_the_tissue(self, proposer: Proposer, view: View) -> None:
        image, tissue, (rows, columns) = view.image.copy(), view.tissue.copy(), view.tissue.shape
        found, again = proposer.propose(view), proposer.propose(view)
        assert found
        masks, same = (np.array([one.mask.within((0, 0, columns, rows)) for one in each]) for each in (found, again))
        for proposal, shown in zip(found, masks, strict=True):
            x, y, width, height = proposal.mask.box
            assert min(x, y, columns - x - width, rows - y - height) >= 0
            assert proposal.mask.area_px == shown.sum()
            assert (shown & tissue).any()
            assert np.isfinite([proposal.predicted_iou, proposal.stability]).all()
        assert proposer.partition is False or (masks.sum(0) == tissue).all()  # relied upon where pictures overlap
        np.testing.assert_array_equal(same, masks)
        np.testing.assert_array_equal(view.image, image)
        np.testing.assert_array_equal(view.tissue, tissue)


def _patches_of(view: View) -> PlacedPatches:
    """Squares of 8 pixels with any tissue; a patch's features are its mean colours."""
    rows, columns = (side // 8 for side in view.tissue.shape)

    def by_square(pixels: NDArray[Any]) -> NDArray[np.float32]:
        squares = pixels[: 8 * rows, : 8 * columns].reshape(rows, 8, columns, 8, -1)
        return np.asarray(squares.mean(axis=(1, 3)), np.float32)

    held = by_square(view.tissue)[..., 0] > 0
    row, column = np.nonzero(held)
    corner = np.asarray(8 * np.stack([column, row], 1), np.float64)
    return PlacedPatches(features=by_square(view.image)[held], corner=corner, side=8.0)
