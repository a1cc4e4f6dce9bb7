"""sammil sam on a project: what a changed setting costs, drawings as regions, the quality of regions."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import shapely
from csv_rows import by_slide
from inline_executor import open_inline

from sammil_cli.config import SamSettings
from sammil_cli.features.making import stage_settings
from sammil_cli.project.project import Project, RunOptions
from sammil_cli.regions.file import read_regions
from sammil_cli.runner import per_slide
from sammil_cli.stages import sam
from sammil_cli.storage.geojson import Shape, read_own_geojson, write_geojson
from sammil_cli.storage.hdf5 import read_provenance
from sammil_cli.storage.origin import read_key
from sammil_cli.tissue.mask import read_tissue

Sammil = Callable[..., Any]
SLIDES = [f"slide_{i}" for i in range(6)]
GEOJSON = ("-S", "proposer=geojson")


def rows() -> dict[str, dict[str, str]]:
    return by_slide(Path("artifacts/process_lists/sam.csv"))


def recipes(**settings: Any) -> list[dict[str, Any]]:
    given = SamSettings(**{"proposer": "superpixels", **settings})
    return [task.key for task in sam.plan(Project(), given, RunOptions()).tasks]


def draw(slide: str, *shapes: shapely.Polygon) -> None:
    write_geojson(
        Path(f"data/annotations/{slide}.geojson"),
        [(Shape(geometry=shape, class_name="Tumour"), {}) for shape in shapes],
        offset_px=(0, 0),
        provenance={},
    )


@pytest.mark.parametrize(
    ("settings", "same"),
    [
        ({"sam_tile_overlap": 0.5}, True),  # there are no tiles
        ({"sam_points_per_side": 16}, True),  # another proposer's
        ({"slide_minutes": 5.0}, True),
        ({"sam_canvas_px": 512}, False),
        ({"sam_mpp": 4.0}, False),
        ({"region_polygons": "geojson.gz"}, False),
        ({"superpixel_area_px": 900}, False),
    ],
)
def test_only_settings_that_matter_make_regions_anew(study: Path, settings: dict[str, Any], same: bool) -> None:
    assert (recipes() == recipes(**settings)) is same


def test_the_overlap_of_tiles_matters_where_there_are_tiles(study: Path) -> None:
    assert recipes(sam_mpp=4.0) != recipes(sam_mpp=4.0, sam_tile_overlap=0.5)
    assert recipes(sam_mpp=4.0)[0]["settings"]["sam_tile_overlap"] == 0.25
    assert "sam_tile_overlap" not in recipes()[0]["settings"]


def test_where_weights_lie_and_whether_the_model_is_compiled_change_no_region(
    study: Path, tiny_sam: dict[str, Any], tmp_path: Path
) -> None:
    before = recipes(**tiny_sam)
    moved = shutil.copy(tiny_sam["sam_checkpoint"], tmp_path / "moved.pth")
    assert recipes(**{**tiny_sam, "sam_checkpoint": str(moved), "sam_compile": True}) == before
    assert recipes(**{**tiny_sam, "sam_precision": "bfloat16"}) != before


def test_other_tokens_of_wsi_sam_make_regions_anew_and_where_they_lie_does_not(
    study: Path, tiny_wsi_sam: dict[str, Any], tmp_path: Path
) -> None:
    before = recipes(**tiny_wsi_sam)
    moved = shutil.copy(tiny_wsi_sam["wsi_sam_tokens"], tmp_path / "moved.safetensors")
    assert recipes(**{**tiny_wsi_sam, "wsi_sam_tokens": str(moved)}) == before
    assert before[0]["weights"] != recipes(**{**tiny_wsi_sam, "proposer": "sam"})[0]["weights"]
    Path(moved).write_bytes(b"others")
    assert recipes(**{**tiny_wsi_sam, "wsi_sam_tokens": str(moved)}) != before


def test_wsi_sam_proposes_regions_from_the_command_line(
    study: Path, sammil: Sammil, tiny_wsi_sam: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the tissue of one slide, in tiles of which each is read with what lies around it."""
    monkeypatch.setattr(per_slide, "open_executor", open_inline)  # the tiny SAM is this process's vit_b
    given = {**tiny_wsi_sam, "sam_points_per_side": 1, "sam_mpp": 16.0, "sam_canvas_px": 64, "sam_tile_overlap": 0.0}
    own = {name: value for name, value in given.items() if value != SamSettings().model_dump()[name]}
    asked = [word for name, value in own.items() for word in ("-S", f"{name}={value}")]
    answer = sammil("sam", "--only", "slide_0", "--device", "cpu", *asked)
    assert answer.code == 0, answer
    regions = read_regions(Path("artifacts/regions/slide_0.h5"))
    assert len(regions) >= 1
    assert regions.canvas.mpp == pytest.approx(16)
    made = read_provenance(Path("artifacts/regions/slide_0.h5"))["key"]
    assert made["weights"] == recipes(**given)[0]["weights"]
    assert json.loads(Path("artifacts/regions/slide_0.geojson").read_text())["features"]


def test_wsi_sam_without_its_tokens_is_refused_before_any_slide(study: Path, sammil: Sammil) -> None:
    told = sammil("sam", "-S", "proposer=wsi-sam", "-S", "sam_checkpoint=mine.pth", "--device", "cpu")
    assert told.code == 3
    assert told.err.count("error:") == 1
    assert not Path("artifacts/process_lists/sam.csv").exists()


def test_what_cannot_work_is_refused_before_any_slide(study: Path, sammil: Sammil) -> None:
    mine = "sam_checkpoint=mine.pth"  # absent published weights are told first, without torch
    told = sammil("sam", "-S", "proposer=sam", "-S", mine, "-S", "sam_precision=float16", "--device", "cpu")
    assert told.code == 2
    assert told.err.count("error:") == 1
    assert "float16 needs a CUDA GPU" in told.err
    assert not Path("artifacts/process_lists/sam.csv").exists()


def test_tiles_and_quality_of_regions(study: Path, sammil: Sammil) -> None:
    answer = sammil("sam", "--only", "slide_0", "--workers", 1, "-S", "sam_mpp=2", "-S", "sam_canvas_px=256")
    assert answer.code == 0, answer
    regions = read_regions(Path("artifacts/regions/slide_0.h5"))
    assert regions.canvas.mpp == pytest.approx(2)
    assert max(regions.canvas.size_px) > 256  # more than one tile
    quality = json.loads(Path("artifacts/regions/slide_0.json").read_text())
    assert quality["regions"] == len(regions)
    assert quality["coverage"] == pytest.approx(1, abs=0.02)
    assert [flag.partition(":")[0] for flag in quality["flags"]] == ["few-regions"]
    assert rows()["slide_0"]["remarks"] == "; ".join(quality["flags"])
    assert Path("artifacts/process_lists/sam_quality.csv").exists()
    assert "sam: on the CPU (superpixels uses no GPU), at most 1 slide(s) at once\n" in answer.err


def test_drawings_are_regions_and_slides_without_one_are_told_before_any_work(study: Path, sammil: Sammil) -> None:
    whole = read_tissue(Path("artifacts/tissue/slide_2.geojson")).polygons
    x0, y0, x1, y1 = whole.bounds
    draw("slide_2", shapely.box(x0, y0, (x0 + x1) / 2, y1), shapely.box((x0 + x1) / 2, y0, x1, y1))
    draw("slide-4", whole.geoms[0])
    answer = sammil("sam", *GEOJSON, "--workers", 1)
    assert answer.code == 1
    found = rows()
    assert found["slide_2"]["status"] == "done"
    assert len(read_regions(Path("artifacts/regions/slide_2.h5"))) == 2
    others = [slide for slide in SLIDES if slide != "slide_2"]
    assert {found[slide]["code"] for slide in others} == {"E_ANNOTATION"}
    assert {found[slide]["status"] for slide in others} == {"set-aside"}
    assert "data/annotations/slide_0.geojson does not exist" in found["slide_0"]["message"]
    assert "rename slide-4.geojson" in found["slide_4"]["remedy"]
    assert "there is no slide 'slide-4'; did you mean slide_4" in answer.out

    why = sammil("why", "slide_2", *GEOJSON)
    assert "up to date" in why.out
    draw("slide_2", shapely.box(x0, y0, x1, (y0 + y1) / 2))
    why = sammil("why", "slide_2", *GEOJSON)
    assert "data/annotations/slide_2.geojson changed at" in why.out
    assert "data/annotations" in sammil("check").out  # slide-4


def test_polygons_are_packed_where_asked_and_the_other_form_goes(study: Path, sammil: Sammil) -> None:
    packed = (*GEOJSON, "-S", "region_polygons=geojson.gz")
    draw("slide_1", read_tissue(Path("artifacts/tissue/slide_1.geojson")).polygons.geoms[0])
    only = ("--only", "slide_1", "--workers", 1)
    assert sammil("sam", *GEOJSON, *only).code == 0
    plain = {path.name: path.read_bytes() for path in Path("artifacts/regions").iterdir()}
    assert set(plain) == {f"slide_1{suffix}" for suffix in (".h5", ".geojson", ".png", ".json")}
    assert stage_settings(Path("artifacts/regions/slide_1.h5"), "sam").keys() >= {"proposer"}

    assert "region_polygons: geojson → geojson.gz" in sammil("why", "slide_1", *packed).out
    assert sammil("sam", *packed, *only).code == 0
    found = {path.name for path in Path("artifacts/regions").iterdir()}
    assert found == {f"slide_1{suffix}" for suffix in (".h5", ".geojson.gz", ".png", ".json")}
    facts = read_own_geojson(Path("artifacts/regions/slide_1.geojson.gz"), "")[1]
    assert facts["slide_id"] == "slide_1"
    assert read_key(Path("artifacts/regions/slide_1.geojson.gz")) == facts["key"]
    assert "region_polygons" not in stage_settings(Path("artifacts/regions/slide_1.h5"), "sam")
    assert "up to date" in sammil("why", "slide_1", *packed).out
    Path("artifacts/regions/slide_1.h5").unlink()  # then the packed file alone says whose it is
    Path("data/annotations/slide_1.geojson").unlink()
    assert sammil("sam", *packed, "--workers", 1).code == 1
    assert list(Path("artifacts/regions").iterdir()) == []

    draw("slide_1", read_tissue(Path("artifacts/tissue/slide_1.geojson")).polygons.geoms[0])
    assert sammil("sam", *GEOJSON, *only).code == 0
    assert {path.name: path.read_bytes() for path in Path("artifacts/regions").iterdir()} == plain


def test_drawings_of_another_folder(study: Path, sammil: Sammil) -> None:
    draw("slide_1", read_tissue(Path("artifacts/tissue/slide_1.geojson")).polygons.geoms[0])
    Path("data/annotations").rename("elsewhere")
    answer = sammil("sam", *GEOJSON, "--annotations", "elsewhere", "--only", "slide_1", "--workers", 1)
    assert answer.code == 0, answer
    assert len(read_regions(Path("artifacts/regions/slide_1.h5"))) == 1


def test_other_proposers_pass_drawings_over(study: Path) -> None:
    before = recipes()
    draw("slide_1", shapely.box(0, 0, 900, 900))
    assert recipes() == before
