"""Damaged files of every kind through the command line, as a user meets them: an exit code, a reason, no traceback.

The files of `good_files.py` lie in a project of four slides; a row damages one of them and calls the command that reads
it. A slide's own file costs that slide only, and the process list says why.
"""

import csv
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import damages as d
import good_files as good
import pytest
from inline_executor import open_inline
from study_fixtures import Answer, call, set_params, training_inline

from sammil_cli.runner import per_slide

SLIDES = good.SLIDES
ONE = "--only slide_01 --workers 1"
# kind · file that is damaged · damage · command · exit code · what is said, or the code in the process list
ROWS: tuple[tuple[str, str, d.Damage, str, int, str], ...] = (
    ("slide", "data/slides/slide_01.tif", d.half, f"segment {ONE}", 1, "E_OPEN"),
    ("slide", "data/slides/slide_01.tif", d.a_web_page, "inspect", 1, "a web page"),
    ("drawing", "data/edits/slide_01.geojson", d.half, f"segment {ONE}", 1, "E_EDIT"),
    ("drawing.xml", "data/edits/slide_02.xml", d.half, "segment --only slide_02 --workers 1", 1, "E_EDIT"),
    ("drawing.gz", "data/rois/slide_01.geojson.gz", d.half, f"patch {ONE}", 1, "E_EDIT"),
    ("slides table", "data/slides.csv", d.latin_1, f"segment {ONE}", 2, "not UTF-8"),
    ("slides table", "data/slides.csv", d.a_picture, "check", 2, "PNG picture"),
    ("params", "params.yaml", partial(d.write, "folds: many\n"), "check", 2, "'many'"),
    ("process list", "list.csv", d.a_picture, "segment --only list.csv", 2, "PNG picture"),
    ("labels", "data/labels.csv", d.utf_16, "check", 2, "UTF-16"),
    ("labels", "data/labels.csv", d.a_folder, "train", 2, "is no file"),
    ("tissue", "artifacts/tissue/slide_01.geojson", d.half, f"patch {ONE}", 1, "E_DAMAGED"),
    (
        "tissue",
        "artifacts/tissue/slide_01.geojson",
        partial(d.another_slides, good.tissue),
        f"patch {ONE}",
        1,
        "E_MIXED",
    ),
    ("artefacts", "artifacts/tissue/slide_01.h5", d.half, f"patch {ONE}", 1, "E_DAMAGED"),
    ("patches", "artifacts/patches/slide_01.h5", d.flipped_bits, f"extract {ONE} --device cpu", 1, "E_DAMAGED"),
    ("regions", "artifacts/regions/slide_01.h5", d.flipped_bits, f"extract {ONE} --device cpu", 1, "E_DAMAGED"),
    ("bag", "artifacts/bags/slide_01.h5", d.half, "train --device cpu", 2, "slide_01: E_DAMAGED"),
    (
        "bag",
        "artifacts/bags/slide_01.h5",
        partial(d.another_slides, good.bag),
        "train --device cpu",
        2,
        "slide_01: E_MIXED",
    ),
    ("splits", "runs/splits.csv", d.flipped_bits, "evaluate", 2, "E_DAMAGED"),
    ("model facts", "runs/models/repeat_0_fold_0/model.json", d.half, "evaluate", 2, "E_DAMAGED"),
    ("model weights", "runs/models/repeat_0_fold_0/model.safetensors", d.half, "evaluate --device cpu", 2, "E_DAMAGED"),
    ("record", "runs/record.json", d.half, "reproduce", 2, "E_DAMAGED: runs/record.json"),
    ("metrics", "report/metrics.json", d.half, "reproduce", 2, "report/metrics.json is no valid JSON"),
    ("predictions", "runs/predictions.csv", d.latin_1, "reproduce", 2, "E_DAMAGED: runs/predictions.csv"),
    ("torch weights", "old/weights.pth", d.half, "convert-legacy old/weights.pth", 3, "no weight file"),
    ("old features", "old/features/slide_01.h5", d.half, "convert-legacy old/features", 1, "E_LEGACY_DAMAGED"),
    ("patch lists", "old/lists.pkl", d.half, "convert-legacy old/lists.pkl", 2, "pickle"),
    ("DVC config", ".dvc/config", d.zeros, f"patch {ONE}", 0, "1 done"),
    ("quality", "artifacts/regions/slide_01.json", d.half, f"patch {ONE}", 0, "1 done"),
)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hostile") / "project"
    assert call("init", folder, "--preset", "demo", "--no-dvc").code == 0
    set_params(
        folder, folds=2, epochs=1, tissue_min_area_um2=1000.0, positive_class="b", patch_px=64, patch_mpp=good.MPP
    )
    makers: dict[str, Callable[[Path], None]] = {
        "data/slides/{}.tif": good.slide,
        "artifacts/tissue/{}.geojson": good.tissue,
        "artifacts/tissue/{}.h5": good.artefacts,
        "artifacts/patches/{}.h5": good.patches,
        "artifacts/regions/{}.h5": good.regions,
        "artifacts/regions/{}.json": good.quality,
        "artifacts/bags/{}.h5": good.bag,
        "old/features/{}.h5": partial(good.old_bag, "rows"),
    }
    once: dict[str, Callable[[Path], None]] = {
        "data/labels.csv": good.labels,
        "data/slides.csv": partial(d.write, "slide_id,mpp\nslide_01,2\n"),
        "data/edits/slide_01.geojson": good.drawing,
        "data/edits/slide_02.xml": good.drawn_xml,
        "data/rois/slide_01.geojson.gz": good.drawing,
        "list.csv": good.processes,
        "runs/splits.csv": good.training,
        "runs/record.json": good.record,
        "report/predictions.csv": good.predictions,
        "old/weights.pth": good.published,
        "old/lists.pkl": good.patch_lists,
        ".dvc/config": good.dvc_config,
    }
    for name, make in {**{k.format(s): m for k, m in makers.items() for s in SLIDES}, **once}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        make(folder / name)
    (folder / "report/predictions.csv").rename(folder / "runs/predictions.csv")
    return folder


@pytest.fixture
def here(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "project"
    shutil.copytree(project, folder)
    monkeypatch.chdir(folder)
    monkeypatch.setattr(per_slide, "open_executor", open_inline)
    return folder


def said_by(answer: Answer) -> str:
    """What was printed, and the process lists."""
    lists = [path.read_text(encoding="utf-8") for path in Path("artifacts/process_lists").glob("*.csv")]
    return "\n".join([answer.out, answer.err, *lists])


@pytest.mark.parametrize(
    ("kind", "file", "damage", "words", "code", "said"),
    ROWS,
    ids=[f"{r[0]}: {r[3].split()[0]} {i}" for i, r in enumerate(ROWS)],
)
def test_a_damaged_file_ends_a_command_with_its_reason(
    kind: str, file: str, damage: d.Damage, words: str, code: int, said: str, here: Path
) -> None:
    damage(here / file)
    with training_inline():
        answer = call(*words.split())
    found = said_by(answer)
    assert answer.code == code, found
    assert said in found
    assert "Traceback" not in found
    assert "E_BUG" not in found


def test_a_damaged_file_of_one_slide_costs_no_other(here: Path) -> None:
    d.flipped_bits(here / "artifacts/tissue/slide_02.geojson")
    assert call("patch", "--workers", "1").code == 1
    with Path("artifacts/process_lists/patch.csv").open(encoding="utf-8", newline="") as stream:
        listed = {row["slide_id"]: row["code"] for row in csv.DictReader(stream)}
    assert listed == {"slide_01": "", "slide_02": "E_DAMAGED", "slide_03": "", "slide_04": ""}
