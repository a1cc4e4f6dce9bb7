"""Which files of a folder are drawings, for which slide, packed how, and what is said of the others."""

import gzip
import io
import json
import zipfile
from pathlib import Path

import pytest
import shapely
from shapely.geometry import mapping

from sammil_cli.errors import InputError, SlideError
from sammil_cli.storage.paths import DrawingPath
from sammil_cli.tissue.drawing_files import find_drawings, stray_drawings, unread_drawings
from sammil_cli.tissue.edits import read_polygons

GEOJSON = json.dumps({"type": "Feature", "geometry": mapping(shapely.box(30, 20, 110, 90))}).encode()
XML = b"""<ASAP_Annotations><Annotations><Annotation Type="Rectangle"><Coordinates>
<Coordinate X="30" Y="20"/><Coordinate X="110" Y="90"/></Coordinates></Annotation></Annotations></ASAP_Annotations>"""


def zipped(**members: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return stream.getvalue()


def put(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("case.1.geojson", GEOJSON),
        ("case.1.json", GEOJSON),
        ("case.1.JSON", GEOJSON),
        ("case.1.GeoJSON.GZ", gzip.compress(GEOJSON, mtime=0)),
        ("case.1.json.gz", gzip.compress(GEOJSON, mtime=0)),
        ("case.1.xml", XML),
        ("case.1.Xml.gz", gzip.compress(XML, mtime=0)),
        ("case.1.annotations", XML),
        ("case.1.zip", zipped(**{"export/objects.geojson": GEOJSON, "read me.txt": b"", "__MACOSX/._a.geojson": b"?"})),
        ("case.1.geojson.zip", zipped(**{".hidden.json": b"", "any.JSON": GEOJSON})),
        ("case.1.ZIP", zipped(**{"any.xml": XML})),
    ],
)
def test_each_form_of_a_drawing_is_found_and_read(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    ((slide_id, path),) = find_drawings(tmp_path).items()
    assert (slide_id, path.name) == ("case.1", name)
    assert read_polygons(path, slide_size_px=(200, 100), bounds_px=(0, 0, 200, 100))[0].bounds == (30, 20, 110, 90)
    assert unread_drawings(tmp_path) == []


@pytest.mark.parametrize("second", ["s.json", "s.xml", "s.zip", "s.geojson.gz", "s.GEOJSON"])
def test_two_files_for_one_slide_are_refused(tmp_path: Path, second: str) -> None:
    put(tmp_path, "s.geojson", second)
    with pytest.raises(InputError, match="are for one slide"):
        find_drawings(tmp_path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (zipped(), "holds no drawings, not one"),
        (zipped(**{"a.tif": b"", "b.txt": b""}), r"holds no drawings, not one \(a.tif, b.txt\)"),
        (zipped(**{"a.geojson": GEOJSON, "b.xml": XML}), r"holds 2 drawings, not one \(a.geojson, b.xml\)"),
        (zipped(**{"a.geojson": b"{"}), "no valid GeoJSON"),
        (b"PK no more", "cannot be read"),
        (zipped(**{"a.geojson": GEOJSON * 99})[:-60], "cannot be read"),
        (zipped(**{"a.geojson": b" " * 5000}), "larger than 0 MiB"),
    ],
)
def test_a_zip_of_none_or_several_a_damaged_and_a_huge_one_cost_their_slide(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, reason: str
) -> None:
    monkeypatch.setattr("sammil_cli.storage.packed.MOST_BYTES", 4096)
    (tmp_path / "s.zip").write_bytes(content)
    with pytest.raises(SlideError, match=reason) as caught:
        read_polygons(DrawingPath(tmp_path / "s.zip"), slide_size_px=(200, 100), bounds_px=(0, 0, 200, 100))
    assert caught.value.code == "E_EDIT"
    assert caught.value.remedy


def test_an_encrypted_zip_costs_its_slide(tmp_path: Path) -> None:
    content = bytearray(zipped(**{"a.geojson": GEOJSON}))
    for header, flags in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        content[content.index(header) + flags] |= 1
    (tmp_path / "s.zip").write_bytes(content)
    with pytest.raises(SlideError, match=r"cannot be read: .*encrypted"):
        read_polygons(DrawingPath(tmp_path / "s.zip"), slide_size_px=(200, 100), bounds_px=(0, 0, 200, 100))


def test_every_other_file_is_named_with_what_to_do_and_none_of_those_that_are_no_drawings(tmp_path: Path) -> None:
    folder = tmp_path / "edits"
    put(folder, "a.geojson", ".gitkeep", ".DS_Store", "._b.geojson", "b.geojson.dvc", "sub/.hidden")
    assert stray_drawings(folder, {"a"}) == []
    put(folder, "c.geojson.txt", "c.gjson", "d.gz", "e", "f.tif", "old/g.geojson", "old/2/h.json", "i.ndpa", "j.QPDATA")
    (folder / "k.geojson").symlink_to("nowhere.geojson")
    said = stray_drawings(folder, {"a"})
    assert len(said) == 5
    assert f"passed over: {folder}/k.geojson: a link to a file that is not here: mend it" in said
    other = next(line for line in said if "c.gjson" in line)
    assert other.startswith(f"passed over: {folder}/c.geojson.txt, {folder}/c.gjson, {folder}/d.gz and 2 more: ")
    assert "a drawing is called <slide>.geojson, .json, .xml" in other
    assert f"passed over: {folder}/i.ndpa: Hamamatsu's drawings count nanometres" in "\n".join(said)
    assert f"passed over: {folder}/j.QPDATA: open it in QuPath" in "\n".join(said)
    assert f"{folder}/old/2/h.json, {folder}/old/g.geojson: sub-folders are not read: move the files up" in "\n".join(
        said
    )
    assert set(find_drawings(folder)) == {"a"}


def test_drawings_with_a_name_that_is_nearly_a_slides_are_named_with_it(tmp_path: Path) -> None:
    put(tmp_path, "slide-7.json", "slide_8.svs.xml")
    assert stray_drawings(tmp_path, {"slide_7", "slide_8"}) == [
        f"passed over: {tmp_path}/slide-7.json: there is no slide 'slide-7'; did you mean slide_7 or slide_8?",
        f"passed over: {tmp_path}/slide_8.svs.xml: there is no slide 'slide_8.svs'; did you mean slide_8 or slide_7?",
    ]
    assert stray_drawings(tmp_path / "none", {"a"}) == []
