"""The colours of TIFFs of all kinds, against what was drawn, tifffile and OpenSlide; refusals, and their words."""

import shlex
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import imagecodecs
import numpy as np
import openslide
import pytest
import tifffile
from numpy.typing import NDArray
from tifffile import COMPRESSION

from sammil_cli.errors import SlideError
from sammil_cli.slides.files import open_reader
from sammil_cli.slides.formats.openslide import OpenSlideReader
from sammil_cli.slides.formats.tiff import open_slide as open_tiff

Pixels = NDArray[np.uint8]
HEIGHT, WIDTH, TILE = 48, 80, 32
REC_601 = (0.299, 0.587, 0.114)
FULL = (0, 255, 128, 255, 128, 255)
WEAK = np.tile(np.linspace(0, 255, WIDTH).round().astype(np.uint8), (HEIGHT, 1))  # alpha
BYTES = {"none": 1, "lzw": 5, "deflate": 8, "packbits": 32773, "zstd": 50000}
CODECS = {
    "jpeg": 7,
    "webp": 50001,
    "png": 34933,
    "33003": 33003,
    "33005": 33005,
    "34712": 34712,
    "34712 own transform": 34712,
}


def draw() -> Pixels:
    """Smooth and saturated, with no two channels alike and no symmetry."""
    x, y = np.meshgrid(np.linspace(0, 1, WIDTH), np.linspace(0, 1, HEIGHT))
    return np.stack([40 + 190 * x, 220 - 170 * y, 90 + 120 * x * y], axis=2).round().astype(np.uint8)


RGB = draw()
GREY = np.repeat(RGB[..., :1], 3, axis=2)


def ycbcr(rgb: Pixels, shares: tuple[float, ...] = REC_601, reference: tuple[float, ...] = FULL) -> Pixels:
    """By the formulas of TIFF 6.0, section 21."""
    red, green, blue = (rgb[..., i].astype(float) for i in range(3))
    y = shares[0] * red + shares[1] * green + shares[2] * blue
    parts = [(y, 255), ((blue - y) / (2 - 2 * shares[2]), 127), ((red - y) / (2 - 2 * shares[0]), 127)]
    stored = [
        value * (white - black) / full + black
        for (value, full), black, white in zip(parts, reference[::2], reference[1::2], strict=True)
    ]
    return np.stack(stored, axis=2).round().clip(0, 255).astype(np.uint8)


def tiles(image: Pixels) -> Iterator[Pixels]:
    padded = np.pad(image, ((0, -HEIGHT % TILE), (0, -WIDTH % TILE), (0, 0)), "edge")
    for top, left in product(range(0, HEIGHT, TILE), range(0, WIDTH, TILE)):
        yield np.ascontiguousarray(padded[top : top + TILE, left : left + TILE])


def units(tile: Pixels, across: int, down: int) -> bytes:
    """Pixels in YCbCr as TIFF has them subsampled: the brightness of each pixel of a block, then its two colours."""
    blocks = tile.reshape(TILE // down, down, TILE // across, across, 3).swapaxes(1, 2)
    brightness = blocks[..., 0].reshape(*blocks.shape[:2], -1)
    colours = blocks[..., 1:].mean((2, 3)).round().astype(np.uint8)
    return np.concatenate([brightness, colours], axis=2).tobytes()


def packed(tile: Pixels, bits: int) -> bytes:
    """As values of 1 to 16 bits, each row from a new byte on."""
    if bits == 16:
        return (tile.astype("<u2") * 257).tobytes()
    rows = (tile >> (8 - bits)).reshape(TILE, -1, 1)
    return np.packbits((rows >> np.arange(bits)[::-1] & 1).reshape(TILE, -1).astype(np.uint8), axis=1).tobytes()


def write(path: Path, image: Pixels, pieces: Iterator[bytes], **tags: Any) -> Path:
    """A tiled TIFF of pieces that are encoded already; `tags` are written as they are given."""
    samples = image.shape[2]
    separate = tags.pop("planarconfig", 1) == 2
    bits, colours = tags.pop("bits", 8), tags.pop("photometric")
    tifffile.imwrite(
        path,
        pieces,
        shape=(samples, HEIGHT, WIDTH) if separate else (HEIGHT, WIDTH, samples)[: 2 + (samples > 1)],
        dtype=np.uint8,
        photometric="rgb" if samples > 2 else "minisblack",
        planarconfig=("separate" if separate else "contig") if samples > 1 else None,
        extrasamples=tags.pop("extrasamples", None),
        tile=(TILE, TILE),
        compression="lzw",
        predictor=tags.pop("predictor", 1) == 2,
        description=tags.pop("description", None),
        extratags=tags.pop("extratags", []),
        metadata=None,
    )
    with tifffile.TiffFile(path, mode="r+b") as tiff:
        found = tiff.pages[0].tags
        found[259].overwrite(int(tags.pop("compression")))
        found[262].overwrite(int(tifffile.PHOTOMETRIC[colours.upper()]))
        found[258].overwrite(bits if samples == 1 else (bits,) * samples)
    assert not tags
    return path


def read(path: Path) -> Pixels:
    reader = open_tiff(path)
    try:
        return reader.read((0, 0), 0, reader.size_px)
    finally:
        reader.close()


def openslides(path: Path) -> Pixels | None:
    """What OpenSlide gives for an opaque slide, where it reads it."""
    try:
        with openslide.OpenSlide(path) as slide:
            return np.asarray(slide.read_region((0, 0), 0, slide.dimensions))[..., :3]
    except openslide.OpenSlideError:
        return None


class Case(NamedTuple):
    photometric: str
    compression: str
    subsampling: tuple[int, int]
    planarconfig: int
    predictor: int
    bits: int

    @property
    def grey(self) -> bool:
        return self.photometric in ("minisblack", "miniswhite")

    @property
    def makes_sense(self) -> bool:
        word, plain = self.compression, self.subsampling == (1, 1) and self.bits == 8
        if self.grey and (self.planarconfig == 2 or word in ("webp", "33003", "33005", "34712 own transform")):
            return False
        if self.planarconfig == 2 and word in ("webp", "33003", "33005", "34712 own transform"):
            return False
        if self.predictor == 2:
            return plain and word in ("lzw", "deflate", "zstd")
        if self.subsampling != (1, 1):
            return self.photometric == "ycbcr" and self.bits == 8 and word in (*BYTES, "jpeg")
        return self.bits == 8 or word in ("none", "lzw")

    @property
    def is_read(self) -> bool:
        contiguous_jpeg = self.compression == "jpeg" and self.planarconfig == 1
        ycbcr_in_codec = self.photometric == "ycbcr" and self.planarconfig == 1 and self.compression in ("webp", "png")
        return self.bits == 8 and (self.subsampling == (1, 1) or contiguous_jpeg) and not ycbcr_in_codec


def cases() -> list[Case]:
    colours, words = ("rgb", "ycbcr", "minisblack", "miniswhite"), (*BYTES, *CODECS)
    everything = product(colours, words, ((1, 1), (2, 1), (2, 2)), (1, 2), (1, 2), (8, 2, 4, 16))
    return [case for case in map(Case._make, everything) if case.makes_sense]


def draw_case(path: Path, case: Case) -> Path:
    image = {"rgb": RGB, "ycbcr": ycbcr(RGB), "minisblack": RGB[..., :1], "miniswhite": 255 - RGB[..., :1]}[
        case.photometric
    ]
    if case.compression in ("33005", "34712 own transform"):  # are RGB, whatever the tag says
        image = RGB
    if case.compression == "33003":
        image = ycbcr(RGB)
    planes = [image[..., i : i + 1] for i in range(image.shape[2])] if case.planarconfig == 2 else [image]
    if case.compression == "jpeg" and len(planes) == 1 and not case.grey:
        planes = [RGB]  # the encoder converts
    return write(
        path,
        image,
        (encode(tile, case) for plane in planes for tile in tiles(plane)),
        photometric=case.photometric,
        planarconfig=case.planarconfig,
        bits=case.bits,
        compression=BYTES.get(case.compression) or CODECS[case.compression],
        predictor=case.predictor,
        extratags=[(530, 3, 2, case.subsampling, True)] if case.photometric == "ycbcr" else [],
    )


def encode(tile: Pixels, case: Case) -> bytes:
    word, samples = case.compression, tile.shape[2]
    whole = tile if samples > 1 else tile[..., 0]
    if word == "jpeg":
        colours = {"outcolorspace": case.photometric, "subsampling": case.subsampling} if samples == 3 else {}
        return bytes(imagecodecs.jpeg_encode(whole, level=98, **colours))
    if word == "webp":
        return bytes(imagecodecs.webp_encode(whole, lossless=True))
    if word == "png":
        return bytes(imagecodecs.png_encode(whole))
    if word in CODECS:
        own = word == "34712 own transform"
        return bytes(imagecodecs.jpeg2k_encode(whole, level=0, codecformat="j2k", mct=own))
    if case.predictor == 2:
        tile = np.diff(tile, axis=1, prepend=np.zeros_like(tile[:, :1]))
    stored = tile.tobytes() if case.bits == 8 else packed(tile, case.bits)
    if case.subsampling != (1, 1) and samples == 3:
        stored = units(tile, *case.subsampling)
    return bytes(
        {"none": bytes, "deflate": imagecodecs.zlib_encode}.get(word, getattr(imagecodecs, f"{word}_encode", None))(
            stored
        )
    )


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_every_way_to_store_colours_gives_what_was_drawn_or_is_refused(tmp_path: Path) -> None:
    read_by_openslide, path = 0, tmp_path / "a.tif"
    for case in cases():
        draw_case(path, case)
        theirs = openslides(path)
        if not case.is_read:
            with pytest.raises(SlideError) as caught:
                open_tiff(path)
            assert caught.value.code == "E_FORMAT", case
            continue
        pixels, tolerance = read(path).astype(int), 6 if case.compression == "jpeg" else 2
        np.testing.assert_allclose(pixels, GREY if case.grey else RGB, atol=tolerance, err_msg=str(case))
        if case.photometric != "ycbcr" and case.compression != "33003":  # which tifffile leaves as they are
            stored = tifffile.imread(path)
            stored = np.moveaxis(stored, 0, 2) if case.planarconfig == 2 else stored
            stored = 255 - stored if case.photometric == "miniswhite" else stored
            np.testing.assert_array_equal(pixels, np.dstack([stored] * 3) if case.grey else stored, err_msg=str(case))
        if theirs is not None:
            np.testing.assert_allclose(pixels, theirs, atol=tolerance / 2, err_msg=str(case))
            read_by_openslide += 1
    assert (len(cases()), sum(case.is_read for case in cases()), read_by_openslide) == (134, 74, 56)


@pytest.mark.parametrize("down", [1, 2])
def test_openslide_reads_what_is_refused_as_subsampled(tmp_path: Path, down: int) -> None:
    """So the drawn files are right ones, and the words are of how they are stored."""
    path = draw_case(tmp_path / "a.tif", Case("ycbcr", "lzw", (2, down), 1, 1, 8))
    np.testing.assert_allclose(np.asarray(openslides(path), int), RGB, atol=8)
    with pytest.raises(SlideError, match=f"YCbCr with one colour for 2 x {down} pixels, without JPEG") as caught:
        open_reader(path)
    assert (caught.value.code, "vips tiffsave" in caught.value.remedy) == ("E_FORMAT", True)


def write_lzw(path: Path, image: Pixels, **tags: Any) -> Path:
    pieces = (bytes(imagecodecs.lzw_encode(tile.tobytes())) for tile in tiles(image))
    return write(path, image, pieces, **({"compression": 5, "photometric": "rgb"} | tags))


def test_ycbcr_is_converted_as_its_own_tags_say(tmp_path: Path) -> None:
    shares, reference = (0.2125, 0.7154, 0.0721), (16, 235, 128, 240, 128, 240)
    fractions = [number for share in shares for number in (round(10_000 * share), 10_000)]
    tags = [
        (529, 5, 3, fractions, True),
        (530, 3, 2, (1, 1), True),
        (532, 5, 6, [number for value in reference for number in (value, 1)], True),
    ]
    stored = ycbcr(RGB, shares, reference)
    path = write_lzw(tmp_path / "a.tif", stored, photometric="ycbcr", extratags=tags)
    pixels = read(path).astype(int)
    np.testing.assert_allclose(pixels, RGB, atol=2)
    np.testing.assert_allclose(pixels, np.asarray(openslides(path), int), atol=3)
    tags[2] = (532, 5, 6, [128, 1] * 6, True)
    with pytest.raises(SlideError, match="ReferenceBlackWhite make no sense"):
        open_tiff(write_lzw(tmp_path / "b.tif", stored, photometric="ycbcr", extratags=tags))


def on_glass(rgb: Pixels, alpha: Pixels) -> NDArray[np.float64]:
    share = alpha[..., None] / 255
    return rgb * share + 255 * (1 - share)


@pytest.mark.parametrize("kind", ["assocalpha", "unassalpha"])
@pytest.mark.parametrize("colours", ["rgb", "minisblack", "ycbcr", "separate"])
def test_transparent_pixels_lie_on_white_glass(tmp_path: Path, kind: str, colours: str) -> None:
    drawn = GREY if colours == "minisblack" else RGB
    multiplied = (drawn * (WEAK[..., None] / 255)).round().astype(np.uint8) if kind == "assocalpha" else drawn
    stored = {"minisblack": multiplied[..., :1], "ycbcr": ycbcr(multiplied)}.get(colours, multiplied)
    tags = {"photometric": "rgb" if colours == "separate" else colours, "extrasamples": [kind]}
    image = np.dstack([stored, WEAK])
    if colours == "ycbcr":
        path = write_lzw(tmp_path / "a.tif", image, extratags=[(530, 3, 2, (1, 1), True)], **tags)
    else:
        data = np.ascontiguousarray(np.moveaxis(image, 2, 0)) if colours == "separate" else image
        planar = "separate" if colours == "separate" else "contig"
        path = tmp_path / "a.tif"
        tifffile.imwrite(path, data, tile=(TILE, TILE), metadata=None, planarconfig=planar, **tags)
    np.testing.assert_allclose(read(path), on_glass(drawn, WEAK), atol=2 if colours == "ycbcr" else 1)


@pytest.mark.parametrize("kind", ["assocalpha", "unassalpha"])
def test_openslide_gives_colours_that_are_not_multiplied(tmp_path: Path, kind: str) -> None:
    stored = (RGB * (WEAK[..., None] / 255)).round().astype(np.uint8) if kind == "assocalpha" else RGB
    path, aperio = tmp_path / "a.svs", f"Aperio Image Library v12\r\n{WIDTH}x{HEIGHT}|AppMag = 20|MPP = 0.5"
    write_lzw(path, np.dstack([stored, WEAK]), extrasamples=[kind], description=aperio)
    reader = open_reader(path)
    assert isinstance(reader, OpenSlideReader)
    np.testing.assert_allclose(reader.read((0, 0), 0, reader.size_px), on_glass(RGB, WEAK), atol=1.5)
    reader.close()


def test_a_fourth_channel_that_is_no_alpha_is_left_out(tmp_path: Path) -> None:
    path = write_lzw(tmp_path / "a.tif", np.dstack([RGB, WEAK]), extrasamples=["unspecified"])
    np.testing.assert_array_equal(read(path), RGB)


def stored_as(photometric: str, values: NDArray[Any], **options: Any) -> Callable[[Path], None]:
    return lambda path: tifffile.imwrite(path, values, photometric=photometric, metadata=None, **options)


def in_bits(bits: int, image: Pixels) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        pieces = (bytes(imagecodecs.lzw_encode(packed(tile, bits))) for tile in tiles(image))
        colours = "rgb" if image.shape[2] == 3 else "minisblack"
        write(path, image, pieces, photometric=colours, bits=bits, compression=5)

    return make


INKS = np.dstack([RGB, RGB[..., 0]])
EXPORT, VIPS = "with the program that it comes from", "vips tiffsave"


@pytest.mark.parametrize(
    ("make", "what", "fix"),
    [
        (
            stored_as("palette", RGB[..., 0], colormap=np.zeros((3, 256), np.uint16)),
            "palette colours, an index per pixel",
            VIPS,
        ),
        (stored_as("separated", INKS), r"amounts of printing inks \(CMYK\)", EXPORT),
        (stored_as("cielab", RGB), "CIELab colours", EXPORT),
        (stored_as("cfa", RGB[..., 0]), "the raw values of a camera", EXPORT),
        (stored_as("minisblack", RGB[..., 0] > 99), r"black and white only \(1-bit\), as of a mask", EXPORT),
        (stored_as("rgb", RGB.astype(np.uint16)), "16-bit values", VIPS),
        (stored_as("rgb", RGB.astype(np.int8)), "8-bit signed values", EXPORT),
        (stored_as("rgb", RGB.astype(np.float32)), "32-bit floating-point values", EXPORT),
        (stored_as("rgb", np.stack([RGB] * 16), volumetric=True, tile=(16, 16, 16)), "a volume of 16 planes", EXPORT),
        (stored_as("rgb", np.dstack([RGB, RGB])), "6 channels", EXPORT),
        (stored_as("minisblack", RGB, planarconfig="contig"), "3 grey channels, as of fluorescence", EXPORT),
        (in_bits(4, RGB[..., :1]), "4-bit values", VIPS),
        (in_bits(6, RGB[..., :1]), "6-bit values", EXPORT),
        (in_bits(2, RGB), "2-bit values", EXPORT),
    ],
)
def test_other_kinds_are_called_by_their_names(
    tmp_path: Path, make: Callable[[Path], None], what: str, fix: str
) -> None:
    make(tmp_path / "a.tif")
    with pytest.raises(SlideError, match=f"not a brightfield RGB slide: it has {what}\n") as caught:
        open_reader(tmp_path / "a.tif")
    assert caught.value.code == "E_FORMAT"
    assert fix in caught.value.remedy


def test_three_samples_that_tifffile_calls_grey_are_rgb(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", RGB)
    np.testing.assert_array_equal(read(tmp_path / "a.tif"), RGB)


@pytest.mark.parametrize("code", [9, 99, 32766, 34661, 34676, 34715, 48124])
def test_a_compression_without_a_decoder_is_named(tmp_path: Path, code: int) -> None:
    name = COMPRESSION(code).name
    path = write_lzw(tmp_path / "a.tif", RGB, compression=code)
    with pytest.raises(SlideError, match=f"a TIFF that is not read here: its compression is {name}") as caught:
        open_reader(path)
    assert (caught.value.code, EXPORT in caught.value.remedy) == ("E_FORMAT", True)


def old_jpeg(path: Path, *, in_parts: bool) -> Path:
    """Compression 6 of TIFF 6.0, section 22: the tables in the interchange stream, and the strip beside them or not."""
    stream = bytes(imagecodecs.jpeg_encode(RGB, level=98, subsampling=(1, 1)))
    scan = stream.index(b"\xff\xda")
    scan += 2 + int.from_bytes(stream[scan + 2 : scan + 4], "big")
    stream += b"\0" * (len(stream) % 2)
    bits = 8 + len(stream)
    tags = [(256, 3, 1, WIDTH), (257, 3, 1, HEIGHT), (258, 3, 3, bits), (259, 3, 1, 6), (262, 3, 1, 6)]
    tags += [(273, 4, 1, 8 + scan)] if in_parts else []
    tags += [(277, 3, 1, 3), (278, 3, 1, HEIGHT)]
    tags += [(279, 4, 1, len(stream) - scan)] if in_parts else []
    tags += [(512, 3, 1, 1), (513, 4, 1, 8), (514, 4, 1, scan if in_parts else len(stream)), (530, 3, 2, 1 | 1 << 16)]
    head = struct.pack("<2sHI", b"II", 42, bits + 6) + stream + struct.pack("<3HH", 8, 8, 8, len(tags))
    path.write_bytes(head + b"".join(struct.pack("<HHII", *tag) for tag in tags) + bytes(4))
    return path


def test_an_old_jpeg_is_read_or_gets_the_command_that_makes_it_readable(tmp_path: Path) -> None:
    np.testing.assert_allclose(read(old_jpeg(tmp_path / "a.tif", in_parts=False)).astype(int), RGB, atol=6)
    with pytest.raises(SlideError, match=r"an old-style JPEG \(compression 6\) in parts") as caught:
        open_reader(old_jpeg(tmp_path / "it's.tif", in_parts=True))
    assert caught.value.code == "E_FORMAT"
    python, *words = shlex.split(caught.value.remedy.rpartition(": ")[2])
    assert python == "python"
    subprocess.run([sys.executable, *words], check=True)
    np.testing.assert_allclose(read(tmp_path / "it's_rgb.tif").astype(int), RGB, atol=6)


def test_values_that_a_codec_gives_and_no_tag_says_are_refused(tmp_path: Path) -> None:
    pieces = (bytes(imagecodecs.png_encode(tile.astype(np.uint16) * 257)) for tile in tiles(RGB))
    path = write(tmp_path / "a.tif", RGB, pieces, photometric="rgb", compression=34933)
    with pytest.raises(SlideError, match="it holds 16-bit values, and its tags say 8") as caught:
        read(path)
    assert caught.value.code == "E_READ"


def test_a_smaller_page_of_other_colours_is_no_level(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif") as tiff:
        tiff.write(GREY[..., 0], photometric="minisblack", metadata=None)
        numbers = np.arange(256, dtype=np.uint16)[::-1] * 257
        tiff.write(GREY[::2, ::2, 0], photometric="palette", colormap=np.stack([numbers] * 3), metadata=None)
        tiff.write(255 - GREY[::4, ::4, 0], photometric="miniswhite", metadata=None)
    reader = open_tiff(tmp_path / "a.tif")
    assert reader.downsamples == (1, 4)
    np.testing.assert_array_equal(reader.read((0, 0), 1, (WIDTH // 4, HEIGHT // 4)), GREY[::4, ::4])
    reader.close()
