"""PNG and JPEG as slides: all pixels, the resolution from the table only."""

from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from sammil_cli.errors import SlideError
from sammil_cli.slides.files import open_reader, open_slide
from sammil_cli.slides.formats import image

RGB = np.random.default_rng(1).integers(0, 256, (40, 60, 3), dtype=np.uint8)


def save(path: Path, picture: Image.Image, **options: object) -> Path:
    picture.save(path, **options)
    return path


def test_a_picture_needs_the_users_resolution_whatever_its_dpi(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", Image.fromarray(RGB), dpi=(50_800, 50_800))
    with pytest.raises(SlideError, match="does not say its resolution") as caught:
        open_slide(path)
    assert caught.value.code == "E_MPP"
    with open_slide(path, 0.5) as slide:
        assert (slide.mpp, slide.mpp_source, slide.size_px) == (0.5, "slides.csv", (60, 40))
        np.testing.assert_array_equal(slide.read_at((10, 5), (50, 30), (50, 30)), RGB[5:35, 10:60])
        assert (slide.read_at((-10, -10), (10, 10), (10, 10)) == 255).all()


def test_every_kind_of_8_bit_picture_becomes_rgb(tmp_path: Path) -> None:
    grey = Image.fromarray(RGB[..., 0])
    clear = Image.fromarray(np.dstack([RGB, np.zeros(RGB.shape[:2], np.uint8)]))
    kinds = {
        "grey.png": (grey, np.repeat(RGB[..., :1], 3, axis=2)),
        "clear.png": (clear, np.full_like(RGB, 255)),
        "palette.png": (grey.convert("P"), np.repeat(RGB[..., :1], 3, axis=2)),
    }
    for name, (picture, expected) in kinds.items():
        with open_slide(save(tmp_path / name, picture), 1.0) as slide:
            np.testing.assert_array_equal(slide.read_at((0, 0), (60, 40), (60, 40)), expected)


def test_a_rotation_that_a_camera_noted_is_not_applied(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # by a quarter
    path = save(tmp_path / "a.jpg", Image.fromarray(RGB), exif=exif, quality=95)
    with open_slide(path, 1.0) as slide:
        assert slide.size_px == (60, 40)


def glass_under(rgb: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    return rgb * (alpha[..., None] / 255) + 255 - alpha[..., None].astype(float)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("samples", [2, 4])
def test_transparent_pixels_of_a_png_lie_on_white_glass(tmp_path: Path, samples: int, dtype: type) -> None:
    alpha = np.tile(np.linspace(0, 255, 60).round().astype(np.uint8), (40, 1))
    colours = RGB if samples == 4 else np.repeat(RGB[..., :1], 3, axis=2)
    stored = np.dstack([colours[..., : samples - 1], alpha])
    stored = stored if dtype is np.uint8 else stored.astype(np.uint16) * 257
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(stored))
    with open_slide(tmp_path / "a.png", 1.0) as slide:
        np.testing.assert_allclose(slide.thumbnail(1.0), glass_under(colours, alpha), atol=0.51)


def test_a_palette_with_transparent_colours_lies_on_white_glass(tmp_path: Path) -> None:
    picture = Image.fromarray(RGB[..., 0]).convert("P")
    path = save(tmp_path / "a.png", picture, transparency=bytes(range(256)))
    with open_slide(path, 1.0) as slide:
        drawn = np.repeat(RGB[..., :1], 3, axis=2)
        np.testing.assert_allclose(slide.thumbnail(1.0), glass_under(drawn, RGB[..., 0]), atol=0.51)


@pytest.mark.parametrize("stored", ["CMYK", "YCCK"])
def test_a_jpeg_in_inks_becomes_rgb(tmp_path: Path, stored: str) -> None:
    smooth = np.asarray(Image.fromarray(RGB[:4, :6]).resize((60, 40), Image.Resampling.BICUBIC))
    inks = np.dstack([smooth, np.full(smooth.shape[:2], 255, np.uint8)])  # inverted, as Adobe writes them
    encoded = imagecodecs.jpeg_encode(inks, level=98, colorspace="CMYK", outcolorspace=stored)
    (tmp_path / "a.jpg").write_bytes(encoded)
    with open_slide(tmp_path / "a.jpg", 1.0) as slide:
        assert np.abs(slide.thumbnail(1.0).astype(int) - smooth).mean() < 3


@pytest.mark.parametrize(("kind", "fix"), [("TIFF", "rename it to .tif"), ("GIF", "save it as PNG")])
def test_another_kind_of_picture_under_this_name_is_called_what_it_is(tmp_path: Path, kind: str, fix: str) -> None:
    path = save(tmp_path / "a.png", Image.fromarray(RGB), format=kind)
    with pytest.raises(SlideError, match=f"{kind} under the name of a PNG or JPEG") as caught:
        open_reader(path)
    assert caught.value.code == "E_FORMAT"
    assert fix in caught.value.remedy


def test_measurements_are_no_pictures(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", Image.fromarray(RGB[..., 0].astype(np.uint16)))
    with pytest.raises(SlideError, match="not a brightfield RGB picture: it has 16-bit grey values") as caught:
        open_reader(path)
    assert caught.value.code == "E_FORMAT"


def test_a_picture_too_large_to_decode_whole_gets_the_command_that_helps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save(tmp_path / "a.png", Image.fromarray(RGB))
    monkeypatch.setattr(image, "_LARGEST_PX", 2000)
    with pytest.raises(SlideError, match="more than 0 megapixels") as caught:
        open_reader(path)
    assert caught.value.code == "E_FORMAT"
    assert "vips tiffsave" in caught.value.remedy
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)  # Pillow's own guard
    with pytest.raises(SlideError, match="decoded whole"):
        open_reader(path)


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_a_picture_that_was_cut_is_refused_when_it_is_read(tmp_path: Path, suffix: str) -> None:
    path = save(tmp_path / f"a{suffix}", Image.fromarray(RGB))
    path.write_bytes(path.read_bytes()[:-1500])
    refused = pytest.raises(SlideError, match="the picture cannot be decoded: image file is truncated")
    with open_slide(path, 1.0) as slide, refused as caught:
        slide.thumbnail(1.0)
    assert caught.value.code == "E_READ"
