"""What the numbers of a TIFF's page stand for: which kinds are read, and how they become RGB."""

import shlex
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np
import tifffile
from numpy.typing import NDArray
from tifffile import COMPRESSION, EXTRASAMPLE, PHOTOMETRIC

from sammil_cli.errors import SlideError
from sammil_cli.slides.conversion import pyramid_command
from sammil_cli.slides.pixels import RGB
from sammil_cli.slides.slide import paint_background

Samples = NDArray[np.uint8]  # (height, width, samples)
Decode = Callable[..., tuple[NDArray[np.uint8] | None, object, object]]  # see `TiffPage.decode`

_GREY = {PHOTOMETRIC.MINISWHITE, PHOTOMETRIC.MINISBLACK}
_ALPHA = {EXTRASAMPLE.ASSOCALPHA, EXTRASAMPLE.UNASSALPHA}
_OTHER_COLOURS = {
    PHOTOMETRIC.PALETTE: "palette colours, an index per pixel",
    PHOTOMETRIC.MASK: "a transparency mask",
    PHOTOMETRIC.SEPARATED: "amounts of printing inks (CMYK)",
    PHOTOMETRIC.CIELAB: "CIELab colours",
    PHOTOMETRIC.ICCLAB: "CIELab colours",
    PHOTOMETRIC.ITULAB: "CIELab colours",
    PHOTOMETRIC.CFA: "the raw values of a camera",
    PHOTOMETRIC.LINEAR_RAW: "the raw values of a camera",
    PHOTOMETRIC.LOGL: "luminances of a high dynamic range (LogL)",
    PHOTOMETRIC.LOGLUV: "luminances of a high dynamic range (LogLuv)",
    PHOTOMETRIC.DEPTH_MAP: "a map of depths",
    PHOTOMETRIC.SEMANTIC_MASK: "a mask",
}
_JPEG = {COMPRESSION.JPEG, COMPRESSION.OJPEG, COMPRESSION.ALT_JPEG, COMPRESSION.JPEG_LOSSY}
_JPEG_2000 = {
    COMPRESSION.JPEG2000,
    COMPRESSION.JPEG_2000_LOSSY,
    COMPRESSION.APERIO_JP2000_YCBC,
    COMPRESSION.APERIO_JP2000_RGB,
}
_SYCC = b"colr\1\0\0\0\0\0\x12"  # in the head of a JP2 file: its colours are YCbCr
_REC_601 = (299, 1000, 587, 1000, 114, 1000)  # shares of red, green and blue in the brightness
_FULL_RANGE = (0, 1, 255, 1, 128, 1, 255, 1, 128, 1, 255, 1)  # black and white of Y, Cb and Cr


def refusal(page: tifffile.TiffPage, alike: int, path: Path) -> SlideError | None:
    """`E_FORMAT` where a page is no 8-bit brightfield picture, or stored as nothing here reads; else None.

    Its file has to be open. `alike` is the number of pages of its size.

    Raises:
        ValueError: a compression that no TIFF has; its tags are damaged.
    """
    what, can_be_converted = _other_kind(page, alike)
    if what:
        how = f": {pyramid_command(path)}" if can_be_converted else " with the program that it comes from"
        return SlideError(
            "E_FORMAT",
            f"not a brightfield RGB slide: it has {what}",
            remedy=f"take it out of the slide folder; if it is brightfield, export it as 8-bit RGB{how}",
        )
    again = "export it as RGB with JPEG, LZW or no compression, with the program that it comes from"
    if page.compression not in set(COMPRESSION):
        raise ValueError(f"compression {int(page.compression)} is unknown")
    if page.compression not in tifffile.TIFF.DECOMPRESSORS or _lacks_decoder(page.compression):
        how = f"its compression is {_name(page)}"
    elif page.compression == COMPRESSION.OJPEG and not _is_whole_jpeg(page):
        how = "an old-style JPEG (compression 6) in parts"
        target = path.with_name(f"{path.stem}_rgb.tif")
        script = f"from PIL import Image; Image.open({str(path)!r}).convert('RGB').save({str(target)!r})"
        again = f"store it anew, with the Python of sammil: python -c {shlex.quote(script)}"
    elif _is_subsampled(page):
        across, down = page.subsampling or (2, 2)
        how = f"YCbCr with one colour for {across} x {down} pixels, without JPEG"
        again = f"store it anew: {pyramid_command(path)}"
    elif _is_ycbcr_in_codec(page):
        how = f"YCbCr with {page.samplesperpixel} channels in {_name(page)}"
    elif page.predictor not in tifffile.TIFF.UNPREDICTORS and page.compression not in tifffile.TIFF.IMAGE_COMPRESSIONS:
        how = f"differences of an unknown kind (predictor {int(page.predictor)})"
    else:
        return None
    return SlideError("E_FORMAT", f"a TIFF that is not read here: {how}", remedy=again)


def _other_kind(page: tifffile.TiffPage, alike: int) -> tuple[str, bool]:
    """What is in a page that is no 8-bit grey or RGB picture, and whether vips makes RGB of it; else an empty text."""
    samples, bits, one = page.samplesperpixel, page.bitspersample, alike == 1
    kind = PHOTOMETRIC(page.photometric) if page.photometric in set(PHOTOMETRIC) else None
    if page.dtype is None:
        return "values of an unknown kind", False
    if kind not in (*_GREY, PHOTOMETRIC.RGB, PHOTOMETRIC.YCBCR):
        what = _OTHER_COLOURS[kind] if kind in _OTHER_COLOURS else f"colours of the kind {int(page.photometric)}"
        return what, kind == PHOTOMETRIC.PALETTE
    if page.imagedepth > 1:
        return f"a volume of {page.imagedepth} planes", False
    if bits == 1:
        return "black and white only (1-bit), as of a mask", False
    if page.dtype.kind in "fci":
        return f"{bits}-bit {'signed' if page.dtype.kind == 'i' else 'floating-point'} values", False
    if bits != 8:
        depth = bits if isinstance(bits, int) else "-".join(str(each) for each in bits)
        return f"{depth}-bit values", one and (bits == 16 or (samples == 1 and bits in (2, 4)))
    if samples == 1 and kind in _GREY and not one:
        return f"{alike} grey channels or planes, as of fluorescence", False
    return _odd_channels(page, kind), False


def _odd_channels(page: tifffile.TiffPage, kind: PHOTOMETRIC) -> str:
    samples, extra = page.samplesperpixel, page.extrasamples
    colours = samples - len(extra)
    if kind not in _GREY:
        return "" if samples in (3, 4) and colours >= 3 else f"{samples} channels"
    transparent = (samples, colours) == (2, 1) and extra[0] in _ALPHA
    called_grey = kind == PHOTOMETRIC.MINISBLACK and (samples, colours) in ((3, 3), (4, 3))  # so tifffile writes RGB
    return "" if samples == 1 or transparent or called_grey else f"{samples} grey channels, as of fluorescence"


def _lacks_decoder(compression: int) -> bool:
    """Whether imagecodecs was built without a decoder; it says so only when that is called."""
    with suppress(ValueError, TypeError, RuntimeError, MemoryError, zlib.error):
        try:
            tifffile.TIFF.DECOMPRESSORS[compression](b"")
        except ImportError:
            return True
    return False


def _name(page: tifffile.TiffPage) -> str:
    return f"{COMPRESSION(page.compression).name} ({int(page.compression)})"


def _is_whole_jpeg(page: tifffile.TiffPage) -> bool:
    """Whether the pieces of an old-style JPEG can be decoded alone, as those of a new one."""
    stream = page.parent.filehandle
    stream.seek(page.dataoffsets[0])
    return stream.read(2) == b"\xff\xd8"


def _is_subsampled(page: tifffile.TiffPage) -> bool:
    """Whether colours are stored for several pixels at once, outside of a codec that undoes it."""
    return (
        page.is_subsampled and page.compression not in _JPEG_2000 and (page.compression not in _JPEG or _separate(page))
    )


def _is_ycbcr_in_codec(page: tifffile.TiffPage) -> bool:
    """Whether a codec that has colours of its own holds YCbCr: what it decodes to, nothing says."""
    if page.photometric != PHOTOMETRIC.YCBCR or page.compression not in tifffile.TIFF.IMAGE_COMPRESSIONS - _JPEG_2000:
        return False
    return not _separate(page) and (page.compression not in _JPEG or page.samplesperpixel != 3)


def _separate(page: tifffile.TiffPage) -> bool:
    """Whether each sample is stored by itself."""
    return page.planarconfig != tifffile.PLANARCONFIG.CONTIG and page.samplesperpixel > 1


def decoder(page: tifffile.TiffPage) -> Decode:
    """`page.decode` with JPEG 2000 in YCbCr made RGB, and with an error for values that are no 8-bit ones."""
    if in_ycbcr := _is_ycbcr_in_jpeg_2000(page):
        page.subsampling = (1, 1)  # the codestream has its own
    decode, to_rgb = page.decode, _from_ycbcr(page)

    def decode_checked(data: bytes, index: int, **options: object) -> tuple[Samples | None, object, object]:
        piece, place, shape = decode(data, index, **options)
        if piece is not None and piece.dtype != np.uint8:  # codecs give what is in a piece, whatever the tags say
            raise ValueError(f"it holds {8 * piece.dtype.itemsize}-bit values, and its tags say 8")
        if piece is not None and in_ycbcr and not _decodes_to_rgb(data):
            piece = np.concatenate([to_rgb(piece[0]), piece[0, ..., 3:]], axis=2)[None]
        return piece, place, shape

    return decode_checked


def _is_ycbcr_in_jpeg_2000(page: tifffile.TiffPage) -> bool:
    if page.compression not in _JPEG_2000 or page.samplesperpixel < 3 or _separate(page):
        return False
    if page.compression in (COMPRESSION.APERIO_JP2000_YCBC, COMPRESSION.APERIO_JP2000_RGB):  # whatever the tag says
        return page.compression == COMPRESSION.APERIO_JP2000_YCBC
    return page.photometric == PHOTOMETRIC.YCBCR


def _decodes_to_rgb(jpeg_2000: bytes) -> bool:
    """Whether a JPEG 2000 says itself that it is YCbCr, so that its decoder makes RGB of it."""
    start = jpeg_2000.find(b"\xff\x4f\xff\x51")  # the codestream, and in it the components
    if start < 0 or _SYCC in jpeg_2000[:start] or jpeg_2000[start + 46] != 1:  # fewer columns of the second one
        return True
    at = start + 2
    while jpeg_2000[at : at + 2] != b"\xff\x52":  # how it is coded
        at += 2 + int.from_bytes(jpeg_2000[at + 2 : at + 4], "big")
    return jpeg_2000[at + 8] == 1  # by a transform of its own


def rgb_maker(page: tifffile.TiffPage) -> Callable[[Samples], RGB]:
    """What makes RGB of a page's pieces as `decoder` gives them, all planes together; transparent is white glass.

    Raises:
        ValueError: tags of its colours make no sense.
    """
    samples = page.samplesperpixel
    ycbcr = page.photometric == PHOTOMETRIC.YCBCR and (
        _separate(page) or page.compression not in tifffile.TIFF.IMAGE_COMPRESSIONS
    )
    colours = _from_grey(page) if samples < 3 else _from_ycbcr(page) if ycbcr else _first_three
    if samples in (1, 3) or not page.extrasamples or page.extrasamples[0] not in _ALPHA:
        return colours
    multiplied = page.extrasamples[0] == EXTRASAMPLE.ASSOCALPHA
    return lambda piece: paint_background(np.dstack([colours(piece), piece[..., -1]]), premultiplied=multiplied)


def _first_three(piece: Samples) -> RGB:
    return np.ascontiguousarray(piece[..., :3])


def _from_grey(page: tifffile.TiffPage) -> Callable[[Samples], RGB]:
    inverted = page.photometric == PHOTOMETRIC.MINISWHITE and "PhotometricInterpretation" in page.tags
    return lambda piece: np.repeat(255 - piece[..., :1] if inverted else piece[..., :1], 3, axis=2)


def _from_ycbcr(page: tifffile.TiffPage) -> Callable[[Samples], RGB]:
    """The conversion of TIFF 6.0, section 21, with the page's own coefficients and reference values."""
    red, green, blue = _ratios(page, "YCbCrCoefficients", _REC_601)
    black, white = _ratios(page, "ReferenceBlackWhite", _FULL_RANGE).reshape(3, 2).T
    to_red, to_blue = 2 - 2 * red, 2 - 2 * blue
    with np.errstate(all="ignore"):
        mix = [[1, 0, to_red], [1, -to_blue * blue / green, -to_red * red / green], [1, to_blue, 0]]
        matrix = np.array(mix) * ((255, 127, 127) / (white - black))
        affine = np.column_stack([matrix, -matrix @ black])
    if not np.isfinite(affine).all():
        raise ValueError("its tags YCbCrCoefficients or ReferenceBlackWhite make no sense")
    return lambda piece: np.asarray(cv2.transform(np.ascontiguousarray(piece[..., :3]), affine), np.uint8)


def _ratios(page: tifffile.TiffPage, tag: str, default: tuple[int, ...]) -> NDArray[np.float64]:
    pairs = np.asarray(page.tags.valueof(tag, default), np.float64).reshape(-1, 2)
    if len(pairs) * 2 != len(default):
        raise ValueError(f"its tag {tag} has {len(pairs)} values")
    with np.errstate(all="ignore"):
        return pairs[:, 0] / pairs[:, 1]
