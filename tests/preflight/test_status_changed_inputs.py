"""sammil status names the user's files that changed: since results were made, and since the models were trained."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sammil_cli.preflight import since_training
from sammil_cli.runner import inputs
from sammil_cli.slides import files

Sammil = Callable[..., Any]
LABELS = Path("data/labels.csv")


def said(sammil: Sammil) -> str:
    answer = sammil("status")
    assert answer.code == 0, answer
    return " ".join(str(answer.out).split())


def test_without_a_change_nothing_is_said(done: Path, sammil: Sammil) -> None:
    assert "since" not in said(sammil)
    assert [stage["stage"] for stage in json.loads(sammil("status", "--json").out)] == [
        "segment",
        "patch",
        "sam",
        "extract",
        "train",
        "evaluate",
        "visualize",
        "explain",
        "evidence",
    ]


def test_a_changed_label_is_named_with_its_table_and_slide(done: Path, sammil: Sammil) -> None:
    header, first, *rows = LABELS.read_text(encoding="utf-8").splitlines()
    slide, label, *rest = first.split(",")
    other = {"normal": "tumour", "tumour": "normal"}[label]
    LABELS.write_text("\n".join([header, ",".join([slide, other, *rest]), *rows, ""]), encoding="utf-8")
    expected = (
        f"data/labels.csv changed since the models were trained: 1 slide(s) have another label or patient ({slide} "
    )
    assert f"{expected}'{other}', was '{label}')" in said(sammil)
    found = json.loads(sammil("status", "--json").out)
    assert next(stage["changed"] for stage in found if stage["stage"] == "train")[0].startswith(expected)


def test_labels_that_differ_in_form_only_and_rows_that_came_or_went(done: Path, sammil: Sammil) -> None:
    text = LABELS.read_text(encoding="utf-8")
    LABELS.write_text(text + "\n", encoding="utf-8")
    assert "data/labels.csv changed since the models were trained: the labels are the same" in said(sammil)
    header, first, *rows = text.splitlines()
    lone = ",".join(["slide_77", *first.split(",")[1:2], "p77"][: header.count(",") + 1])
    LABELS.write_text("\n".join([header, *rows, lone, ""]), encoding="utf-8")
    found = said(sammil)
    assert f"1 slide(s) are not in it any more ({first.split(',')[0]}), 1 slide(s) were added" in found
    LABELS.unlink()
    assert "data/labels.csv is gone since the models were trained" in said(sammil)


def test_a_replaced_slide_a_drawing_and_a_row_of_slides_csv_are_named(done: Path, sammil: Sammil) -> None:
    shutil.copy("data/slides/slide_1.tif", "data/slides/slide_2.tif")
    Path("data/edits").mkdir(exist_ok=True)
    shutil.copy("artifacts/tissue/slide_3.geojson", "data/edits/slide_3.geojson")
    Path("data/slides.csv").write_text("slide_id,mpp\nslide_4,0.9\n", encoding="utf-8")
    found = said(sammil)
    assert "slide file changed: data/slides/slide_2.tif" in found
    assert "edited polygons: data/edits/slide_3.geojson" in found
    assert "resolution in slides.csv changed: data/slides.csv" in found
    assert "1 slide(s) of the training changed since: data/slides/slide_2.tif" in found
    Path("data/slides/slide_2.tif").unlink()
    assert "1 slide(s) of the training are gone since: slide_2" in said(sammil)


def test_a_damaged_record_is_a_line_and_no_end(done: Path, sammil: Sammil) -> None:
    path = Path("runs/record.json")
    path.write_text(path.read_text(encoding="utf-8").replace('"seed"', '"sead"', 1), encoding="utf-8")
    assert "E_DAMAGED: runs/record.json is damaged" in said(sammil)


def test_before_the_first_training_nothing_is_said(done: Path, sammil: Sammil) -> None:
    Path("runs/record.json").unlink()
    LABELS.unlink()
    assert "since" not in said(sammil)


def test_a_slide_is_read_once_for_all_that_is_said_of_it(
    done: Path, sammil: Sammil, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[Path] = []
    identify = files.identify
    for module in (inputs, since_training):
        if hasattr(module, "identify"):
            monkeypatch.setattr(module, "identify", lambda path: (reads.append(path), identify(path))[1])
    monkeypatch.setattr(inputs, "_digests", {})
    monkeypatch.setattr(inputs.time, "time_ns", lambda: 2**62)  # the slides have lain there for long
    assert "since" not in said(sammil)
    assert len(reads) == len(set(reads)) > 0
