"""Both documented inputs of SAM-MIL as bags. The slide is described in sam_mil_run.py."""

import os
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from sam_mil_run import FEATURES, GROUP_ROWS, XY, Run, first_document, info, record, write_pickles

from sammil_cli.errors import SlideError
from sammil_cli.features.bag import FeatureBag, read_bag, write_bag
from sammil_cli.legacy.bags import Converted, convert_slide
from sammil_cli.legacy.layout import find_layout

MEMBERS = [[0], [1, 2], [3, 4, 5], [7]]


def convert(run: Run, **options: Any) -> Converted:
    layout = find_layout(run.root, None, None, None, None, require_segments=options.pop("require_segments", True))
    settings = {"slide_mpp": 0.25, "patch_px_level0": None, "min_share": 0.0} | options
    return convert_slide(layout.source(run.slide_id), **settings)


def check(bag: FeatureBag) -> None:
    np.testing.assert_array_equal(bag.features, FEATURES)
    np.testing.assert_array_equal(bag.xy, XY)
    assert bag.features.dtype == np.float32
    assert bag.xy.dtype == np.int32
    start = bag.members.start
    assert [bag.members.patch[start[r] : start[r + 1]].tolist() for r in range(4)] == MEMBERS
    assert bag.region.tolist() == [0, 1, 1, 2, 2, 2, -1, 3]
    # Eq. 7 takes the pixels of the picture that SAM saw; one of document 0 is four of level 0.
    assert bag.region_area.tolist() == [256 * 256, 4000, 768 * 256, 10_000]
    np.testing.assert_allclose(bag.region_area_um2, bag.region_area * np.array([4, 4, 4, 1]) * 0.25**2)
    assert bag.group_region.tolist() == [0, 1, 2, 3]
    means = [FEATURES[patches].mean(0) for patches in MEMBERS]
    np.testing.assert_allclose(bag.group_features, means)
    facts = bag.encoder
    assert (facts.name, facts.weights_sha256, facts.dim) == ("legacy", None, 4)
    assert (facts.patch_px, facts.patch_px_level0, facts.patch_mpp) == (512, 512, 0.25)


@pytest.mark.parametrize("groups", [True, False], ids=["with group rows", "patches only"])
@pytest.mark.parametrize("kind", ["h5", "pt"])
def test_every_documented_form_gives_the_same_bag(run: Run, kind: str, groups: bool, tmp_path: Path) -> None:
    converted = convert(run.write(kind, groups=groups))
    check(converted.bag)
    said = " | ".join(converted.remarks)
    assert "2 documents" in said
    assert "ignored 1 of 4 masks" in said
    assert ("2 group rows were taken off the 8 patches" in said) is groups
    assert ("2 of 2 stored group rows are what the published rule gives (2 rows)" in said) is groups
    assert converted.regions is not None
    assert len(converted.regions) == 4
    write_bag(tmp_path / f"{converted.bag.slide_id}.h5", converted.bag, {})
    check(read_bag(tmp_path / f"{converted.bag.slide_id}.h5"))


def test_converting_writes_nothing(run: Run) -> None:
    run.write("h5")
    before = {path: path.stat().st_mtime_ns for path in run.root.rglob("*")}
    convert(run)
    assert {path: path.stat().st_mtime_ns for path in run.root.rglob("*")} == before


def test_group_rows_in_the_middle_are_told_by_their_coordinates(run: Run) -> None:
    run.write("h5")
    path = run.root / "features" / "h5_files" / "case.7.h5"
    order = [0, 8, 1, 2, 3, 9, 4, 5, 6, 7]
    with h5py.File(path, "r+") as file:
        for name in ("features", "coords"):
            file[name][...] = file[name][()][order]
    check(convert(run).bag)


def test_coordinates_of_pt_may_come_from_h5_files_with_group_rows(run: Run) -> None:
    run.write("h5").write("pt")
    features = run.root / "features"
    layout = find_layout(run.root, features / "pt_files", None, features / "h5_files", None)
    converted = convert_slide(layout.source("case.7"), slide_mpp=0.25, patch_px_level0=None, min_share=0.0)
    check(converted.bag)
    assert "512 level-0 pixels wide, from the segments file" in " ".join(converted.remarks)


def test_other_group_rows_are_counted_and_not_used(run: Run) -> None:
    run.write("h5")
    with h5py.File(run.root / "features" / "h5_files" / "case.7.h5", "r+") as file:
        file["features"][9] = 99.0
    converted = convert(run)
    check(converted.bag)
    assert "1 of 2 stored group rows" in " ".join(converted.remarks)


def test_more_rows_than_patches_need_proof(run: Run) -> None:
    run.write("pt")
    rows = np.concatenate([FEATURES, GROUP_ROWS + 50])  # two patches of another run would look the same
    torch.save(torch.from_numpy(rows), run.root / "features" / "pt_files" / "case.7.pt")
    with pytest.raises(SlideError, match="2 rows more than patches") as caught:
        convert(run)
    assert caught.value.code == "E_LEGACY_MISMATCH"
    (run.root / "segments").rename(run.root.parent / "elsewhere.old")
    with pytest.raises(SlideError, match="nothing proves"):
        convert(run, require_segments=False)


def test_without_segments_there_are_no_regions(run: Run) -> None:
    run.write("h5")
    (run.root / "segments").rename(run.root.parent / "elsewhere.old")
    converted = convert(run, require_segments=False, slide_mpp=None)
    bag = converted.bag
    np.testing.assert_array_equal(bag.features, FEATURES)
    assert converted.regions is None
    assert bag.region.tolist() == [-1] * 8
    assert (bag.group_features.shape, bag.region_area.shape, bag.members.start.tolist()) == ((0, 4), (0,), [0])
    assert np.isnan(bag.encoder.patch_mpp)
    assert "no segments" in " ".join(converted.remarks)


def test_segments_without_masks_are_said(run: Run) -> None:
    run.documents = [[info(0, 0, 9, 9)]]
    converted = convert(run.write("h5", groups=False))
    assert converted.regions is None
    assert "no masks" in " ".join(converted.remarks)


def test_areas_stay_those_of_the_records_on_whatever_common_canvas(run: Run) -> None:
    # A third piece far away: a canvas for all of them is 16 times coarser than the picture of document 0.
    run.documents.append([info(90_000, 80_000, 64, 32), record(64, 32, 5, 5, 3, 3) | {"area": 11}])
    converted = convert(run.write("h5"))
    assert converted.regions is not None
    assert converted.regions.canvas.downsample == 32
    assert converted.regions.area_px.tolist() == [256, 16, 768, 10, 1]
    assert converted.bag.region_area.tolist() == [256 * 256, 4000, 768 * 256, 10_000, 11]


def test_an_unknown_scale_is_not_invented(run: Run) -> None:
    bag = convert(run.write("h5"), slide_mpp=None).bag
    assert np.isnan(bag.region_area_um2).all()
    assert np.isnan(bag.encoder.patch_mpp)


def test_min_share_leaves_out_patches_that_a_region_grazes(run: Run) -> None:
    run.write("h5")
    # Of patch 1 (256 columns, 300 to 512 set, 10 of 256 rows) 3.2 % are covered, of patch 2 2.9 %.
    assert convert(run, min_share=0.03).bag.region.tolist()[:3] == [0, 1, -1]


def test_patches_of_a_deeper_level(run: Run) -> None:
    run.write("h5")
    run.write_patches(patch_size=256, patch_level=1, downsample=np.array([2.0, 2.0]))
    converted = convert(run)
    facts = converted.bag.encoder
    assert (facts.patch_px, facts.patch_px_level0, facts.patch_mpp) == (256, 512, 0.5)
    assert converted.bag.region.tolist() == [0, 1, 1, 2, 2, 2, -1, 3]
    assert "pyramid level 1" in " ".join(converted.remarks)
    run.write_patches(patch_size=128, patch_level=2)
    assert convert(run).bag.encoder.patch_px_level0 == 512
    run.write_patches(patch_size=224, patch_size_level0=512)
    assert convert(run).bag.encoder.patch_px_level0 == 512


def test_the_patch_side_is_taken_from_where_it_stands(run: Run) -> None:
    run.write("h5")
    converted = convert(run, patch_px_level0=300)
    assert (converted.bag.encoder.patch_px_level0, converted.bag.encoder.patch_px) == (300, 512)
    assert "300 level-0 pixels wide as given; their file says 512" in " ".join(converted.remarks)
    (run.root / "patches").rename(run.root.parent / "elsewhere.old")
    assert "from the segments file" in " ".join(convert(run).remarks)
    for document in run.documents:
        del document[0]["patch_size"]
    run.write_segments()
    converted = convert(run)
    assert converted.bag.encoder.patch_px_level0 == 512
    assert "the smallest step between them" in " ".join(converted.remarks)


def test_one_patch_without_a_side_asks_for_it(run: Run) -> None:
    run.write("h5")
    for folder in ("patches", "segments"):
        (run.root / folder).rename(run.root.parent / f"{folder}.old")
    with h5py.File(run.root / "features" / "h5_files" / "case.7.h5", "w") as file:
        file["features"], file["coords"] = FEATURES[:1], np.array(XY[:1])
    with pytest.raises(SlideError, match="how large") as caught:
        convert(run, require_segments=False)
    assert caught.value.code == "E_LEGACY_MISSING"


def test_equal_areas_are_said(run: Run) -> None:
    run.documents = [[*first_document(), record(768, 512, 500, 300, 10, 400 // 4)], [*first_document()[:1]]]
    run.documents[0].append(record(768, 512, 500, 10, 100, 10))
    assert "5 regions have 4 different areas" in " ".join(convert(run.write("h5")).remarks)


def test_empty_masks_are_left_out_and_said(run: Run) -> None:
    run.documents[0].insert(1, record(768, 512, 0, 0, 0, 0))
    converted = convert(run.write("h5"))
    check(converted.bag)
    assert "1 empty masks" in " ".join(converted.remarks)


def test_a_window_of_nothing_gives_no_published_groups(run: Run) -> None:
    # A picture shrunk by 1024 shows less than one pixel of a 512 px patch: the script then finds no members at all.
    run.documents = [[info(0, 0, 1024 * 600, 1024 * 400, ratio=1024), record(600, 400, 0, 0, 5, 5)]]
    converted = convert(run.write("h5"))
    assert "0 of 2 stored group rows are what the published rule gives (0 rows)" in " ".join(converted.remarks)
    assert converted.bag.region.tolist() == [0] * 8


def test_half_precision_is_kept(run: Run) -> None:
    run.write("pt")
    rows = torch.from_numpy(np.concatenate([FEATURES, GROUP_ROWS]))
    torch.save(rows.half(), run.root / "features" / "pt_files" / "case.7.pt")
    bag = convert(run).bag
    assert (bag.features.dtype, bag.group_features.dtype) == (np.float16, np.float16)
    torch.save(rows.bfloat16(), run.root / "features" / "pt_files" / "case.7.pt")
    assert convert(run).bag.features.dtype == np.float32


def failing(run: Run, said: str) -> SlideError:
    with pytest.raises(SlideError) as caught:
        convert(run)
    assert caught.value.remedy
    assert said in caught.value.message
    assert "case.7" in caught.value.message
    return caught.value


@pytest.mark.parametrize(
    ("kind", "gone"),
    [
        ("h5", "features/h5_files/case.7.h5"),
        ("pt", "features/pt_files/case.7.pt"),
        ("pt", "patches/case.7.h5"),
        ("h5", "segments/case.7.pkl"),
    ],
)
def test_a_missing_file_of_a_slide(run: Run, kind: str, gone: str) -> None:
    run.write(kind)
    other = Run(run.root, slide_id="other").write(kind)  # a slide whose files are all there
    run.write_process_list(f"{run.slide_id}.svs,0,processed,1", f"{other.slide_id}.svs,0,processed,1")
    (run.root / gone).unlink()
    assert failing(run, f"{run.root / gone} does not exist").code == "E_LEGACY_MISSING"


def test_rows_and_coordinates_that_differ(run: Run) -> None:
    run.write("h5")
    with h5py.File(run.root / "features" / "h5_files" / "case.7.h5", "r+") as file:
        del file["coords"]
        file["coords"] = np.array(XY)
    assert failing(run, "has 10 rows of features and 8 of coordinates").code == "E_LEGACY_MISMATCH"


def test_fewer_rows_than_patches(run: Run) -> None:
    run.write("pt")
    torch.save(torch.from_numpy(FEATURES[:5]), run.root / "features" / "pt_files" / "case.7.pt")
    assert failing(run, "has 5 rows of features for 8 patches and 0 group rows").code == "E_LEGACY_MISMATCH"


def test_patches_of_another_run(run: Run) -> None:
    run.write("h5")
    with h5py.File(run.root / "patches" / "case.7.h5", "r+") as file:
        file["coords"][0] = (1001, 500)
    assert failing(run, f"{run.root / 'patches' / 'case.7.h5'} has other patches than").code == "E_LEGACY_MISMATCH"


def test_segments_of_another_slide(run: Run) -> None:
    run.documents = [[info(90_000, 500, 90, 70), record(90, 70, 1, 1, 2, 2)]]
    error = failing(run.write("h5", groups=False), "the segments of case.7 lie beside all of its patches")
    assert error.code == "E_LEGACY_MISMATCH"


class Evil:
    """Runs a shell command when it is unpickled."""

    def __init__(self, sentinel: Path) -> None:
        self.sentinel = sentinel

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.sentinel}",)


def test_a_pickle_that_runs_code_is_refused(run: Run, tmp_path: Path) -> None:
    run.documents[1][1]["point_coords"] = [Evil(tmp_path / "sentinel")]
    error = failing(run.write("h5"), f"asks for {os.system.__module__}.system, which plain data and arrays do not need")
    assert (error.code, error.set_aside) == ("E_LEGACY_UNSAFE", True)
    assert "nothing was run" in error.message
    assert not (tmp_path / "sentinel").exists()


@pytest.mark.parametrize("modern", [True, False])
def test_a_tensor_file_that_runs_code_is_refused(run: Run, tmp_path: Path, modern: bool) -> None:
    run.write("pt")
    path = run.root / "features" / "pt_files" / "case.7.pt"
    torch.save({"features": Evil(tmp_path / "sentinel")}, path, _use_new_zipfile_serialization=modern)
    error = failing(run, "holds more than tensors, and what it holds could run code; nothing was run")
    assert (error.code, error.set_aside) == ("E_LEGACY_UNSAFE", True)
    assert not (tmp_path / "sentinel").exists()


@pytest.mark.parametrize(
    ("kind", "path"),
    [
        ("h5", "features/h5_files/case.7.h5"),
        ("pt", "features/pt_files/case.7.pt"),
        ("h5", "patches/case.7.h5"),
        ("h5", "segments/case.7.pkl"),
    ],
)
@pytest.mark.parametrize("keep", [0.0, 0.6])
def test_a_cut_file_is_damaged(run: Run, kind: str, path: str, keep: float) -> None:
    run.write(kind)
    data = (run.root / path).read_bytes()
    (run.root / path).write_bytes(data[: int(len(data) * keep)])
    assert failing(run, f"{run.root / path} cannot be read").code == "E_LEGACY_DAMAGED"


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"features": [1, 2]}, "under 'features' it holds a list"),
        ({"x": torch.zeros(8, 4)}, "it holds a dict with no features (features, feats, embeddings); it has x"),
        ({"features": torch.ones(8, 4), "feats": torch.ones(8, 4)}, "features more than once"),
        (torch.zeros(8), "its features have the shape (8,) and type float32"),
        (torch.zeros(8, 4, dtype=torch.int64), "it holds torch.int64 numbers, no tensor of floating-point features"),
        ([1, 2], "it holds a list"),
    ],
)
def test_a_tensor_file_of_another_form_is_refused(run: Run, value: Any, said: str) -> None:
    run.write("pt")
    torch.save(value, run.root / "features" / "pt_files" / "case.7.pt")
    assert failing(run, said).code == "E_LEGACY_DAMAGED"


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("features", np.zeros((10, 4), np.int64), "its features have the shape (10, 4) and type int64"),
        ("features", np.zeros((2, 10, 4), np.float32), "its features have the shape (2, 10, 4) and type float32"),
        ("coords", np.zeros((10, 3), np.int64), "its coords have the shape (10, 3) and type int64"),
        ("coords", np.full((10, 2), 0.5), "its coords are no whole pixels"),
        ("coords", np.full((10, 2), 2**40), "its coords have"),
        ("coords", np.full((10, 2), np.nan), "its coords have"),
    ],
)
def test_an_h5_of_another_form_is_refused(run: Run, name: str, value: Any, said: str) -> None:
    run.write("h5")
    with h5py.File(run.root / "features" / "h5_files" / "case.7.h5", "r+") as file:
        del file[name]
        file[name] = value
    assert failing(run, said).code == "E_LEGACY_DAMAGED"


def test_attributes_that_are_no_numbers(run: Run) -> None:
    run.write("h5")
    run.write_patches(patch_size="large", patch_level=0)
    assert (
        failing(run, "its attributes are no numbers: invalid literal for int() with base 10: 'large'").code
        == "E_LEGACY_DAMAGED"
    )
    run.write_patches(patch_size=512, patch_level=0, downsample=0.0)
    assert failing(run, "its patches have a side of 512 x 0.0 level-0 pixels").code == "E_LEGACY_DAMAGED"


def test_features_that_are_not_finite(run: Run) -> None:
    run.write("h5")
    with h5py.File(run.root / "features" / "h5_files" / "case.7.h5", "r+") as file:
        file["features"][3, 2] = np.nan
    with pytest.raises(SlideError, match="patch 3"):
        convert(run)


def test_a_foreign_pickle_in_segments(run: Run) -> None:
    run.write("h5")
    write_pickles(run.root / "segments" / "case.7.pkl", {"holes": [], "tissue": []})
    assert failing(run, "document 0: it is no list of an info record and masks").code == "E_LEGACY_DAMAGED"
