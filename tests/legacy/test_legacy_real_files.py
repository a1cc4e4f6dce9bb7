"""Files that other tools wrote, from the shared test data."""

import csv
import os
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest

from sammil_cli.errors import InputError, SlideError
from sammil_cli.legacy.rows import read_feature_h5, read_feature_pt, read_patch_file
from sammil_cli.legacy.sam_mil import convert_slide, find_layout
from sammil_cli.legacy.segments import read_segments
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
    assert (layout.kind, len(layout.slide_ids)) == ("h5", 100)
    patches = 0
    for slide_id in layout.slide_ids:
        bag = convert_slide(layout, slide_id, slide_mpp=0.55, patch_px_level0=27, min_share=0.0).bag
        assert bag.features.shape == (len(bag.xy), 1024)
        assert (bag.xy >= 0).all()
        assert bag.encoder.patch_mpp == 0.55
        patches += len(bag.xy)
    with h5py.File(features / "img22.h5", locking=False) as file:
        bag = convert_slide(layout, "img22", slide_mpp=None, patch_px_level0=27, min_share=0.0).bag
        np.testing.assert_array_equal(bag.xy, file["coords"][()])
        np.testing.assert_array_equal(bag.features, file["features"][()])
    assert patches == sum(len(read_feature_h5(path)[1]) for path in features.glob("*.h5"))


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
        converted = convert_slide(layout, folder.name, slide_mpp=0.5, patch_px_level0=None, min_share=0.0)
        assert "256 level-0 pixels wide, the smallest step" in " ".join(converted.notes)
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


def test_real_result_pickles_with_arrays_of_text_are_refused() -> None:
    for path in real("legacy/clam_run/results").glob("*.pkl"):
        with pytest.raises(InputError, match="arrays of type 'U"):
            read_pickles(path)


def test_a_folder_of_both_kinds_is_refused() -> None:
    folder = real("legacy/clam_run/C3L-01663-21")
    with pytest.raises(InputError, match="both"):
        find_layout(folder, folder, None, None, None, require_segments=False)


def test_real_patch_files_and_process_lists(tmp_path: Path) -> None:
    folder = real("legacy/clam_run")
    for path in (folder / "patches").glob("*.h5"):
        patches = read_patch_file(path)
        assert (patches.patch_px, patches.patch_px_level0, patches.level) == (256, 256, 0)
    for name in ("process_list_autogen.csv", "process_list_autogen_EDITED.csv"):
        rows = list(csv.DictReader((folder / name).read_text().splitlines()))
        (tmp_path / name).mkdir()
        stem = "TCGA-05-4244-01A-01-BS1.90f043f6-e8d5-4cfd-b4e7-84207bc499a6"
        (tmp_path / name / f"{stem}.h5").touch()
        layout = find_layout(tmp_path, tmp_path / name, None, None, folder / name, require_segments=False)
        assert stem in layout.slide_ids
        assert len(layout.slide_ids) + len(layout.left_out) == len(rows)
        assert not any(slide_id.endswith(".svs") for slide_id in layout.slide_ids)


@pytest.mark.parametrize("slide", ["TCGA-AD-6964-01Z-00-DX1", "TCGA-3X-AAVA-01Z-00-DX1"])
def test_features_of_stamp_are_refused_with_what_they_hold(slide: str) -> None:
    folder = real(f"legacy/stamp/{slide}")
    layout = find_layout(folder, folder, None, None, None, require_segments=False)
    with pytest.raises(SlideError, match="no data set") as caught:
        convert_slide(layout, "features", slide_mpp=None, patch_px_level0=256, min_share=0.0)
    assert caught.value.code == "E_LEGACY_DAMAGED"


def test_a_real_checkpoint_is_no_feature_file() -> None:
    with pytest.raises(SlideError) as caught:
        read_feature_pt(real("legacy/clam_run/results/s_0_checkpoint.pt"))
    assert caught.value.code in ("E_LEGACY_DAMAGED", "E_LEGACY_UNSAFE")
