"""Our own slide formats keep what every format keeps (`sammil_cli.testing.slide_formats`), and are asked in order."""

from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image
from slide_maker import RGB, draw_asymmetric

from sammil_cli import choices
from sammil_cli.errors import SlideError
from sammil_cli.slides.files import find_slides, open_reader
from sammil_cli.testing.slide_formats import SlideFormatContract

FORMATS = choices.names(choices.FORMATS)
APERIO = "Aperio Image Library v12\r\n640x448|AppMag = 20|MPP = 0.5"
OPTIONS: dict[str, dict[str, object]] = {
    "aperio": {"description": APERIO, "compression": "jpeg"},
    "openslide": {"description": APERIO},
    "tiff": {"resolution": (20_000, 20_000), "resolutionunit": 3},
}

every_format = pytest.mark.parametrize("name", FORMATS)


def write_slide(name: str, folder: Path) -> Path:
    """A slide of 640 x 448 px that the format reads."""
    folder.mkdir(parents=True, exist_ok=True)
    if name == "image":
        Image.fromarray(draw_asymmetric()).save(folder / "slide.png")
        return folder / "slide.png"
    path = folder / "slide.tif"
    tifffile.imwrite(path, draw_asymmetric(), photometric="rgb", tile=(64, 64), metadata=None, **OPTIONS[name])
    return path


def pixels_of(path: Path) -> RGB:
    """What a slide shows: what was drawn, but for JPEG."""
    return draw_asymmetric() if path.suffix == ".png" else np.asarray(tifffile.imread(path), np.uint8)


class TestOwnFormats(SlideFormatContract):
    @pytest.fixture(params=FORMATS)
    def word(self, request: pytest.FixtureRequest) -> str:
        return str(request.param)

    @pytest.fixture
    def slide(self, word: str, tmp_path: Path) -> tuple[Path, RGB]:
        path = write_slide(word, tmp_path / "slides")
        return path, pixels_of(path)


def test_the_order_in_which_formats_are_asked_is_settled() -> None:
    priorities = [choices.load(choices.FORMATS, name).PRIORITY for name in FORMATS]
    assert len(set(priorities)) == len(FORMATS)
    assert min(zip(priorities, FORMATS, strict=True))[1] == "aperio"


@every_format
@pytest.mark.parametrize("content", [b"slide_id,label\n", b"II*\0" + bytes(60)], ids=["text", "broken TIFF"])
def test_what_is_no_slide_is_refused_by_the_format_itself(tmp_path: Path, name: str, content: bytes) -> None:
    module = choices.load(choices.FORMATS, name)
    for suffix in module.SUFFIXES:
        path = tmp_path / f"slide{suffix}"
        path.write_bytes(content)
        with pytest.raises(SlideError) as caught:
            module.open_slide(path)
        assert caught.value.code == "E_OPEN"
        assert caught.value.set_aside
        assert caught.value.remedy


@every_format
def test_a_slide_says_what_was_written_into_it(tmp_path: Path, name: str) -> None:
    path = write_slide(name, tmp_path)
    reader = choices.load(choices.FORMATS, name).open_slide(path)
    try:
        assert reader.mpp is None or reader.mpp == pytest.approx((0.5, 0.5))
        assert reader.objective in (None, 20)
        assert reader.bounds_px == (0, 0, 640, 448)
        np.testing.assert_array_equal(reader.read((37, 21), 0, (300, 200)), pixels_of(path)[21:221, 37:337])
    finally:
        reader.close()


@every_format
def test_a_slide_is_found_and_opened_by_its_format(tmp_path: Path, name: str) -> None:
    path = write_slide(name, tmp_path / "slides")
    assert find_slides(tmp_path / "slides").paths == {"slide": path}
    reader = open_reader(path)
    reader.close()
    assert type(reader).__module__ == choices.module_name(choices.FORMATS, name)


def test_the_contract_wants_a_slide_of_the_author(tmp_path: Path) -> None:
    with pytest.raises(pytest.fail.Exception, match="the fixture slide gives a file of mine and its pixels"):
        SlideFormatContract.slide.__wrapped__(SlideFormatContract(), "mine", tmp_path)
