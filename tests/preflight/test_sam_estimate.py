"""sammil sam --estimate: what is counted and measured, and what follows from it."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import shapely
from numpy.typing import NDArray
from shapely import MultiPolygon

from sammil_cli import choices
from sammil_cli.config import SamSettings
from sammil_cli.errors import InputError
from sammil_cli.jobs.sam import SamJob
from sammil_cli.preflight import sam_estimate
from sammil_cli.preflight.sam_calibrate import Costs, calibrate
from sammil_cli.project.project import Project, RunOptions
from sammil_cli.regions.sam_engine import rates
from sammil_cli.tissue.mask import TissueMask, write_tissue

Sammil = Callable[..., Any]
GB = 10**9


def costs(**given: Any) -> Costs:
    known: dict[str, Any] = {"seconds": {"pictures": 2.0}, "other_seconds": 10.0, "result_bytes": 1e6}
    known |= {"cold_seconds": 3.0, "peak_bytes": GB, "gpu_bytes": 0, "gpu_free_bytes": 0}
    return Costs(**(known | given))


def job_of(folder: Path, *boxes: shapely.Polygon, **settings: Any) -> SamJob:
    """A slide of 8192 x 4096 px at 1 µm with tissue in boxes."""
    mask = TissueMask(
        slide_id="s",
        polygons=MultiPolygon(boxes),
        slide_mpp=1.0,
        slide_size_px=(8192, 4096),
        bounds_px=(0, 0, 8192, 4096),
    )
    write_tissue(folder / "s.geojson", mask, {})
    chosen = SamSettings(**settings)
    return SamJob(slide=Path("s.tif"), tissue=folder / "s.geojson", drawing=None, settings=chosen, device="cpu")


def pixels(settings: Any, tissue: NDArray[np.bool_]) -> dict[str, float]:
    return {"tissue": float(np.count_nonzero(tissue)), "pictures": 1.0}


COUNTED: Any = SimpleNamespace(workload=pixels)


def test_the_paper_s_canvas_is_one_picture(tmp_path: Path) -> None:
    boxes = shapely.box(0, 0, 4000, 1000), shapely.box(4000, 1000, 8000, 2000)
    work = sam_estimate.count_work(job_of(tmp_path, *boxes, sam_canvas_px=1024), COUNTED)
    assert work.pictures == 1
    assert work.megapixels == pytest.approx(1000 * 250 / 1e6)  # shrunk by 8
    assert work.units == {"tissue": 2 * 500 * 125, "pictures": 1}


def test_tiles_without_tissue_are_no_work_and_few_stand_for_many(tmp_path: Path) -> None:
    # Squares of 512 px at two opposite corners of a canvas of 8192 x 4096 px: 2 of 128 tiles without overlap.
    corners = shapely.box(0, 0, 512, 512), shapely.box(7680, 3584, 8192, 4096)
    views = {"sam_canvas_px": 512, "sam_mpp": 1.0, "sam_tile_overlap": 0.0}
    work = sam_estimate.count_work(job_of(tmp_path, *corners, **views), COUNTED)
    assert (work.pictures, work.megapixels) == (2, pytest.approx(2 * 0.262144))
    assert work.units == {"tissue": 2 * 512**2, "pictures": 2}
    whole = sam_estimate.count_work(job_of(tmp_path, shapely.box(0, 0, 8192, 4096), **views), COUNTED)
    assert whole.pictures == 128
    assert whole.units == {"tissue": pytest.approx(8192 * 4096), "pictures": pytest.approx(128)}


def estimate(
    patch: pytest.MonkeyPatch, alone: Costs, together: Costs, workers: int, free: int = 100 * GB
) -> tuple[sam_estimate.Estimate, list[int]]:
    """Of the project's six slides, with measurements that are given; and how many processes measured at once."""
    asked: list[int] = []

    def measure(jobs: Sequence[SamJob]) -> Costs:
        asked.append(len(jobs))
        return alone if len(jobs) == 1 else together

    def count(job: SamJob, proposer: Any) -> sam_estimate.SlideWork:
        longest = 40 if job.tissue.stem == "slide_3" else 1
        return sam_estimate.SlideWork(slide_id=job.tissue.stem, pictures=1, megapixels=1.0, units={"pictures": longest})

    patch.setattr(sam_estimate, "_measure", measure)
    patch.setattr(sam_estimate, "count_work", count)
    patch.setattr(sam_estimate, "available_bytes", lambda: free)
    settings = SamSettings(proposer="superpixels")
    return sam_estimate.run(Project(), settings, RunOptions(workers=workers)), asked


def test_time_is_that_of_all_processes_or_of_the_longest_slide(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alone, together = costs(), costs(seconds={"pictures": 3.0}, other_seconds=15.0)
    # Alone: 5 slides of 2 + 10 s and one of 80 + 10 s, after 3 s.
    found, asked = estimate(monkeypatch, alone, together, workers=1)
    assert (found.seconds, asked) == (5 * 12 + 90 + 3, [1])
    assert found.slides[0].slide_id == "slide_3"
    # Two at once take longer each: 5 of 18 s and one of 135 s, which is longer than half of all.
    found, asked = estimate(monkeypatch, alone, together, workers=2)
    assert (found.seconds, asked) == (135 + 3, [1, 2])
    assert found.result_bytes == 6e6
    assert (found.done, found.processes, found.warnings) == (0, 2, ())


def test_what_does_not_fit_is_not_tried_and_the_fix_is_named(
    study: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found, asked = estimate(monkeypatch, costs(peak_bytes=4 * GB), costs(), workers=5, free=9 * GB)
    assert asked == [1]
    assert found.warnings == ("5 processes of 4.0 GB do not fit into the 9.0 GB of memory that are free: --workers 2",)
    sam_estimate.report(found, SamSettings())
    said = capsys.readouterr().out
    assert "4.0 GB a process, 20.0 GB in all; 9.0 GB are free" in said
    assert "warning: 5 processes" in said


@pytest.mark.parametrize(
    ("gpu_bytes", "advice"), [(3 * GB, []), (6 * GB, ["--workers 3"]), (20 * GB, ["a smaller sam_model"])]
)
def test_memory_of_the_gpu_counts_for_the_processes_that_share_it(gpu_bytes: int, advice: list[str]) -> None:
    measured = costs(gpu_bytes=gpu_bytes, gpu_free_bytes=11 * GB)
    warnings = list(sam_estimate._too_large(measured, processes=6, per_gpu=2, free=None))
    assert len(warnings) == len(advice)
    assert all(words in warning for words, warning in zip(advice, warnings, strict=True))


def test_an_estimate_does_nothing_and_knows_what_is_done(study: Path, sammil: Sammil) -> None:
    assert sammil("sam", "--only", "slide_0,slide_1", "--workers", 1).code == 0
    before = sorted(Path("artifacts").rglob("*"))
    answer = sammil("sam", "--estimate", "--json", "--workers", 1)
    assert answer.code == 0, answer
    assert sorted(Path("artifacts").rglob("*")) == before
    found = json.loads(answer.out)
    assert found["done"] == 2
    assert {slide["slide_id"] for slide in found["slides"]} == {f"slide_{i}" for i in range(2, 6)}
    assert found["units"]["megapixels"] == pytest.approx(sum(slide["megapixels"] for slide in found["slides"]))
    assert 0 < found["seconds"] < 60
    assert 5e7 < found["costs"]["peak_bytes"] < 1e9


def test_slides_that_are_too_coarse_are_not_measured(study: Path) -> None:
    found = sam_estimate.run(Project(), SamSettings(proposer="superpixels", sam_mpp=0.25), RunOptions())
    assert (found.slides, found.refused, found.costs) == ([], 6, None)


def test_where_all_is_done_nothing_is_measured(done: Path, sammil: Sammil) -> None:
    assert "sam: nothing to do: 0 to do, 6 done already" in sammil("sam", "--estimate").out


def test_weights_are_not_needed(study: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SAMMIL_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(sam_estimate, "_measure", lambda *arguments: costs(seconds={"crops": 5.0, "prompts": 0.1}))
    found = sam_estimate.run(Project(), SamSettings(sam_canvas_px=320), RunOptions())
    assert len(found.slides) == 6
    # The whole picture and four crops; at most 32 ** 2 + 4 * 16 ** 2 prompts, where tissue fills it.
    assert all(slide.units["crops"] == 5 for slide in found.slides)
    assert all(200 < slide.units["prompts"] < 2048 for slide in found.slides)


def test_an_estimate_is_of_this_machine(study: Path) -> None:
    with pytest.raises(InputError, match="measures on this machine"):
        sam_estimate.run(Project(), SamSettings(proposer="superpixels"), RunOptions(executor="dask", scheduler="x"))


def test_prompts_and_crops_are_those_of_the_engine(tiny_sam: dict[str, Any]) -> None:
    settings = {**tiny_sam, "sam_points_per_side": 8, "sam_crop_layers": 1, "sam_crop_points_downscale": 2}
    tissue = np.zeros((256, 256), bool)
    assert rates.count({**settings, "sam_points": "all"}, tissue) == {"crops": 5, "prompts": 64 + 4 * 16}
    assert rates.count(settings, tissue) == {"crops": 0, "prompts": 0}
    tissue[:128, :128] = True
    counted = rates.count(settings, tissue)
    assert counted["crops"] == 5  # crops overlap
    assert 16 + 16 <= counted["prompts"] < 64


def test_sam_and_superpixels_are_measured_on_a_real_view(
    study: Path, tiny_sam: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rates, "_POINTS", {"cpu": 2})
    files = {"slide": Path("data/slides/slide_0.tif"), "tissue": Path("artifacts/tissue/slide_0.geojson")}
    settings = SamSettings(**{**tiny_sam, "sam_canvas_px": 160, "sam_mpp": 4.0, "sam_tile_overlap": 0.25})
    found = calibrate(SamJob(**files, drawing=None, settings=settings, device="cpu"))
    assert set(found.seconds) == set(rates.count(tiny_sam, np.ones((64, 64), bool)))
    assert all(seconds > 0 for seconds in found.seconds.values())
    assert found.gpu_bytes == 0
    settings = SamSettings(proposer="superpixels", sam_canvas_px=320)
    plain = calibrate(SamJob(**files, drawing=None, settings=settings, device="cpu"))
    proposer = choices.load(choices.PROPOSERS, "superpixels")
    assert set(plain.seconds) == set(proposer.workload(settings.model_dump(), np.ones((64, 64), bool)))
    assert plain.other_seconds > 0
    assert plain.result_bytes > 1000
