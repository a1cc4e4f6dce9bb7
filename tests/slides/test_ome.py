"""OME-XML: which page an image lies in, its own resolution and lens; units, lenses, hostile and misleading metadata."""

import time
from pathlib import Path

import pytest
import tifffile
from ome_maker import HEAD, image, noise, ome, write

from sammil_cli.errors import SlideError
from sammil_cli.slides.files import open_reader, open_slide
from sammil_cli.slides.ome import read_ome

SIZE = (210, 150)
SCAN = noise(*SIZE, seed=1)
LENSES = (
    '<Instrument ID="Instrument:0"><Objective ID="Objective:0" NominalMagnification="1.25"/>'
    '<Objective ID="Objective:1" NominalMagnification="{}"/></Instrument>'
)


def tiff_data(page: int) -> str:
    return f'<TiffData IFD="{page}" PlaneCount="1"/>'


@pytest.mark.parametrize("order", ["as written", "by series"])
def test_each_image_has_its_own_resolution_and_lens(tmp_path: Path, order: str) -> None:
    data = [tiff_data(0), tiff_data(1)] if order == "as written" else ["", ""]
    lens = '<ObjectiveSettings ID="Objective:{}"/>'
    text = ome(
        image((60, 150), data[0], name="label", mpp=1.0, inside=lens.format(0)),
        image(SIZE, data[1], name="scan", mpp=0.25, inside=lens.format(1)),
        before=LENSES.format("40"),
    )
    path = write(tmp_path / "a.ome.tif", text, [(noise(60, 150, 9), 0), (SCAN, 1)])
    with open_slide(path) as slide:
        assert (slide.mpp, slide.mpp_source, slide.reader.objective) == (0.25, "OME PhysicalSizeX", 40)
        assert (slide.size_px, slide.remarks, slide.scene) == (SIZE, [], None)
        assert (slide.reader.read((0, 0), 0, SIZE) == SCAN).all()
        assert list(slide.reader.downsamples) == [1, 2]


def test_images_may_stand_in_another_order_than_their_pages(tmp_path: Path) -> None:
    text = ome(image(SIZE, tiff_data(1), name="scan", mpp=0.25), image((60, 150), tiff_data(0), name="macro", mpp=8))
    with open_slide(write(tmp_path / "a.ome.tif", text, [(noise(60, 150, 9), 0), (SCAN, 0)])) as slide:
        assert (slide.mpp, slide.size_px) == (0.25, SIZE)


@pytest.mark.parametrize(
    ("size", "unit", "mpp"),
    [
        ("0.5", "µm", 0.5),
        ("0.5", "\u03bcm", 0.5),  # the Greek letter
        ("0,5", "µm", 0.5),
        ("500", "nm", 0.5),
        ("5e-4", "mm", 0.5),
        ("5000", "Å", 0.5),
        ("5000", "\u212b", 0.5),  # the sign of the unit
        (0.5 / 25_400, "in", 0.5),
        (0.5 / 25.4, "thou", 0.5),
        (0.5 * 72 / 25_400, "pt", 0.5),
        ("0.5", "microns", 0.5),
        ("1", "pixel", None),
        ("1", "reference frame", None),
        ("0.5", "Mm", None),  # megametres
        ("0.5", "ly", None),
        ("half", "µm", None),
        ("nan", "µm", None),
        ("1e999", "µm", None),
    ],
)
def test_every_length_is_converted_and_what_is_none_is_asked_for(
    tmp_path: Path, size: object, unit: str, mpp: float | None
) -> None:
    text = ome(image(SIZE, tiff_data(0), mpp=size, unit=unit))
    path = write(tmp_path / "a.ome.tif", text, [(SCAN, 0)], resolution=(72, 72), resolutionunit=2)
    if mpp is not None:
        with open_slide(path) as slide:
            assert slide.mpp == pytest.approx(mpp, rel=1e-6)
        return
    with pytest.raises(SlideError, match=rf"the file does not say .*: OME PhysicalSizeX is '{size}' {unit}") as caught:
        open_slide(path)
    assert (caught.value.code, caught.value.set_aside) == ("E_MPP", True)
    assert caught.value.remedy.endswith("a.ome,<µm per pixel of level 0>")
    with open_slide(path, 0.5) as slide:
        assert slide.mpp == 0.5


def test_where_the_unit_is_no_length_the_tags_of_the_page_may_say_it(tmp_path: Path) -> None:
    text = ome(image(SIZE, tiff_data(0), mpp=1, unit="pixel"))
    path = write(tmp_path / "a.ome.tif", text, [(SCAN, 0)], resolution=(40_000, 40_000), resolutionunit=3)
    with open_slide(path) as slide:
        assert (slide.mpp, slide.mpp_source) == (0.25, "TIFF tags")


@pytest.mark.parametrize(
    ("power", "inside", "objective"),
    [
        ("20x", '<ObjectiveSettings ID="Objective:1"/>', 20),
        ("Plan-Apochromat 40x/0.95", '<ObjectiveSettings ID="Objective:1"/>', 40),
        ("20,0", '<ObjectiveRef ID="Objective:1"/>', 20),
        ("", '<ObjectiveSettings ID="Objective:1"/>', None),
        ("immersion", '<ObjectiveSettings ID="Objective:1"/>', None),
        ("40", "", None),  # two lenses, and none is named
        ("40", '<ObjectiveSettings ID="Objective:7"/>', None),
    ],
)
def test_an_odd_lens_stops_no_slide(tmp_path: Path, power: str, inside: str, objective: float | None) -> None:
    text = ome(image(SIZE, tiff_data(0), mpp=0.5, inside=inside), before=LENSES.format(power))
    with open_slide(write(tmp_path / "a.ome.tif", text, [(SCAN, 0)])) as slide:
        assert (slide.mpp, slide.reader.objective) == (0.5, objective)


@pytest.mark.parametrize("order", ["XYCZT", "XYZCT", "XYTZC", "XYZTC"])
@pytest.mark.parametrize(
    "data",
    [
        "<TiffData/>",
        '<TiffData IFD="0" PlaneCount="6"/>',
        '<TiffData IFD="3" PlaneCount="3"/><TiffData IFD="0" FirstZ="{z}" FirstT="{t}" NumPlanes="3"/>',
        "".join(
            f'<TiffData IFD="{5 - 2 * z - t}" FirstZ="{z}" FirstT="{t}"/>'
            for z, t in ((z, t) for z in range(3) for t in range(2))
        ),
    ],
    ids=["all", "count", "blocks", "reversed"],
)
def test_planes_lie_in_the_pages_that_tifffile_finds(tmp_path: Path, order: str, data: str) -> None:
    z, t = (0, 1) if order.index("Z") < order.index("T") else (1, 1)
    text = ome(image((64, 64), data.format(z=z, t=t), DimensionOrder=order, SizeZ=3, SizeT=2))
    path = write(tmp_path / "a.ome.tif", text, [(noise(64, 64, seed), 0) for seed in range(6)])
    (found,) = read_ome(text, path.name, 6)
    with tifffile.TiffFile(path) as tiff:
        series = tiff.series[0]
        axes = [axis for axis in series.axes if axis in "ZT"]
        for number, (plane, page) in enumerate(zip(found.planes, series.pages, strict=True)):
            assert page is not None
            assert plane.page == page.index
            slow, fast = divmod(number, {"Z": 3, "T": 2}[axes[1]])
            place = {axes[0]: slow + 1, axes[1]: fast + 1}
            assert plane.place == f"z {place['Z']} of 3, time {place['T']} of 2"


def test_what_says_nothing_of_this_file_is_not_believed(tmp_path: Path) -> None:
    """A file of a set that has its metadata elsewhere, or describes the others only."""
    other = '<TiffData IFD="0" PlaneCount="1"><UUID FileName="{}">urn:uuid:{}</UUID></TiffData>'
    texts = {
        "elsewhere": HEAD.format("", '<BinaryOnly MetadataFile="set.companion.ome" UUID="x"/></OME>'),
        "others": ome(image(SIZE, other.format("b.ome.tif", 2), mpp=0.5), root=' UUID="urn:uuid:1"'),
        "none": ome(),
        "cut": ome(image(SIZE, tiff_data(0), mpp=0.5)).replace("</Image>", ""),
        "negative": ome(image(SIZE, '<TiffData IFD="-1"/>', mpp=0.5)),
    }
    for text in texts.values():
        with pytest.raises(
            SlideError, match=r"does not say its resolution .*: the OME metadata cannot be used"
        ) as caught:
            open_slide(write(tmp_path / "a.ome.tif", text, [(SCAN, 0)]))
        assert caught.value.code == "E_MPP"
        reader = open_reader(tmp_path / "a.ome.tif")
        assert [remark.partition(":")[0] for remark in reader.remarks] == ["ome"]
        reader.close()


def test_a_file_of_a_set_has_the_planes_that_are_its_own_whatever_its_name(tmp_path: Path) -> None:
    block = '<TiffData IFD="0" FirstZ="{}" PlaneCount="1"><UUID FileName="{}">urn:uuid:{}</UUID></TiffData>'
    data = "".join(block.format(z, f"z{z}.ome.tif", z) for z in range(3))
    for z in range(3):
        text = ome(image(SIZE, data, mpp=0.5, SizeZ=3), root=f' UUID="urn:uuid:{z}"')
        with open_slide(write(tmp_path / "renamed.ome.tif", text, [(SCAN, 0)])) as slide:
            assert slide.mpp == 0.5
            (remark,) = slide.remarks
            others = ", ".join(f"z{other}.ome.tif" for other in range(3) if other != z)
            assert remark == f"ome: planes of this image lie in other files ({others})"


def test_without_identifiers_names_tell_which_planes_are_a_files_own(tmp_path: Path) -> None:
    block = '<TiffData IFD="{0}" FirstZ="{0}" PlaneCount="1"><UUID FileName="{1}"/></TiffData>'
    only = ome(image(SIZE, block.format(0, "Old Name.ome.tif"), mpp=0.5))
    assert len(read_ome(only, "new.ome.tif", 1)[0].planes) == 1  # a file that was renamed
    several = ome(image(SIZE, block.format(0, "A.ome.tif") + block.format(1, "b.ome.tif"), mpp=0.5, SizeZ=2))
    (found,) = read_ome(several, "a.ome.tif", 2)
    assert ([plane.place for plane in found.planes], found.elsewhere) == (["z 1 of 2"], ("b.ome.tif",))


def test_metadata_of_a_picture_of_another_size_was_copied(tmp_path: Path) -> None:
    """As tools do that shrink a slide: its pixels are larger than the metadata and the tags say."""
    text = ome(image((420, 300), tiff_data(0), mpp=0.25))
    path = write(tmp_path / "a.ome.tif", text, [(SCAN, 0)], resolution=(40_000, 40_000), resolutionunit=3)
    with pytest.raises(SlideError, match="of a picture of 420 x 300 px, this one has 210 x 150") as caught:
        open_slide(path)
    assert caught.value.code == "E_MPP"


def test_channels_in_files_of_their_own_are_fluorescence(tmp_path: Path) -> None:
    data = tiff_data(0) + '<TiffData IFD="0" FirstC="1"><UUID FileName="b.ome.tif">urn:uuid:2</UUID></TiffData>'
    text = ome(image(SIZE, data, mpp=0.5, SizeC=2), root=' UUID="urn:uuid:1"')
    with pytest.raises(SlideError, match="2 grey channels") as caught:
        open_slide(write(tmp_path / "a.ome.tif", text, [(SCAN[..., 0], 0)]))
    assert caught.value.code == "E_FORMAT"


def test_channels_of_another_image_do_not_refuse_the_slide(tmp_path: Path) -> None:
    grey = image((60, 64), tiff_data(1) + '<TiffData IFD="2" FirstC="1"/>', name="DAPI", mpp=0.5, SizeC=2)
    text = ome(image(SIZE, tiff_data(0), name="scan", mpp=0.5), grey)
    pages = [(SCAN, 0), (noise(60, 64, 2)[..., 0], 0), (noise(60, 64, 3)[..., 0], 0)]
    path = write(tmp_path / "a.ome.tif", text, pages)
    with open_slide(path) as slide:
        assert (slide.size_px, slide.scene) == (SIZE, 1)
    with pytest.raises(SlideError, match="2 grey channels") as caught:
        open_slide(path, scene=2)
    assert caught.value.code == "E_FORMAT"


def test_hostile_metadata_is_refused_before_it_grows(tmp_path: Path) -> None:
    laughs = "".join(f'<!ENTITY l{i} "{f"&l{i - 1};" * 10}">' for i in range(1, 10))
    bomb = f'<!DOCTYPE OME [<!ENTITY l0 "ha">{laughs}]>' + ome(image(SIZE, name="&l9;", mpp=0.5)).partition("?>")[2]
    start = time.perf_counter()
    with pytest.raises(ValueError, match="document type"):
        read_ome(bomb, "a.ome.tif", 1)
    external = bomb.replace('<!ENTITY l0 "ha">', '<!ENTITY l0 SYSTEM "file:///etc/passwd">')
    with pytest.raises(ValueError, match="document type"):
        read_ome(external, "a.ome.tif", 1)
    with pytest.raises(SlideError, match="document type"):
        open_slide(write(tmp_path / "a.ome.tif", bomb, [(SCAN, 0)]))
    planes = image(SIZE, '<TiffData IFD="0" PlaneCount="999999999999"/>', SizeZ=10**9, SizeT=10**9, mpp=0.5)
    (found,) = read_ome(ome(planes), "a.ome.tif", 2)
    assert len(found.planes) == 2
    with pytest.raises(ValueError, match="describes no image"):
        read_ome(HEAD.format("", "<a>" * 50_000 + "</a>" * 50_000 + "</OME>"), "a.ome.tif", 1)
    assert time.perf_counter() - start < 5
