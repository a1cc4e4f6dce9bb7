"""A project that runs on a plug-in of each kind: every stage, and what is computed again."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
from csv_rows import by_slide
from plug_ins import PLUG_INS, SLIDES, forget

from sammil_cli.config import load_settings
from sammil_cli.project.code_in_use import code_of_stage
from sammil_cli.project.project import Project

Sammil = Callable[..., Any]


def test_every_stage_runs_on_plug_ins_in_processes_of_its_own(
    plugged: tuple[Path, dict[str, Any]], plugged_project: Path
) -> None:
    assert {verb: answer.code for verb, answer in plugged[1].items()} == dict.fromkeys(plugged[1], 0), plugged[1]
    for verb in ("segment", "patch", "sam", "extract"):
        rows = by_slide(Path(f"artifacts/process_lists/{verb}.csv"))
        assert {slide: row["status"] for slide, row in rows.items()} == dict.fromkeys(SLIDES, "done")
    imported = {tuple(line.split()) for line in Path("imported.txt").read_text(encoding="utf-8").splitlines()}
    elsewhere = {module for module, process in imported if process != str(os.getpid())}
    assert elsewhere == {f"sammil_plugins.{word}" for word in ("dark", "blue", "colours", "raw")}
    tissue = json.loads(Path("artifacts/tissue/slide_1.geojson").read_text(encoding="utf-8"))["sammil"]
    assert tissue["mpp_source"] == "head"
    assert tissue["key"]["settings"]["segmenter"] == "dark"
    with h5py.File("artifacts/regions/slide_1.h5") as regions, h5py.File("artifacts/bags/slide_1.h5") as bag:
        assert len(regions["area_px"]) > 0
        assert json.loads(regions.attrs["provenance"])["key"]["settings"]["proposer"] == "blue"
        assert (bag.attrs["encoder_name"], bag["features"].shape[1]) == ("colours", 6)
    facts = json.loads(Path("runs/models/repeat_0_fold_1/model.json").read_text(encoding="utf-8"))
    assert facts["model"] == "norm-weighted"
    assert len(Path("runs/predictions.csv").read_text(encoding="utf-8").splitlines()) == 1 + len(SLIDES)


def test_the_code_of_each_stage_is_that_of_the_plug_ins_in_use(plugged_project: Path) -> None:
    settings = load_settings(plugged_project / "params.yaml")
    used = {
        stage: sorted(name for name in code_of_stage(stage, Project(), settings).files if "sammil_plugins." in name)
        for stage in ("segment", "patch", "sam", "extract", "train", "evaluate", "visualize")
    }
    dark, blue, colours, norm, raw = (f"sammil_plugins.{word.replace('-', '_')}" for word in PLUG_INS)
    assert used == {
        "segment": [dark, raw],
        "patch": [],
        "sam": [blue, raw],
        "extract": [colours, raw],
        "train": [norm],
        "evaluate": [norm],
        "visualize": [norm, raw],
    }


def test_a_remark_in_a_plug_in_costs_nothing_and_an_edit_what_it_makes(plugged_project: Path, sammil: Sammil) -> None:
    path = plugged_project / "plugins/dark.py"
    text = path.read_text(encoding="utf-8")
    for edited, status in ((f"# a remark\n{text}", "reused"), (text.replace(*PLUG_INS["dark"].edit), "done")):
        path.write_text(edited, encoding="utf-8")
        forget()
        assert sammil("segment", "--workers", 1).code == 0
        rows = by_slide(Path("artifacts/process_lists/segment.csv"))
        assert {slide: row["status"] for slide, row in rows.items()} == dict.fromkeys(SLIDES, status)
