"""What every slide format keeps, whatever file it comes from."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from sammil_cli import choices
from sammil_cli.errors import SlideError
from sammil_cli.slides.files import find_slides, open_reader
from sammil_cli.slides.pixels import RGB
from sammil_cli.storage.paths import SlidePath


class SlideFormatContract:
    """The tests of a slide format. A subclass has the fixtures `word`, what it is called, and `slide`."""

    @pytest.fixture
    def slide(self, word: str, tmp_path: Path) -> tuple[Path, RGB]:
        """A file of the format in an empty folder, and its level-0 pixels (h, w, 3): at least 64 px a side."""
        pytest.fail(f"the fixture slide gives a file of {word} and its pixels, such as sammil_cli.testing.drawn draws")

    def test_suffixes_are_lower_case_with_their_dot_and_the_order_is_settled(self, word: str) -> None:
        module = choices.load(choices.FORMATS, word)
        assert module.SUFFIXES
        assert [Path(f"slide{suffix}").suffix for suffix in module.SUFFIXES] == [s.lower() for s in module.SUFFIXES]
        others = [choices.load(choices.FORMATS, other) for other in choices.names(choices.FORMATS) if other != word]
        assert module.PRIORITY not in {o.PRIORITY for o in others if set(o.SUFFIXES) & set(module.SUFFIXES)}

    @pytest.mark.parametrize("content", [b"slide_id,label\n", b"II*\0" + bytes(60)], ids=["text", "broken TIFF"])
    def test_what_is_no_slide_is_refused_with_its_remedy(self, tmp_path: Path, word: str, content: bytes) -> None:
        for suffix in choices.load(choices.FORMATS, word).SUFFIXES:
            path = SlidePath(tmp_path / f"slide{suffix}")
            path.write_bytes(content)
            with pytest.raises(SlideError) as caught:
                open_reader(path)
            assert (caught.value.code, caught.value.set_aside) == ("E_OPEN", True)
            assert caught.value.remedy

    def test_a_slide_gives_what_the_reader_promises(self, word: str, slide: tuple[Path, RGB]) -> None:
        (path, pixels), module = slide, choices.load(choices.FORMATS, word)
        assert list(find_slides(path.parent).paths.values()) == [path]
        reader, found, (height, width) = module.open_slide(path), open_reader(SlidePath(path)), pixels.shape[:2]
        assert type(reader) is type(found), "another format takes it first"
        found.close()
        assert reader.kind
        assert reader.size_px == (width, height)
        assert reader.downsamples[0] == 1
        assert list(reader.downsamples) == sorted(reader.downsamples)
        assert len(reader.tiles_px) == len(reader.downsamples)
        assert reader.mpp is None or (min(reader.mpp) > 0 and reader.mpp_source)
        assert reader.objective is None or reader.objective > 0
        assert len(reader.bounds_px) == 4
        assert list(reader.remarks) == []
        for level in range(len(reader.downsamples)):
            image = reader.read((width * 25 // 32, height * 5 // 7), level, (20, 10))
            assert (image.shape, str(image.dtype)) == ((10, 20, 3), "uint8")
        assert (reader.read((-30, 0), 0, (20, 10)) == 255).all()
        framed = np.pad(pixels, ((8, 8), (10, 10), (0, 0)), constant_values=255)
        across, down = (*range(0, width - 40, 37), width - 40), (*range(0, height - 34, 23), height - 34)
        corners = [(x, y) for y in down for x in across]
        with ThreadPoolExecutor(4) as pool:  # as batches of patches are read
            boxes = list(pool.map(lambda corner: reader.read((corner[0] - 10, corner[1] - 8), 0, (60, 50)), corners))
        np.testing.assert_array_equal(boxes, [framed[y:, x:][:50, :60] for x, y in corners])
        assert np.std(boxes) > 0
        reader.close()
