"""The surface for Python: its names, that it is light, silent, and asks for what the commands ask for."""

import contextlib
import dataclasses
import importlib
import inspect
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from study_fixtures import Answer, set_params
from surface import surface

from sammil_cli import api
from sammil_cli.bundles.models import Models

SURFACE = Path(__file__).with_name("surface.txt")
COMMANDS = {  # the stage's function that both call, and what it is called with besides
    **{name: f"{name}.run" for name in ("segment", "patch", "sam", "extract", "train", "evaluate", "visualize")},
    "predict": "predict_slides.predict_bags",
    "bundle": "bundle.run",
    "evaluate_on": "external.run",
}
WORDS = {  # of the command and of the function, where there are any
    "bundle": (("bundle", "runs", "--out", "m.sammil"), ("runs", "m.sammil")),
    "evaluate_on": (("evaluate", "--on", "labels.csv"), ("labels.csv",)),
}


def test_names_and_signatures_are_those_that_were_promised() -> None:
    """Where a change is meant: say so in CHANGELOG.md, and run: make project-files."""
    assert surface() == SURFACE.read_text(encoding="utf-8")


def test_names_are_sorted_documented_and_all_that_the_module_has() -> None:
    assert api.__all__ == sorted(api.__all__)
    assert all(inspect.getdoc(getattr(api, name)) for name in api.__all__)
    public = {name for name, value in vars(api).items() if name[0] != "_" and not inspect.ismodule(value)}
    assert public == set(api.__all__)


def test_what_comes_out_cannot_be_changed_by_accident() -> None:
    classes = [getattr(api, name) for name in api.__all__ if dataclasses.is_dataclass(getattr(api, name))]
    assert len(classes) >= 10
    assert [one.__name__ for one in classes if not one.__dataclass_params__.frozen] == []


def test_it_is_there_without_torch_and_scikit_learn() -> None:
    code = "import sys; from sammil_cli import api; print({'torch', 'sklearn', 'typer', 'rich'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_and_its_function_ask_for_the_same(
    name: str, done: Path, sammil: Callable[..., Answer], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[Any, ...]] = []

    def run(*words: Any, **more: Any) -> Any:
        known = [replace(word, folds=()) if isinstance(word, Models) else word for word in words]
        asked.append((known, {key: value for key, value in more.items() if value}))
        return {"predict": SimpleNamespace(verdicts=[], rows=[]), "evaluate": {}, "evaluate_on": ({}, [])}.get(name, [])

    module, _, function = COMMANDS[name].partition(".")
    monkeypatch.setattr(importlib.import_module(f"sammil_cli.stages.{module}"), function, run)
    set_params(done, patch_px=160, seed=5, interval=0.9)
    words, arguments = WORDS.get(name, ((name,), ()))
    with contextlib.suppress(AttributeError):  # a stand-in for the facts of a bundle has no JSON
        sammil(*words)
    getattr(api, name)(*arguments)
    assert len(asked) == 2
    assert asked[0] == asked[1]


def test_a_function_prints_nothing_unless_asked(
    done: Path, inline_training: None, capfd: pytest.CaptureFixture[str]
) -> None:
    api.train(device="cpu")
    api.evaluate(device="cpu")
    api.predict(device="cpu", pictures=False)
    assert capfd.readouterr() == ("", "")
    api.predict(device="cpu", pictures=False, verbose=True)
    assert "6 slide(s) by 3 model(s)" in capfd.readouterr().out


def test_what_a_function_prints_is_printed_again_after_an_error(
    done: Path, capfd: pytest.CaptureFixture[str], sammil: Callable[..., Answer]
) -> None:
    with pytest.raises(api.InputError, match="no trained model in nowhere"):
        api.predict("nowhere", pictures=False)
    assert "6 slide(s) by 3 model(s)" in sammil("predict", "--device", "cpu", "--no-pictures").out


def test_settings_are_checked_as_those_of_params_yaml(study: Path) -> None:
    assert api.read_settings(seed=9).model_dump() == {**api.read_settings().model_dump(), "seed": 9}
    assert api.settings("camelyon16").proposer == "sam"
    with pytest.raises(api.InputError, match="mask_ratio"):
        api.read_settings(mask_ratio=1.5)
    with pytest.raises(api.InputError, match="unknown preset"):
        api.settings("camelyon")


def test_a_slide_in_memory_gives_what_the_commands_write(done: Path) -> None:
    chosen = api.read_settings()
    with api.open_slide(api.find_slides("data/slides")["slide_1"]) as slide:
        tissue = api.find_tissue(slide, chosen)
        patches, regions = api.lay_patches(tissue, chosen), api.propose_regions(slide, tissue, chosen)
        bag = api.make_bag(slide, patches, regions, chosen)
    written = api.read_bag("artifacts/bags/slide_1.h5")
    assert tissue.polygons.equals(api.read_tissue("artifacts/tissue/slide_1.geojson").polygons)
    assert (patches.xy == api.read_patches("artifacts/patches/slide_1.h5").xy).all()
    assert (regions.runs == api.read_regions("artifacts/regions/slide_1.h5").runs).all()
    assert (bag.features == written.features).all()
    assert (bag.group_features == written.group_features).all()
    assert bag.encoder == written.encoder


def test_errors_are_those_of_the_commands(study: Path) -> None:
    with pytest.raises(api.SlideError, match="cannot be read") as refused:
        api.open_slide("data/slides/lost.tif")
    assert refused.value.code == "E_OPEN"
    assert refused.value.remedy
    assert isinstance(refused.value, api.SammilError)
