"""sammil evaluate on a cohort that leaks: a slide that is there twice, and a site that gives the class away."""

from pathlib import Path

import numpy as np
import pytest
import shapely
from judged_study import Study, make_bag, make_study

from sammil_cli.features.bag import read_bag, write_bag
from sammil_cli.storage.files import write_csv
from sammil_cli.storage.paths import BagPath, TissuePath
from sammil_cli.tissue.mask import TissueMask, write_tissue
from sammil_cli.tissue.overlay import write_overlay


def leaky(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Study:
    """Slide s11 is s00 under another patient's name, site N has the normal slides, and tumours are darker."""
    study = make_study(folder, monkeypatch)
    features = np.array(read_bag(BagPath(study.project.bags / "s00.h5")).features)
    write_bag(BagPath(study.project.bags / "s11.h5"), make_bag("s11", features[::-1].copy()), {})
    rows = [(s, study.classes[label], f"P{int(s[1:]) // 2}", "NT"[label]) for s, label in study.label.items()]
    write_csv(study.project.labels, ("slide_id", "label", "patient_id", "site"), rows)
    return study


def paint(folder: Path, slide: str, grey: int) -> None:
    box = shapely.MultiPolygon([shapely.box(4, 4, 60, 60)])
    mask = TissueMask(slide_id=slide, polygons=box, slide_mpp=0.5, slide_size_px=(64, 64), bounds_px=(0, 0, 64, 64))
    write_tissue(TissuePath(folder / f"{slide}.geojson"), mask, {})
    write_overlay(folder / f"{slide}.jpg", np.full((64, 64, 3), grey, np.uint8), mask)


def test_a_leaky_cohort_is_seen_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    study = leaky(tmp_path, monkeypatch)
    for place, (slide, label) in enumerate(study.label.items()):
        paint(Path("artifacts/tissue"), slide, 200 - 40 * label + place)
    summary = study.run()
    assert summary["baselines"]["site-only"]["auc"]["pooled"] == 1.0
    assert summary["baselines"]["brightness-only"]["auc"]["pooled"] > 0.9
    found = summary["audit"]
    assert found["near_duplicates"] == {"test_slides": 2, "of": 12}
    assert found["near_duplicate_pairs"] == [{"slides": ["s00", "s11"], "share": 1.0, "same_patient": False}]
    assert found["left_out"] == []
    assert found["seen_sites"] == {"test_slides": 12, "of": 12}
    assert summary["per_site"].keys() == {"N", "T"}
    said, page = " ".join(capsys.readouterr().out.split()), study.project.page.read_text(encoding="utf-8")
    for text in (
        "the model does not beat site-only",
        "2 of 12 test slides have a near-duplicate, by the content of the bags, in training or validation (s00 and",
    ):
        assert text in said
        assert f'<p class="warning">{text}' in page
    assert "Leakage: what was chosen on what" in page
    assert "Each site, 95 % interval" in page
