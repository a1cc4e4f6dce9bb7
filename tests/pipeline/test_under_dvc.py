"""The behaviours of per-slide stages under DVC. The tests of this file go on with each other's project, in order."""

import contextlib
import os
import shutil
import signal
import time
from collections import Counter
from pathlib import Path

import pytest
from pipeline_project import OUTS, StudyFolder, counts

pytestmark = pytest.mark.slow

FOUR = {f"slide_{number}" for number in range(4)}


def store_files(study: StudyFolder, step: str) -> list[Path]:
    """All files that the result store keeps of a step."""
    return sorted((study.root / ".dvc/cache/sammil" / step).glob("??/*/*"))


def store_entries(study: StudyFolder, step: str) -> int:
    """How many results the store keeps of a step."""
    return sum(path.name == "manifest.json" for path in store_files(study, step))


def test_the_first_run_computes_every_slide_in_every_stage(under_dvc: StudyFolder) -> None:
    said = counts(under_dvc.call("dvc", "repro", "extract"))
    assert said == dict.fromkeys(OUTS, "4 done")
    assert [under_dvc.slides_of(stage) for stage in OUTS] == [FOUR] * 4
    under_dvc.commit()
    assert counts(under_dvc.call("dvc", "repro", "extract")) == {}
    assert under_dvc.check_cache() > 0


def test_one_slide_added_is_computed_once_per_stage_and_no_other_is(under_dvc: StudyFolder, drawn: Path) -> None:
    before = under_dvc.content()
    shutil.rmtree(under_dvc.root / ".dvc/cache/sammil")  # as in a fresh clone: DVC's cache alone knows the results
    shutil.copy(drawn / "slides/slide_4.tif", under_dvc.slides)
    assert counts(under_dvc.call("dvc", "repro", "extract")) == dict.fromkeys(OUTS, "1 done, 4 reused")
    after = under_dvc.content()
    assert {path: content for path, content in after.items() if "slide_4." not in path} == before
    assert [under_dvc.slides_of(stage) for stage in OUTS] == [{*FOUR, "slide_4"}] * 4


def test_what_dvcs_cache_holds_is_not_kept_twice(under_dvc: StudyFolder) -> None:
    # The four of the first run were in DVC's cache when the second began; the fifth was not.
    names = Counter(path.name for path in store_files(under_dvc, "extract"))
    assert names == {"manifest.json": 5, "slide_4.h5": 1, "slide_4.json": 1}
    assert under_dvc.check_cache() > 0


def test_one_slide_removed_takes_its_files_along_and_computes_nothing(under_dvc: StudyFolder) -> None:
    (under_dvc.slides / "slide_4.tif").unlink()
    said = counts(under_dvc.call("dvc", "repro", "extract"))
    assert set(said.values()) <= {"4 reused"}  # or none: DVC's run-cache knows that state, too
    assert [under_dvc.slides_of(stage) for stage in OUTS] == [FOUR] * 4


def test_a_changed_setting_computes_all_from_there_and_changed_back_nothing(under_dvc: StudyFolder) -> None:
    before = under_dvc.content()
    under_dvc.change(patch_min_tissue=0.9)
    assert counts(under_dvc.call("dvc", "repro", "patch")) == {"patch": "4 done"}
    changed = under_dvc.content("patch")
    assert changed.keys() == {f"artifacts/patches/{slide}.h5" for slide in FOUR}
    assert [path for path in changed if changed[path] == before[path]] == []
    under_dvc.change(patch_min_tissue=0.25)
    said = counts(under_dvc.call("dvc", "repro", "extract"))
    assert set(said.values()) <= {"4 reused"}
    assert under_dvc.content() == before


def test_an_edited_polygon_file_redoes_that_slide_alone_from_there(under_dvc: StudyFolder) -> None:
    tissue = (under_dvc.root / "artifacts/tissue/slide_2.geojson").read_text()
    (under_dvc.root / "data/edits/slide_2.geojson").write_text(tissue)
    said = counts(under_dvc.call("dvc", "repro", "patch"))
    assert said == dict.fromkeys(("segment", "patch"), "1 done, 3 reused")
    (under_dvc.root / "data/edits/slide_2.geojson").unlink()
    said = counts(under_dvc.call("dvc", "repro", "patch"))
    assert set(said.values()) <= {"4 reused"}


def test_a_resolution_given_for_one_slide_redoes_that_slide_alone_from_there(under_dvc: StudyFolder) -> None:
    before = under_dvc.content("segment", "patch")
    table = under_dvc.root / "data/slides.csv"
    table.write_text("slide_id,mpp\nslide_1,0.9\n")
    said = counts(under_dvc.call("dvc", "repro", "patch"))
    assert said == dict.fromkeys(("segment", "patch"), "1 done, 3 reused")
    after = under_dvc.content("segment", "patch")
    assert {path for path in after if after[path] != before.get(path)} == {p for p in after if "slide_1." in p}
    table.write_text("slide_id,mpp\n")
    said = counts(under_dvc.call("dvc", "repro", "patch"))
    assert set(said.values()) <= {"4 reused"}
    assert under_dvc.content("segment", "patch") == before


def test_a_run_that_is_killed_goes_on_where_it_was(under_dvc: StudyFolder) -> None:
    under_dvc.commit()
    under_dvc.change(tissue_threshold=30)
    before = store_entries(under_dvc, "segment")
    for finished in (1, 2):
        process = under_dvc.start("dvc", "repro", "patch")
        deadline = time.monotonic() + 60
        while store_entries(under_dvc, "segment") < before + finished and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.002)
        with contextlib.suppress(ProcessLookupError):  # it was quicker
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        assert store_entries(under_dvc, "segment") >= before + finished
    kept = store_entries(under_dvc, "segment") - before
    said = counts(under_dvc.call("dvc", "repro", "patch"))
    assert said.get("segment") in ((f"{4 - kept} done, {kept} reused",) if kept < 4 else ("4 reused", None))
    content = under_dvc.content("segment", "patch")
    assert under_dvc.check_cache() > 0
    assert not list((under_dvc.root / ".dvc/cache/sammil").rglob(".work-*"))
    cache, aside = under_dvc.root / ".dvc/cache", under_dvc.root / ".dvc/aside"
    cache.rename(aside)  # and now in one go: neither the store nor DVC's cache has anything to give
    shutil.rmtree(under_dvc.root / "artifacts")
    assert counts(under_dvc.call("sammil", "segment")) == {"segment": "4 done"}
    assert counts(under_dvc.call("sammil", "patch")) == {"patch": "4 done"}
    assert under_dvc.content("segment", "patch") == content
    shutil.rmtree(cache)
    aside.rename(cache)
    under_dvc.call("git", "checkout", "--quiet", ".")
    under_dvc.call("dvc", "repro", "patch")


@pytest.mark.stress
def test_experiments_share_results_with_the_project_in_both_directions(under_dvc: StudyFolder) -> None:
    under_dvc.call("git", "checkout", "--quiet", ".")
    under_dvc.call("dvc", "repro", "patch")
    under_dvc.call("dvc", "exp", "run", "--queue", "-S", "patch_px=90", "patch")
    assert counts(under_dvc.call("sammil", "patch", "-S", "patch_px=96")) == {"patch": "4 done"}
    temporary = under_dvc.call("dvc", "exp", "run", "--temp", "-S", "patch_px=96", "patch")
    assert counts(temporary) == {"patch": "4 reused"}
    assert counts(under_dvc.call("dvc", "exp", "run", "--temp", "-S", "patch_px=112", "patch")) == {"patch": "4 done"}
    assert counts(under_dvc.call("dvc", "exp", "run", "-S", "patch_px=112", "-S", "fail_over=0.5", "patch")) == {
        "segment": "4 reused",
        "patch": "4 reused",
    }
    assert counts(under_dvc.call("dvc", "exp", "run", "--run-all")) == {"patch": "4 done"}
    assert counts(under_dvc.call("sammil", "patch", "-S", "patch_px=90")) == {"patch": "4 reused"}
    assert under_dvc.check_cache() > 0


def test_what_dvc_gc_took_away_is_computed_anew_and_the_store_stays(under_dvc: StudyFolder) -> None:
    under_dvc.call("git", "checkout", "--quiet", ".")
    under_dvc.call("dvc", "repro", "patch")
    under_dvc.call("dvc", "exp", "run", "--temp", "-S", "patch_px=96", "patch")  # DVC holds these, too
    kept = store_files(under_dvc, "segment")
    assert store_entries(under_dvc, "segment") >= 8  # of four slides with two settings
    under_dvc.call("sammil", "patch", "-S", "patch_px=96")  # and its files are dropped where DVC holds them
    under_dvc.call("dvc", "gc", "--workspace", "--force")
    assert store_files(under_dvc, "segment") == kept
    shutil.rmtree(under_dvc.root / "artifacts/patches")
    for found in ("4 done", "4 reused"):
        assert counts(under_dvc.call("sammil", "patch", "-S", "patch_px=96")) == {"patch": found}
