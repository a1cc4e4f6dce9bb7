"""Slides are found, named, told apart and opened; what cannot be opened says why and what to do."""

import errno
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from slide_maker import draw_asymmetric, write_pyramid

from sammil_cli.errors import InputError, SlideError
from sammil_cli.slides.files import find_slides, identify, open_slide
from sammil_cli.slides.resolution import resolve_mpp
from sammil_cli.slides.table import SlideEntry, read_slides_table


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")


def test_slides_are_found_in_folders_below_whatever_the_case_of_their_suffix(tmp_path: Path) -> None:
    touch(tmp_path, "b.svs", "centre 1/a.x.TIF", "c.ndpi")
    found = find_slides(tmp_path)
    assert list(found.paths) == ["b", "c", "a.x"]
    assert found.paths["a.x"] == tmp_path / "centre 1" / "a.x.TIF"
    assert found.ignored == {}


def test_hidden_files_and_folders_are_no_slides(tmp_path: Path) -> None:
    touch(tmp_path, "a.svs", "._a.svs", ".cache/b.svs", ".gitignore")
    found = find_slides(tmp_path)
    assert list(found.paths) == ["a"]
    assert found.ignored == {}


def test_a_hidden_folder_above_hides_nothing(tmp_path: Path) -> None:
    touch(tmp_path / ".scratch" / "slides", "a.svs")
    assert list(find_slides(tmp_path / ".scratch" / "slides").paths) == ["a"]


def test_other_files_are_counted_by_suffix(tmp_path: Path) -> None:
    touch(tmp_path, "a.svs", "a.xml", "b.XML", "notes.txt", "README")
    assert find_slides(tmp_path).ignored == {".xml": 2, ".txt": 1, "README": 1}


def test_the_data_folder_of_a_mirax_slide_is_part_of_it(tmp_path: Path) -> None:
    touch(tmp_path, "a.mrxs", "a/Slidedat.ini", "a/Data0000.dat", "a/deep/x.tif", "b/c.tif")
    found = find_slides(tmp_path)
    assert list(found.paths) == ["a", "c"]
    assert found.ignored == {}


def test_two_slides_of_one_id_are_refused_with_both_places(tmp_path: Path) -> None:
    touch(tmp_path, "a.svs", "second/a.tif")
    with pytest.raises(InputError, match=r"id 'a': a\.svs and second/a\.tif"):
        find_slides(tmp_path)


def test_no_folder_and_no_slides_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        find_slides(tmp_path / "none")
    touch(tmp_path, "a.txt")
    with pytest.raises(InputError, match="no slides in") as caught:
        find_slides(tmp_path)
    assert ".svs" in caught.value.remedy


def test_a_slide_without_resolution_is_set_aside_with_the_line_to_add(tmp_path: Path) -> None:
    path = write_pyramid(tmp_path / "s 1.tif", draw_asymmetric(), mpp=None)
    with pytest.raises(SlideError, match="does not say its resolution") as caught:
        open_slide(path)
    assert (caught.value.code, caught.value.set_aside) == ("E_MPP", True)
    assert "slide_id,mpp" in caught.value.remedy
    assert "s 1,<" in caught.value.remedy


def test_the_users_resolution_goes_before_the_files(tmp_path: Path) -> None:
    for name, mpp in (("with.tif", 2.0), ("without.tif", None)):
        with open_slide(write_pyramid(tmp_path / name, draw_asymmetric(), mpp=mpp), mpp=0.25) as slide:
            assert (slide.mpp, slide.mpp_source) == (0.25, "slides.csv")


def test_pixels_that_are_not_square_are_set_aside(tmp_path: Path) -> None:
    path = write_pyramid(tmp_path / "a.tif", draw_asymmetric(), mpp=(0.5, 0.512))  # 78125/4 pixels per cm
    with pytest.raises(SlideError, match=r"not square: 0\.5 x 0\.512") as caught:
        open_slide(path)
    assert caught.value.code == "E_MPP"
    with open_slide(write_pyramid(tmp_path / "b.tif", draw_asymmetric(), mpp=(0.5, 0.505))) as slide:
        assert slide.mpp == pytest.approx(0.5025)


@pytest.mark.parametrize(("mpp", "message"), [(25_400 / 300, "does not say"), (0.01, "cannot be right")])
def test_a_printers_resolution_is_not_believed(tmp_path: Path, mpp: float, message: str) -> None:
    path = write_pyramid(tmp_path / "a.tif", draw_asymmetric(), mpp=mpp)
    with pytest.raises(SlideError, match=message) as caught:
        open_slide(path)
    assert caught.value.code == "E_MPP"


@pytest.mark.parametrize("mpp", [float("nan"), float("inf"), 0.0, -0.5])
def test_a_resolution_that_is_no_length_is_not_believed(mpp: float) -> None:
    with pytest.raises(SlideError, match=rf"^{mpp:g} µm per pixel \(array\) cannot be right") as caught:
        resolve_mpp((mpp, mpp), "array", "s", None)
    assert caught.value.code == "E_MPP"
    assert "data/slides.csv" in caught.value.remedy


def test_the_table_of_resolutions_is_read_and_may_have_gaps(tmp_path: Path) -> None:
    table = tmp_path / "slides.csv"
    assert read_slides_table(table) == {}
    table.write_text("mpp,slide_id,note\n0.25,s1,x\n,s2,\n 7.776 , s3 ,\n")
    assert read_slides_table(table) == {"s1": SlideEntry(0.25), "s2": SlideEntry(), "s3": SlideEntry(7.776)}


@pytest.mark.parametrize("value", ["0", "-1", "0.25 um", "nan", "inf", '"0,25"'])
def test_a_resolution_that_is_no_positive_number_names_its_line(tmp_path: Path, value: str) -> None:
    table = tmp_path / "slides.csv"
    table.write_text(f"slide_id,mpp\ns1,0.5\ns2,{value}\n")
    with pytest.raises(InputError, match=r"slides\.csv, line 3: .* no positive number") as caught:
        read_slides_table(table)
    assert "µm per pixel" in caught.value.remedy


def test_an_empty_file_is_set_aside(tmp_path: Path) -> None:
    (tmp_path / "a.svs").touch()
    with pytest.raises(SlideError) as caught:
        open_slide(tmp_path / "a.svs")
    assert (caught.value.code, caught.value.set_aside) == ("E_EMPTY", True)
    assert "again" in caught.value.remedy


def test_a_text_file_with_a_slides_name_is_set_aside(tmp_path: Path) -> None:
    (tmp_path / "a.svs").write_text("slide_id,label\n")
    with pytest.raises(SlideError, match="its content is text that begins 'slide_id,label'") as caught:
        open_slide(tmp_path / "a.svs")
    assert (caught.value.code, caught.value.set_aside) == ("E_OPEN", True)
    assert caught.value.remedy == "copy or download the file itself"


@pytest.mark.parametrize("share", [0.1, 0.5, 0.98])
def test_a_truncated_slide_fails_when_it_is_opened(tmp_path: Path, share: float) -> None:
    whole = write_pyramid(tmp_path / "whole.tif", draw_asymmetric()).read_bytes()
    length = int(share * len(whole))
    path = tmp_path / "cut.tif"
    path.write_bytes(whole[:length])
    with pytest.raises(SlideError, match=f"the file is cut: it ends at byte {length},") as caught:
        open_slide(path)
    assert (caught.value.code, caught.value.set_aside) == ("E_OPEN", True)
    assert caught.value.remedy == "copy or download the file again"


def test_a_slide_on_a_disk_that_fails_is_no_slide_at_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_pyramid(tmp_path / "a.tif", draw_asymmetric())

    def failing(path: Path, *_: object, **__: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))

    with monkeypatch.context() as patched:
        patched.setattr(Path, "open", failing)
        with pytest.raises(SlideError) as caught:
            open_slide(path)
    assert (caught.value.code, caught.value.set_aside) == ("E_DISK", False)


def test_a_slide_that_is_gone_is_set_aside(tmp_path: Path) -> None:
    with pytest.raises(SlideError, match="No such file") as caught:
        open_slide(tmp_path / "gone.svs")
    assert caught.value.code == "E_OPEN"


def test_a_slide_is_known_by_its_content_not_by_its_place(tmp_path: Path) -> None:
    content = np.random.default_rng(0).bytes(5 << 20)
    (tmp_path / "a.svs").write_bytes(content)
    (tmp_path / "b.svs").write_bytes(content)
    known = identify(tmp_path / "a.svs")
    assert identify(tmp_path / "b.svs") == known
    for change in (0, len(content) // 2 + 5, len(content) - 1):
        changed = bytearray(content)
        changed[change] ^= 1
        (tmp_path / "b.svs").write_bytes(changed)
        assert identify(tmp_path / "b.svs") != known, f"byte {change}"
    (tmp_path / "b.svs").write_bytes(content + b"\0")
    assert identify(tmp_path / "b.svs") != known


def test_tiny_files_are_told_apart(tmp_path: Path) -> None:
    digests = set()
    for content in (b"", b"a", b"b", b"ab"):
        (tmp_path / "a.svs").write_bytes(content)
        digests.add(identify(tmp_path / "a.svs"))
    assert len(digests) == 4


@pytest.mark.parametrize("set_aside", [True, False])
def test_a_slides_error_survives_the_way_between_processes(set_aside: bool) -> None:
    error = SlideError("E_OPEN", "it is damaged", remedy="copy it again", set_aside=set_aside)
    back = pickle.loads(pickle.dumps(error))
    assert isinstance(back, SlideError)
    assert (back.code, back.message, back.remedy, back.set_aside) == (
        "E_OPEN",
        "it is damaged",
        "copy it again",
        set_aside,
    )
    assert str(back) == "it is damaged"
    assert (SlideError.exit_code, back.exit_code) == (1, 1)
