"""Notes on masks that a person should look at: each at its limit, on either side."""

from dataclasses import replace

import numpy as np
import pytest
import shapely
from shapely import MultiPolygon
from slide_maker import array_slide, blank
from tissue_specs import BARE

from sammil_cli.tissue.flags import flags, is_flagged, mask_iou
from sammil_cli.tissue.segment import Picture, look

BOUNDS = (100, 50, 800, 500)  # 400,000 px²


@pytest.fixture
def picture() -> Picture:
    """A thumbnail of 500 x 300 px of a slide of 1000 x 600 px at 4 µm per pixel, scanned in part."""
    return look(array_slide(blank(1000, 600), mpp=4.0, bounds_px=BOUNDS), 8.0)


def words(picture: Picture, *boxes: tuple[float, float, float, float]) -> list[str]:
    polygons = MultiPolygon([shapely.box(*box) for box in boxes])
    return [note.split(":")[0] for note in flags(picture, picture.mask_of(polygons), None)]


def test_a_plain_mask_has_no_remarks(picture: Picture) -> None:
    assert words(picture, (200, 100, 500, 400)) == []


def test_shares_are_of_the_scanned_area(picture: Picture) -> None:
    assert words(picture, (200, 100, 300, 139)) == ["little-tissue"]  # 3900 px² of 400,000
    assert words(picture, (200, 100, 300, 141)) == []
    assert words(picture, (103, 53, 895, 547)) == ["much-tissue"]  # 98 %, two pixels inside


def test_specks_flag_where_they_are_much_of_the_tissue(picture: Picture) -> None:
    specks = [(110 + 30 * i, 100, 125 + 30 * i, 140) for i in range(20)]  # 600 px² = 9600 µm² each
    assert words(picture, *specks) == ["fragmented"]
    assert words(picture, *specks, (200, 200, 500, 330)) == []  # 39,000 px² more: a quarter of the whole and less
    assert words(picture, *specks[:9]) == []  # so few are biopsies


def test_tissue_along_the_edge_of_the_scanned_area_flags(picture: Picture) -> None:
    assert words(picture, (100, 100, 300, 300)) == ["touches-border"]  # 200 of 2600 px
    assert words(picture, (103, 100, 300, 300)) == []
    assert words(picture, (100, 100, 300, 140)) == []  # 40 of 2600 px: 1.5 %


def test_pen_and_borders_are_reported_with_their_share_and_do_not_flag(picture: Picture) -> None:
    seen = np.zeros(picture.thumbnail.shape[:2], bool)
    seen[:15] = True
    marked = replace(picture, pen=seen, borders=seen[::-1])
    remarks = flags(marked, marked.mask_of(MultiPolygon([shapely.box(200, 100, 500, 400)])), None)
    assert remarks == ["pen: 5.0% of the slide", "black-border: 5.0% of the slide"]
    assert not is_flagged(remarks)
    assert is_flagged([*remarks, "little-tissue: 0.3% of the scanned area"])


def test_methods_that_disagree_flag(picture: Picture) -> None:
    rgb = blank(1000, 600)
    rgb[100:300, 200:500] = (226, 160, 190)
    picture = look(array_slide(rgb, mpp=4.0), 8.0)
    tissue = shapely.box(200, 100, 500, 300)
    for found, same in (((200, 100, 500, 300), None), ((200, 100, 500, 550), 4 / 9), ((700, 400, 900, 500), 0.0)):
        remarks = flags(picture, picture.mask_of(MultiPolygon([shapely.box(*found)])), BARE)
        if same is None:
            assert remarks == []
            continue
        name, share, *rest = remarks[0].split(maxsplit=2)
        assert (name, float(share), rest) == (
            "methods-disagree:",
            pytest.approx(same, abs=0.02),
            ["of both masks is common to otsu"],
        )
    remarks = flags(picture, picture.mask_of(MultiPolygon([tissue])), replace(BARE, segmenter="otsu"))
    assert remarks == []


def test_intersection_over_union(picture: Picture) -> None:
    left, right = (picture.mask_of(MultiPolygon([shapely.box(x, 100, x + 200, 300)])) for x in (200, 300))
    assert mask_iou(left, left) == 1
    assert mask_iou(left, right) == pytest.approx(1 / 3)
    empty = picture.mask_of(MultiPolygon())
    assert mask_iou(left, empty) == 0
    assert mask_iou(empty, empty) == 1
