"""HDF5 files know what they are, and the same content gives the same bytes."""

from pathlib import Path

import h5py
import numpy as np
import pytest

from sammil_cli.errors import InputError
from sammil_cli.storage.hdf5 import read_hdf5, write_hdf5

XY = np.array([[3, 1], [4, 1], [5, 9]], np.int32)


def write(path: Path, kind: str = "patches") -> None:
    arrays = {"xy": XY, "runs": np.arange(7, dtype=np.uint32), "none": np.empty((0, 4), np.float32)}
    facts = {"slide_id": "s-ü", "mpp": 0.25, "size_px": (640, 448), "weights": None}
    write_hdf5(path, kind, arrays, facts, {"step": "patch", "recipe": {"a": 1}}, compressed=("runs", "none"))


def test_arrays_and_attributes_come_back_with_their_types(tmp_path: Path) -> None:
    write(tmp_path / "a.h5")
    arrays, facts = read_hdf5(tmp_path / "a.h5", "patches")
    assert {name: (array.dtype.name, array.shape) for name, array in arrays.items()} == {
        "xy": ("int32", (3, 2)),
        "runs": ("uint32", (7,)),
        "none": ("float32", (0, 4)),
    }
    np.testing.assert_array_equal(arrays["xy"], XY)
    assert (facts["slide_id"], facts["mpp"], tuple(facts["size_px"])) == ("s-ü", 0.25, (640, 448))
    assert "weights" not in facts
    assert facts["provenance"] == {"step": "patch", "recipe": {"a": 1}}


def test_the_same_content_gives_the_same_bytes(tmp_path: Path) -> None:
    write(tmp_path / "a.h5")
    write(tmp_path / "b.h5")
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()
    with h5py.File(tmp_path / "a.h5") as file:  # nor does the time of day matter
        assert [file[name].id.get_create_plist().get_obj_track_times() for name in file] == [False] * 3


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "a.h5", kind="regions")
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
        file.attrs["schema"] = 2
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
