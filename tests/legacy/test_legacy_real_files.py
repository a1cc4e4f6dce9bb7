"""Files that other tools wrote, from the shared test data."""

import csv
import os
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
from scipy.io import loadmat

from sammil_cli.errors import InputError, SlideError
from sammil_cli.legacy.bags import convert_slide
from sammil_cli.legacy.grids import convert_grid
from sammil_cli.legacy.inventory import Kind, take_inventory
from sammil_cli.legacy.layout import find_layout
from sammil_cli.legacy.mat_bags import read_mat_bags
from sammil_cli.legacy.patch_file import read_patch_file
from sammil_cli.legacy.rows import read_features
from sammil_cli.legacy.segments import read_segments
from sammil_cli.legacy.tables import read_results, read_splits
from sammil_cli.legacy.unpickler import read_pickles

REPOSITORY = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("SAMMIL_TEST_DATA", REPOSITORY.parent / "shared" / "data"))


def real(name: str) -> Path:
    path = DATA / name
    if not path.exists():
        pytest.skip(f"{path} is not here (set SAMMIL_TEST_DATA)")
    return path


def test_bags_of_a_hundred_colon_images_are_read() -> None:
    features = real("mil/colon_crc/features")
    layout = find_layout(features.parent, features, None, None, None, require_segments=False)
    assert (layout.tool, len(layout.sources)) == ("CLAM", 100)
    patches = 0
    for slide_id in (source.slide_id for source in layout.sources):
        bag = convert_slide(layout.source(slide_id), slide_mpp=0.55, patch_px_level0=27, min_share=0.0).bag
        assert bag.features.shape == (len(bag.xy), 1024)
        assert (bag.xy >= 0).all()
        assert bag.encoder.patch_mpp == 0.55
        patches += len(bag.xy)
    with h5py.File(features / "img22.h5", locking=False) as file:
        bag = convert_slide(layout.source("img22"), slide_mpp=None, patch_px_level0=27, min_share=0.0).bag
        np.testing.assert_array_equal(bag.xy, file["coords"][()])
        np.testing.assert_array_equal(bag.features, file["features"][()])
    assert patches == sum(len(read_features(path, [])[1]) for path in features.glob("*.h5"))


def test_h5_and_pt_of_a_real_clam_slide_give_the_same_bag(tmp_path: Path) -> None:
    folder = real("legacy/clam_run/C3L-01663-21")
    for kind in ("h5", "pt"):
        (tmp_path / f"{kind}_files").mkdir()
        shutil.copy(folder / f"{folder.name}.{kind}", tmp_path / f"{kind}_files")
    bags = []
    for kind in ("h5", "pt"):
        layout = find_layout(
            tmp_path, tmp_path / f"{kind}_files", None, tmp_path / "h5_files", None, require_segments=False
        )
        converted = convert_slide(layout.source(folder.name), slide_mpp=0.5, patch_px_level0=None, min_share=0.0)
        assert "256 level-0 pixels wide, the smallest step" in " ".join(converted.remarks)
        bags.append(converted.bag)
    assert bags[0].features.shape == (294, 1024)
    np.testing.assert_array_equal(bags[0].features, bags[1].features)
    np.testing.assert_array_equal(bags[0].xy, bags[1].xy)


def test_a_real_tissue_pickle_is_read_and_is_no_segments_file() -> None:
    path = real("legacy/clam_run/C3L-01663-21/C3L-01663-21_mask.pkl")
    [tissue] = read_pickles(path)
    assert isinstance(tissue, dict)
    assert set(tissue) == {"holes", "tissue"}
    assert tissue["tissue"][0].shape == (2519, 1, 2)
    assert tissue["tissue"][0].dtype == np.int32
    with pytest.raises(InputError, match="no list"):
        read_segments(path)


def test_real_results_are_read() -> None:
    results = read_results(real("legacy/clam_run/results/split_0_results.pkl"))
    assert len(results) == 33
    assert results[0].slide_id == "TCGA-05-4405-01A-01-BS1.d22826d5-3b2a-4b41-8c46-855b87dd4e6d"
    np.testing.assert_allclose(results[0].probability, [0.01110888, 0.98889112], atol=1e-8)
    # The accuracy that the run's own summary gives for this split.
    table = real("legacy/clam_run/results/summary.csv").read_text().splitlines()
    [summary] = [row for row in csv.DictReader(table) if row["folds"] == "0"]
    right = np.mean([result.label == result.probability.argmax() for result in results])
    assert right == pytest.approx(float(summary["test_acc"]))


def test_real_splits_in_both_forms_are_the_same() -> None:
    folder = real("legacy/clam/splits_and_labels")
    both = read_splits(take_inventory(folder).of(Kind.SPLITS))
    assert [{role: len(ids) for role, ids in split.parts.items()} for split in both] == [
        {"train": 300, "val": 51, "test": 48},
        {"train": 300, "val": 51, "test": 49},
    ]
    [ids], [flags] = read_splits((folder / "splits_1.csv",)), read_splits((folder / "splits_1_bool.csv",))
    assert {role: set(part) for role, part in ids.parts.items()} == {r: set(p) for r, p in flags.parts.items()}


@pytest.mark.parametrize(
    ("folder", "found"),
    [
        ("clam", {Kind.COORDS: 6, Kind.WEIGHTS: 1, Kind.PROCESS_LIST: 2, Kind.SPLITS: 4, Kind.SPLIT_COUNTS: 2}),
        ("clam_run", {Kind.FEATURES: 1, Kind.TENSOR: 1, Kind.COORDS: 2, Kind.ATTENTION: 1, Kind.RESULTS: 2}),
        ("clam_run", {Kind.TISSUE: 1, Kind.WEIGHTS: 1, Kind.PROCESS_LIST: 3, Kind.SPLITS: 1}),
        ("dsmil", {Kind.WEIGHTS: 2}),
        ("dtfd", {Kind.WEIGHTS: 1}),
        ("sam-mil", {Kind.WEIGHTS: 3, Kind.LABELS: 2}),
        ("stamp", {Kind.FEATURES: 1, Kind.BARE_FEATURES: 1}),
    ],
)
def test_real_folders_are_recognised(folder: str, found: dict[Kind, int]) -> None:
    inventory = take_inventory(real(f"legacy/{folder}"))
    assert {kind: len(inventory.of(kind)) for kind in found} == found
    assert not inventory.of(Kind.DAMAGED)


def test_a_folder_with_features_in_both_forms_gives_those_with_coordinates() -> None:
    folder = real("legacy/clam_run/C3L-01663-21")
    assert find_layout(folder).source(folder.name).features == folder / f"{folder.name}.h5"


def test_real_patch_files_and_process_lists(tmp_path: Path) -> None:
    folder = real("legacy/clam_run")
    paths = sorted((folder / "patches").glob("*.h5"))
    assert len(paths) == 2
    for path in paths:
        patches = read_patch_file(path)
        assert (patches.patch_px, patches.patch_px_level0, patches.level) == (256, 256, 0)
    for name in ("process_list_autogen.csv", "process_list_autogen_EDITED.csv"):
        rows = list(csv.DictReader((folder / name).read_text().splitlines()))
        (tmp_path / name).mkdir()
        stem = "TCGA-05-4244-01A-01-BS1.90f043f6-e8d5-4cfd-b4e7-84207bc499a6"
        (tmp_path / name / f"{stem}.h5").touch()
        layout = find_layout(tmp_path, tmp_path / name, None, None, folder / name, require_segments=False)
        slides = [source.slide_id for source in layout.sources]
        assert stem in slides
        assert len(slides) + len(layout.left_out) == len(rows)
        assert not any(slide_id.endswith(".svs") for slide_id in slides)
        assert layout.settings[stem].startswith("seg_level=2 sthresh=8 mthresh=7 close=4 use_otsu=False a_t=100")


def test_stamp_with_coordinates_comes_in_and_without_them_only_when_asked() -> None:
    layout = find_layout(real("legacy/stamp"))
    assert layout.tool == "STAMP"
    settings = {"slide_mpp": None, "patch_px_level0": None, "min_share": 0.0}
    placed = convert_slide(layout.source("TCGA-AD-6964-01Z-00-DX1"), **settings)
    assert placed.bag.features.shape == (777, 512)
    assert placed.bag.xy[0].tolist() == [10240, 21504]
    assert placed.bag.encoder.patch_px_level0 == 512  # its tiles' names in the folder lie so far apart, too
    bare = layout.source("TCGA-3X-AAVA-01Z-00-DX1")
    with pytest.raises(SlideError, match="no coordinates") as caught:
        convert_slide(bare, **settings)
    assert caught.value.code == "E_LEGACY_MISSING"
    bag = convert_slide(bare, with_coords=False, **settings).bag
    assert bag.features.shape == (180, 512)
    assert bag.xy.tolist() == [[-1, -1]] * 180
    assert bag.encoder.patch_px == 0


def test_real_fast_pipeline_coordinates_become_a_grid() -> None:
    layout = find_layout(real("legacy/clam/patches_fp"))
    source = layout.sources[0]
    chosen = {"slide_size_px": None, "bounds_px": None, "patch_px_level0": None}
    grid, _ = convert_grid(source, slide_mpp=0.25, **chosen)
    assert (grid.patch_px, grid.patch_px_level0, grid.patch_mpp) == (512, 512, 0.25)
    assert grid.slide_size_px == (39839, 45988)
    assert len(grid.xy) == 1481
    stored = read_patch_file(source.coords).coords if source.coords else np.empty(0)
    assert {tuple(xy) for xy in grid.xy.tolist()} == {tuple(xy) for xy in stored.astype(int).tolist()}
    assert (np.diff(grid.xy[:, 1]) >= 0).all()
    with pytest.raises(SlideError, match="resolution is not known"):
        convert_grid(source, slide_mpp=None, **chosen)


def test_a_real_checkpoint_is_no_feature_file() -> None:
    with pytest.raises(SlideError, match=r"s_0_checkpoint\.pt cannot be read: it holds a OrderedDict") as caught:
        read_features(real("legacy/clam_run/results/s_0_checkpoint.pt"), [])
    assert caught.value.code == "E_LEGACY_DAMAGED"


@pytest.mark.parametrize(
    ("name", "bags", "positive", "rows", "width"),
    [
        ("musk1_scaled/X_mus_escal.mat", 92, 47, 476, 166),
        ("musk2_scaled/X.mat", 102, 39, 6598, 166),
        ("elephant_original/X.mat", 200, 100, 1391, 230),
        ("fox_scaled/X.mat", 200, 100, 1320, 230),
        ("tiger_scaled/X.mat", 200, 100, 1220, 230),
        ("musk1_unscaled/X_musk_original.mat", 92, 47, 476, 166),
    ],
)
def test_classical_data_sets_are_read_as_scipy_reads_them(
    name: str, bags: int, positive: int, rows: int, width: int
) -> None:
    path = real(f"mil/classical/{name}")
    found = read_mat_bags(path)
    assert (len(found.bags), sum(label == "positive" for label in found.labels.values())) == (bags, positive)
    features = np.concatenate([one.features for one in found.bags.values()])
    assert features.shape == (rows, width)
    np.testing.assert_array_equal(features, loadmat(path)["X"].astype(np.float32))  # the files list bag after bag
