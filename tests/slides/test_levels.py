"""Levels are read at their true downsample, padded or not, and what is no smaller copy of the slide is no level."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
from slide_maker import blank, overwrite_tiles

from sammil_cli.preflight.inspect import describe
from sammil_cli.slides.files import open_slide
from sammil_cli.slides.formats.openslide import OpenSlideReader
from sammil_cli.slides.formats.tiff import TiffReader
from sammil_cli.slides.formats.tiff import open_slide as open_tiff
from sammil_cli.slides.levels import Page, settle
from sammil_cli.slides.pixels import RGB
from sammil_cli.slides.slide import Reader

APERIO = "Aperio Image Library v12\r\n{width}x{height}|AppMag = 20|MPP = 0.5"
TILED: dict[str, Any] = {"tile": (64, 64), "compression": "zlib"}
STRIPS: dict[str, Any] = {"rowsperstrip": 50, "compression": "lzw"}


def tissue(width: int, height: int, seed: int = 0) -> RGB:
    """Two pieces of texture on glass, coarse enough to be seen at 1/8; nothing is symmetric."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(60, 200, (-(-height // 24), -(-width // 24), 3), dtype=np.uint8)
    texture = np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)
    rgb = blank(width, height)
    for x0, x1, y0, y1 in ((0.05, 0.6, 0.1, 0.5), (0.5, 0.97, 0.6, 0.95)):
        place = np.s_[int(y0 * height) : int(y1 * height), int(x0 * width) : int(x1 * width)]
        rgb[place] = texture[place]
    return rgb


def label(width: int, height: int) -> RGB:
    rgb = np.full((height, width, 3), 250, np.uint8)
    rgb[height // 2 :, :: max(2, width // 20)] = 20
    cv2.putText(rgb, "S26", (5, height // 3), cv2.FONT_HERSHEY_SIMPLEX, width / 90, (10, 10, 10), 2)
    return rgb


def shrink(rgb: RGB, width: int, height: int) -> RGB:
    return np.asarray(cv2.resize(rgb, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def per_cm(mpp: float) -> dict[str, Any]:
    return {"resolution": (1e4 / mpp, 1e4 / mpp), "resolutionunit": "CENTIMETER"}


def write(path: Path, pages: Sequence[tuple[RGB, dict[str, Any]]]) -> Path:
    with tifffile.TiffWriter(path) as tiff:
        for rgb, options in pages:
            tiff.write(np.ascontiguousarray(rgb), **{"photometric": "rgb", "metadata": None, **options})
    return path


def write_padded(path: Path, rgb: RGB, tags: str, fill: int = 255, tile: int = 64) -> Path:
    """1, 1/2, 1/4 and 1/8, each below level 0 filled up to whole tiles; tags: own (of each level), same, none."""
    height, width = rgb.shape[:2]
    pages = []
    for downsample in (1, 2, 4, 8):
        whole = rgb[: height // downsample * downsample, : width // downsample * downsample]
        small = shrink(whole, width // downsample, height // downsample)
        high, wide = (-(-side // tile) * tile - side if downsample > 1 else 0 for side in small.shape[:2])
        options = {"tile": (tile, tile), "compression": "zlib"}
        if tags != "none":
            options |= per_cm(0.5 * downsample if tags == "own" else 0.5)
        if path.suffix == ".svs":
            options["description"] = APERIO.format(width=width, height=height)
        pages.append((np.pad(small, ((0, high), (0, wide), (0, 0)), constant_values=fill), options))
    return write(path, pages)


def check_pixels(reader: Reader, rgb: RGB) -> None:
    """Each level shows at a place what level 0 shows there."""
    height, width = rgb.shape[:2]
    for level, downsample in enumerate(reader.downsamples):
        x, y = (int(0.55 * side / downsample) for side in (width, height))
        size = (int(0.35 * width / downsample), int(0.35 * height / downsample))
        found = reader.read((round(x * downsample), round(y * downsample)), level, size)
        left, top, right, bottom = (round(n * downsample) for n in (x, y, x + size[0], y + size[1]))
        expected = shrink(rgb[top:bottom, left:right], *size)
        assert expected.std() > 20
        assert np.abs(found.astype(int) - expected).mean() < 5, f"level {level}"


@pytest.mark.parametrize("size", [(650, 650), (700, 530), (330, 1010)], ids=str)
@pytest.mark.parametrize(("name", "tags"), [("a.tif", "own"), ("a.tif", "same"), ("a.tif", "none"), ("a.svs", "none")])
def test_levels_padded_to_whole_tiles_are_read_where_they_are(
    tmp_path: Path, size: tuple[int, int], name: str, tags: str
) -> None:
    rgb = tissue(*size)
    with open_slide(write_padded(tmp_path / name, rgb, tags), 0.5) as slide:
        assert type(slide.reader) is (OpenSlideReader if name == "a.svs" else TiffReader)
        assert slide.reader.downsamples == (1, 2, 4, 8)
        check_pixels(slide.reader, rgb)
        (remark,) = slide.remarks
        assert remark.startswith("levels: 1, 2, 3 padded to whole tiles, so read as 1/2, 1/4, 1/8 of level 0")
    assert remark in describe("a", tmp_path / name, 0.5).flags


def test_padding_may_have_any_colour_and_fill_most_of_a_tile(tmp_path: Path) -> None:
    rgb = tissue(520, 520)
    for fill in (0, 128, 255):
        path = write_padded(tmp_path / f"{fill}.tif", rgb, "none", fill, tile=256)  # 1/8: 65 of 256 px
        with open_slide(path, 0.5) as slide:
            assert slide.reader.downsamples == (1, 2, 4, 8)
            check_pixels(slide.reader, rgb)


def test_padding_may_go_beyond_a_tile(tmp_path: Path) -> None:
    rgb = tissue(700, 530)
    pages = [(rgb, TILED)]
    for downsample in (2, 4):
        small = shrink(rgb[:528], 700 // downsample, 528 // downsample)
        high, wide = (-side % 256 for side in small.shape[:2])  # tiles have 64 px
        pages.append((np.pad(small, ((0, high), (0, wide), (0, 0)), constant_values=255), TILED))
    with open_slide(write(tmp_path / "a.tif", pages), 0.5) as slide:
        assert slide.reader.downsamples == (1, 2, 4)
        check_pixels(slide.reader, rgb)


def test_a_thin_slide_has_the_downsamples_of_its_long_side(tmp_path: Path) -> None:
    """8000 x 150 px at 1/64 are 125 x 2: the mean of both ratios, which OpenSlide takes, is 69.5."""
    rgb = tissue(8000, 150)
    said = TILED | {"description": APERIO.format(width=8000, height=150)}
    pages = [(rgb, said), (shrink(rgb, 2000, 37), said), (shrink(rgb, 125, 2), said)]
    for name in ("a.tif", "a.svs"):
        with open_slide(
            write(tmp_path / name, pages if name == "a.svs" else [(p, TILED) for p, _ in pages]), 0.5
        ) as slide:
            assert slide.reader.downsamples[0] == 1
            assert slide.reader.downsamples[1:] == pytest.approx((4, 64), rel=0.01)
            assert slide.remarks == []


def test_a_padded_level_that_shows_nothing_to_compare_is_left_out(tmp_path: Path) -> None:
    path = write_padded(tmp_path / "a.tif", blank(650, 650), "none", fill=243)
    with open_slide(path, 0.5) as slide:
        assert slide.reader.downsamples == (1,)
        listed = "384 x 384, 192 x 192, 128 x 128 px"
        assert slide.remarks == [f"levels: left out, as no smaller copy of the slide: {listed}"]
    path = write_padded(tmp_path / "b.tif", tissue(650, 650), "none")
    overwrite_tiles(path, 1, slice(None))
    with open_slide(path, 0.5) as slide:
        assert slide.reader.downsamples == (1, 4, 8)
        assert slide.remarks[1] == "levels: left out, as no smaller copy of the slide: 384 x 384 px"


# Level sizes of real slides, and their true downsamples.
REAL = [
    ([(46000, 32914), (11500, 8228), (2875, 2057)], [1, 4, 16]),
    ([(4443, 3567), (2221, 1783)], [1, 2]),
    ([(300, 250), (150, 125), (75, 62), (37, 31)], [1, 2, 4, 8]),
    ([(10000, 300), (2500, 75), (156, 4)], [1, 4, 64]),
    ([(100_000, 3), (50_000, 1)], [1, 2]),
]


@pytest.mark.parametrize(("sizes", "downsamples"), REAL)
def test_ordinary_levels_are_settled_without_a_look_at_pixels(
    sizes: list[tuple[int, int]], downsamples: list[float]
) -> None:
    def never(*_: object) -> RGB:
        raise AssertionError("pixels were read")

    found = settle([Page(size_px=size, tile_px=(240, 240)) for size in sizes], never)
    assert (list(found.downsamples), found.remarks) == (downsamples, ())


def test_resolution_tags_settle_a_padded_level_that_pixels_do_not() -> None:
    def glass(number: int, xy: tuple[int, int], size: tuple[int, int]) -> RGB:
        return blank(*size)

    def page(side: int, tagged: float | None) -> Page:
        return Page(size_px=(side, side), tile_px=(512, 512), tagged=tagged)

    tagged = settle([page(2560, None), page(1536, 2.0004), page(1024, 4), page(512, 8)], glass)
    assert tagged.downsamples == (1, 2, 4, 8)
    assert settle([page(2560, None), page(1536, None), page(1024, None)], glass).downsamples == (1,)


def test_the_levels_of_a_large_slide_are_told_by_few_pixels() -> None:
    """As CAMELYON16 has them: 97792 x 221184 px, each level filled up to tiles of 512 px, no resolution tags."""
    full = (97792, 221184)
    true = [2**n for n in range(9)]
    sizes = [tuple(-(-side // n // 512) * 512 for side in full) for n in true]
    read_px = 0

    def paint(number: int, xy: tuple[int, int], size: tuple[int, int]) -> RGB:
        nonlocal read_px
        read_px += size[0] * size[1]
        x, y = (true[number] * (np.arange(start, start + length) + 0.5) for start, length in zip(xy, size, strict=True))
        grey = 128 + 60 * np.sin(x / 9000)[None, :] * np.cos(y / 7000)[:, None] + 60 * np.sin(x / 700 + 1)[None, :]
        grey[y >= full[1]] = 255
        grey[:, x >= full[0]] = 255
        return np.repeat(grey.astype(np.uint8)[..., None], 3, axis=2)

    found = settle([Page(size_px=(w, h), tile_px=(512, 512)) for w, h in sizes], paint)
    assert list(found.downsamples) == true
    assert found.numbers == tuple(range(9))
    assert read_px < 3e6


SQUARE, OBLONG = tissue(1024, 1024), tissue(1100, 830)
HALF, QUARTER = shrink(SQUARE, 512, 512), shrink(SQUARE, 256, 256)
NAMED = {"extratags": [(285, "s", 0, "Macro", True)]}
# pages, and the downsamples that are left, with whether a remark says that something is left out
NO_LEVELS: dict[str, tuple[list[tuple[RGB, dict[str, Any]]], list[float], bool]] = {
    "a square label in tiles": ([(SQUARE, TILED), (HALF, TILED), (label(256, 256), TILED)], [1, 2], True),
    "one that is called a smaller copy": (
        [(SQUARE, TILED), (HALF, TILED), (label(128, 128), TILED | {"subfiletype": 1})],
        [1, 2],
        True,
    ),
    "a square label, all in strips": ([(SQUARE, STRIPS), (HALF, STRIPS), (label(256, 256), STRIPS)], [1, 2], True),
    "a 4:3 macro, all in strips": ([(tissue(1280, 960), STRIPS), (label(320, 240), STRIPS)], [1], True),
    "strips under tiles": ([(SQUARE, TILED), (HALF, TILED), (QUARTER, STRIPS)], [1, 2], False),
    "a thumbnail in strips": ([(OBLONG, TILED), (shrink(OBLONG, 285, 215), STRIPS)], [1], False),
    "subfile type 9": ([(SQUARE, TILED), (QUARTER, TILED | {"subfiletype": 9})], [1], False),
    "a description": ([(SQUARE, TILED), (QUARTER, TILED | {"description": "label image"})], [1], False),
    "a page name": ([(SQUARE, TILED), (QUARTER, TILED | NAMED)], [1], False),
    "a mirror image": ([(SQUARE, TILED), (QUARTER[:, ::-1], TILED)], [1], True),
    "all of one name": ([(SQUARE, TILED | NAMED), (QUARTER, TILED | NAMED)], [1, 4], False),
    "overviews in tiles under strips": (
        [(OBLONG, STRIPS), (shrink(OBLONG, 550, 415), TILED | {"subfiletype": 1})],
        [1, 2],
        False,
    ),
    "thinned out": ([(SQUARE, TILED), (SQUARE[::4, ::4], TILED)], [1, 4], False),
    "thirds and tenths": (
        [(OBLONG, TILED), (shrink(OBLONG, 367, 277), TILED), (shrink(OBLONG, 110, 83), TILED)],
        [1, pytest.approx(3, rel=0.002), pytest.approx(10, rel=0.002)],
        False,
    ),
}


@pytest.mark.parametrize("what", NO_LEVELS)
def test_other_pictures_in_the_file_are_no_levels(tmp_path: Path, what: str) -> None:
    pages, downsamples, remarked = NO_LEVELS[what]
    with open_slide(write(tmp_path / "a.tif", pages), 0.5) as slide:
        assert list(slide.reader.downsamples) == downsamples
        assert slide.size_px == pages[0][0].shape[1::-1]
        check_pixels(slide.reader, pages[0][0])
        assert bool(slide.remarks) == remarked
        assert all(remark.startswith("levels: left out") for remark in slide.remarks)


SMALL, BIG_LABEL = tissue(300, 220), label(500, 450)


@pytest.mark.parametrize(
    ("pages", "remarked"),
    [
        ([(SMALL, TILED), (BIG_LABEL, STRIPS)], True),
        ([(BIG_LABEL, TILED | {"description": "Label"}), (SMALL, TILED)], False),
        ([(BIG_LABEL, STRIPS | NAMED), (SMALL, STRIPS)], False),
        ([(SMALL, STRIPS | per_cm(0.5)), (BIG_LABEL, STRIPS)], True),
        (
            [(SMALL, TILED | per_cm(0.5)), (BIG_LABEL, TILED | {"resolution": (300, 300), "resolutionunit": "INCH"})],
            True,
        ),
    ],
    ids=["in strips", "described", "named", "without resolution", "of a camera"],
)
def test_a_label_larger_than_the_scan_is_not_the_slide(
    tmp_path: Path, pages: list[tuple[RGB, dict[str, Any]]], remarked: bool
) -> None:
    with open_slide(write(tmp_path / "a.tif", pages), 0.5) as slide:
        assert slide.size_px == (300, 220)
        np.testing.assert_array_equal(slide.read_at((20, 30), (100, 90), (100, 90)), SMALL[30:120, 20:120])
        # It is called a larger page, or another scene where it is stored like the slide.
        assert len(slide.remarks) == remarked
        assert all("500 x 450 px" in remark for remark in slide.remarks)


def test_pages_beside_a_pyramid_of_sub_pages_are_none_of_its_levels(tmp_path: Path) -> None:
    """An OME-TIFF as Bio-Formats writes it: label and macro, of the same shape, are images of their own."""
    with tifffile.TiffWriter(tmp_path / "a.ome.tif", ome=True) as tiff:
        size = {"axes": "YXS", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5}
        tiff.write(SQUARE, photometric="rgb", subifds=1, metadata=size, **TILED)
        tiff.write(HALF, photometric="rgb", subfiletype=1, **TILED)
        for name, side in (("label image", 256), ("macro image", 128)):
            tiff.write(label(side, side), photometric="rgb", metadata={"axes": "YXS", "Name": name}, **TILED)
    with open_slide(tmp_path / "a.ome.tif") as slide:
        assert (slide.reader.downsamples, slide.remarks) == ((1, 2), [])
        check_pixels(slide.reader, SQUARE)


def test_our_own_reader_calls_an_aperio_slide_so_and_its_thumbnail_no_level(tmp_path: Path) -> None:
    said = {"description": APERIO.format(width=1100, height=830)}
    pages = [
        (OBLONG, TILED | said),
        (shrink(OBLONG, 285, 215), STRIPS | {"description": "Aperio Image Library v12\n1100x830 -> 285x215"}),
        (shrink(OBLONG, 275, 207), TILED | said),
        (label(387, 292), STRIPS | {"description": "Aperio Image Library v12\nlabel 387x292", "subfiletype": 1}),
    ]
    reader = open_tiff(write(tmp_path / "a.svs", pages))
    assert (reader.kind, reader.downsamples, reader.remarks) == ("aperio", (1, 4), ())
    check_pixels(reader, OBLONG)
    reader.close()
