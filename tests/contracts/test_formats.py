"""What every slide format has to keep; a new file in `slides/formats/` is tested at once."""

from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image
from slide_maker import draw_asymmetric

from sammil_cli import choices
from sammil_cli.errors import SlideError
from sammil_cli.slides.files import find_slides, open_reader

NAMES = choices.names(choices.FORMATS)
APERIO = "Aperio Image Library v12\r\n640x448|AppMag = 20|MPP = 0.5"


def write_slide(name: str, folder: Path) -> Path:
    """A slide of 640 x 448 px that the format reads; a new format adds its own."""
    folder.mkdir(parents=True, exist_ok=True)
    if name == "image":
        Image.fromarray(draw_asymmetric()).save(folder / "slide.png")
        return folder / "slide.png"
    options = {"openslide": {"description": APERIO}, "tiff": {"resolution": (20_000, 20_000), "resolutionunit": 3}}
    path = folder / "slide.tif"
    tifffile.imwrite(path, draw_asymmetric(), photometric="rgb", tile=(64, 64), metadata=None, **options[name])
    return path


@pytest.mark.parametrize("name", NAMES)
def test_suffixes_are_lower_case_with_their_dot(name: str) -> None:
    suffixes = choices.load(choices.FORMATS, name).SUFFIXES
    assert suffixes
    for suffix in suffixes:
        assert suffix.startswith(".")
        assert suffix == suffix.lower()
        assert suffix == Path("slide" + suffix).suffix


def test_the_order_in_which_formats_are_asked_is_settled() -> None:
    priorities = [choices.load(choices.FORMATS, name).PRIORITY for name in NAMES]
    assert len(set(priorities)) == len(NAMES)
    assert min(zip(priorities, NAMES, strict=True))[1] == "openslide"


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("content", [b"slide_id,label\n", b"II*\0" + bytes(60)], ids=["text", "broken TIFF"])
def test_what_is_no_slide_is_refused_with_its_remedy(tmp_path: Path, name: str, content: bytes) -> None:
    module = choices.load(choices.FORMATS, name)
    for suffix in module.SUFFIXES:
        path = tmp_path / f"slide{suffix}"
        path.write_bytes(content)
        with pytest.raises(SlideError) as caught:
            module.open_slide(path)
        assert caught.value.code == "E_OPEN"
        assert caught.value.set_aside
        assert caught.value.remedy


@pytest.mark.parametrize("name", NAMES)
def test_a_slide_gives_what_the_reader_promises(tmp_path: Path, name: str) -> None:
    reader = choices.load(choices.FORMATS, name).open_slide(write_slide(name, tmp_path))
    try:
        assert reader.kind
        assert reader.size_px == (640, 448)
        assert reader.downsamples[0] == 1
        assert list(reader.downsamples) == sorted(reader.downsamples)
        assert len(reader.tiles_px) == len(reader.downsamples)
        assert reader.mpp is None or (reader.mpp == pytest.approx((0.5, 0.5)) and reader.mpp_source)
        assert reader.objective in (None, 20)
        assert reader.bounds_px == (0, 0, 640, 448)
        for level in range(len(reader.downsamples)):
            image = reader.read((500, 320), level, (20, 10))
            assert (image.shape, image.dtype) == ((10, 20, 3), np.uint8)
        np.testing.assert_array_equal(reader.read((37, 21), 0, (300, 200)), draw_asymmetric()[21:221, 37:337])
        assert (reader.read((-30, 0), 0, (20, 10)) == 255).all()
        across = reader.read((630, 440), 0, (20, 16))
        np.testing.assert_array_equal(across[:8, :10], draw_asymmetric()[440:, 630:])
        assert (across[8:] == 255).all()
        assert (across[:, 10:] == 255).all()
    finally:
        reader.close()


@pytest.mark.parametrize("name", NAMES)
def test_a_slide_is_found_and_opened_by_its_format(tmp_path: Path, name: str) -> None:
    path = write_slide(name, tmp_path / "slides")
    assert find_slides(tmp_path / "slides").paths == {"slide": path}
    reader = open_reader(path)
    reader.close()
    assert type(reader).__module__ == f"{choices.FORMATS}.{name}"
