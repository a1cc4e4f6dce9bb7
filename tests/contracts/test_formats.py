"""What every slide format has to keep; a new file in `slides/formats/` is tested at once."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from sammil_cli import choices
from sammil_cli.errors import SlideError

NAMES = choices.names(choices.FORMATS)


@pytest.mark.parametrize("name", NAMES)
def test_suffixes_are_lower_case_with_their_dot(name: str) -> None:
    suffixes = choices.load(choices.FORMATS, name).SUFFIXES
    assert suffixes
    for suffix in suffixes:
        assert suffix.startswith(".")
        assert suffix == suffix.lower()
        assert suffix == Path("slide" + suffix).suffix


def test_no_suffix_belongs_to_two_formats() -> None:
    owners = Counter(suffix for name in NAMES for suffix in choices.load(choices.FORMATS, name).SUFFIXES)
    assert [suffix for suffix, count in owners.items() if count > 1] == []


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


@pytest.mark.parametrize("name", [name for name in NAMES if ".tif" in choices.load(choices.FORMATS, name).SUFFIXES])
def test_a_tiff_gives_what_the_reader_promises(asymmetric_slide: Path, name: str) -> None:
    reader = choices.load(choices.FORMATS, name).open_slide(asymmetric_slide)
    try:
        assert reader.size_px == (640, 448)
        assert reader.downsamples[0] == 1
        assert list(reader.downsamples) == sorted(reader.downsamples)
        np.testing.assert_allclose(reader.mpp, (2.0, 2.0))
        assert reader.mpp_source
        assert reader.bounds_px == (0, 0, 640, 448)
        for level in range(len(reader.downsamples)):
            image = reader.read((500, 320), level, (20, 10))
            assert (image.shape, image.dtype) == ((10, 20, 3), np.uint8)
        assert (reader.read((-30, 0), 0, (20, 10)) == 255).all()
    finally:
        reader.close()
