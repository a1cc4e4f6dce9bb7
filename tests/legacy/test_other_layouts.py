"""TRIDENT, STAMP, DTFD-style pickles and CLAM before its fast pipeline, written by hand as their tools do."""

import pickle
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from sammil_cli.errors import InputError, SlideError
from sammil_cli.legacy.bags import Converted, convert_slide, from_patch_list
from sammil_cli.legacy.grids import convert_grid
from sammil_cli.legacy.layout import Source, find_layout
from sammil_cli.legacy.patch_file import read_images, read_patch_file
from sammil_cli.legacy.patch_lists import read_patch_lists
from sammil_cli.legacy.unpickler import UnsafePickleError

XY = np.array([(0, 0), (512, 0), (0, 512)], np.int64)
FEATURES = np.arange(12, dtype=np.float32).reshape(3, 4)
TRIDENT = {
    "patch_size": 256,
    "patch_size_level0": 512,
    "level0_magnification": 40,
    "target_magnification": 20,
    "overlap": 0,
    "name": "s",
    "level0_width": 5000,
    "level0_height": 4000,
}


def write_h5(path: Path, arrays: dict[str, Any], facts: dict[str, Any] | None = None, on: str = "coords") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            file[name] = array
        (file[on] if on else file).attrs.update(facts or {})
    return path


def convert(source: Source, **options: Any) -> Converted:
    return convert_slide(source, **{"slide_mpp": 0.25, "patch_px_level0": None, "min_share": 0.0, **options})


@pytest.fixture
def trident(tmp_path: Path) -> Path:
    folder = tmp_path / "job" / "20x_256px_0px_overlap"
    write_h5(folder / "patches" / "s_patches.h5", {"coords": XY}, TRIDENT)
    write_h5(folder / "features_uni_v1" / "s.h5", {"features": FEATURES, "coords": XY}, TRIDENT)
    write_h5(folder / "slide_features_titan" / "s.h5", {"features": FEATURES[0]}, on="")
    return tmp_path / "job"


def test_a_trident_job_is_recognised(trident: Path) -> None:
    layout = find_layout(trident)
    assert layout.tool == "TRIDENT"
    converted = convert(layout.source("s"))
    facts = converted.bag.encoder
    assert (facts.name, facts.patch_px, facts.patch_px_level0, facts.patch_mpp) == ("uni_v1", 256, 512, 0.5)
    np.testing.assert_array_equal(converted.bag.features, FEATURES)
    assert "20x" in " ".join(converted.remarks)


def test_trident_features_alone_say_enough(trident: Path) -> None:
    (trident / "20x_256px_0px_overlap" / "patches" / "s_patches.h5").unlink()
    assert convert(find_layout(trident).source("s")).bag.encoder.patch_px_level0 == 512


def test_features_of_two_encoders_are_told_apart_by_the_user(trident: Path) -> None:
    other = trident / "20x_256px_0px_overlap" / "features_conch_v15"
    write_h5(other / "s.h5", {"features": FEATURES[:, :2], "coords": XY}, TRIDENT)
    with pytest.raises(InputError, match="more than once"):
        find_layout(trident)
    assert convert(find_layout(trident, other).source("s")).bag.encoder.name == "conch_v15"


def test_overlap_and_doubled_patches_of_a_grid_are_said(trident: Path) -> None:
    path = trident / "20x_256px_0px_overlap" / "patches" / "s_patches.h5"
    write_h5(path, {"coords": XY[[2, 0, 1, 1]]}, {**TRIDENT, "overlap": 128})
    source = find_layout(trident, grids=True).source("s")
    grid, remarks = convert_grid(source, slide_mpp=0.25, slide_size_px=None, bounds_px=None, patch_px_level0=None)
    assert grid.xy.tolist() == [[0, 0], [512, 0], [0, 512]]
    assert (grid.patch_px, grid.patch_mpp, grid.slide_size_px) == (256, 0.5, (5000, 4000))
    assert "overlap by 128 of 256 px" in " ".join(remarks)
    assert "1 patches stood there twice" in " ".join(remarks)


def test_a_leading_axis_of_one_is_taken_off(tmp_path: Path) -> None:
    write_h5(tmp_path / "h5" / "s.h5", {"features": FEATURES[None], "coords": XY[None]})
    np.testing.assert_array_equal(convert(find_layout(tmp_path).source("s")).bag.features, FEATURES)


def test_micrometres_of_stamp_need_the_resolution(tmp_path: Path) -> None:
    write_h5(
        tmp_path / "run" / "s.h5",
        {"feats": FEATURES.astype(np.float16), "coords": XY * 0.25 + 0.01},
        {"unit": "um", "tile_size_um": 128.0, "tile_size_px": 224, "extractor": "ctranspath"},
        on="",
    )
    source = find_layout(tmp_path).source("s")
    bag = convert(source).bag
    np.testing.assert_array_equal(bag.xy, XY)
    assert (bag.encoder.name, bag.encoder.patch_px, bag.encoder.patch_px_level0) == ("ctranspath", 224, 512)
    with pytest.raises(SlideError, match="µm") as caught:
        convert(source, slide_mpp=None)
    assert "data/slides.csv" in caught.value.remedy


def test_tiles_finer_than_the_slide_are_told(tmp_path: Path) -> None:
    facts = {"unit": "um", "tile_size_um": 128.0, "tile_size_px": 224}
    write_h5(tmp_path / "run" / "s.h5", {"feats": FEATURES, "coords": XY * 1.0}, facts, on="")
    converted = convert(find_layout(tmp_path).source("s"), slide_mpp=1.0)
    assert (converted.bag.encoder.patch_px, converted.bag.encoder.patch_px_level0) == (224, 128)
    assert "finer than the slide: patches of 224 px cover 128 level-0 pixels" in " ".join(converted.remarks)


def test_images_of_old_clam_files_say_the_side(tmp_path: Path) -> None:
    images = np.arange(3 * 64 * 64 * 3, dtype=np.uint32).astype(np.uint8).reshape(3, 64, 64, 3)
    facts = {"patch_level": 1, "downsample": np.array([4.0, 4.0]), "wsi_name": "s", "level_dim": np.array([500, 400])}
    path = write_h5(tmp_path / "patches" / "s.h5", {"imgs": images, "coords": XY}, facts, on="imgs")
    file = read_patch_file(path)
    assert (file.patch_px, file.patch_px_level0, file.level, file.images) == (64, 256, 1, 3)
    assert file.slide_size_px is None  # level_dim is that of level 1
    np.testing.assert_array_equal(read_images(path, np.array([0, 2])), images[[0, 2]])
    assert find_layout(tmp_path).features is None


# ---------------------------------------------------------------------------------------------- DTFD-style pickles


def patches(names: list[str]) -> list[dict[str, Any]]:
    return [{"feature": FEATURES[number], "file_name": name} for number, name in enumerate(names)]


def test_places_come_from_the_names_of_the_patches(tmp_path: Path) -> None:
    names = [f"tumor_046_{512 * c}_{512 * r}_{c}_{r}_WW_191_HH_431.png" for c, r in ((48, 215), (49, 215), (3, 0))]
    (tmp_path / "a.pkl").write_bytes(pickle.dumps({"tumor_046": patches(names)}))
    found = read_patch_lists(tmp_path / "a.pkl")["tumor_046"]
    converted = from_patch_list("tumor_046", found, 0.25, None, None, True)
    assert converted.bag.xy.tolist() == [[24576, 110080], [25088, 110080], [1536, 0]]
    assert converted.bag.encoder.patch_px_level0 == 512
    np.testing.assert_array_equal(converted.bag.features, FEATURES)


def test_names_without_places_give_no_places(tmp_path: Path) -> None:
    names = ["a_0_0_0_0_WW_9_HH_9.png", "b_12.png", "a_0_512_0_1_WW_9_HH_9.png"]
    (tmp_path / "a.pkl").write_bytes(pickle.dumps({"s": patches(names)}))
    found = read_patch_lists(tmp_path / "a.pkl")["s"]
    assert found.xy is None
    assert from_patch_list("s", found, 0.25, None, None, False).bag.xy.tolist() == [[-1, -1]] * 3


def test_a_side_that_the_rows_contradict_is_not_taken_from_the_names(tmp_path: Path) -> None:
    """x is the column times 512, y is not the row times 512."""
    names = [f"a_{512 * c}_{512 * r + 100}_{c}_{r}_WW_9_HH_9.png" for c, r in ((2, 3), (3, 3), (2, 4))]
    (tmp_path / "a.pkl").write_bytes(pickle.dumps({"s": patches(names)}))
    assert read_patch_lists(tmp_path / "a.pkl")["s"].side_px0 is None


@pytest.mark.parametrize(
    "content",
    [
        [1, 2],
        {"s": []},
        {"s": [{"file_name": "a"}]},
        {"../s": patches(["a"] * 3)},
        {7: patches(["a"] * 3)},
        {"s": [{"feature": np.zeros(3)}, {"feature": np.zeros(4)}]},
        {"s": [{"feature": np.zeros(3, int)}]},
    ],
)
def test_pickles_of_another_form_are_refused(tmp_path: Path, content: Any) -> None:
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(content))
    with pytest.raises(InputError, match="no pickle of patch lists"):
        read_patch_lists(tmp_path / "a.pkl")


def test_a_pickle_of_tensors_is_unsafe_and_not_run(tmp_path: Path) -> None:
    import torch

    (tmp_path / "a.pkl").write_bytes(pickle.dumps({"s": [{"feature": torch.zeros(3)}]}))
    with pytest.raises(UnsafePickleError, match="nothing was run"):
        read_patch_lists(tmp_path / "a.pkl")
