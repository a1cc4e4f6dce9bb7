"""Numbers, lengths and lenses as files write them; Aperio's description by both readers; ImageJ's units."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from ome_maker import noise

from sammil_cli.errors import SlideError
from sammil_cli.slides.files import open_slide
from sammil_cli.slides.formats.openslide import OpenSlideReader
from sammil_cli.slides.formats.tiff import TiffReader
from sammil_cli.slides.resolution import magnification, micrometres, number

RGB = noise(400, 300, 1)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0.25", 0.25),
        (" 0,25 ", 0.25),
        (".5", 0.5),
        ("5.", 5),
        ("2.5E-1", 0.25),
        ("-1", -1),
        ("+1", 1),
        *((text, None) for text in ("", ".", "nan", "inf", "1e999", "1_0", "0x1", "0.25 µm", "1.000,5", "٣")),
    ],
)
def test_a_number_is_one_or_nothing(text: str, value: float | None) -> None:
    assert number(text) == value


def test_lengths_of_capital_letters_are_others() -> None:
    assert [micrometres("1", unit) for unit in ("mm", "Mm", "MM", "pm", "Pm", "m", "M")] == [
        1e3,
        None,
        None,
        1e-6,
        None,
        1e6,
        None,
    ]
    assert [micrometres("1", unit) for unit in ("Micron", " um ", "INCH", "cm", "pixel", "", "px")] == [
        1,
        1,
        25_400,
        1e4,
        None,
        None,
        None,
    ]


@pytest.mark.parametrize(
    ("text", "power"),
    [
        ("20", 20),
        ("20x", 20),
        ("20 X", 20),
        ("40×", 40),
        ("1.25x", 1.25),
        ("2,5", 2.5),
        ("UPlanSApo 20x/0.75", 20),
        *((text, None) for text in ("", "0", "-20", "x", "oil", "20 / 40")),
    ],
)
def test_a_lens_has_a_power_or_none(text: str, power: float | None) -> None:
    assert magnification(text) == power


@pytest.mark.parametrize(
    ("text", "mpp", "objective"),
    [
        ("|AppMag = 20|MPP = 0.25", 0.25, 20),
        ("|AppMag = 20|MPP = 0,2520", 0.252, 20),
        ("|AppMag = 20x|MPP=0.25|MPP = 0.25", 0.25, 20),
        ("|MPP = 2.5e-1|AppMag = x", 0.25, None),
        ("|AppMag = 20|MPP = 0.25|MPP = 0.5", "0.25 / 0.5", 20),
        ("|AppMag = 20|MPP = unknown", "unknown", 20),
        ("|AppMag = 20|MPP = 0.25 um", "0.25 um", 20),
    ],
)
@pytest.mark.parametrize("stored", ["tiles", "strips"])
def test_aperios_description_is_understood_or_asked_for(
    tmp_path: Path, text: str, mpp: float | str, objective: float | None, stored: str
) -> None:
    """OpenSlide takes the last of several; our own reader took the first, and 0 for 0,25."""
    options: dict[str, Any] = {"tile": (64, 64)} if stored == "tiles" else {"rowsperstrip": 16}
    description = f"Aperio Image Library v12\r\n400x300 [0,0 400x300] (64x64) JPEG/RGB Q=70{text}"
    path = tmp_path / "a.svs"
    tifffile.imwrite(path, RGB, photometric="rgb", metadata=None, description=description, **options)
    if isinstance(mpp, str):
        with pytest.raises(
            SlideError, match=f"does not say its resolution .*: aperio.MPP is '{mpp}', not one"
        ) as caught:
            open_slide(path)
        assert caught.value.code == "E_MPP"
    with open_slide(path, None if isinstance(mpp, float) else 0.25) as slide:
        assert isinstance(slide.reader, OpenSlideReader if stored == "tiles" else TiffReader)
        assert slide.reader.mpp == (pytest.approx((mpp, mpp)) if isinstance(mpp, float) else None)
        assert slide.reader.objective == objective


@pytest.mark.parametrize(
    ("unit", "per_unit", "tag", "mpp"),
    [
        ("micron", (4, 4), 1, 0.25),
        ("um", (4, 4), 2, 0.25),  # ImageJ's unit wins over a tag that says inch
        ("\\u00B5m", (4, 4), 1, 0.25),
        ("nm", (0.004, 0.004), 1, 0.25),
        ("mm", (4000, 4000), 1, 0.25),
        ("cm", (40_000, 40_000), 1, 0.25),
        ("inch", (101_600, 101_600), 1, 0.25),
        ("inch", (72, 72), 1, None),
        ("pixel", (1, 1), 1, None),
        ("micron", (0, 0), 1, None),
    ],
)
def test_imagejs_unit_is_a_length_or_nothing(
    tmp_path: Path, unit: str, per_unit: tuple[float, float], tag: int, mpp: float | None
) -> None:
    path = tmp_path / "a.tif"
    metadata = {"unit": unit, "axes": "YXS"}
    tifffile.imwrite(path, RGB, imagej=True, resolution=per_unit, resolutionunit=tag, metadata=metadata)
    with open_slide(path, 0.5) as slide:
        assert slide.reader.mpp == (None if mpp is None else pytest.approx((mpp, mpp)))


def test_pictures_of_an_imagej_stack_without_pages_of_their_own_are_counted(tmp_path: Path) -> None:
    stack = np.stack([RGB, RGB[::-1], RGB[:, ::-1]])
    tifffile.imwrite(tmp_path / "a.tif", stack, imagej=True, truncate=True, metadata={"axes": "ZYXS"})
    with open_slide(tmp_path / "a.tif", 0.5) as slide:
        assert slide.remarks == ["scenes: only 1 of 3 pictures of ImageJ's stack can be read; save them one by one"]
