"""Features as arrays of NumPy and as tables: found by their content, read to the last digit, or refused in words."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sammil_cli.errors import InputError, SlideError
from sammil_cli.features.bag import FeatureBag
from sammil_cli.legacy.bags import convert_slide
from sammil_cli.legacy.feature_table import columns_of
from sammil_cli.legacy.inventory import Kind, recognise
from sammil_cli.legacy.layout import find_layout
from sammil_cli.legacy.npy_file import read_npy
from sammil_cli.legacy.rows import read_features

FEATURES = np.arange(12, dtype=np.float32).reshape(3, 4) / 7
XY = np.array([(0, 0), (512, 0), (0, 512)], np.int64)


def save(path: Path, array: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, np.asarray(array))
    return path


def table(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def rows(places: bool) -> str:
    head = ("x,y," if places else "") + ",".join(map(str, range(4)))
    lines = [
        ",".join([*(map(str, xy) if places else ()), *map(repr, row.tolist())])
        for xy, row in zip(XY.tolist(), FEATURES, strict=True)
    ]
    return "\n".join([head, *lines]) + "\n"


def bag_of(root: Path, slide: str = "s", **options: Any) -> FeatureBag:
    wanted = options.pop("with_coords", True)
    source = find_layout(root, require_coords=wanted).source(slide)
    return convert_slide(source, slide_mpp=0.5, patch_px_level0=None, min_share=0.0, with_coords=wanted).bag


@pytest.mark.parametrize(
    ("features", "corners"),
    [("s.npy", "s_coords.npy"), ("feats/s.npy", "coords/s.npy"), ("s_features.npy", "s_coords.npy")],
)
def test_arrays_with_corners_beside_are_a_bag(tmp_path: Path, features: str, corners: str) -> None:
    save(tmp_path / features, FEATURES[None])  # as some write one slide: (1, rows, d)
    save(tmp_path / corners, XY)
    bag = bag_of(tmp_path)
    np.testing.assert_array_equal(bag.features, FEATURES)
    np.testing.assert_array_equal(bag.xy, XY)
    assert (bag.encoder.patch_px_level0, bag.encoder.name) == (512, "legacy")


def test_arrays_alone_come_without_places_only_when_asked(tmp_path: Path) -> None:
    save(tmp_path / "s.npy", np.asfortranarray(FEATURES.astype(">f8")))
    with pytest.raises(InputError, match="holds no coordinates"):
        find_layout(tmp_path)
    bag = bag_of(tmp_path, with_coords=False)
    np.testing.assert_array_equal(bag.features, FEATURES)
    assert (bag.features.dtype, bag.xy.tolist()) == (np.float32, [[-1, -1]] * 3)


@pytest.mark.parametrize("places", [True, False])
def test_a_table_is_a_bag(tmp_path: Path, places: bool) -> None:
    table(tmp_path / "s.csv", rows(places))
    bag = bag_of(tmp_path, with_coords=places)
    np.testing.assert_array_equal(bag.features, FEATURES)
    assert bag.xy.tolist() == (XY.tolist() if places else [[-1, -1]] * 3)


def test_a_table_may_have_the_row_numbers_of_pandas_other_separators_and_quotes(tmp_path: Path) -> None:
    lines = [f"{number};{line}" for number, line in enumerate(rows(True).replace(",", ";").splitlines()[1:])]
    path = table(tmp_path / "s.csv", "\n".join(['"";"x";"y";"f0";"f1";"f2";"f3"', *lines]))
    features, coords = read_features(path, [])
    np.testing.assert_array_equal(features, FEATURES)
    np.testing.assert_array_equal(coords, XY)


@pytest.mark.parametrize(
    ("header", "found"),
    [
        ("0,1,2", ((0, 1, 2), None)),
        ("x,y,1,2", ((2, 3), (0, 1))),
        ("feature_0,feature_1,coord_x,coord_y", ((0, 1), (2, 3))),
        (",0,1", ((1, 2), None)),
        ("slide_id,label,0,1", None),
        ("x,y,area,0,1", None),
        ("0,2,1", None),
        ("5,6,7", None),
        ("a0,b1", None),
        ("0.5,0.25,0.125", None),  # no header: nobody knows whether the first two are a place
        ("x,y", None),
    ],
)
def test_only_numbered_columns_and_a_place_are_features(header: str, found: tuple[Any, Any] | None) -> None:
    columns = columns_of(header.split(","))
    assert (columns and (columns.features, columns.places)) == found


@pytest.mark.parametrize(
    ("array", "kind"),
    [
        (FEATURES, Kind.ARRAY),
        (XY, Kind.CORNERS),
        (FEATURES[0], Kind.NPY),  # a slide embedding
        (XY[:, [0, 1, 1]], Kind.NPY),  # whole numbers are no features
        (np.array([{"a": 1}]), Kind.DAMAGED),
    ],
)
def test_arrays_are_told_by_shape_and_type(tmp_path: Path, array: Any, kind: Kind) -> None:
    assert recognise(save(tmp_path / "s.npy", array)) is kind


def test_h5_files_go_before_arrays(tmp_path: Path) -> None:
    import h5py

    save(tmp_path / "npy" / "s.npy", FEATURES)
    with h5py.File(tmp_path / "s.h5", "w") as file:
        file["features"], file["coords"] = FEATURES, XY
    assert find_layout(tmp_path).features == tmp_path


def test_an_array_is_read_whatever_its_version_and_order(tmp_path: Path) -> None:
    for version in ((1, 0), (2, 0), (3, 0)):
        with (tmp_path / "a.npy").open("wb") as stream:
            np.lib.format.write_array(stream, np.asfortranarray(FEATURES), version)
        np.testing.assert_array_equal(read_npy(tmp_path / "a.npy"), FEATURES)


def test_features_and_corners_of_different_patches_are_refused(tmp_path: Path) -> None:
    save(tmp_path / "s.npy", FEATURES[:2])
    save(tmp_path / "s_coords.npy", XY)
    with pytest.raises(SlideError) as caught:
        bag_of(tmp_path)
    assert caught.value.code == "E_LEGACY_MISMATCH"


def test_two_files_of_one_slide_in_a_folder_are_refused(tmp_path: Path) -> None:
    save(tmp_path / "s1.npy", FEATURES)
    save(tmp_path / "s1_feats.npy", FEATURES + 1)
    with pytest.raises(InputError, match=r"s1_feats\.npy are both of the slide 's1'"):
        find_layout(tmp_path, require_coords=False)
