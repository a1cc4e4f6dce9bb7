"""Where patches are painted, and which one shows where several share a pixel."""

import numpy as np
import pytest

from sammil_cli.report.patch_paint import heat, paint, strongest


def places(painted: np.ndarray) -> list[list[int]]:
    return np.argwhere(~np.isnan(painted)).tolist()


def test_a_patch_is_painted_at_its_column_and_row() -> None:
    canvas = paint((20, 50), np.array([[30.0, 4.0]]), 6.0, np.array([0.25]))
    assert canvas.shape == (20, 50)
    assert places(canvas)[0] == [4, 30]
    assert places(canvas)[-1] == [9, 35]
    assert len(places(canvas)) == 36
    assert canvas[4, 30] == 0.25


def test_patches_of_broken_size_leave_no_gap_between_them() -> None:
    side = 3.3
    xy = np.array([[column * side, row * side] for row in range(4) for column in range(7)])
    canvas = paint((13, 23), xy, side, np.arange(28.0))
    assert not np.isnan(canvas).any()
    assert canvas[0, 0] == 0
    assert canvas[12, 22] == 27
    assert canvas[0, 22] == 6
    assert (strongest((13, 23), xy, side, np.arange(28.0)) >= 0).all()


def test_where_patches_overlap_their_mean_is_painted() -> None:
    canvas = paint((4, 8), np.array([[0.0, 0.0], [2.0, 0.0]]), 4.0, np.array([0.2, 0.6]))
    assert canvas[0, :6] == pytest.approx([0.2, 0.2, 0.4, 0.4, 0.6, 0.6])
    assert np.isnan(canvas[:, 6:]).all()


def test_a_patch_smaller_than_a_pixel_still_shows() -> None:
    canvas = paint((4, 4), np.array([[2.1, 1.2]]), 0.2, np.array([0.9]))
    assert places(canvas) == [[1, 2]]


def test_a_patch_over_the_edge_is_cut() -> None:
    canvas = paint((10, 12), np.array([[9.0, 8.0]]), 6.0, np.array([1.0]))
    assert places(canvas) == [[r, c] for r in (8, 9) for c in (9, 10, 11)]
    left = strongest((10, 12), np.array([[-4.0, 2.0], [-9.0, 2.0]]), 6.0, np.array([1.0, 2.0]))
    assert np.argwhere(left >= 0).tolist() == [[r, c] for r in range(2, 8) for c in (0, 1)]
    assert set(left[left >= 0].tolist()) == {0}  # the other one lies outside


def test_of_several_patches_on_a_pixel_the_strongest_shows() -> None:
    xy = np.array([[0.1, 0.1], [0.4, 0.3], [0.7, 0.2], [1.0, 0.0]])
    shown = strongest((1, 3), xy, 0.3, np.array([1.0, 9.0, 3.0, 2.0]))
    assert shown.tolist() == [[1, 2, -1]]  # 0.7 is rounded to the second pixel


def test_colours_lie_on_patches_only_and_the_slide_below_is_grey() -> None:
    image = np.full((4, 6, 3), (200, 100, 150), np.uint8)
    shown = np.full((4, 6), -1, np.int32)
    shown[1, 2] = 1
    picture = heat(image, shown, np.array([[0, 0, 0], [250, 0, 0]], np.uint8))
    beside = np.delete(picture.reshape(-1, 3), 8, axis=0)
    assert (beside == beside[0]).all()
    assert len(set(beside[0].tolist())) == 1
    red, green, blue = picture[1, 2].astype(int).tolist()
    assert red > 200
    assert max(green, blue) < 60
