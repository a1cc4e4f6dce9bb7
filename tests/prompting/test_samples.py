"""Fields: drawn once, evenly over all places that hold foreground, kept as GeoJSON."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import shapely
from drawn_project import NEST, draw
from shapely import MultiPolygon
from slide_maker import draw_asymmetric, draw_tissue, write_pyramid

from sammil_cli.config import check
from sammil_cli.errors import InputError, SlideError
from sammil_cli.prompting.foreground import NearbyAreas
from sammil_cli.prompting.samples import FieldsJob, SlideFields, read_fields, work
from sammil_cli.storage.geojson import read_geojson
from sammil_cli.storage.paths import DrawingPath, SlidePath, TissuePath
from sammil_cli.tissue.mask import TissueMask, write_tissue

RECORD = {"stage": "wsi-sam-train", "key": {}}


def job_of(folder: Path, *shapes: object, **others: object) -> FieldsJob:
    slide = write_pyramid(folder / "s.tif", draw_tissue(seed=1, tumour=True), downsamples=(1, 4), tile_px=128)
    drawing = draw(folder / "drawn" / "s.geojson", *(shapes or [NEST]))
    job = FieldsJob(
        slide=SlidePath(slide),
        mpp=None,
        scene=None,
        drawing=DrawingPath(drawing),
        tissue=None,
        classes=None,
        count=40,
        field_mpp=1.0,
        side_px=128,
        seed=7,
    )
    return replace(job, **others)  # type: ignore[arg-type]


def with_tissue(job: FieldsJob, *boxes: tuple[int, int, int, int]) -> FieldsJob:
    path = TissuePath(job.slide.parent / "tissue" / "s.geojson")
    polygons = MultiPolygon([shapely.box(*box) for box in boxes])
    mask = TissueMask(
        slide_id="s", polygons=polygons, slide_mpp=1.0, slide_size_px=(1200, 900), bounds_px=(0, 0, 1200, 900)
    )
    write_tissue(path, mask, RECORD)
    return replace(job, tissue=path)


def drawn(job: FieldsJob, out: Path) -> SlideFields:
    out.mkdir()
    work(out, RECORD, job)
    return read_fields(out / "s.geojson")


def refusal(job: FieldsJob, out: Path) -> SlideError:
    with pytest.raises(SlideError) as refused:
        work(out, RECORD, job)
    assert refused.value.remedy
    return refused.value


def test_every_field_holds_foreground_and_says_how_much(tmp_path: Path) -> None:
    fields = drawn(job_of(tmp_path), tmp_path / "out")
    assert len(fields.fields) == 40
    near = NearbyAreas([MultiPolygon([NEST])])
    assert [near.mask(field).mean() for field in fields.fields] == list(fields.shares)
    assert min(fields.shares) > 0
    assert {(field.side_px0, field.out_px) for field in fields.fields} == {(128, 128)}


def test_the_same_job_draws_the_same_fields_and_another_seed_others(tmp_path: Path) -> None:
    job = job_of(tmp_path)
    first, again, other = (
        drawn(one, tmp_path / name) for one, name in ((job, "a"), (job, "b"), (replace(job, seed=8), "c"))
    )
    assert (tmp_path / "a/s.geojson").read_bytes() == (tmp_path / "b/s.geojson").read_bytes()
    assert first == again
    assert first.fields != other.fields


def test_places_are_equally_likely_however_many_areas_reach_them(tmp_path: Path) -> None:
    """A hundred specks around one place weigh as much as a single one of their extent."""
    specks = [shapely.box(x, 300, x + 2, 302) for x in range(300, 400)]
    fields = drawn(job_of(tmp_path, *specks, shapely.box(700, 300, 702, 302), count=300), tmp_path / "out")
    x = np.array([field.centre_px[0] for field in fields.fields])
    left, right = (x < 500).sum(), (x > 500).sum()
    # In x a middle lies within 64 px of a speck: 99 + 2 + 128 px for the hundred, 130 for the one, in the same rows.
    assert left + right == 300
    assert left / 300 == pytest.approx(229 / (229 + 130), abs=0.09)


def test_middles_lie_on_tissue_where_it_is_known(tmp_path: Path) -> None:
    job = with_tissue(job_of(tmp_path), (420, 260, 500, 900))
    fields = drawn(job, tmp_path / "out")
    assert all(420 <= field.centre_px[0] <= 500 for field in fields.fields)
    anywhere = drawn(replace(job, tissue=None), tmp_path / "anywhere")
    assert any(field.centre_px[0] > 520 for field in anywhere.fields)


def test_middles_lie_in_the_scanned_area_where_no_tissue_is_known(tmp_path: Path) -> None:
    fields = drawn(job_of(tmp_path, shapely.box(-50, -50, 10, 10)), tmp_path / "out")
    assert all(x >= 0 and y >= 0 for x, y in (field.centre_px for field in fields.fields))


def test_it_says_that_no_tissue_is_known(tmp_path: Path) -> None:
    job = job_of(tmp_path, count=1)
    assert any("no tissue is known" in remark for remark in work(tmp_path, RECORD, job))
    assert not any("tissue" in remark for remark in work(tmp_path, RECORD, with_tissue(job, (0, 0, 1200, 900))))


def test_the_file_has_the_fields_as_squares_for_qupath(tmp_path: Path) -> None:
    fields = drawn(job_of(tmp_path, count=3), tmp_path / "out")
    shapes, facts = read_geojson(tmp_path / "out" / "s.geojson")
    assert [shape.class_name for shape in shapes] == ["Field"] * 3
    assert [shape.geometry.bounds[:2] for shape in shapes] == [field.corner_px for field in fields.fields]
    assert facts["slide_mpp"] == 1.0


def test_an_edited_file_of_fields_is_refused(tmp_path: Path) -> None:
    drawn(job_of(tmp_path, count=1), tmp_path / "out")
    path = tmp_path / "out" / "s.geojson"
    path.write_text(path.read_text().replace('"field_px": 128', '"field_px": 256'))
    with pytest.raises(InputError, match="checksum") as refused:
        read_fields(path)
    assert refused.value.code == "E_DAMAGED"


def test_a_slide_that_is_too_coarse_is_refused(tmp_path: Path) -> None:
    assert refusal(job_of(tmp_path, field_mpp=0.5), tmp_path).code == "E_COARSE"


def test_a_slide_without_resolution_is_refused_with_the_line_that_mends_it(tmp_path: Path) -> None:
    job = job_of(tmp_path)
    write_pyramid(job.slide, draw_asymmetric(), mpp=None)
    error = refusal(job, tmp_path)
    assert error.code == "E_MPP"
    assert "slides.csv" in error.remedy
    work(tmp_path, RECORD, replace(job, mpp=1.0, count=1))


def test_an_area_smaller_than_a_pixel_of_hr_is_refused(tmp_path: Path) -> None:
    job = job_of(tmp_path, shapely.box(500.1, 300.1, 500.3, 300.3), field_mpp=4.0)
    assert refusal(job, tmp_path).code == "E_FIELD"


def test_what_lies_too_far_from_tissue_for_any_field_is_refused(tmp_path: Path) -> None:
    job = with_tissue(job_of(tmp_path, MultiPolygon([NEST, shapely.box(10, 10, 12, 12)])), (5, 5, 20, 20))
    assert drawn(job, tmp_path / "out").fields
    holds_none = with_tissue(replace(job, drawing=DrawingPath(draw(tmp_path / "far.geojson", NEST))), (0, 0, 9, 9))
    assert refusal(holds_none, tmp_path).code == "E_ANNOTATION"


def test_no_class_at_all_is_refused_as_a_setting() -> None:
    with pytest.raises(InputError, match="wsi_sam_classes"):
        check({"wsi_sam_classes": []}, "params.yaml")
