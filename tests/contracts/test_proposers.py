"""What every region proposer has to keep; a new file in `regions/proposers/` is tested at once."""

import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from region_views import masks_of, view_of
from shapely import MultiPolygon
from slide_maker import draw_tissue

from sammil_cli import choices
from sammil_cli.config import SamSettings
from sammil_cli.errors import MissingError
from sammil_cli.regions.propose import Proposer, View
from sammil_cli.stages.project import Project

NAMES = choices.names(choices.PROPOSERS)


@pytest.fixture
def settings(request: pytest.FixtureRequest) -> dict[str, Any]:
    """The settings as the stage gives them; SAM's weights are random ones."""
    name = request.node.callspec.params["name"]
    if name == "sam":
        found: dict[str, Any] = request.getfixturevalue("tiny_sam") | {"sam_points_per_side": 2}
        return found
    return SamSettings(proposer=name).model_dump()


@pytest.fixture
def view() -> View:
    """The tiny cohort's tissue; on it two areas are drawn, one of which has a hole and lies partly on glass."""
    image = np.ascontiguousarray(draw_tissue(seed=2, tumour=True)[::8, ::8])
    ring = shapely.box(80, 160, 400, 400).difference(shapely.box(200, 200, 260, 260))
    drawn = (MultiPolygon([ring]), MultiPolygon([shapely.box(0, 240, 320, 480)]))
    return view_of(image, np.ptp(image.astype(int), axis=2) > 20, downsample=8.0, drawn=drawn)


def make(name: str, settings: dict[str, Any]) -> Proposer:
    """The proposer; one whose weights no test here makes is skipped if it says what is missing."""
    try:
        made: Proposer = choices.load(choices.PROPOSERS, name).make(settings, "cpu")
    except MissingError as error:
        if name in ("sam", "superpixels", "geojson"):  # these have all that they need
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
def test_its_advice_is_on_flags_that_there_are_and_names_its_own_settings(name: str) -> None:
    proposer = choices.load(choices.PROPOSERS, name)
    advice = getattr(proposer, "ADVICE", {})
    assert set(advice) <= {"no-regions", "uncovered", "one-region", "few-regions", "flat", "fragments"}
    named = set(re.findall(r"\b[a-z]+(?:_[a-z]+)+\b", " ".join(advice.values())))
    assert named <= {*proposer.SETTINGS, "sam_mpp"}


@pytest.mark.parametrize("name", NAMES)
def test_what_it_reads_besides_the_slide_is_a_folder_of_the_project(name: str) -> None:
    inputs = getattr(choices.load(choices.PROPOSERS, name), "INPUTS", None)
    assert inputs is None or inputs in {field.name for field in fields(Project)}


@pytest.mark.parametrize("name", NAMES)
def test_it_needs_no_setting_that_it_does_not_name(name: str, settings: dict[str, Any]) -> None:
    # The stage puts into the recipe what SETTINGS names, and the checkpoint: anything else would go stale unseen.
    proposer = choices.load(choices.PROPOSERS, name)
    checkpoint = {"sam_checkpoint", "sam_checkpoint_sha256"} if hasattr(proposer, "find_checkpoint") else set()
    named = {key: value for key, value in settings.items() if key in {*proposer.SETTINGS, *checkpoint}}
    made = make(name, named)
    assert made.weights_sha256 is None or len(made.weights_sha256) == 64


@pytest.mark.parametrize("name", NAMES)
def test_regions_lie_on_the_picture_and_touch_the_tissue(name: str, settings: dict[str, Any], view: View) -> None:
    proposer = make(name, settings)
    image, tissue = view.image.copy(), view.tissue.copy()
    found = proposer.propose(view)
    assert found
    rows, columns = tissue.shape
    for proposal, shown in zip(found, masks_of(found, view), strict=True):
        x, y, width, height = proposal.mask.box
        assert min(x, y) >= 0
        assert x + width <= columns
        assert y + height <= rows
        assert proposal.mask.area_px == shown.sum()
        assert (shown & tissue).any()
        assert np.isfinite([proposal.predicted_iou, proposal.stability]).all()
    np.testing.assert_array_equal(view.image, image)
    np.testing.assert_array_equal(view.tissue, tissue)


@pytest.mark.parametrize("name", NAMES)
def test_one_that_calls_itself_a_partition_tiles_the_tissue(name: str, settings: dict[str, Any], view: View) -> None:
    # Where pictures overlap, the merge of tiles treats the two kinds differently.
    proposer = make(name, settings)
    times = masks_of(proposer.propose(view), view).sum(0)
    assert proposer.partition is False or (times == view.tissue).all()


@pytest.mark.parametrize("name", NAMES)
def test_proposing_twice_gives_the_same_regions(name: str, settings: dict[str, Any], view: View) -> None:
    proposer = make(name, settings)
    one, two = (masks_of(proposer.propose(view), view) for _ in range(2))
    np.testing.assert_array_equal(one, two)


def test_the_example_of_the_docs_runs(view: View) -> None:
    page = Path(__file__).resolve().parents[2] / "docs" / "add-your-own.md"
    (code,) = (text for text in re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL) if "View" in text)
    example: dict[str, Any] = {}
    exec(code, example)
    assert set(example["SETTINGS"]) <= set(SamSettings.model_fields)
    found = example["make"]({"superpixel_area_px": 4}, "cpu").propose(view)
    masks = masks_of(found, view)
    assert len(masks) > 3
    assert masks.sum((1, 2)).min() >= 4
    assert (masks.sum(0) <= view.tissue).all()
