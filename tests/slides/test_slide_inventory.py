"""Everything in a slide folder is accounted for: slides of one or many files, unsupported ones, sidecars."""

import cProfile
import os
import struct
import sys
from pathlib import Path

import pytest

from sammil_cli.errors import InputError, SlideError
from sammil_cli.slides.files import find_slides, identify, open_reader, other_files, slide_id_of


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode())


def element(group: int, tag: int, kind: bytes, value: bytes) -> bytes:
    """One DICOM element, explicit and little endian."""
    head = struct.pack("<HH2s", group, tag, kind)
    if kind in (b"SQ", b"OB"):
        return head + struct.pack("<HI", 0, len(value)) + value
    value += b" " * (len(value) % 2)
    return head + struct.pack("<H", len(value)) + value


WHOLE_SLIDE, ANNOTATIONS, REPORT = (f"1.2.840.10008.5.1.4.1.1.{end}" for end in ("77.1.6", "91.1", "88.33"))
SEGMENTATION, CAPTURE, DIRECTORY = "1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.7.4", "1.2.840.10008.1.3.10"


def write_dicom(
    path: Path,
    series: str,
    image_type: str = "ORIGINAL\\PRIMARY\\VOLUME\\NONE",
    *,
    kind: str = "",
    modality: str = "",
    media: str = "",
) -> None:
    """The head of a DICOM file, with a sequence that names another series before its own.

    `kind` is its SOP class, `media` that of its head; none is written where they are empty.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    item = element(0x0020, 0x000E, b"UI", b"9.9.9")
    endless = struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF) + item + struct.pack("<HHI", 0xFFFE, 0xE00D, 0)
    sequence = struct.pack("<HH2sHI", 0x0008, 0x1115, b"SQ", 0, 0xFFFFFFFF) + endless
    path.write_bytes(
        bytes(128)
        + b"DICM"
        + (element(0x0002, 0x0002, b"UI", media.encode()) if media else b"")
        + element(0x0002, 0x0010, b"UI", b"1.2.840.10008.1.2.1")
        + element(0x0008, 0x0008, b"CS", image_type.encode())
        + (element(0x0008, 0x0016, b"UI", kind.encode()) if kind else b"")
        + (element(0x0008, 0x0060, b"CS", modality.encode()) if modality else b"")
        + sequence
        + struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
        + element(0x0020, 0x000D, b"UI", b"1.2.3")
        + element(0x0020, 0x000E, b"UI", series.encode())
        + element(0x0028, 0x0010, b"US", struct.pack("<H", 7))
    )


def test_each_file_is_counted_by_what_it_is(tmp_path: Path) -> None:
    touch(tmp_path, "a.svs", "b.ndpi", "m.mrxs", "m/Slidedat.ini", "m/Data0000.dat")
    touch(
        tmp_path, "v.vsi", "w.VSI", "i.isyntax", "x.svs.zip", "a.xml", "notes.txt", "README", "a.png", "thumbs/b_x.jpg"
    )
    (tmp_path / "gone.svs").symlink_to(tmp_path / "nowhere.svs")
    touch(tmp_path, ".hidden", "._a.svs")
    found = find_slides(tmp_path)
    assert list(found.paths) == ["a", "b", "m"]
    assert found.unsupported == {".vsi": 2, ".isyntax": 1, ".zip": 1, "dangling link": 1}
    assert found.sidecars == {".xml": 1, ".txt": 1, "README": 1, ".png": 1, ".jpg": 1}
    assert (found.inner, found.total) == (2, 15)
    assert found.inventory() == (
        "15 files: 3 slides (5 files), 5 unsupported (.isyntax 1: convert with Philips' Pathology SDK or isyntax2raw "
        "and raw2ometiff --rgb, to OME-TIFF; .vsi 2: convert with bfconvert or QuPath, to OME-TIFF; .zip 1: unpack it; "
        "dangling link 1: copy the file here; in a container mount the folder that it is in, too), "
        "5 sidecars (.jpg 1, .png 1, .txt 1, .xml 1, README 1)"
    )


@pytest.mark.skipif(sys.platform != "linux", reason="only there names are any bytes")
def test_a_name_that_is_no_utf8_costs_that_file_only(tmp_path: Path) -> None:
    touch(tmp_path, "über.svs")
    for name in (b"pr\xe4.svs", b"gr\xf6\xdfe.xml"):
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name)).touch()
    found = find_slides(tmp_path)
    assert list(found.paths) == ["über"]
    assert list(found.unnameable) == [r"pr\udce4"]
    assert found.unsupported == {"name that is no UTF-8": 1}
    assert (found.ids, found.total) == ({"über", r"pr\udce4"}, 3)
    found.inventory().encode()  # can be printed


def test_a_folder_of_unsupported_slides_says_so(tmp_path: Path) -> None:
    touch(tmp_path, "a.vsi", "b.vsi")
    with pytest.raises(InputError, match=r"no slides in .*2 unsupported \(\.vsi 2: convert with bfconvert"):
        find_slides(tmp_path)


def test_pictures_are_slides_where_there_are_no_others(tmp_path: Path) -> None:
    touch(tmp_path, "svs/a.svs", "svs/b.png", "pictures/c.png", "pictures/d.jpeg", "thumbs/a.jpg", "thumbs/a-small.png")
    found = find_slides(tmp_path)
    assert list(found.paths) == ["c", "d", "a"]
    assert found.sidecars == {".png": 2, ".jpg": 1}


@pytest.mark.parametrize(
    "names", [("svs/{}.svs", "pictures/x{}.png"), ("{}/a{}.svs", "{}/overview.jpg"), ("{}.dcm", "{}.xml")]
)
def test_twice_as_many_files_take_twice_as_long(tmp_path: Path, names: tuple[str, ...]) -> None:
    calls = []
    for count in (60, 120):
        folder = tmp_path / str(count)
        touch(folder, *(name.format(n, n) for n in range(count) for name in names))
        find_slides(folder)  # formats are loaded, heads of DICOM files read
        profile = cProfile.Profile()
        profile.runcall(find_slides, folder)
        calls.append(sum(entry.callcount for entry in profile.getstats()))
    assert calls[1] < 2.3 * calls[0]


def test_a_series_of_dicom_files_is_one_slide(tmp_path: Path) -> None:
    for name in ("level_0", "level_1", "level_2"):
        write_dicom(tmp_path / "case 7" / f"{name}.dcm", "1.2.3.4")
    write_dicom(tmp_path / "case 7" / "a label.dcm", "1.2.3.4", "ORIGINAL\\PRIMARY\\LABEL\\NONE")
    write_dicom(tmp_path / "flat" / "x.dcm", "1.5")
    write_dicom(tmp_path / "flat" / "y.dcm", "1.5")
    write_dicom(tmp_path / "flat" / "z.dcm", "1.6")
    write_dicom(tmp_path / "alone" / "one.dcm", "1.7")
    found = find_slides(tmp_path)
    assert found.paths == {
        "one": tmp_path / "alone" / "one.dcm",
        "case 7": tmp_path / "case 7" / "level_0.dcm",
        "x": tmp_path / "flat" / "x.dcm",
        "z": tmp_path / "flat" / "z.dcm",
    }
    assert (found.inner, found.total) == (4, 8)
    assert [slide_id_of(path) for path in found.paths.values()] == list(found.paths)
    names = [path.name for path in other_files(tmp_path / "case 7" / "level_0.dcm")]
    assert names == ["a label.dcm", "level_1.dcm", "level_2.dcm"]


def test_a_dicom_folder_with_other_slides_is_no_series_folder(tmp_path: Path) -> None:
    write_dicom(tmp_path / "case" / "a.dcm", "1.2")
    write_dicom(tmp_path / "case" / "b.dcm", "1.2")
    touch(tmp_path, "case/c.svs")
    assert list(find_slides(tmp_path).paths) == ["a", "c"]


@pytest.mark.parametrize(
    ("kind", "modality", "label"),
    [
        (WHOLE_SLIDE, "SM", ""),
        (WHOLE_SLIDE, "", ""),
        ("", "SM", ""),
        ("", "", ""),  # it does not say it: opening decides
        (CAPTURE, "SM", ""),  # what converters write
        (ANNOTATIONS, "ANN", "ANN"),
        (SEGMENTATION, "SEG", "SEG"),
        (REPORT, "SR", "SR"),
        (REPORT, "", "of another kind"),
        ("", "MR", "MR"),
        (CAPTURE, "OT", "OT"),
    ],
)
def test_dicom_objects_are_slides_by_their_class_and_modality(
    tmp_path: Path, kind: str, modality: str, label: str
) -> None:
    write_dicom(tmp_path / "a.dcm", "1.2", kind=WHOLE_SLIDE, modality="SM")
    write_dicom(tmp_path / "b.DCM", "1.3", kind=kind, modality=modality)
    write_dicom(tmp_path / "nameless", "1.4", kind=kind, modality=modality)
    found = find_slides(tmp_path)
    assert list(found.paths) == (["a"] if label else ["a", "b"])
    assert found.sidecars == ({f".dcm {label}": 1, f"DICOM {label}": 1} if label else {})
    assert found.unsupported == ({} if label else {"DICOM without .dcm": 1})
    assert (found.inner, found.total) == (0, 3)


def test_annotations_beside_a_series_change_neither_its_name_nor_its_identity(tmp_path: Path) -> None:
    for name in ("level_0", "level_1"):
        write_dicom(tmp_path / "case 7" / f"{name}.dcm", "1.2", kind=WHOLE_SLIDE, modality="SM")
    head = tmp_path / "case 7" / "level_0.dcm"
    before = identify(head)
    for modality in ("ANN", "SEG"):
        write_dicom(tmp_path / "case 7" / f"a_{modality}.dcm", "1.2", kind=ANNOTATIONS, modality=modality)
    assert find_slides(tmp_path).paths == {"case 7": head}
    assert find_slides(tmp_path).inner == 1
    assert slide_id_of(head) == "case 7"
    assert identify(head) == before


def test_dicom_files_without_their_suffix_are_named_with_the_fix(tmp_path: Path) -> None:
    touch(tmp_path, "README", "notes.2024", "a.xml")
    for name in ("IM0001", "1.2.840.113619.2.7", "x.dicom"):
        write_dicom(tmp_path / name, "1.2", kind=WHOLE_SLIDE, modality="SM")
    write_dicom(tmp_path / "DICOMDIR", "1.2", media=DIRECTORY)
    with pytest.raises(InputError, match="no slides in") as caught:
        find_slides(tmp_path)
    assert "3 unsupported (DICOM without .dcm 3: rename it to end in .dcm)" in caught.value.message
    assert "4 sidecars (.2024 1, .xml 1, DICOM DICOMDIR 1, README 1)" in caught.value.message
    (tmp_path / "IM0001").rename(tmp_path / "IM0001.dcm")
    assert list(find_slides(tmp_path).paths) == ["IM0001"]


def test_damaged_dicom_files_are_slides_of_their_own(tmp_path: Path) -> None:
    write_dicom(tmp_path / "a.dcm", "1.2")
    whole = (tmp_path / "a.dcm").read_bytes()
    for index, length in enumerate((0, 60, 130, 140, 180, 230, len(whole) - 40)):
        (tmp_path / f"cut_{index}.dcm").write_bytes(whole[:length])
    (tmp_path / "noise.dcm").write_bytes(bytes(128) + b"DICM" + bytes(range(256)) * 8)
    assert len(find_slides(tmp_path).paths) == 9


def test_a_change_in_any_file_of_a_slide_changes_its_identity(tmp_path: Path) -> None:
    touch(tmp_path, "m.mrxs", "m/Slidedat.ini", "m/Data0000.dat", "other.dat")
    (tmp_path / "v.vms").write_text("[Virtual Microscope Specimen]\nImageFile=v.jpg\nMapFile=v_map.jpg\nNo=../m.mrxs\n")
    touch(tmp_path, "v.jpg", "v_map.jpg")
    write_dicom(tmp_path / "d" / "1.dcm", "1.2")
    write_dicom(tmp_path / "d" / "2.dcm", "1.2")
    heads = [tmp_path / "m.mrxs", tmp_path / "v.vms", tmp_path / "d" / "1.dcm"]
    assert [path.name for path in other_files(heads[1])] == ["v.jpg", "v_map.jpg"]
    before = [identify(path) for path in heads]
    touch(tmp_path, "other.dat")
    assert [identify(path) for path in heads] == before
    for part, changed in (("m/Data0000.dat", 0), ("v_map.jpg", 1), ("d/2.dcm", 2)):
        with (tmp_path / part).open("ab") as stream:
            stream.write(b"x")
        after = [identify(path) for path in heads]
        assert [index for index in range(3) if after[index] != before[index]] == [changed], part
        before = after
    (tmp_path / "m" / "Data0001.dat").touch()
    assert identify(heads[0]) != before[0]


def test_a_vms_slide_is_one_slide(tmp_path: Path) -> None:
    (tmp_path / "v.vms").write_text("ImageFile=v.jpg\n")
    touch(tmp_path, "v.jpg", "u.svs")
    found = find_slides(tmp_path)
    assert list(found.paths) == ["u", "v"]
    assert (found.inner, found.sidecars) == (1, {})


@pytest.mark.parametrize(
    ("name", "data", "message", "fix"),
    [
        ("a.svs", b"version https://git-lfs.github.com/spec/v1\noid x\nsize 9\n", "a Git LFS pointer", "git lfs pull"),
        ("a.dcm", b"version https://git-lfs.github.com/spec/v1\noid x\nsize 9\n", "a Git LFS pointer", "git lfs pull"),
        ("a.ndpi", b"<!doctype html><title>Sign in</title>", "a web page with the title 'Sign in'", "login"),
        ("a.png", b"<html>", "a web page", "login"),
        ("a.tif", bytes(128) + b"DICM", "a DICOM file", "rename it to end in .dcm"),
        ("a.mrxs", b"", "", ""),
        ("a.svs", b"II*\0\x08\0\0\0", "", ""),  # damaged, but no other thing
        ("a.png", b"\xff\xd8\xff", "", ""),  # one format reads both
        ("a.vms", b"[Virtual Microscope Specimen]", "", ""),
    ],
)
def test_a_file_that_is_no_slide_is_named_by_its_content(
    tmp_path: Path, name: str, data: bytes, message: str, fix: str
) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(SlideError) as caught:
        open_reader(tmp_path / name)
    assert ("its content is" in caught.value.message) == bool(message)
    assert message in caught.value.message
    assert fix in caught.value.remedy


def test_a_mirax_slide_without_its_data_names_the_folder(tmp_path: Path) -> None:
    touch(tmp_path, "case_3.mrxs")
    with pytest.raises(SlideError, match="data folder case_3/ is not beside it") as caught:
        open_reader(tmp_path / "case_3.mrxs")
    assert caught.value.code == "E_OPEN"
    assert str(tmp_path) in caught.value.remedy


def test_a_slide_folder_that_links_to_nowhere_says_where_to(tmp_path: Path) -> None:
    (tmp_path / "slides").symlink_to("/archive/cohort")
    with pytest.raises(InputError, match="a link to /archive/cohort, which is not here") as refused:
        find_slides(tmp_path / "slides")
    assert "-v /archive/cohort:/archive/cohort:ro" in refused.value.remedy
