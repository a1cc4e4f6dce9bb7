"""Plug-ins laid down for a test, and a project that ran on them."""

import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from plug_ins import FOREIGN, PLUG_INS, SLIDES, WAYS, Placed, forget, in_the_project, write_raw
from slide_maker import draw_tissue
from study_fixtures import SMALL, call, folds_inline, set_params

TELLS = """
import os
from pathlib import Path

with Path("imported.txt").open("a") as stream:
    stream.write(f"{__name__} {os.getpid()}\\n")
"""


@pytest.fixture
def clean(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """Nothing that a test finds is remembered after it."""
    yield monkeypatch
    monkeypatch.undo()
    ours = {f"{one.kind.folder}.{word.replace('-', '_')}" for word, one in PLUG_INS.items()}
    for name in [name for name in sys.modules if name in ours or name.partition(".")[0] in FOREIGN]:
        parent, _, stem = name.rpartition(".")
        del sys.modules[name]
        if name in ours:
            delattr(sys.modules[parent], stem)
    forget()


@pytest.fixture(params=WAYS, ids=[way.__name__ for way in WAYS])
def placed(request: pytest.FixtureRequest, tmp_path: Path, clean: pytest.MonkeyPatch) -> Placed:
    """All five plug-ins, found in one way."""
    forget()
    found: Placed = request.param(tmp_path, PLUG_INS, clean)
    return found


@pytest.fixture(scope="session")
def plugged(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A project with a plug-in of each kind and slides in the plug-in's own format after all stages; what was said."""
    folder = tmp_path_factory.mktemp("plugged") / "study"
    assert call("init", folder, "--preset", "demo", "--no-dvc").code == 0
    for index, slide in enumerate(SLIDES):
        write_raw(folder / f"data/slides/{slide}.rawslide", draw_tissue(seed=index, tumour=index % 2 == 1)[:512, :640])
    labels = [f"{slide},{('normal', 'tumour')[index % 2]}" for index, slide in enumerate(SLIDES)]
    (folder / "data/labels.csv").write_text("\n".join(["slide_id,label", *labels, ""]))
    chosen = {"segmenter": "dark", "proposer": "blue", "encoder": "colours", "model": "norm-weighted"}
    set_params(folder, **SMALL | chosen | {"folds": 2, "epochs": 2, "patience": 2, "protocol": "paper"})
    with pytest.MonkeyPatch.context() as patch, folds_inline():
        in_the_project(folder, {word: replace(one, text=one.text + TELLS) for word, one in PLUG_INS.items()}, patch)
        forget()
        answers = {verb: call(verb, "--workers", 1) for verb in ("segment", "patch", "sam", "extract", "train")}
        answers["evaluate"] = call("evaluate")
    forget()
    return folder, answers


@pytest.fixture
def plugged_project(plugged: tuple[Path, dict[str, Any]], tmp_path: Path, clean: pytest.MonkeyPatch) -> Path:
    """A copy of the project, as working directory."""
    folder = tmp_path / "done"
    shutil.copytree(plugged[0], folder)
    clean.chdir(folder)
    forget()
    return folder
