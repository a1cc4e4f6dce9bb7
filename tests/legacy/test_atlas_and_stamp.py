"""AtlasPatch's grouped features, STAMP's coordinates of both versions, tables of torch and names of other tools."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from sammil_cli.errors import InputError, SlideError
from sammil_cli.exchange.convert_weights import is_weight_file
from sammil_cli.legacy.bags import Converted, convert_slide
from sammil_cli.legacy.grids import convert_grid
from sammil_cli.legacy.inventory import Kind, recognise, take_inventory
from sammil_cli.legacy.layout import Source, find_layout

XY = np.array([(1024, 512), (1536, 512), (1024, 2560)], np.int64)  # no corner is its own mirror image
FEATURES = np.random.default_rng(3).normal(size=(3, 5)).astype(np.float32)
ATLAS = {"patch_size": 256, "patch_size_level0": 512, "target_magnification": 20, "overlap": 0, "level0_width": 5000}
ATLAS |= {"level0_height": 4000, "level0_magnification": 40}


def write_h5(path: Path, arrays: dict[str, Any], facts: dict[str, Any] | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            file[name] = array
        file.attrs.update(facts or {})
    return path


def source(path: Path) -> Source:
    return Source(slide_id="s", features=path, coords=None)


def convert(path: Path, mpp: float | None = 0.25, **options: Any) -> Converted:
    return convert_slide(source(path), slide_mpp=mpp, patch_px_level0=None, min_share=0.0, **options)


def refused(path: Path, code: str, **options: Any) -> SlideError:
    with pytest.raises(SlideError) as caught:
        convert(path, **options)
    assert (caught.value.code, bool(caught.value.remedy)) == (code, True)
    return caught.value


# ---------------------------------------------------------------------------------------------------- AtlasPatch


def atlas(path: Path, encoders: tuple[str, ...] = ("uni_v2",), read: tuple[int, int, int] = (256, 256, 1)) -> Path:
    coords = np.concatenate([XY, np.tile(read, (3, 1))], axis=1).astype(np.int32)
    groups = {f"features/{name}": FEATURES * (number + 1) for number, name in enumerate(encoders)}
    more = {"passports": np.array([b"s__x1"] * 3), "slide_features/titan": FEATURES[0]}
    return write_h5(path, {"coords": coords, **groups, **more}, ATLAS)


def test_grouped_features_are_read_with_their_encoder(tmp_path: Path) -> None:
    atlas(tmp_path / "patches" / "s.h5")
    layout = find_layout(tmp_path)
    assert layout.tool == "AtlasPatch"
    bag = convert(layout.source("s").features or tmp_path).bag
    np.testing.assert_array_equal(bag.features, FEATURES)
    np.testing.assert_array_equal(bag.xy, XY)
    facts = bag.encoder
    assert (facts.name, facts.patch_px, facts.patch_px_level0, facts.patch_mpp) == ("uni_v2", 256, 512, 0.5)


def test_of_several_encoders_one_is_named(tmp_path: Path) -> None:
    path = atlas(tmp_path / "s.h5", ("uni_v2", "conch_v15"))
    error = refused(path, "E_LEGACY_MISSING")
    assert "features of conch_v15, uni_v2" in error.message
    assert error.remedy == "name one: --encoder-name conch_v15"
    bag = convert(path, encoder="conch_v15").bag
    np.testing.assert_array_equal(bag.features, FEATURES * 2)
    assert bag.encoder.name == "conch_v15"
    np.testing.assert_array_equal(convert(path, encoder="uni_v2").bag.features, FEATURES)


def test_the_coordinates_of_feature_files_become_grids(tmp_path: Path) -> None:
    atlas(tmp_path / "patches" / "s.h5")
    found = find_layout(tmp_path, grids=True).source("s")
    grid, _ = convert_grid(found, slide_mpp=0.25, slide_size_px=None, bounds_px=None, patch_px_level0=None)
    assert (grid.xy.tolist(), grid.slide_size_px, grid.patch_px_level0) == (XY.tolist(), (5000, 4000), 512)


def test_coordinates_alone_and_a_features_group_that_is_empty(tmp_path: Path) -> None:
    path = atlas(tmp_path / "patches" / "s.h5", ())
    assert recognise(path) is Kind.COORDS
    with h5py.File(path, "r+") as file:
        file.create_group("features")
    assert "it has no data set 'features'" in refused(path, "E_LEGACY_DAMAGED").message


def test_five_columns_of_another_meaning_are_refused(tmp_path: Path) -> None:
    assert "(rows, 2)" in refused(atlas(tmp_path / "s.h5", read=(256, 128, 1)), "E_LEGACY_DAMAGED").message


def test_links_in_a_group_are_not_followed(tmp_path: Path) -> None:
    secret = write_h5(tmp_path / "secret.h5", {"x": FEATURES})
    path = atlas(tmp_path / "s.h5", ())
    with h5py.File(path, "r+") as file:
        file["features/uni"] = h5py.ExternalLink(str(secret), "/x")
    assert "it has no data set 'features'" in refused(path, "E_LEGACY_DAMAGED").message


# ---------------------------------------------------------------------------------------------------- STAMP


def stamp(path: Path, coords: Any, facts: dict[str, Any] | None = None, **more: Any) -> Path:
    return write_h5(path, {"feats": FEATURES[: len(coords)], "coords": coords, **more}, facts)


STAMP_1 = np.array([(896, 672), (1120, 672), (0, 224)], np.int64)


@pytest.mark.parametrize("facts", [{}, {"extractor": "STAMP-extract-v0.1.0_xiyuewang-ctranspath-7c998680"}], ids=str)
@pytest.mark.parametrize(("mpp", "first", "side"), [(0.25, [4096, 3072], 1024), (0.5, [2048, 1536], 512)])
def test_224_of_stamp_1_are_256_um(
    tmp_path: Path, facts: dict[str, Any], mpp: float, first: list[int], side: int
) -> None:
    converted = convert(stamp(tmp_path / "s.h5", STAMP_1, facts), mpp)
    np.testing.assert_array_equal(converted.bag.xy, np.rint(STAMP_1 / 224 * 256 / mpp))
    assert converted.bag.xy[0].tolist() == first
    assert (converted.bag.encoder.patch_px, converted.bag.encoder.patch_px_level0) == (224, side)
    assert "STAMP 1's step of 224" in " ".join(converted.remarks)


def test_stamp_1_needs_the_resolution(tmp_path: Path) -> None:
    assert "µm" in refused(stamp(tmp_path / "s.h5", STAMP_1), "E_LEGACY_MISSING", mpp=None).message


def test_224_elsewhere_are_pixels(tmp_path: Path) -> None:
    """CLAM's patches of 224 px, a file of STAMP's name on another step, and one that says its pixels."""
    clam = write_h5(tmp_path / "clam.h5", {"features": FEATURES, "coords": STAMP_1})
    assert convert(clam).bag.xy.tolist() == STAMP_1.tolist()
    other = stamp(tmp_path / "other.h5", STAMP_1 * 2)
    assert convert(other).bag.xy.tolist() == (STAMP_1 * 2).tolist()
    said = stamp(tmp_path / "said.h5", STAMP_1, {"unit": "px"})
    assert convert(said).bag.xy.tolist() == STAMP_1.tolist()


def test_a_file_that_names_stamp_1_and_is_not_on_its_step_is_refused(tmp_path: Path) -> None:
    facts = {"extractor": "STAMP-extract-v0.1.0_x"}
    assert "multiples of 224" in refused(stamp(tmp_path / "s.h5", STAMP_1 + 5, facts), "E_LEGACY_MISMATCH").message


def test_rows_that_stamp_changed_at_random_are_left_out(tmp_path: Path) -> None:
    path = stamp(tmp_path / "s.h5", STAMP_1[[0, 1, 0]], augmented=np.array([False, False, True]))
    converted = convert(path)
    np.testing.assert_array_equal(converted.bag.features, FEATURES[:2])
    assert "1 rows of patches that STAMP changed at random" in " ".join(converted.remarks)
    np.testing.assert_array_equal(convert(path, with_coords=False).bag.features, FEATURES[:2])


@pytest.mark.parametrize(
    "facts",
    [{"unit": "um", "tile_size": 128.0}, {"tile_size_um": 128.0}, {"unit": "µm", "tile_size_um": 128.0}],
    ids=str,
)
def test_um_are_told_by_any_of_stamps_attributes(tmp_path: Path, facts: dict[str, Any]) -> None:
    bag = convert(stamp(tmp_path / "s.h5", XY * 0.25 + 0.01, facts)).bag
    np.testing.assert_array_equal(bag.xy, XY)
    assert bag.encoder.patch_px_level0 == 512


def test_um_without_a_side_are_still_um(tmp_path: Path) -> None:
    converted = convert(stamp(tmp_path / "s.h5", XY * 0.25, {"unit": "um"}))
    np.testing.assert_array_equal(converted.bag.xy, XY)
    assert "the smallest step" in " ".join(converted.remarks)


def test_the_real_file_on_a_step_of_512_is_of_pixels(real_data: Path) -> None:
    path = real_data / "legacy/stamp/TCGA-AD-6964-01Z-00-DX1/features.h5"
    with h5py.File(path, locking=False) as file:
        np.testing.assert_array_equal(convert(path).bag.xy, file["coords"][()])


# ---------------------------------------------------------------------------------------------------- names, torch


@pytest.mark.parametrize(("features", "coords"), [("embeddings", "coords"), ("features", "coordinates")])
def test_other_names_of_the_data_sets(tmp_path: Path, features: str, coords: str) -> None:
    write_h5(tmp_path / "run" / "s.h5", {features: FEATURES, coords: XY, "barcodes": np.arange(3)})
    assert recognise(tmp_path / "run" / "s.h5") is Kind.FEATURES
    bag = convert(find_layout(tmp_path).source("s").features or tmp_path).bag
    np.testing.assert_array_equal(bag.features, FEATURES)
    np.testing.assert_array_equal(bag.xy, XY)


def test_features_of_two_names_are_asked_for(tmp_path: Path) -> None:
    path = write_h5(tmp_path / "s.h5", {"features": FEATURES, "embeddings": FEATURES + 1, "coords": XY})
    assert "features of embeddings, features" in refused(path, "E_LEGACY_MISSING").message
    np.testing.assert_array_equal(convert(path, encoder="features").bag.features, FEATURES)


def test_unknown_names_are_listed_with_their_shapes(tmp_path: Path) -> None:
    path = write_h5(tmp_path / "s.h5", {"latent": FEATURES, "coords": XY})
    assert "latent (3, 5)" in refused(path, "E_LEGACY_DAMAGED").message


@pytest.mark.parametrize("modern", [True, False])
@pytest.mark.parametrize("suffix", [".pt", ".PT", ".pth"])
def test_a_table_of_torch_with_coordinates(tmp_path: Path, modern: bool, suffix: str) -> None:
    content = {"feats": torch.from_numpy(FEATURES), "coords": torch.from_numpy(XY), "label": 1}
    path = tmp_path / "run" / f"s{suffix}"
    path.parent.mkdir()
    torch.save(content, path, _use_new_zipfile_serialization=modern)
    assert recognise(path) is Kind.PLACED_TENSOR
    assert not is_weight_file(path)
    bag = convert(find_layout(tmp_path).source("s").features or tmp_path).bag
    np.testing.assert_array_equal(bag.features, FEATURES)
    np.testing.assert_array_equal(bag.xy, XY)


def test_a_table_of_torch_without_coordinates_says_what_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "s.pt"
    torch.save({"features": torch.from_numpy(FEATURES), "label": torch.tensor(1)}, path)
    assert recognise(path) is Kind.TENSOR
    with pytest.raises(InputError, match="holds no coordinates"):
        find_layout(tmp_path)
    assert "no coordinates" in refused(path, "E_LEGACY_MISSING").message
    np.testing.assert_array_equal(convert(path, with_coords=False).bag.features, FEATURES)


def test_state_dicts_are_no_tables_of_features(tmp_path: Path) -> None:
    layers = {"features.0.weight": torch.zeros(2, 2), "features": torch.zeros(2, 2), "coords.bias": torch.zeros(2)}
    torch.save(layers, tmp_path / "model.pth")
    assert recognise(tmp_path / "model.pth") is Kind.WEIGHTS
    assert list(take_inventory(tmp_path).files) == [Kind.WEIGHTS]
