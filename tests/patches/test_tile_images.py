"""Tiles as pictures: what is handled, what is refused by name, and what folders of them hold."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from sammil_cli.errors import InputError, SlideError
from sammil_cli.patches.tile_folders import find_tiles
from sammil_cli.patches.tile_images import look_at, read_tile

RGB = np.random.default_rng(3).integers(0, 256, (32, 32, 3), dtype=np.uint8)
GREY = RGB[..., 0]


def png(path: Path, pixels: np.ndarray = RGB) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(".png", pixels[..., ::-1] if pixels.ndim == 3 else pixels)[1].tobytes())
    return path


def test_a_tile_has_the_pixels_of_its_file(tmp_path: Path) -> None:
    np.testing.assert_array_equal(read_tile(png(tmp_path / "a.png")), RGB)


@pytest.mark.parametrize(
    ("make", "pixels"),
    [
        (lambda path: Image.fromarray(GREY).save(path), np.repeat(RGB[..., :1], 3, axis=2)),
        (lambda path: Image.fromarray(GREY).convert("P").save(path), np.repeat(RGB[..., :1], 3, axis=2)),
        (lambda path: Image.fromarray(np.dstack([RGB, np.full_like(GREY, 255)])).save(path), RGB),
        (lambda path: Image.fromarray(np.dstack([RGB, np.zeros_like(GREY)])).save(path), np.full_like(RGB, 255)),
    ],
    ids=["grey", "palette", "opaque", "transparent"],
)
def test_other_colours_become_rgb_and_what_is_transparent_glass(
    tmp_path: Path, make: Callable[[Path], None], pixels: np.ndarray
) -> None:
    make(tmp_path / "a.png")
    np.testing.assert_array_equal(read_tile(tmp_path / "a.png"), pixels)


def test_inks_become_rgb(tmp_path: Path) -> None:
    Image.new("CMYK", (32, 32), (0, 255, 255, 0)).save(tmp_path / "a.jpg", quality=95)
    assert np.abs(read_tile(tmp_path / "a.jpg").astype(int) - (255, 0, 0)).max() < 8


@pytest.mark.parametrize("pixels", [RGB.astype(np.uint16) * 257, RGB[..., 0].astype(np.uint16)], ids=["RGB", "grey"])
def test_16_bits_are_refused_since_nothing_says_what_they_stand_for(tmp_path: Path, pixels: np.ndarray) -> None:
    with pytest.raises(SlideError, match=r"a\.png: not an 8-bit picture") as caught:
        read_tile(png(tmp_path / "a.png", pixels))
    assert caught.value.code == "E_FORMAT"


def test_what_viewers_would_turn_lies_as_it_is_stored_and_is_counted(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(RGB).save(tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(read_tile(tmp_path / "a.png"), RGB)
    look = look_at([tmp_path / "a.png", png(tmp_path / "b.png")], 2)
    assert (look.side_px, look.turned) == (32, 1)


@pytest.mark.parametrize(
    ("others", "said"),
    [([RGB[:20]], "2 sizes: 32 x 32 px 2 of them; 32 x 20 px: c0.png"), ([RGB[:20], RGB[:20, :20]], "3 sizes: ")],
)
def test_tiles_of_several_sizes_are_refused_by_their_names(tmp_path: Path, others: list[np.ndarray], said: str) -> None:
    paths = [png(tmp_path / "a.png"), png(tmp_path / "b.png")]
    paths += [png(tmp_path / f"c{number}.png", pixels) for number, pixels in enumerate(others)]
    with pytest.raises(SlideError, match=said) as caught:
        look_at(paths, 2)
    assert caught.value.code == "E_TILES"
    with pytest.raises(SlideError, match=r"c0\.png: it has 32 x 20 px, the others 32 x 32"):
        read_tile(paths[2], 32)


def test_tiles_that_are_no_squares_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SlideError, match="have 32 x 20 px, no squares"):
        look_at([png(tmp_path / "a.png", RGB[:20])], 1)


def test_a_folder_with_tiles_is_a_slide_and_the_rest_is_counted(tmp_path: Path) -> None:
    for name in ("a/2.png", "a/10.PNG", "b/deep/x.jpeg", ".trash/c.png", "a/._2.png", "a/notes.txt", "list.csv"):
        png(tmp_path / name)
    (tmp_path / "again").symlink_to(tmp_path)
    (tmp_path / "nowhere.png").symlink_to(tmp_path / "gone")
    found = find_tiles(tmp_path)
    assert dict(found.names) == {"a": ["2.png", "10.PNG"], "deep": ["x.jpeg"]}
    assert found.folders["deep"] == tmp_path / "b/deep"
    assert "3 tiles of 2 slide(s); passed over: 2 hidden file(s)" in found.inventory()
    others = {"links to a folder that was seen": 1, ".txt": 1, ".csv": 1, ".png": 1}
    assert found.passed_over == {"hidden file(s)": 2, **others}


def test_folders_of_which_nobody_knows_which_slide_they_are_are_refused(tmp_path: Path) -> None:
    for name in ("x/a/1.png", "y/a/1.png", "b/1.png", "b/masks/1.png", "c/1.png"):
        png(tmp_path / name)
    found = find_tiles(tmp_path)
    assert set(found.folders) == {"c"}
    assert {(slide, error.code) for slide, error in found.refused.items()} == {
        (slide, "E_TILES") for slide in ("a", "b", "masks")
    }
    assert "2 folders of tiles are called like it" in found.refused["a"].message
    assert "and so does" in found.refused["b"].message


@pytest.mark.parametrize("name", ["gone", "empty"])
def test_a_place_without_tiles_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"is no folder|there are no tiles in") as caught:
        find_tiles(tmp_path / name)
    assert "a folder of PNG or JPEG tiles per slide" in caught.value.remedy
