"""HDF5 files made to trick the reader: each costs its slide only, and is refused before it costs memory."""

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from sammil_cli.errors import SlideError
from sammil_cli.legacy.inventory import Kind, recognise
from sammil_cli.legacy.patch_file import read_patch_file
from sammil_cli.legacy.rows import read_features
from sammil_cli.legacy.sam_info import read_sam_info, read_seg_file


def huge(file: h5py.File) -> None:
    file.create_dataset("features", (1 << 40, 64), np.float32, chunks=(1024, 64))
    file["coords"] = np.zeros((4, 2), np.int64)


def objects(file: h5py.File) -> None:
    file.create_dataset("features", (4,), h5py.string_dtype())
    file["coords"] = np.zeros((4, 2), np.int64)


def external_link(file: h5py.File) -> None:
    other = Path(file.filename).with_name("secret.h5")
    with h5py.File(other, "w") as secret:
        secret["features"] = np.ones((4, 3), np.float32)
    file["features"] = h5py.ExternalLink(str(other), "/features")
    file["coords"] = np.zeros((4, 2), np.int64)


def external_storage(file: h5py.File) -> None:
    raw = Path(file.filename).with_name("secret.raw")
    raw.write_bytes(b"\0" * 48)
    file.create_dataset("features", (4, 3), np.float32, external=[(str(raw), 0, 48)])
    file["coords"] = np.zeros((4, 2), np.int64)


def soft_link_in_a_circle(file: h5py.File) -> None:
    file["features"] = h5py.SoftLink("/features")
    file["coords"] = np.zeros((4, 2), np.int64)


def group_in_place_of_data(file: h5py.File) -> None:
    file.create_group("features")
    file["coords"] = np.zeros((4, 2), np.int64)


def complex_coords(file: h5py.File) -> None:
    file["features"] = np.ones((4, 3), np.float32)
    file["coords"] = np.ones((4, 2), np.complex64)


def no_axis(file: h5py.File) -> None:
    file["features"] = np.float32(1)
    file["coords"] = np.zeros((4, 2), np.int64)


def null_space(file: h5py.File) -> None:
    file["features"] = h5py.Empty(np.float32)
    file["coords"] = np.zeros((4, 2), np.int64)


NO_FEATURES = "it has no data set 'features'"
HOSTILE: dict[Callable[[h5py.File], None], str] = {
    huge: "its features of shape (1099511627776, 64) would be 268435456 MiB",
    objects: "its features are without numbers",
    external_link: NO_FEATURES,
    external_storage: NO_FEATURES,
    soft_link_in_a_circle: NO_FEATURES,
    group_in_place_of_data: NO_FEATURES,
    complex_coords: "its coords are without numbers",
    no_axis: "its features have the shape ()",
    null_space: NO_FEATURES,
}


@pytest.mark.parametrize("spoil", HOSTILE, ids=lambda spoil: spoil.__name__)
def test_hostile_feature_files_are_damaged(tmp_path: Path, spoil: Callable[[h5py.File], None]) -> None:
    with h5py.File(tmp_path / "s.h5", "w") as file:
        spoil(file)
    recognise(tmp_path / "s.h5")  # a glance at it must not fail either
    with pytest.raises(SlideError) as caught:
        read_features(tmp_path / "s.h5", [])
    assert (caught.value.code, bool(caught.value.remedy)) == ("E_LEGACY_DAMAGED", True)
    assert f"s.h5 cannot be read: {HOSTILE[spoil]}" in caught.value.message


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"patch_size": -5}, "a side of -5 x 1.0 level-0 pixels"),
        ({"patch_size": 10**30}, f"a side of {10**30} pixels"),
        ({"patch_size": 256, "patch_level": 10_000}, "its attributes are no numbers: int too large"),
        ({"patch_size": 256, "downsample": np.nan}, "a side of 256 x nan level-0 pixels"),
        ({"patch_size": 256, "patch_size_level0": 0}, "a side of 0 level-0 pixels"),
        ({"patch_size": np.zeros((2, 2))}, "its attributes are no numbers: only"),
        ({"level_dim": np.array([1, 2, 3]), "patch_level": 0}, "its attributes are no numbers: too many values"),
        ({"unit": "mm"}, "its coordinates are in 'mm', which is neither µm nor pixels"),
        ({"patch_size": 256, "overlap": -1}, "an overlap of -1 pixels"),
        ({"unit": "um", "tile_size_um": -3.0}, "its patches have a side of -3.0 µm"),
    ],
    ids=str,
)
def test_attributes_that_make_no_sense_are_damage(tmp_path: Path, facts: dict[str, object], said: str) -> None:
    with h5py.File(tmp_path / "s.h5", "w") as file:
        file["coords"] = np.zeros((4, 2), np.int64)
        for name, value in facts.items():
            file["coords"].attrs[name] = str(value) if isinstance(value, int) and value > 2**63 else value
    with pytest.raises(SlideError) as caught:
        read_patch_file(tmp_path / "s.h5")
    assert caught.value.code == "E_LEGACY_DAMAGED"
    assert said in caught.value.message


def test_an_attribute_that_is_not_read_is_no_data_set(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "g.h5", "w") as file:
        file["seg_0"] = np.zeros((3, 2), np.int32)
        file.attrs["done"] = True
        file.attrs["relative_area"] = [True, False]
    assert recognise(tmp_path / "g.h5") is Kind.SEG_FILE
    assert read_seg_file(tmp_path / "g.h5")[0].shape == (3, 2)


def test_sam_info_and_seg_files_of_another_form_are_damage(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "s.h5", "w") as file:
        file["is_group_feat"], file["relative_area"] = np.zeros(3), np.zeros(4)
    assert recognise(tmp_path / "s.h5") is Kind.SAM_INFO
    with pytest.raises(SlideError, match="3 is_group_feat for 4"):
        read_sam_info(tmp_path / "s.h5")
    with h5py.File(tmp_path / "g.h5", "w") as file:
        file["seg_x"] = np.zeros((3, 2))
    assert recognise(tmp_path / "g.h5") is Kind.SEG_FILE
    with pytest.raises(SlideError, match="seg_0"):
        read_seg_file(tmp_path / "g.h5")
