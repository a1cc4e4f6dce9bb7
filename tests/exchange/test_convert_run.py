"""sammil convert-legacy and export as a user calls them, on a finished project of tiny slides."""

import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from csv_rows import rows_of

from sammil_cli.features.bag import read_bag
from sammil_cli.patches.file import read_patches

Sammil = Callable[..., Any]
SLIDES = [f"slide_{index}" for index in range(6)]


@pytest.fixture
def exported(done: Path, sammil: Sammil, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The finished project in SAM-MIL's layout; the working directory is a new, empty project with its slides."""
    answer = sammil("export", done, "--to", "sam-mil", "--out", tmp_path / "theirs")
    assert answer.code == 0, answer.err
    assert "not in these files: masks" in answer.out
    (tmp_path / "new" / "data").mkdir(parents=True)
    (tmp_path / "new" / "data" / "slides").symlink_to(done / "data" / "slides")
    monkeypatch.chdir(tmp_path / "new")
    return tmp_path / "theirs"


def test_a_project_comes_back_whole(exported: Path, done: Path, sammil: Sammil) -> None:
    answer = sammil("convert-legacy", exported, "--workers", 1, "--encoder-name", "texture", "--check-features", 4)
    assert answer.code == 0, answer.out + answer.err
    slides = sorted(path.stem for path in (done / "artifacts" / "bags").glob("*.h5"))
    assert slides == SLIDES
    for slide in slides:
        before, after = (read_bag(root / "artifacts" / "bags" / f"{slide}.h5") for root in (done, Path()))
        for name in ("features", "xy", "region", "region_area", "region_area_um2", "group_features", "group_region"):
            np.testing.assert_array_equal(getattr(after, name), getattr(before, name))
        np.testing.assert_array_equal(after.members.start, before.members.start)
        np.testing.assert_array_equal(after.members.patch, before.members.patch)
    assert f"{len(slides)} with their slide" in answer.out
    assert "(the same encoder)" in answer.out
    assert f"labels: {len(slides)} slides" in answer.out
    theirs, ours = (
        [{key: value for key, value in row.items() if key != "patient_id"} for row in rows_of(root / "runs/splits.csv")]
        for root in (Path(), done)
    )
    assert theirs == ours  # SAM-MIL's label files name no patients
    listed = rows_of(Path("artifacts/process_lists/convert-legacy.csv"))
    assert {row["status"] for row in listed} == {"done"}
    assert all("bare glass" in row["remarks"] for row in listed)

    # Again: nothing is computed; bags of other commands, and tables that are there, stay as they are.
    Path("artifacts/bags/mine.h5").write_bytes(b"mine")
    Path("data/labels.csv").write_text("slide_id,label\nmine,a\n")
    answer = sammil("convert-legacy", exported, "--workers", 1, "--encoder-name", "texture", "--check-features", 4)
    assert f"{len(slides)} reused" in answer.out
    assert Path("artifacts/bags/mine.h5").read_bytes() == b"mine"
    assert Path("data/labels.csv").read_text() == "slide_id,label\nmine,a\n"
    assert "data/labels.csv is kept as it is" in answer.out


def write_features(folder: Path, *slides: str) -> Path:
    """A run with features and coordinates, as TRIDENT has them."""
    folder.mkdir(parents=True, exist_ok=True)
    for slide in slides:
        with h5py.File(folder / f"{slide}.h5", "w") as file:
            file["features"] = np.random.default_rng(0).normal(size=(12, 4)).astype(np.float32)
            file["coords"] = np.array([(256 * (k % 4), 256 * (k // 4)) for k in range(12)])
            file["coords"].attrs.update(patch_size_level0=256, patch_size=256, level0_width=4096, level0_height=4096)
    return folder


def test_a_second_folder_and_extract_leave_the_bags_of_the_first(study: Path, sammil: Sammil, tmp_path: Path) -> None:
    first, second = write_features(tmp_path / "A", "s01", "s02"), write_features(tmp_path / "B", "s03", "slide_1")
    for folder in (first, second):
        assert sammil("convert-legacy", folder, "--no-slides", "--workers", 1).code == 0
    bags = Path("artifacts/bags")
    assert {path.stem for path in bags.glob("*.h5")} == {"s01", "s02", "s03", "slide_1"}
    assert {row["slide_id"] for row in rows_of(Path("artifacts/process_lists/convert-legacy.csv"))} == {
        path.stem for path in bags.glob("*.h5")
    }
    for stage in ("patch", "sam"):
        assert sammil(stage, "--workers", 1).code == 0
    answer = sammil("extract", "--workers", 1)
    assert answer.code == 0
    assert {path.stem for path in bags.glob("*.h5")} == {"s01", "s02", "s03", *SLIDES}
    assert "extract: replaced what convert-legacy had made of 1 slide(s): slide_1" in answer.out
    assert "extract: left what convert-legacy made of 3 slide(s): s01, s02, s03 in artifacts/bags" in answer.out
    assert not (bags / "slide_1.txt").exists()
    Path("data/slides/slide_2.tif").unlink()
    assert (
        "extract: removed what it had made of 1 slide(s): slide_2, not done now"
        in sammil("extract", "--workers", 1).out
    )


def test_one_bad_slide_costs_itself_only(exported: Path, sammil: Sammil, tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> Any:
            return os.system, (f"touch {tmp_path / 'sentinel'}",)

    good, unsafe, cut, beside, *others = sorted(path.stem for path in (exported / "h5_files").glob("*.h5"))
    (exported / "segments").mkdir()
    for slide in (good, unsafe, cut, beside, *others):
        (exported / "segments" / f"{slide}.pkl").write_bytes(pickle.dumps([{"patch_size": 128}]))
    (exported / "segments" / f"{unsafe}.pkl").write_bytes(pickle.dumps([{"patch_size": 128}, Evil()]))
    path = exported / "h5_files" / f"{cut}.h5"
    path.write_bytes(path.read_bytes()[:300])
    for folder in ("h5_files", "patches"):
        with h5py.File(exported / folder / f"{beside}.h5", "r+") as file:
            coords = file["coords"][()]
            file["coords"][...] = np.where(coords >= 0, coords + 5000, coords)
    answer = sammil("convert-legacy", exported, "--workers", 1, "--json")
    assert answer.code == 1
    codes = {row["slide_id"]: row["code"] for row in json.loads(answer.out)["slides"]}
    assert codes.pop(unsafe) == "E_LEGACY_UNSAFE"
    assert codes.pop(cut) == "E_LEGACY_DAMAGED"
    assert codes.pop(beside) == "E_LEGACY_MISMATCH"
    assert set(codes.values()) == {""}
    assert sorted(path.stem for path in Path("artifacts/bags").glob("*.h5")) == sorted(codes)
    assert not (tmp_path / "sentinel").exists()


def test_coordinates_become_grids_of_the_project(exported: Path, done: Path, sammil: Sammil) -> None:
    answer = sammil("convert-legacy", exported, "--grids", "--workers", 1)
    assert answer.code == 0, answer.out + answer.err
    assert sorted(path.stem for path in Path("artifacts/patches").glob("*.h5")) == SLIDES
    for slide in SLIDES:
        before, after = (read_patches(root / "artifacts" / "patches" / f"{slide}.h5") for root in (done, Path()))
        np.testing.assert_array_equal(after.xy, before.xy)
        facts = ("slide_id", "slide_size_px", "bounds_px", "slide_mpp", "patch_px", "patch_px_level0", "patch_mpp")
        assert {name: getattr(after, name) for name in facts} == {name: getattr(before, name) for name in facts}


def test_a_wrong_table_stops_before_any_slide(exported: Path, sammil: Sammil) -> None:
    (exported / "splits" / "splits_0.csv").write_text(",train,val,test\n0,a,b,a\n")
    answer = sammil("convert-legacy", exported, "--workers", 1)
    assert answer.code == 2
    assert "'a' is in train and in test" in answer.err
    assert not Path("artifacts/bags").exists()


def test_tables_alone_and_results(real_data: Path, sammil: Sammil, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    answer = sammil("convert-legacy", real_data / "legacy" / "clam_run" / "results", "--classes", "normal,tumour")
    assert answer.code == 0, answer.err
    assert "predictions: 62 of the old run, 58 right" in answer.out
    table = rows_of(Path("runs/legacy_predictions.csv"))
    assert (len(table), table[0]["label"], table[0]["probability_tumour"]) == (62, "tumour", "0.988891")
    assert len({(row["fold"], row["slide_id"]) for row in table}) == 62


@pytest.mark.parametrize(
    ("name", "listed"),
    [
        ("hs2p", "it holds 1 other arrays of NumPy (npy) in . 3 other files in ."),
        ("dsmil", "it holds 2 weights of a model ("),
    ],
)
def test_a_folder_without_features_is_listed(
    real_data: Path, sammil: Sammil, tmp_path: Path, name: str, listed: str
) -> None:
    answer = sammil("convert-legacy", real_data / "legacy" / name, "--out", tmp_path / "out")
    assert answer.code == 2
    assert listed in " ".join(answer.err.split())
    assert not (tmp_path / "out").exists()
