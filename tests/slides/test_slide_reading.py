"""What a slide shows is where it is, at every level, and outside of it there is glass."""

from pathlib import Path

import numpy as np
import pytest
from slide_maker import GLASS, PINK, PURPLE, array_slide, blank, draw_asymmetric, write_pyramid

from sammil_cli.errors import SlideError
from sammil_cli.slides.files import open_slide
from sammil_cli.slides.slide import paint_background


def test_size_resolution_levels_and_bounds_come_from_the_file(asymmetric_slide: Path) -> None:
    with open_slide(asymmetric_slide) as slide:
        assert slide.slide_id == "asymmetric"
        assert slide.size_px == (640, 448)
        assert slide.mpp == pytest.approx(2.0)
        assert slide.mpp_source == "TIFF tags"
        assert slide.reader.downsamples == (1, 2, 4)
        assert slide.bounds_px == (0, 0, 640, 448)


def test_level_0_is_read_pixel_by_pixel(tmp_path: Path) -> None:
    rgb = np.random.default_rng(1).integers(0, 256, (150, 210, 3), dtype=np.uint8)
    with open_slide(write_pyramid(tmp_path / "noise.tif", rgb, downsamples=(1, 2))) as slide:
        np.testing.assert_array_equal(slide.read_at((0, 0), (210, 150), (210, 150)), rgb)
        np.testing.assert_array_equal(slide.read_at((37, 91), (70, 20), (70, 20)), rgb[91:111, 37:107])


@pytest.mark.parametrize("downsample", [2, 4, 8, 16])
def test_a_mark_is_where_it_belongs_at_every_resolution(tmp_path: Path, downsample: int) -> None:
    rgb = blank(640, 448)
    rgb[112:128, 208:240] = (255, 0, 0)  # x 208..240, y 112..128
    with open_slide(write_pyramid(tmp_path / "mark.tif", rgb)) as slide:
        image = slide.read_at((160, 96), (320, 256), (320 // downsample, 256 // downsample))
    expected = np.zeros(image.shape[:2], bool)
    expected[16 // downsample : 32 // downsample, 48 // downsample : 80 // downsample] = True
    np.testing.assert_array_equal(image[..., 1] < 10, expected)


def test_shrinking_averages_the_pixels_of_the_finer_level(tmp_path: Path) -> None:
    rgb = blank(64, 32)
    rgb[:, ::3] = 0  # every third column black: a thinned-out copy would be stripes
    with open_slide(write_pyramid(tmp_path / "stripes.tif", rgb, downsamples=(1,))) as slide:
        image = slide.read_at((3, 0), (60, 30), (20, 10))
    np.testing.assert_allclose(image, np.broadcast_to(np.array(GLASS) * 2 / 3, image.shape), atol=1)


def test_the_best_level_is_read_not_always_level_0(tmp_path: Path) -> None:
    rgb = blank(128, 64)
    path = write_pyramid(tmp_path / "a.tif", rgb, downsamples=(1, 4))
    with open_slide(path) as slide:
        levels: list[int] = []
        read = slide.reader.read
        slide.reader.read = lambda xy, level, size: levels.append(level) or read(xy, level, size)
        slide.read_at((0, 0), (64, 64), (64, 64))
        slide.read_at((0, 0), (64, 64), (16, 16))
        slide.read_at((0, 0), (64, 64), (8, 8))
        slide.read_at((0, 0), (60, 60), (20, 20))  # level 1 would be too coarse
        slide.read_at((0, 0), (64, 32), (16, 16))  # and here for one of the sides
    assert levels == [0, 1, 1, 0, 0]


def test_outside_of_the_slide_it_is_white(asymmetric_slide: Path) -> None:
    with open_slide(asymmetric_slide) as slide:
        image = slide.read_at((600, -40), (80, 60), (80, 60))
        far = slide.read_at((5000, 9000), (16, 8), (16, 8))
    assert image.shape == (60, 80, 3)
    assert (image[:40] == 255).all()
    assert (image[:, 40:] == 255).all()
    assert (image[40:, :40] == GLASS).all()
    assert (far == 255).all()


def test_pixels_are_never_made_up(asymmetric_slide: Path) -> None:
    with open_slide(asymmetric_slide) as slide:
        with pytest.raises(SlideError, match=r"level 0 has 10 pixels .* where 20 are asked") as caught:
            slide.read_at((40, 40), (10, 20), (20, 40))
        assert (caught.value.code, caught.value.set_aside) == ("E_COARSE", True)
        assert slide.read_at((0, 0), (396, 99), (400, 100)).shape == (100, 400, 3)  # 1 % is rounding
        with pytest.raises(SlideError, match="394 pixels"):
            slide.read_at((0, 0), (394, 99), (400, 100))


def test_a_thumbnail_shows_the_whole_slide_and_never_more_pixels_than_it_has(asymmetric_slide: Path) -> None:
    with open_slide(asymmetric_slide) as slide:
        small = slide.thumbnail(8.0)
        assert small.shape == (112, 160, 3)
        assert tuple(small[20, 20]) == PINK  # x 80, y 80
        assert tuple(small[32, 40]) == GLASS  # the hole
        assert tuple(small[95, 140]) == PURPLE
        np.testing.assert_array_equal(slide.thumbnail(0.5), draw_asymmetric())


def test_transparent_pixels_lie_on_white_glass() -> None:
    rgba = np.zeros((1, 4, 4), np.uint8)
    rgba[0] = [(10, 20, 30, 255), (10, 20, 30, 0), (100, 0, 255, 128), (0, 0, 0, 255)]
    # (100 * 128 + 255 * 127) // 255 = 177; 255 * 127 // 255 = 127
    assert paint_background(rgba).tolist() == [[[10, 20, 30], [255, 255, 255], [177, 127, 255], [0, 0, 0]]]
    opaque = paint_background(rgba[:, ::3])
    assert opaque.tolist() == [[[10, 20, 30], [0, 0, 0]]]
    assert opaque.flags.c_contiguous


def test_a_slide_in_memory_reads_like_the_file(asymmetric_slide: Path) -> None:
    # Other tests use it in place of files, so it has to agree with OpenSlide.
    memory = array_slide(draw_asymmetric(), mpp=2.0)
    with open_slide(asymmetric_slide) as slide:
        for box in (((-7, -3), (30, 20)), ((610, 430), (40, 30)), ((35, 35), (12, 10)), ((700, 3), (9, 4))):
            np.testing.assert_array_equal(memory.read_at(*box, box[1]), slide.read_at(*box, box[1]))
