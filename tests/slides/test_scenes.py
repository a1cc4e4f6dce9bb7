"""Files of several pictures: which is the slide, what is said of the others, and how another one is chosen."""

import struct
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from ome_maker import RGB, half, image, noise, ome, write

from sammil_cli.errors import SlideError
from sammil_cli.slides import focal_planes
from sammil_cli.slides.files import open_reader, open_slide
from sammil_cli.slides.formats.openslide import OpenSlideReader
from sammil_cli.slides.formats.tiff import TiffReader

ONE, TWO = noise(400, 300, 1), noise(330, 260, 2)
CHOICE = "the column scene of data/slides.csv chooses another one by its number"
APERIO = "Aperio Image Library v12\r\n400x300|AppMag = 20|MPP = 0.25"


def two_scenes(path: Path) -> Path:
    """A label, a large scene, a smaller one at another resolution, and an overview."""
    images = (
        image((150, 380), "", name="Label Image"),
        image((400, 300), "", name="core A", mpp=0.5),
        image((330, 260), "", name="core B", mpp=0.25),
        image((420, 310), "", name="overview", mpp=8),
    )
    pages = [(noise(150, 380, 8), 0), (ONE, 2), (TWO, 1), (noise(420, 310, 9), 0)]
    return write(path, ome(*images), pages)


def pixels(path: Path, scene: int | None = None) -> RGB:
    reader = open_reader(path, scene)
    try:
        return reader.read((0, 0), 0, reader.size_px)
    finally:
        reader.close()


def test_of_several_scenes_the_largest_is_taken_and_the_others_are_named(tmp_path: Path) -> None:
    with open_slide(two_scenes(tmp_path / "a.ome.tif")) as slide:
        assert (slide.mpp, slide.size_px, slide.scene) == (0.5, (400, 300), 2)
        assert slide.remarks == [
            f"scenes: taken is 2 (400 x 300 px, core A), left out: 3 (330 x 260 px, core B); {CHOICE}"
        ]
        np.testing.assert_array_equal(slide.reader.read((0, 0), 0, (400, 300)), ONE)


def test_a_scene_that_is_chosen_comes_with_its_own_levels_and_resolution(tmp_path: Path) -> None:
    path = two_scenes(tmp_path / "a.ome.tif")
    with open_slide(path, scene=3) as slide:
        assert (slide.mpp, slide.size_px, slide.scene, slide.remarks) == (0.25, (330, 260), 3, [])
        assert list(slide.reader.downsamples) == [1, 2]
        np.testing.assert_array_equal(slide.reader.read((0, 0), 0, (330, 260)), TWO)
        np.testing.assert_array_equal(slide.reader.read((0, 0), 1, (165, 130)), half(TWO))
    with open_slide(path, scene=2) as slide:
        assert (slide.mpp, slide.scene, slide.remarks) == (0.5, 2, [])
    with pytest.raises(
        SlideError, match=r"asks for scene 5, the file has 1 \(150 x 380 px, Label Image\), 2"
    ) as caught:
        open_slide(path, scene=5)
    assert (caught.value.code, caught.value.set_aside) == ("E_SCENE", True)


def test_a_scene_of_half_the_size_is_no_level_of_another(tmp_path: Path) -> None:
    other = noise(200, 150, 5)
    images = (image((400, 300), "", name="A", mpp=0.5), image((200, 150), "", name="B", mpp=0.5))
    path = write(tmp_path / "a.ome.tif", ome(*images), [(ONE, 0), (other, 0)])
    with open_slide(path) as slide:
        assert list(slide.reader.downsamples) == [1]
        assert slide.remarks == [f"scenes: taken is 1 (400 x 300 px, A), left out: 2 (200 x 150 px, B); {CHOICE}"]
    np.testing.assert_array_equal(pixels(path, 2), other)


def test_levels_in_pages_of_no_image_are_seen(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.ome.tif", ome(image((400, 300), '<TiffData IFD="0"/>', mpp=0.5)), [(ONE, 0), (half(ONE), 0)]
    )
    with open_slide(path) as slide:
        assert (list(slide.reader.downsamples), slide.remarks) == ([1, 2], [])


def test_the_planes_of_a_stack_are_scenes(tmp_path: Path) -> None:
    planes = [noise(400, 300, seed) for seed in range(8)]
    text = ome(image((400, 300), "<TiffData/>", name="core", mpp=0.5, SizeZ=8))
    path = write(tmp_path / "a.ome.tif", text, [(plane, 1) for plane in planes])
    with open_slide(path) as slide:
        (remark,) = slide.remarks
        assert remark.startswith(
            "scenes: taken is 1 (400 x 300 px, core, z 1 of 8), left out: 2 (400 x 300 px, core, z 2"
        )
        assert "z 6 of 8) and 2 more; " in remark
    for number, plane in enumerate(planes, start=1):
        np.testing.assert_array_equal(pixels(path, number), plane)
    reader = open_reader(path, 7)
    np.testing.assert_array_equal(reader.read((0, 0), 1, (200, 150)), half(planes[6]))
    reader.close()


def test_pages_of_the_same_size_in_a_plain_tiff_are_scenes_and_its_thumbnail_is_none(tmp_path: Path) -> None:
    planes = [noise(400, 300, seed) for seed in range(3)]
    small = [(half(planes[0]), 0), (noise(90, 200, 7), 0)]  # nobody knows whose level the first is
    path = write(tmp_path / "a.tif", None, [*((plane, 0) for plane in planes), *small])
    with open_slide(path, 0.5) as slide:
        assert (slide.scene, list(slide.reader.downsamples)) == (1, [1])
        listed = "2 (400 x 300 px), 3 (400 x 300 px), 5 (90 x 200 px)"
        assert slide.remarks == [f"scenes: taken is 1 (400 x 300 px), left out: {listed}; {CHOICE}"]
    for number, plane in enumerate(planes, start=1):
        np.testing.assert_array_equal(pixels(path, number), plane)
    with pytest.raises(SlideError, match="asks for scene 4") as caught:
        open_reader(path, 4)
    assert caught.value.code == "E_SCENE"


def test_a_slide_of_one_picture_says_nothing_of_scenes(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", None, [(ONE, 0), (half(ONE), 0), (noise(40, 120, 3), 0)])
    for scene in (1, None):
        with open_slide(path, 0.5, scene) as slide:
            assert (list(slide.reader.downsamples), slide.scene) == ([1, 2], scene)
            assert slide.remarks == ["levels: left out, as no smaller copy of the slide: 40 x 120 px"]
    with pytest.raises(SlideError, match="asks for scene 2, only one of this file can be read") as caught:
        open_reader(path, 2)  # a smaller copy, with the resolution of the slide
    assert caught.value.code == "E_SCENE"


def test_a_format_of_one_scene_refuses_another_one(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), ONE)
    open_reader(tmp_path / "a.png", 1).close()
    with pytest.raises(SlideError, match="asks for scene 2") as caught:
        open_reader(tmp_path / "a.png", 2)
    assert caught.value.code == "E_SCENE"


def aperio(path: Path, pages: list[RGB]) -> Path:
    with tifffile.TiffWriter(path) as tiff:
        for page in pages:
            tiff.write(page, photometric="rgb", tile=(64, 64), metadata=None, description=APERIO)
    return path


def test_a_stack_of_aperio_is_read_from_one_plane_at_every_level(tmp_path: Path) -> None:
    """OpenSlide has its planes as levels of the same size; the last of them was read for the first."""
    planes = [np.full((300, 400, 3), value, np.uint8) for value in (60, 120, 180)]
    path = aperio(tmp_path / "a.svs", planes)
    with open_slide(path) as slide:
        assert isinstance(slide.reader, OpenSlideReader)
        assert slide.read_at((0, 0), (64, 64), (64, 64)).max() == 60
        (remark,) = slide.remarks
        assert remark.startswith("scenes: 3 planes of focus, of which OpenSlide reads the first")
    with open_slide(path, scene=3) as slide:
        assert isinstance(slide.reader, TiffReader)
        assert (slide.mpp, slide.reader.objective) == (0.25, 20)
        assert slide.read_at((0, 0), (64, 64), (64, 64)).max() == 180
    assert aperio(tmp_path / "b.svs", planes[:1])
    with open_slide(tmp_path / "b.svs") as slide:
        assert slide.remarks == []


def ndpi(path: Path, planes: list[RGB], z_nm: list[int]) -> Path:
    """Planes of focus as Hamamatsu writes them: a TIFF with 64-bit offsets of its pages, each one JPEG."""
    file = bytearray(b"II*\0" + struct.pack("<Q", 0))
    link = 4
    for rgb, z in zip(planes, z_nm, strict=True):
        jpeg = cv2.imencode(".jpg", rgb[..., ::-1])[1].tobytes()
        start, maker, resolution, bits = (len(file) + extra for extra in (0, len(jpeg), len(jpeg) + 12, len(jpeg) + 20))
        file += jpeg + b"Hamamatsu\0\0\0" + struct.pack("<II", 40_000, 1) + struct.pack("<HHHxx", 8, 8, 8)
        (height, width), (lens,) = rgb.shape[:2], struct.unpack("<I", struct.pack("<f", 20.0))
        shape = [(256, 4, 1, width), (257, 4, 1, height), (258, 3, 3, bits), (259, 3, 1, 7), (262, 3, 1, 6)]
        where = [(271, 2, 10, maker), (273, 4, 1, start), (277, 3, 1, 3), (278, 4, 1, height), (279, 4, 1, len(jpeg))]
        scale = [(282, 5, 1, resolution), (283, 5, 1, resolution), (284, 3, 1, 1), (296, 3, 1, 3)]
        own = [(65420, 4, 1, 1), (65421, 11, 1, lens), (65422, 9, 1, 0), (65423, 9, 1, 0), (65424, 9, 1, z % 2**32)]
        tags = [*shape, *where, *scale, *own]
        file[link : link + 8] = struct.pack("<Q", len(file))
        file += struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", *tag) for tag in tags)
        link = len(file)
        file += struct.pack("<Q", 0) + bytes(4 * len(tags))
    path.write_bytes(file)
    return path


def test_the_planes_of_hamamatsu_that_openslide_passes_over_are_counted(tmp_path: Path) -> None:
    planes = [np.full((320, 400, 3), value, np.uint8) for value in (60, 120, 180)]
    with open_slide(ndpi(tmp_path / "a.ndpi", planes, [-1000, 0, 1000])) as slide:
        assert slide.remarks == ["scenes: 3 planes of focus, of which OpenSlide reads the one at 0 µm"]
        assert abs(int(slide.reader.read((0, 0), 0, (1, 1))[0, 0, 0]) - 120) <= 1
    with open_slide(ndpi(tmp_path / "b.ndpi", planes[:1], [0])) as slide:
        assert (slide.mpp, slide.remarks) == (pytest.approx(0.25), [])
    with pytest.raises(SlideError, match="only one of this file can be read"):
        open_slide(tmp_path / "a.ndpi", scene=2)


SCN = (
    '<?xml version="1.0"?><scn xmlns="http://www.leica-microsystems.com/scn/2010/10/01"><collection sizeX="400000" '
    'sizeY="320000"><barcode/><image><creationDate/><device model="m" version="1"/><pixels sizeX="400" sizeY="320">{}'
    '</pixels><view sizeX="200000" sizeY="160000" offsetX="1000" offsetY="1000"/><scanSettings><objectiveSettings>'
    "<objective>20</objective></objectiveSettings><illuminationSettings><numericalAperture>0.5</numericalAperture>"
    "<illuminationSource>brightfield</illuminationSource></illuminationSettings></scanSettings></image></collection></scn>"
)


def test_the_planes_of_leica_that_openslide_passes_over_are_counted(tmp_path: Path) -> None:
    page = '<dimension sizeX="400" sizeY="320" r="0" ifd="{0}" z="{0}"/>'
    for count, expected in ((3, ["scenes: 3 planes of focus, of which OpenSlide reads that of z 0"]), (1, [])):
        options = {"photometric": "rgb", "tile": (64, 64), "metadata": None, "compression": "jpeg"}
        with tifffile.TiffWriter(tmp_path / "a.scn") as tiff:
            for z in range(count):
                text = SCN.format("".join(map(page.format, range(count)))) if z == 0 else None
                plane = np.full((320, 400, 3), 60 * (z + 1), np.uint8)
                tiff.write(plane, description=text, resolution=(40_000, 40_000), resolutionunit=3, **options)
        with open_slide(tmp_path / "a.scn") as slide:
            assert (slide.reader.kind, slide.mpp, slide.remarks) == ("leica", pytest.approx(0.25), expected)
            assert slide.reader.read((100, 100), 0, (1, 1)).max() == 60


def test_the_planes_of_mirax_are_counted_from_its_properties() -> None:
    names = ("Slide zoom level", "Slide filter level", "Microscope focus level")
    for planes, expected in ((1, []), (9, ["scenes: 9 planes of focus, of which OpenSlide reads one"])):
        properties = {f"mirax.HIERARCHICAL.HIER_{n}_NAME": name for n, name in enumerate(names)}
        counts = {f"mirax.HIERARCHICAL.HIER_{n}_COUNT": str(c) for n, c in enumerate((10, 1, planes))}
        assert focal_planes.remarks(Path("a.mrxs"), "mirax", properties | counts, [(10, 10)]) == expected
