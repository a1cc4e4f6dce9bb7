"""Levels of real slides: those of our TIFF reader are those of OpenSlide, pixel for pixel."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import openslide
import pytest

from sammil_cli.errors import SlideError
from sammil_cli.slides.formats.tiff import SUFFIXES, TiffReader
from sammil_cli.slides.formats.tiff import open_slide as open_tiff

# Every TIFF in the folder, with the downsamples of its levels; none where OpenSlide or we cannot open it.
LEVELS: dict[str, tuple[float, ...]] = {
    "CMU-1-Small-Region.svs": (1,),
    "TCGA-CR-7395-01A-01-TS1.svs": (1, 2),
    "broken.svs": (),
    "c16_tumor_001_level5.tif": (1,),
    "kidney-48-5.tif": (),  # in one strip
    "small_HE_levels.tiff": (1, 2, 4, 8),
    "small_vectra.qptiff": (),
    "smalltif.tif": (),
    "openslide-fixtures/boxes.tiff": (1, 2, 4, 8),
    "openslide-fixtures/small.svs": (1,),
    "openslide-fixtures/unopenable.tiff": (),
    "openslide-fixtures/unreadable.svs": (),
}
BOX_PX = 300
SHARES = ((0, 0), (0.37, 0.61), (0.83, 0.29), (1, 1))  # of the way to the far corner; of level 0


@contextmanager
def both(path: Path) -> Iterator[tuple[TiffReader, openslide.OpenSlide]]:
    reader = open_tiff(path)
    try:
        with openslide.OpenSlide(path) as official:
            yield reader, official
    finally:
        reader.close()


def test_the_table_names_every_tiff(slides: Path) -> None:
    found = {p.relative_to(slides).as_posix() for p in slides.rglob("*") if p.suffix in SUFFIXES}
    assert found == set(LEVELS)


@pytest.mark.parametrize("name", [name for name, levels in LEVELS.items() if not levels])
def test_what_openslide_or_we_cannot_read_is_not_compared(slides: Path, name: str) -> None:
    def read() -> None:
        with both(slides / name) as (reader, official):
            reader.read((0, 0), 0, (8, 8))
            official.read_region((0, 0), 0, (8, 8))

    with pytest.raises((SlideError, openslide.OpenSlideError)):
        read()


@pytest.mark.parametrize("name", [name for name, levels in LEVELS.items() if levels])
def test_levels_agree_with_openslide_within_one_grey_level(slides: Path, name: str) -> None:
    """At aligned places: where both downsamples lead to the same whole pixel of the level."""
    with both(slides / name) as (reader, official):
        assert (reader.downsamples, reader.remarks) == (LEVELS[name], ())
        assert reader.kind == ("aperio" if name.endswith(".svs") else "tiff")
        assert official.level_count == len(LEVELS[name])
        seen = 0
        for level, (width, height) in enumerate(official.level_dimensions):
            size = (min(BOX_PX, width), min(BOX_PX, height))
            for share_x, share_y in SHARES[: len(SHARES) if level == 0 else 1]:
                xy = (int(share_x * (width - size[0])), int(share_y * (height - size[1])))
                expected = np.asarray(official.read_region(xy, level, size)).astype(int)
                there = expected[..., 3] == 255
                difference = np.abs(reader.read(xy, level, size) - expected[..., :3])
                assert difference[there].max(initial=0) <= 1
                seen += there.sum()
        assert seen > 0


def test_a_level_shows_level_0_at_the_same_place_up_to_the_far_corner(slides: Path) -> None:
    """The true downsample of Aperio's second level is 2, though its sides say 2.0005: half a pixel at the corner."""
    with both(slides / "TCGA-CR-7395-01A-01-TS1.svs") as (reader, _):
        side = 200
        xy = (4440 - 2 * side, 3560 - 2 * side)
        level = reader.read(xy, 1, (side, side)).astype(float)
        errors = {}
        for dx in (-1, 0, 1):
            for dy in (-1, 0, 1):
                fine = reader.read((xy[0] + dx, xy[1] + dy), 0, (2 * side, 2 * side)).astype(float)
                errors[dx, dy] = np.square(fine.reshape(side, 2, side, 2, 3).mean((1, 3)) - level).mean()
        assert min(errors, key=errors.__getitem__) == (0, 0)
