"""The surface for Python: its names, that it is light, silent, and asks for what the commands ask for."""

import contextlib
import dataclasses
import importlib
import inspect
import io
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from encoded_project import make_project
from study_fixtures import Answer, inside, set_params, slides_inline, training_inline
from surface import surface

from sammil_cli import api
from sammil_cli.bundles.models import Models
from sammil_cli.project import weights

SURFACE = Path(__file__).with_name("surface.txt")
COMMANDS = {  # the function that both call
    **{name: f"stages.{name}.run" for name in ("segment", "patch", "sam", "extract", "train", "evaluate", "visualize")},
    "predict": "stages.predict_slides.predict_bags",
    "bundle": "stages.bundle.run",
    "evaluate_on": "stages.external.run",
    "convert_legacy": "exchange.convert_legacy.run",
    "compare": "studies.compare.run",
    "benchmark": "studies.benchmark.run",
}
WORDS = {  # of the command and of the function, where there are any
    "bundle": (("bundle", "runs", "--out", "m.sammil"), ("runs", "m.sammil")),
    "evaluate_on": (("evaluate", "--on", "labels.csv"), ("labels.csv",)),
    "convert_legacy": (("convert-legacy", "old", "--check-patches", 8), ("old",)),
    "compare": (("compare", "runs", "other"), ("runs", "other")),
}
GIVEN = {  # back by the stand-in, where it is no empty list
    "predict": SimpleNamespace(verdicts=[], patients=[], rows=[]),
    "evaluate": {},
    "evaluate_on": ({}, []),
    "convert_legacy": ([], Path("artifacts/bags")),
}
QUICK = {"model": "mean", "folds": 2, "epochs": 1, "bootstrap_draws": 100, "seed": 5, "interval": 0.9}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project of small bags, trained and judged, and what that printed."""
    folder = make_project(tmp_path_factory.mktemp("api") / "project", QUICK | {"proposer": "superpixels"})
    set_params(folder, encoder="texture", patch_px=160)
    out, err = io.StringIO(), io.StringIO()
    with inside(folder), training_inline(), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        api.train(device="cpu")
        api.evaluate(device="cpu")
    (folder / "printed").write_text(out.getvalue() + err.getvalue(), encoding="utf-8")
    return folder


@pytest.fixture
def project(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, as working directory."""
    folder = tmp_path / "project"
    shutil.copytree(trained, folder)
    monkeypatch.chdir(folder)
    return folder


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
    name: str, project: Path, sammil: Callable[..., Answer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SAMMIL_WORKERS", raising=False)  # of commands alone
    asked: list[tuple[Any, ...]] = []

    def run(*words: Any, **more: Any) -> Any:
        known = [replace(word, folds=()) if isinstance(word, Models) else word for word in words]
        asked.append((known, {key: value for key, value in more.items() if value}))
        return GIVEN.get(name, [])

    module, _, function = COMMANDS[name].rpartition(".")
    monkeypatch.setattr(importlib.import_module(f"sammil_cli.{module}"), function, run)
    words, arguments = WORDS.get(name, ((name,), ()))
    with contextlib.suppress(AttributeError):  # a stand-in for what is found has no JSON
        sammil(*words)
    getattr(api, name)(*arguments)
    assert len(asked) == 2
    assert asked[0] == asked[1]


def test_workers_of_a_cluster_are_those_that_the_command_asks_for(
    project: Path, sammil: Callable[..., Answer], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    monkeypatch.setattr("sammil_cli.stages.segment.run", lambda project, settings, how: asked.append(how) or [])
    cluster = ("--executor", "dask", "--scheduler", "tcp://node1:8786", "--workers", 9)
    sammil("segment", *cluster, "--only", "slide_01")
    workers = api.Workers(executor="dask", scheduler="tcp://node1:8786", count=9)
    api.segment(workers=workers, only=["slide_01"])
    assert asked[0] == asked[1]
    assert (asked[1].executor, asked[1].workers) == ("dask", 9)
    with pytest.raises(api.InputError, match="needs one of --scheduler and --cluster"):
        api.segment(workers=api.Workers(executor="dask"))


def test_a_function_prints_nothing_unless_asked(
    trained: Path, project: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert (trained / "printed").read_text(encoding="utf-8") == ""
    api.predict(device="cpu", pictures=False)
    assert capfd.readouterr() == ("", "")
    with api.printing():
        api.predict(device="cpu", pictures=False)
    assert "12 slide(s) by 2 model(s)" in capfd.readouterr().out
    api.predict(device="cpu", pictures=False)
    assert capfd.readouterr() == ("", "")


def test_what_a_function_prints_is_printed_again_after_an_error(project: Path, sammil: Callable[..., Answer]) -> None:
    with pytest.raises(api.InputError, match="no trained model in nowhere"):
        api.predict("nowhere", pictures=False)
    assert "12 slide(s) by 2 model(s)" in sammil("predict", "--device", "cpu", "--no-pictures").out


def test_patients_are_judged_by_the_rule_that_is_asked_for(project: Path) -> None:
    Path("whose.csv").write_text("slide_id,patient_id\nslide_00,p\nslide_01,p\n", encoding="utf-8")
    found = {
        rule: api.predict(slides="whose.csv", bags="artifacts/bags", pictures=False, device="cpu", patient_rule=rule)
        for rule in ("mean", "max")
    }
    said = [one.probability["tumour"] for one in found["mean"].verdicts[:2]]
    patients = {rule: one.patients[0] for rule, one in found.items()}
    assert patients["mean"].probability["tumour"] == pytest.approx(sum(said) / 2)
    assert patients["max"].probability["tumour"] == max(said)
    assert (patients["max"].patient_id, patients["max"].slides, patients["max"].rule) == ("p", 2, "max")
    with pytest.raises(api.InputError, match="'median' is no rule"):
        api.predict(slides="whose.csv", bags="artifacts/bags", patient_rule="median")  # type: ignore[arg-type]


def test_what_the_command_line_refuses_is_refused_from_python(project: Path) -> None:
    for wrong in ({"interval": 95.0}, {"draws": 5}, {"patient_rule": "median"}):
        with pytest.raises(api.InputError):
            api.compare("runs", "runs", **wrong)
    with pytest.raises(api.InputError, match="there are no weights 'vit_x'"):
        api.fetch_weights("vit_x")
    with pytest.raises(api.InputError, match="'clam' is unknown"):
        api.convert_weights("lost.pt", model="clam")


def test_weights_that_settings_need_are_fetched(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "download", lambda pinned, progress: tmp_path / pinned.file_name)
    assert api.fetch_weights() == {}  # superpixels and texture
    assert list(api.fetch_weights(settings=api.settings(sam_model="vit_b"))) == ["vit_b", "resnet50"]
    assert api.fetch_weights("vit_h")["vit_h"].parent == tmp_path


def test_settings_are_checked_as_those_of_params_yaml(study: Path) -> None:
    assert api.read_settings(seed=9).model_dump() == {**api.read_settings().model_dump(), "seed": 9}
    assert api.settings("camelyon16").proposer == "sam"
    with pytest.raises(api.InputError, match="mask_ratio"):
        api.read_settings(mask_ratio=1.5)
    with pytest.raises(api.InputError, match="unknown preset"):
        api.settings("camelyon")


def test_a_slide_in_memory_gives_what_the_commands_write(study: Path) -> None:
    with slides_inline():
        for step in (api.patch, api.sam, api.extract):
            assert [row.done for row in step(workers=1, only=["slide_1"])] == [True]
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
