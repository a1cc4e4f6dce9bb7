"""Old coordinates held against a slide: 640 x 448 px, of which the lower right quarter is bare glass."""

from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest
from slide_maker import GLASS, PURPLE, write_pyramid

from sammil_cli.errors import SlideError
from sammil_cli.legacy import slide_check
from sammil_cli.slides.files import open_slide
from sammil_cli.slides.slide import Slide

TISSUE = np.array([(0, 0), (64, 0), (128, 64)], np.int32)
ON_GLASS = np.array([(400, 300), (464, 300)], np.int32)


@pytest.fixture
def slide(tmp_path: Path) -> Iterator[Slide]:
    image = np.full((448, 640, 3), PURPLE, np.uint8)
    image[::7] = (200, 90, 150)
    image[224:, 320:] = GLASS
    with open_slide(write_pyramid(tmp_path / "s.tif", image, mpp=0.5)) as opened:
        yield opened


def read(slide: Slide, xy: np.ndarray) -> list[np.ndarray]:
    return slide_check.read_patches(slide, xy, 64, 64)


def test_patches_inside_the_slide_pass_and_may_reach_over_its_edge(slide: Slide) -> None:
    slide_check.check_size(slide, np.array([(0, 0), (639, 447)], np.int32), (640, 448), "s.h5")
    slide_check.check_size(slide, TISSUE, None, "s.h5")


@pytest.mark.parametrize(
    ("xy", "size"), [([(0, 0), (640, 0)], None), ([(0, -1)], None), ([(0, 0)], (641, 448))], ids=str
)
def test_another_slide_is_refused(slide: Slide, xy: list[tuple[int, int]], size: tuple[int, int] | None) -> None:
    with pytest.raises(SlideError) as caught:
        slide_check.check_size(slide, np.array(xy, np.int32), size, "s.h5")
    assert caught.value.code == "E_LEGACY_MISMATCH"


def test_glass_is_counted_and_nothing_but_glass_is_refused(slide: Slide) -> None:
    said = slide_check.check_glass(read(slide, np.concatenate([TISSUE, ON_GLASS])))
    assert said == "5 patches re-read from the slide, 2 of them bare glass"
    with pytest.raises(SlideError, match="all of 2 patches") as caught:
        slide_check.check_glass(read(slide, ON_GLASS))
    assert caught.value.code == "E_LEGACY_MISMATCH"


def test_patches_finer_than_the_slide_are_enlarged_as_older_tools_did(slide: Slide) -> None:
    images = slide_check.read_patches(slide, TISSUE, 64, 224)
    assert {image.shape for image in images} == {(224, 224, 3)}
    plain = slide_check.read_patches(slide, TISSUE, 64, 64)
    assert all(abs(float(a.mean()) - float(b.mean())) < 1 for a, b in zip(images, plain, strict=True))
    assert slide_check.check_glass(images) == "3 patches re-read from the slide, 0 of them bare glass"


def test_stored_images_are_compared_pixel_by_pixel(slide: Slide, tmp_path: Path) -> None:
    images = read(slide, TISSUE)
    chosen = np.array([0, 1, 2])
    with h5py.File(tmp_path / "old.h5", "w") as file:
        file["imgs"], file["coords"] = np.stack(images), TISSUE
    assert "largest mean difference 0.00" in slide_check.check_images(tmp_path / "old.h5", images, chosen)
    with h5py.File(tmp_path / "old.h5", "r+") as file:
        file["imgs"][2] = 255 - file["imgs"][2]
    with pytest.raises(SlideError, match="patch 2") as caught:
        slide_check.check_images(tmp_path / "old.h5", images, chosen)
    assert caught.value.code == "E_LEGACY_MISMATCH"


def test_features_are_compared_by_their_direction(slide: Slide) -> None:
    images = read(slide, TISSUE)

    def means(patches: list[np.ndarray]) -> np.ndarray:
        return np.array([[patch.mean(), patch.std(), 1.0] for patch in patches], np.float32)

    assert "the same encoder" in slide_check.check_features(2 * means(images), images, means, "mine")
    other = means(images)[:, ::-1] * (1, -1, 1)
    assert "another encoder" in slide_check.check_features(other, images, means, "mine")
    assert "not compared" in slide_check.check_features(np.ones((3, 7), np.float32), images, means, "mine")


def test_patches_are_taken_evenly() -> None:
    assert slide_check.spread(100, 4).tolist() == [0, 33, 66, 99]
    assert slide_check.spread(3, 8).tolist() == [0, 1, 2]
