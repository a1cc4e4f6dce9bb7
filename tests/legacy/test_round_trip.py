"""Our bags in other tools' files and back: what those files can carry comes back bit for bit."""

from pathlib import Path

import h5py
import numpy as np
import pytest

from sammil_cli.errors import InputError, SlideError
from sammil_cli.exchange import export_layout
from sammil_cli.features.bag import EncoderFacts, FeatureBag, read_bag, write_bag
from sammil_cli.legacy.bags import convert_slide
from sammil_cli.legacy.grids import convert_grid
from sammil_cli.legacy.layout import find_layout
from sammil_cli.patches.file import write_patches
from sammil_cli.patches.patch_grid import PatchGrid
from sammil_cli.regions.membership import Membership

SLIDES = ("a.1", "b")
BAG_ARRAYS = ("features", "xy", "region", "region_area", "region_area_um2", "group_features", "group_region")


def make_bag(slide_id: str, dtype: type) -> FeatureBag:
    """Six patches of 256 px at 0.5 µm (512 at level 0), in three regions of which two have the same area."""
    random = np.random.default_rng(len(slide_id))
    return FeatureBag(
        slide_id=slide_id,
        features=random.normal(size=(6, 5)).astype(dtype),
        xy=np.array([(512 * (n % 3), 512 * (n // 3)) for n in range(6)], np.int32),
        region=np.array([0, 1, 1, -1, 2, 0], np.int32),
        region_area=np.array([40, 30, 40], np.int64),
        region_area_um2=np.array([1.5, np.nan, 2.25]),
        group_features=random.normal(size=(3, 5)).astype(dtype),
        group_region=np.array([0, 1, 2], np.int32),
        members=Membership(start=np.array([0, 3, 5, 6], np.int64), patch=np.array([0, 1, 5, 1, 2, 4], np.int32)),
        encoder=EncoderFacts(
            name="texture", weights_sha256="ab", dim=5, patch_px=256, patch_mpp=0.5, patch_px_level0=512
        ),
    )


def make_grid(bag: FeatureBag) -> PatchGrid:
    return PatchGrid(
        slide_id=bag.slide_id,
        xy=bag.xy,
        patch_px=256,
        patch_mpp=0.5,
        patch_px_level0=512,
        slide_mpp=0.25,
        slide_size_px=(2000, 1500),
        bounds_px=(0, 0, 2000, 1500),
    )


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for slide_id, dtype in zip(SLIDES, (np.float16, np.float32), strict=True):
        bag = make_bag(slide_id, dtype)
        write_bag(tmp_path / "project" / "artifacts" / "bags" / f"{slide_id}.h5", bag, {})
        write_patches(tmp_path / "project" / "artifacts" / "patches" / f"{slide_id}.h5", make_grid(bag), {})
    return tmp_path / "project"


def back(folder: Path, slide_id: str) -> FeatureBag:
    source = find_layout(folder).source(slide_id)
    return convert_slide(source, slide_mpp=0.25, patch_px_level0=None, min_share=0.0).bag


@pytest.mark.parametrize("layout", export_layout.LAYOUTS)
def test_features_and_coordinates_come_back_bit_for_bit(project: Path, layout: str, tmp_path: Path) -> None:
    assert export_layout.run(project, layout, tmp_path / "out") == 2
    for slide_id in SLIDES:
        before = read_bag(project / "artifacts" / "bags" / f"{slide_id}.h5")
        after = back(tmp_path / "out", slide_id)
        assert after.features.dtype == before.features.dtype
        assert after.features.tobytes() == before.features.tobytes()
        assert after.xy.tobytes() == before.xy.tobytes()
        assert after.encoder.patch_px_level0 == 512


def test_groups_and_regions_come_back_from_sam_mil_files(project: Path, tmp_path: Path) -> None:
    export_layout.run(project, "sam-mil", tmp_path / "out")
    for slide_id in SLIDES:
        before = read_bag(project / "artifacts" / "bags" / f"{slide_id}.h5")
        after = back(tmp_path / "out", slide_id)
        for name in BAG_ARRAYS:
            stored, again = getattr(before, name), getattr(after, name)
            assert (again.dtype, again.tobytes()) == (stored.dtype, stored.tobytes()), name
        assert after.members.start.tobytes() == before.members.start.tobytes()
        assert after.members.patch.tobytes() == before.members.patch.tobytes()


def test_trident_keeps_resolution_and_encoder(project: Path, tmp_path: Path) -> None:
    export_layout.run(project, "trident", tmp_path / "out")
    folder = tmp_path / "out" / "20x_256px_0px_overlap"
    with h5py.File(folder / "patches" / "b_patches.h5") as file:
        facts = dict(file["coords"].attrs)
        assert file["coords"].dtype == np.int64
    assert (facts["patch_size"], facts["patch_size_level0"], facts["level0_magnification"]) == (256, 512, 40)
    assert (facts["target_magnification"], facts["overlap"], facts["level0_width"]) == (20, 0, 2000)
    assert (folder / "features_texture" / "b.h5").exists()
    after = back(tmp_path / "out", "b").encoder
    assert (after.name, after.patch_px, after.patch_mpp) == ("texture", 256, 0.5)


def test_sam_mil_files_are_as_the_published_loader_reads_them(project: Path, tmp_path: Path) -> None:
    export_layout.run(project, "sam-mil", tmp_path / "out")
    with h5py.File(tmp_path / "out" / "h5_files" / "b.h5") as file:
        assert file["features"].shape == (9, 5)
        assert file["coords"][6:].tolist() == [[-1, -1]] * 3
    with h5py.File(tmp_path / "out" / "sam" / "b.h5") as file:
        assert file["is_group_feat"][()].tolist() == [0] * 6 + [1] * 3
        assert file["relative_area"][()].tolist() == [40, 30, 30, 1, 40, 40, 0, 0, 0]
    with h5py.File(tmp_path / "out" / "patches" / "b.h5") as file:
        facts = dict(file["coords"].attrs)
    assert (facts["patch_size"], facts["patch_level"], facts["level_dim"].tolist()) == (512, 0, [2000, 1500])


def test_published_sam_info_gives_regions_of_equal_area_as_one(project: Path, tmp_path: Path) -> None:
    export_layout.run(project, "sam-mil", tmp_path / "out")
    stored = read_bag(project / "artifacts" / "bags" / "b.h5")
    mean = stored.features[[1, 2]].mean(axis=0)
    with h5py.File(tmp_path / "out" / "sam" / "b.h5", "r+") as file:
        for name in [name for name in file if name.startswith("sammil_")]:
            del file[name]
    with h5py.File(tmp_path / "out" / "h5_files" / "b.h5", "r+") as file:
        file["features"][7] = mean  # the group row of the region of area 30
    bag = back(tmp_path / "out", "b")
    assert bag.region_area.tolist() == [30, 40]
    assert bag.region.tolist() == [1, 0, 0, -1, 1, 1]
    assert bag.members.patch.tolist() == [1, 2, 0, 4, 5]
    assert bag.group_region.tolist() == [-1, 0, -1]
    np.testing.assert_array_equal(bag.group_features[1], mean)


def test_sam_info_of_other_rows_is_refused(project: Path, tmp_path: Path) -> None:
    export_layout.run(project, "sam-mil", tmp_path / "out")
    with h5py.File(tmp_path / "out" / "sam" / "b.h5", "r+") as file:
        file["is_group_feat"][0] = 1
    with pytest.raises(SlideError, match="b has 6 patches and 3 group rows, its sam_info 5 and 4") as caught:
        back(tmp_path / "out", "b")
    assert caught.value.code == "E_LEGACY_MISMATCH"


@pytest.mark.parametrize(("name", "value"), [("region", 3), ("group_region", -2), ("member_patch", 6)])
def test_regions_in_sam_info_that_lead_nowhere_are_refused(
    project: Path, tmp_path: Path, name: str, value: int
) -> None:
    export_layout.run(project, "sam-mil", tmp_path / "out")
    with h5py.File(tmp_path / "out" / "sam" / "b.h5", "r+") as file:
        file[f"sammil_{name}"][0] = value
    with pytest.raises(SlideError, match="the regions in the sam_info of b do not fit its rows") as caught:
        back(tmp_path / "out", "b")
    assert caught.value.code == "E_LEGACY_MISMATCH"


@pytest.mark.parametrize("layout", export_layout.LAYOUTS)
def test_grids_come_back(project: Path, layout: str, tmp_path: Path) -> None:
    export_layout.run(project, layout, tmp_path / "out")
    source = find_layout(tmp_path / "out", grids=True).source("b")
    grid, _ = convert_grid(source, slide_mpp=0.25, slide_size_px=None, bounds_px=None, patch_px_level0=None)
    before = make_grid(make_bag("b", np.float32))
    assert grid.xy.tobytes() == before.xy.tobytes()
    assert (grid.patch_px_level0, grid.slide_size_px, grid.slide_mpp) == (512, (2000, 1500), 0.25)
    # CLAM has one side only: it is that at level 0.
    assert grid.patch_px == (256 if layout == "trident" else 512)


def test_a_folder_of_bags_is_enough(project: Path, tmp_path: Path) -> None:
    assert export_layout.run(project / "artifacts" / "bags", "clam", tmp_path / "out") == 2
    assert back(tmp_path / "out", "b").encoder.patch_px_level0 == 512


def test_tables_go_along(project: Path, tmp_path: Path) -> None:
    (project / "data").mkdir()
    (project / "data" / "labels.csv").write_text("slide_id,label,patient_id\na.1,normal,P1\nb,tumour,P2\n")
    (project / "runs").mkdir()
    (project / "runs" / "splits.csv").write_text(
        "repeat,fold,slide_id,patient_id,role\n0,0,a.1,P1,train\n0,0,b,P2,test\n"
    )
    export_layout.run(project, "clam", tmp_path / "clam")
    export_layout.run(project, "sam-mil", tmp_path / "sam-mil")
    assert (tmp_path / "clam" / "labels.csv").read_text() == "case_id,slide_id,label\nP1,a.1,normal\nP2,b,tumour\n"
    assert (tmp_path / "sam-mil" / "label.csv").read_text() == "a.1,0\nb,1\n"
    assert (tmp_path / "sam-mil" / "classes.csv").read_text() == "number,label\n0,normal\n1,tumour\n"
    assert (tmp_path / "clam" / "splits" / "splits_0.csv").read_text() == ",train,val,test\n0,a.1,,b\n"
    listed = (tmp_path / "clam" / "process_list_autogen.csv").read_text()
    assert listed == "slide_id,process,status\na.1,0,processed\nb,0,processed\n"


def test_an_export_is_whole_or_not_there(project: Path, tmp_path: Path) -> None:
    path = project / "artifacts" / "bags" / "b.h5"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(InputError, match=r"b\.h5 cannot be read"):
        export_layout.run(project, "clam", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert [entry.name for entry in tmp_path.iterdir()] == ["project"]


def test_what_cannot_be_exported_is_refused(project: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="unknown"):
        export_layout.run(project, "stamp", tmp_path / "out")
    with pytest.raises(InputError, match="not empty"):
        export_layout.run(project, "clam", project)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no bags"):
        export_layout.run(tmp_path / "empty", "clam", tmp_path / "out")
    long = "a" * 246  # and .geojson is within what a name may have
    (project / "artifacts" / "bags" / f"{long}.h5").touch()
    with pytest.raises(InputError, match=f"slide '{long}': its name has 246 bytes, with _patches.h5 more than"):
        export_layout.run(project, "trident", tmp_path / "out")
    (project / "artifacts" / "bags" / f"{long}.h5").unlink()
    bag = make_bag("b", np.float32)
    bag.xy[:] = -1
    write_bag(project / "artifacts" / "bags" / "b.h5", bag, {})
    with pytest.raises(InputError, match="no coordinates"):
        export_layout.run(project, "clam", tmp_path / "out")
