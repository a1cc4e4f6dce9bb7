"""A scene that slides.csv chooses goes through every stage, and none can open another one than was segmented."""

import ast
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tifffile
from csv_rows import by_slide
from slide_maker import draw_tissue

import sammil_cli
from sammil_cli.config import ExtractSettings, PatchSettings, SamSettings, SegmentSettings
from sammil_cli.jobs import extract, patch, sam, segment
from sammil_cli.patches.file import read_patches
from sammil_cli.preflight import tune
from sammil_cli.slides.table import SlideEntry
from sammil_cli.storage.paths import ArtefactsPath, PatchesPath, RegionsPath, SlidePath, TissuePath
from sammil_cli.tissue.mask import read_tissue

pytestmark = pytest.mark.usefixtures("inline_slides")

OPENERS = {"open_slide": 3, "open_reader": 2}  # the number of arguments with which they get the scene
FIRST, SECOND = draw_tissue(seed=1, tumour=False), draw_tissue(seed=2, tumour=True)[:800]  # 1 µm per pixel


def write(path: Path, *scenes: np.ndarray[Any, Any]) -> SlidePath:
    with tifffile.TiffWriter(path, ome=True) as tiff:
        for number, scene in enumerate(scenes, start=1):
            metadata = {"axes": "YXS", "Name": f"core {number}", "PhysicalSizeX": 1.0, "PhysicalSizeY": 1.0}
            tiff.write(scene, photometric="rgb", tile=(128, 128), metadata=metadata)
    return SlidePath(path)


def bag_of(slide: SlidePath, scene: int | None) -> dict[str, np.ndarray[Any, Any]]:
    """What the four stages make of a slide; slides.csv is asked by the first one only."""
    out = slide.parent / f"out_{slide.stem}_{scene}"
    for name in ("tissue", "patches", "regions", "bags"):
        (out / name).mkdir(parents=True)
    tissue, grid = TissuePath(out / f"tissue/{slide.stem}.geojson"), PatchesPath(out / f"patches/{slide.stem}.h5")
    found = SegmentSettings(tissue_min_area_um2=5000)
    job = segment.SegmentJob(slide=slide, mpp=None, scene=scene, drawing=None, settings=found)
    remarks = segment.work(tissue.parent, {}, job)
    assert [note for note in remarks if note.startswith("scenes:")] == []
    laid = PatchSettings(patch_px=128, patch_mpp=1)
    maps = ArtefactsPath(tissue.with_suffix(".h5"))
    patch.work(grid.parent, {}, patch.PatchJob(tissue=tissue, artefacts=maps, roi=None, settings=laid))
    proposed = SamSettings(proposer="superpixels", sam_canvas_px=320, superpixel_area_px=2500)
    regions = RegionsPath(out / f"regions/{slide.stem}.h5")
    sam.work(regions.parent, {}, sam.SamJob(slide=slide, tissue=tissue, drawing=None, settings=proposed, device="cpu"))
    bag_job = extract.ExtractJob(
        slide=slide,
        patches=grid,
        regions=regions,
        artefacts=None,
        settings=ExtractSettings(encoder="texture"),
        device="cpu",
    )
    extract.work(out / "bags", {}, bag_job)
    assert read_tissue(tissue).scene == read_patches(grid).scene == scene
    with h5py.File(out / f"bags/{slide.stem}.h5") as bag:
        return {name: bag[name][()] for name in ("xy", "features", "region", "group_features")}


def test_a_scene_gives_the_bag_of_a_file_that_holds_nothing_else(tmp_path: Path) -> None:
    both = write(tmp_path / "both.ome.tif", FIRST, SECOND)
    alone = bag_of(write(tmp_path / "alone.ome.tif", SECOND), None)
    chosen = bag_of(both, 2)
    for name, values in alone.items():
        np.testing.assert_array_equal(chosen[name], values)
    other = bag_of(both, 1)
    assert other["features"].shape != alone["features"].shape or (other["features"] != alone["features"]).any()


def test_the_largest_scene_is_remarked_once_and_written_down(tmp_path: Path) -> None:
    both = write(tmp_path / "both.ome.tif", FIRST, SECOND)
    settings = SegmentSettings(tissue_min_area_um2=5000)
    job = segment.SegmentJob(slide=both, mpp=None, scene=None, drawing=None, settings=settings)
    remarks = segment.work(tmp_path, {}, job)
    assert sum(note.startswith("scenes: taken is 1") for note in remarks) == 1
    assert read_tissue(TissuePath(tmp_path / "both.ome.geojson")).scene == 1  # so the later stages ask for it


def test_trials_of_settings_are_made_on_the_scene(tmp_path: Path) -> None:
    both = write(tmp_path / "both.ome.tif", FIRST, SECOND)
    specs = {"current": segment.spec_of(SegmentSettings(tissue_min_area_um2=5000))}
    shown = [tune.try_settings(both, SlideEntry(scene=scene), specs, None)[0].picture.shape for scene in (1, 2)]
    assert shown[0] != shown[1]


def test_every_call_that_opens_a_slide_gives_the_scene() -> None:
    package = Path(sammil_cli.__file__).parent
    calls = 0
    for path in package.rglob("*.py"):
        if "testing" in path.parts or "formats" in path.parts:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in OPENERS:
                calls += 1
                assert len(node.args) == OPENERS[node.func.id], f"{path.name}, line {node.lineno}"
    assert calls >= 8


def test_the_column_of_slides_csv_chooses_for_inspect_and_segment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sammil: Callable[..., Any]
) -> None:
    assert sammil("init", tmp_path / "study", "--preset", "demo", "--no-dvc").code == 0
    monkeypatch.chdir(tmp_path / "study")
    write(Path("data/slides/both.ome.tif"), FIRST, SECOND)
    only = ("--workers", 1)
    assert "left out: 2 (1200 x 800 px, core 2)" in sammil("inspect", *only).out
    assert "left out: 2" in sammil("segment", *only, "-S", "tissue_min_area_um2=5000").out
    Path("data/slides.csv").write_text("slide_id,mpp,scene\nboth.ome,,2\n")
    said = sammil("inspect", *only).out
    assert "1200 x 800" in said
    assert "left out" not in said
    assert sammil("segment", *only, "-S", "tissue_min_area_um2=5000").code == 0
    assert (
        by_slide(Path("artifacts/process_lists/segment.csv"))["both.ome"]["status"] == "done"
    )  # not the old one again
    assert read_tissue(TissuePath(Path("artifacts/tissue/both.ome.geojson"))).slide_size_px == (1200, 800)
    Path("data/slides.csv").write_text("slide_id,scene\nboth.ome,3\n")
    assert sammil("segment", *only).code == 1
    row = by_slide(Path("artifacts/process_lists/segment.csv"))["both.ome"]
    assert (row["status"], row["code"]) == ("set-aside", "E_SCENE")
