"""HDF5 files know what they are, and the same content gives the same bytes."""

import mmap
from pathlib import Path

import h5py
import numpy as np
import pytest
from h5_files import WRITE, bag

from sammil_cli.errors import InputError
from sammil_cli.features.bag import write_bag
from sammil_cli.storage import hdf5
from sammil_cli.storage.hdf5 import read_hdf5, write_hdf5

XY = np.array([[3, 1], [4, 1], [5, 9]], np.int32)
FACTS = {
    **{"patch_px": 64, "patch_mpp": 0.5, "patch_px_level0": 128, "step_px_level0": None, "slide_mpp": 0.25},
    **{"slide_size_px": (640, 448), "bounds_px": (0, 0, 640, 448)},
}


def write(path: Path, xy: np.ndarray = XY) -> None:
    record = {"stage": "patch", "key": {"a": 1}}
    write_hdf5(path, "patches", {"xy": xy}, {"slide_id": path.stem, **FACTS}, record)


def test_arrays_and_attributes_come_back_with_their_types(tmp_path: Path) -> None:
    write(tmp_path / "s-ü.h5")
    arrays, facts = read_hdf5(tmp_path / "s-ü.h5", "patches")
    assert {name: (array.dtype.name, array.shape) for name, array in arrays.items()} == {"xy": ("int32", (3, 2))}
    np.testing.assert_array_equal(arrays["xy"], XY)
    assert (facts["slide_id"], facts["patch_mpp"], facts["slide_size_px"]) == ("s-ü", 0.5, [640, 448])
    assert "step_px_level0" not in facts
    assert facts["provenance"] == {"stage": "patch", "key": {"a": 1}}


def test_the_same_content_gives_the_same_bytes(tmp_path: Path) -> None:
    for kind, make in WRITE.items():
        for folder in ("one", "two"):
            make(tmp_path / folder / f"{kind}.h5")
        assert (tmp_path / "one" / f"{kind}.h5").read_bytes() == (tmp_path / "two" / f"{kind}.h5").read_bytes()
        with h5py.File(tmp_path / "one" / f"{kind}.h5") as file:  # nor does the time of day matter
            assert {file[name].id.get_create_plist().get_obj_track_times() for name in file} == {False}


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    WRITE["regions"](tmp_path / "a.h5")
    with pytest.raises(InputError, match=r"a\.h5 is no patches file \(regions\)"):
        read_hdf5(tmp_path / "a.h5", "patches")


def test_a_file_of_another_tool_is_refused_and_points_to_the_converter(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "clam.h5", "w") as file:
        file["coords"] = XY
    with pytest.raises(InputError, match="not written by sammil") as caught:
        read_hdf5(tmp_path / "clam.h5", "patches")
    assert "convert-legacy" in caught.value.remedy


def test_a_file_of_a_newer_schema_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "a.h5")
    with h5py.File(tmp_path / "a.h5", "a") as file:
        file.attrs["schema"] = 3
    with pytest.raises(InputError, match="newer sammil") as caught:
        read_hdf5(tmp_path / "a.h5", "patches")
    assert caught.value.remedy == "upgrade sammil"


def test_what_is_not_there_cut_off_or_no_hdf5_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        read_hdf5(tmp_path / "none.h5", "patches")
    write(tmp_path / "a.h5")
    (tmp_path / "cut.h5").write_bytes((tmp_path / "a.h5").read_bytes()[:700])
    (tmp_path / "text.h5").write_text("slide_id,label\n")
    for name in ("cut.h5", "text.h5"):
        with pytest.raises(InputError, match="cannot be read") as caught:
            read_hdf5(tmp_path / name, "patches")
        assert "run the stage again" in caught.value.remedy


@pytest.mark.parametrize("kind", list(WRITE))
def test_mapped_arrays_are_those_that_are_read(tmp_path: Path, kind: str) -> None:
    WRITE[kind](tmp_path / "a.h5")
    read, facts = read_hdf5(tmp_path / "a.h5", kind)
    mapped, same_facts = read_hdf5(tmp_path / "a.h5", kind, mapped=True)
    assert facts["provenance"] == same_facts["provenance"]
    assert list(mapped) == list(read)
    for name, array in read.items():
        np.testing.assert_array_equal(mapped[name], array)
        assert (mapped[name].dtype, mapped[name].shape) == (array.dtype, array.shape)
    with h5py.File(tmp_path / "a.h5") as file:  # what is compressed cannot be mapped
        assert not any(isinstance(mapped[name].base, mmap.mmap) for name in file if file[name].compression)
        for name in file:
            np.testing.assert_array_equal(read[name], file[name][()])


def test_an_array_that_is_not_aligned_to_its_type_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:  # as earlier versions wrote: what comes after 610 bytes of features
        patch.setattr(hdf5, "new_hdf5", lambda path, *, libver: h5py.File(path, "w", libver=libver))
        write_bag(tmp_path / "a.h5", bag("a", patches=61), {})
    mapped, _ = read_hdf5(tmp_path / "a.h5", "bag", mapped=True)
    assert isinstance(mapped["features"].base, mmap.mmap)
    assert not isinstance(mapped["xy"].base, mmap.mmap)
    assert mapped["xy"].flags.aligned
    assert mapped["xy"].tolist() == bag("a", patches=61).xy.tolist()


def test_writing_to_a_mapped_array_leaves_the_file_as_it_is(tmp_path: Path) -> None:
    write(tmp_path / "a.h5")
    before = (tmp_path / "a.h5").read_bytes()
    arrays, _ = read_hdf5(tmp_path / "a.h5", "patches", mapped=True)
    arrays["xy"][:] = 0
    assert arrays["xy"].sum() == 0
    assert (tmp_path / "a.h5").read_bytes() == before


def test_a_mapped_array_outlives_its_file(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    write(path)
    first, _ = read_hdf5(path, "patches", mapped=True)
    write(path, XY + 100)  # another file takes the name
    second, _ = read_hdf5(path, "patches", mapped=True)
    path.unlink()
    np.testing.assert_array_equal(first["xy"], XY)
    np.testing.assert_array_equal(second["xy"], XY + 100)


def test_a_file_that_was_cut_off_anywhere_is_refused_before_it_is_mapped(tmp_path: Path) -> None:
    write(tmp_path / "a.h5", np.ones((5000, 2), np.int32))
    whole = (tmp_path / "a.h5").read_bytes()
    for size in (0, 100, 3000, len(whole) // 2, len(whole) - 1):
        (tmp_path / "cut.h5").write_bytes(whole[:size])
        with pytest.raises(InputError, match="cannot be read") as caught:
            read_hdf5(tmp_path / "cut.h5", "patches", mapped=True)
        assert "run the stage again" in caught.value.remedy


def test_an_array_said_to_lie_beyond_the_end_of_the_file_is_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w", libver="earliest") as file:  # without check sums
        facts = {name: value for name, value in FACTS.items() if value is not None}
        file.attrs.update({"kind": "patches", "schema": 1, "provenance": "{}", "slide_id": "a", **facts})
        file["xy"] = XY
        offset = file["xy"].id.get_offset()
    whole = (tmp_path / "a.h5").read_bytes()
    place = offset.to_bytes(8, "little") + XY.nbytes.to_bytes(8, "little")
    assert whole.count(place) == 1
    end = (len(whole) - XY.nbytes + 4).to_bytes(8, "little")  # its last number would lie outside
    (tmp_path / "a.h5").write_bytes(whole.replace(place, end + place[8:]))
    for mapped in (True, False):
        with pytest.raises(InputError, match=r"xy is unreadable \(.*size"):
            read_hdf5(tmp_path / "a.h5", "patches", mapped=mapped)


def test_a_file_shortened_since_it_was_opened_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "a.h5")
    monkeypatch.setattr(hdf5, "_map", lambda stream: mmap.mmap(-1, 64))
    with pytest.raises(InputError, match=r"cannot be read: xy ends at byte \d+ of 64"):
        read_hdf5(tmp_path / "a.h5", "patches", mapped=True)


def test_where_nothing_can_be_mapped_arrays_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def too_many(*_: object, **__: object) -> None:
        raise OSError(24, "Too many open files")

    write(tmp_path / "a.h5")
    monkeypatch.setattr(hdf5.mmap, "mmap", too_many)
    arrays, _ = read_hdf5(tmp_path / "a.h5", "patches", mapped=True)
    np.testing.assert_array_equal(arrays["xy"], XY)


def test_a_foreign_file_with_odd_attributes_is_refused_like_any_other(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "odd.h5", "w") as file:
        file.attrs["nothing"] = h5py.Empty("f")
        file.attrs["latin"] = np.bytes_(b"M\xfcller")
        file.attrs["names"] = ["a", "b"]
    with pytest.raises(InputError, match="not written by sammil"):
        read_hdf5(tmp_path / "odd.h5", "patches")


def test_arrays_are_written_where_they_can_be_mapped(tmp_path: Path) -> None:
    write_bag(tmp_path / "a.h5", bag("a", patches=61), {})
    mapped, _ = read_hdf5(tmp_path / "a.h5", "bag", mapped=True)
    assert all(isinstance(array.base, mmap.mmap) for array in mapped.values() if array.size)
