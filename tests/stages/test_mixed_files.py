"""Files that were copied or renamed by hand cost their own slide, never another one's result."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from csv_rows import rows_of
from h5_files import as_first_version, set_fact

Sammil = Callable[..., Any]


def test_a_patches_file_under_another_name_leaves_the_other_slides_bag_alone(done: Path, sammil: Sammil) -> None:
    bags = {path.name: path.read_bytes() for path in (done / "artifacts/bags").glob("*.h5")}
    shutil.copyfile("artifacts/patches/slide_1.h5", "artifacts/patches/slide_2.h5")
    answer = sammil("extract", "-S", "encoder=texture", "--workers", 1, "--only", "slide_1,slide_2")
    assert answer.code == 1
    rows = {row["slide_id"]: row for row in rows_of(Path("artifacts/process_lists/extract.csv"))}
    assert rows["slide_2"]["code"] == "E_MIXED"
    assert "slide_2.h5 is of the slide 'slide_1'" in rows["slide_2"]["message"]
    assert Path("artifacts/bags/slide_1.h5").read_bytes() == bags["slide_1.h5"]


def test_a_slide_id_with_a_path_writes_nothing_outside(done: Path, sammil: Sammil) -> None:
    path = Path("artifacts/patches/slide_2.h5")
    as_first_version(path)
    set_fact(path, "slide_id", "../../../outside")
    before = set(done.parent.rglob("outside*"))
    answer = sammil("extract", "-S", "encoder=texture", "--workers", 1, "--only", "slide_2")
    assert answer.code == 1
    assert "E_MIXED" in answer.out
    assert set(done.parent.rglob("outside*")) == before


def test_train_and_predict_name_a_bag_under_another_name(done: Path, sammil: Sammil) -> None:
    shutil.copyfile("artifacts/bags/slide_1.h5", "artifacts/bags/slide_2.h5")
    answer = sammil("train")
    assert answer.code == 2
    assert "slide slide_2: E_MIXED artifacts/bags/slide_2.h5 is of the slide 'slide_1'" in answer.err
    assert sammil("predict", "--no-pictures", "--device", "cpu").code == 1
    listed = {row["slide_id"]: row["code"] for row in rows_of(Path("runs/new_predictions/process_lists/predict.csv"))}
    assert listed == {
        **dict.fromkeys(("slide_0", "slide_1", "slide_3", "slide_4", "slide_5"), ""),
        "slide_2": "E_MIXED",
    }
