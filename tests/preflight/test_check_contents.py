"""sammil check --contents reads and verifies every file that sammil wrote, and names exactly those that are damaged."""

import json
import os
import random
import shutil
import signal
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import shapely
import torch
from inline_executor import open_inline

from sammil_cli.errors import InputError
from sammil_cli.features.bag import read_bag, write_bag
from sammil_cli.preflight import check_contents
from sammil_cli.preflight.check_contents import as_record, run
from sammil_cli.project.project import Project
from sammil_cli.storage.files import sha256_file
from sammil_cli.storage.geojson import Shape, write_geojson
from sammil_cli.storage.paths import BagPath, ModelPath
from sammil_cli.storage.summed import write_of_slide, write_summed
from sammil_cli.training.model_facts import EPOCHS_FILE, WEIGHTS_FILE
from sammil_cli.training.trained_model import read_model, write_model

Sammil = Callable[..., Any]

# A file of each kind whose sum lies in it, or in a JSON beside it.
SUMMED = (
    "artifacts/tissue/slide_2.geojson",
    "artifacts/regions/slide_2.geojson",
    "artifacts/regions/slide_3.json",
    "artifacts/bags/slide_1.json",
    "runs/splits.csv",
    "runs/record.json",
    "runs/predictions.csv",
    "runs/models/manifest.json",
    "runs/models/repeat_0_fold_0/model.json",
    "runs/models/repeat_0_fold_1/model.safetensors",
    "report/metrics.json",
    "report/curves/sums.json",
    "runs/predictions_patients.csv",
)


@pytest.fixture
def inline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are read in this process: importing torch in others takes longer."""
    monkeypatch.setattr(check_contents, "open_executor", open_inline)


def flip(path: Path, seed: int) -> None:
    """Flips a bit somewhere in the file."""
    content, draw = bytearray(path.read_bytes()), random.Random(seed)
    content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
    path.write_bytes(bytes(content))


def test_a_sound_project_has_nothing_damaged_and_nothing_is_written(done: Path, sammil: Sammil, inline: None) -> None:
    before = {path: path.stat().st_mtime_ns for path in done.rglob("*")}
    answer = sammil("check", "--contents", "--json")
    found = json.loads(answer.out)
    assert answer.code == 0
    assert (found["errors"], found["findings"]) == (0, [])
    text = [path for path in SUMMED if (done / path).is_file()]
    assert text == list(SUMMED)
    assert found["checked"] == len(list((done / "artifacts").rglob("*.h5"))) + 6 * 4 + 3 + 3 + 1 + 6
    assert {path: path.stat().st_mtime_ns for path in done.rglob("*")} == before
    assert "none damaged or mixed up" in sammil("check", "--contents").out


@pytest.mark.parametrize("name", SUMMED)
def test_a_flipped_bit_is_named_with_its_file_and_no_other(done: Path, inline: None, name: str) -> None:
    flip(done / name, seed=SUMMED.index(name))
    found = run(Project())
    assert [(one.file, one.code) for one in found.bad] == [(name, "E_DAMAGED")]
    assert found.bad[0].fix


@pytest.mark.parametrize("name", ["runs/predictions.csv", "report/metrics.json", "epochs", "weights"])
def test_a_file_that_another_one_names_is_missed(done: Path, inline: None, name: str) -> None:
    folder = ModelPath(Path("runs/models/repeat_0_fold_1"))
    path = {"epochs": folder / EPOCHS_FILE, "weights": folder / WEIGHTS_FILE}.get(name, Path(name))
    if name == "epochs":
        model, facts = read_model(folder, "cpu")
        write_model(folder, model.state_dict(), facts, torch.zeros(2, 3, 2))
        Path("runs/models/manifest.json").unlink()
    assert run(Project()).bad == ()
    path.unlink()
    (one,) = run(Project()).bad
    assert (one.code, one.message.startswith(f"{path} is damaged: it is missing, and ")) == ("E_DAMAGED", True)


def test_several_at_once_and_the_exit_code(done: Path, sammil: Sammil, inline: None) -> None:
    names = sorted((SUMMED[0], SUMMED[2], SUMMED[4], SUMMED[8], SUMMED[10]))
    for name in names:
        flip(done / name, seed=5)
    answer = sammil("check", "--contents")
    assert answer.code == 2
    said = [line for line in answer.out.splitlines() if line.startswith("E_")]
    assert [next(name for name in names if name in line) for line in said] == names
    assert all("(fix: " in line for line in said)


def test_a_file_under_another_slides_name_is_mixed_up(done: Path, inline: None) -> None:
    for name in ("tissue/slide_{}.geojson", "regions/slide_{}.geojson", "regions/slide_{}.json", "bags/slide_{}.json"):
        shutil.copy(done / "artifacts" / name.format(1), done / "artifacts" / name.format(4))
    found = run(Project())
    assert [one.code for one in found.bad] == ["E_MIXED"] * 4
    assert all(Path(one.file).stem == "slide_4" and "slide_1" in one.message for one in found.bad)


def test_files_of_an_earlier_version_are_counted_and_no_error(done: Path, inline: None) -> None:
    before = run(Project()).without_sum
    path = done / "artifacts/bags/slide_1.json"
    facts = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({k: v for k, v in facts.items() if k not in ("sum", "schema", "slide_id")}))
    (done / "runs/models/manifest.json").unlink()
    found = run(Project())
    assert found.bad == ()
    assert found.without_sum == before + 2  # and the splits, which only the manifest names


def test_a_bag_that_is_there_twice_under_two_names_is_named_and_no_damage(
    done: Path, sammil: Sammil, inline: None
) -> None:
    assert run(Project()).alike == ()
    bag = read_bag(BagPath(done / "artifacts/bags/slide_1.h5"))
    write_bag(BagPath(done / "artifacts/bags/twin.h5"), replace(bag, slide_id="twin"), {})
    answer = sammil("check", "--contents", "--json")
    found = json.loads(answer.out)
    assert (answer.code, found["errors"]) == (0, 0)
    assert found["alike"] == [{"slides": ["slide_1", "twin"], "share": 1.0}]
    said = sammil("check", "--contents").out
    assert "slides slide_1 and twin hold the same: 100% of the smaller bag's patches are equal (fix: delete one" in said


def test_under_dvc_the_way_back_is_named(done: Path, inline: None) -> None:
    (done / ".dvc").mkdir()
    flip(done / "artifacts/tissue/slide_2.geojson", seed=0)
    (one,) = run(Project()).bad
    assert "dvc checkout artifacts/tissue/slide_2.geojson" in one.fix


def test_an_empty_project_has_no_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inline: None) -> None:
    monkeypatch.chdir(tmp_path)
    assert as_record(run(Project())) == {"checked": 0, "without_sum": 0, "errors": 0, "findings": [], "alike": []}


def test_what_wsi_sam_was_trained_with_and_answered_is_read_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inline: None
) -> None:
    monkeypatch.chdir(tmp_path)
    square = [(Shape(geometry=shapely.box(0, 0, 9, 9)), {"mpp": 1.0})]
    for name in ("artifacts/wsi_sam/a.geojson", "report/prompted/a.geojson"):
        Path(name).parent.mkdir(parents=True)
        write_geojson(Path(name), square, offset_px=(0, 0), provenance={"slide_id": "a"})
    write_of_slide(Path("report/prompted/a.json"), {"slide_id": "a"})
    Path("runs/wsi_sam").mkdir(parents=True)
    Path("runs/wsi_sam/tokens.safetensors").write_bytes(b"tokens")
    Path("runs/wsi_sam/curve.csv").write_text("epoch\n0\n")
    files = {path.name: sha256_file(path) for path in Path("runs/wsi_sam").iterdir()}
    write_summed(Path("runs/wsi_sam/record.json"), {"kind": "wsi-sam", "files": files})
    assert as_record(run(Project())) == {
        **{"checked": 4, "without_sum": 0, "errors": 0},
        **{"findings": [], "alike": []},
    }
    Path("artifacts/wsi_sam/a.geojson").rename("artifacts/wsi_sam/b.geojson")
    flip(Path("report/prompted/a.json"), 3)
    Path("runs/wsi_sam/tokens.safetensors").write_bytes(b"others")
    bad = {one.file: (one.code, one.fix) for one in run(Project()).bad}
    again = "run: sammil wsi-sam train"
    assert bad["artifacts/wsi_sam/b.geojson"] == ("E_MIXED", f"call it a.geojson again, or {again}")
    assert bad["report/prompted/a.json"][0] == "E_DAMAGED"
    assert bad["runs/wsi_sam/record.json"] == ("E_DAMAGED", again)
    Path("runs/wsi_sam/tokens.safetensors").unlink()
    [missing] = [one.message for one in run(Project()).bad if one.file.startswith("runs")]
    assert "tokens.safetensors is damaged: it is missing" in missing


def kill_or_read(kind: str, path: Path, project: Project) -> bool:
    """Dies as a library would over a file of one name."""
    if path.stem == "slide_2":
        os.kill(os.getpid(), signal.SIGSEGV)
    with suppress(InputError):
        return check_contents._READERS[kind](path, project)
    return False


@pytest.mark.slow
def test_a_file_that_kills_the_process_that_reads_it_is_a_line_and_no_end(
    done: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in ("artifacts/regions", "artifacts/bags", "artifacts/patches", "runs", "report"):
        shutil.rmtree(done / folder)
    for path in (done / "artifacts/tissue").iterdir():
        if path.name not in ("slide_1.geojson", "slide_2.geojson"):
            path.unlink()
    monkeypatch.setattr(check_contents, "read_file", kill_or_read)
    found = run(Project())
    assert found.checked == 2
    assert [(one.file, one.code) for one in found.bad] == [("artifacts/tissue/slide_2.geojson", "E_CRASH")]
    assert "sammil segment" in found.bad[0].fix
