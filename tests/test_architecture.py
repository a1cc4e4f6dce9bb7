"""The rules of the code base, read from its sources: who may import whom, and what is never written."""

import ast
import re
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest
import yaml

from sammil_cli import choices
from sammil_cli.config import ON_REQUEST, STAGES, Tolerance
from sammil_cli.mil.model_spec import ModelSpec
from sammil_cli.mil.recipe import Recipe
from sammil_cli.project.code_in_use import KINDS
from sammil_cli.project.in_hand import InHand
from sammil_cli.project.pipeline import ASKED_FOR, FILES, render_dvc
from sammil_cli.project.presets import render_params
from sammil_cli.storage.code import SILENT

REPOSITORY = Path(__file__).resolve().parents[1]
PACKAGE = REPOSITORY / "sammil_cli"
SOURCES = sorted(PACKAGE.rglob("*.py"))

# Left never imports right.
ORDER = (
    *("errors", "choices", "storage", "backends", "slides", "tissue", "patches", "regions", "features", "legacy"),
    "mil",
    *("cohort", "training", "report", "demo", "settings", "config", "console", "project", "runner", "jobs"),
    *(
        "bundles",
        "stages",
        "exchange",
        "doctor",
        "preflight",
        "studies",
        "figures",
        "prompting",
        "testing",
        "api",
        "cli",
    ),
)
LARGEST_ROOM = 0.12  # of the lines
MOST_PARAMETERS = 8
TOO_VAGUE = {"utils", "util", "common", "helpers", "helper", "core", "misc", "tools", "base"}
LONGEST_FILE = 450

every_stage = pytest.mark.parametrize("stage", list(FILES))


def every_source(rule: Callable[[Path], None]) -> Callable[[], None]:
    """A rule for one source as one test of all: some 600 tests a rule took pytest ten times as long as the rules."""

    def test() -> None:
        broken = []
        for path in SOURCES:
            try:
                rule(path)
            except AssertionError as error:
                broken.append(f"{path.relative_to(PACKAGE)}: {error}")
        assert broken == []

    test.__doc__ = rule.__doc__
    return test


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def part(path: Path) -> str:
    """The folder or top-level module that a file belongs to: `slides`, `config`, `__init__`, …"""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(path: Path) -> Iterator[str]:
    """Full names that a file imports, at its top or inside a function: `torch.nn`, `sammil_cli.slides.files`, …"""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            for alias in node.names:
                yield f"{node.module}.{alias.name}"


def file_of(name: str) -> Path | None:
    """The source of a full name inside the package: a module, or something in one."""
    if name.split(".")[0] != "sammil_cli":
        return None
    parts = name.split(".")[1:]
    while parts:
        for candidate in (PACKAGE.joinpath(*parts).with_suffix(".py"), PACKAGE.joinpath(*parts, "__init__.py")):
            if candidate.is_file():
                return candidate
        parts = parts[:-1]
    return PACKAGE / "__init__.py"


def own_imports(path: Path) -> set[Path]:
    """The package's own files that a file imports."""
    return {found for name in imported(path) if (found := file_of(name)) is not None}


@cache
def calls(path: Path) -> list[tuple[str, ast.Call]]:
    """Calls with the dotted name of what is called: `torch.load`, `open`, …"""
    return [(ast.unparse(node.func), node) for node in ast.walk(tree(path)) if isinstance(node, ast.Call)]


# ---------------------------------------------------------------------------------------------- imports


def test_the_rules_are_read_from_the_whole_package() -> None:
    assert {part(path) for path in SOURCES} == {*ORDER, "__init__"}
    assert PACKAGE / "storage" / "hdf5.py" in own_imports(PACKAGE / "features" / "bag.py")
    assert PACKAGE / "choices.py" in own_imports(PACKAGE / "stages" / "encoding.py")


def test_no_room_is_larger_than_an_eighth_of_the_house() -> None:
    lines: Counter[str] = Counter()
    for path in SOURCES:
        lines[part(path)] += len(path.read_text(encoding="utf-8").splitlines())
    assert max(lines.values()) <= LARGEST_ROOM * lines.total(), lines.most_common(3)


def test_the_docs_show_the_rooms_in_their_order() -> None:
    page = (REPOSITORY / "docs/how-a-slide-travels.md").read_text(encoding="utf-8")
    assert " · ".join(room for room in ORDER) in re.sub(r"\s+", " ", page)


@every_source
def test_left_never_imports_right(path: Path) -> None:
    if part(path) == "__init__":
        assert own_imports(path) == set()
        return
    place = ORDER.index(part(path))
    right = {part(other) for other in own_imports(path)} - {"__init__", *ORDER[: place + 1]}
    assert right == set()


@every_source
def test_the_model_knows_no_file_and_no_slide(path: Path) -> None:
    if part(path) != "mil":
        return
    assert {part(other) for other in own_imports(path)} <= {"mil", "errors"}
    foreign = {name.split(".")[0] for name in imported(path)} - {"sammil_cli"}
    assert foreign <= {"torch", "pydantic", "dataclasses", "typing", "collections", "math", "functools"}


def test_the_demo_stands_apart() -> None:
    used = {part(o) for path in SOURCES if part(path) == "demo" for o in own_imports(path)}
    assert used <= {"demo", "errors", "storage"}
    users = {part(path) for path in SOURCES if "demo" in {part(o) for o in own_imports(path)}}
    assert users == {"demo", "stages"}


def test_jobs_know_the_settings_and_nothing_of_how_a_run_is_asked_for_or_told() -> None:
    for path in SOURCES:
        if part(path) == "jobs":
            names = {name for name in imported(path) if name.startswith(("sammil_cli.console", "sammil_cli.project"))}
            assert names <= {"sammil_cli.project.environment"}, path


def test_what_the_key_of_a_result_passes_over_is_there() -> None:
    assert all(file_of(f"sammil_cli.{silent}") != PACKAGE / "__init__.py" for silent in SILENT)


def test_rich_is_in_the_console_only_and_typer_in_the_command_line_only() -> None:
    others = {"yaml": {"config", "project"}, "h5py": {"legacy"}}
    for library, home in (("rich", "console"), ("typer", "cli"), ("yaml", "storage"), ("h5py", "storage")):
        users = {part(path) for path in SOURCES if library in {name.split(".")[0] for name in imported(path)}}
        assert home in users
        assert users <= {home} | others.get(library, set()), library


@every_source
def test_json_and_yaml_are_read_within_limits(path: Path) -> None:
    """By `storage.guarded_json` and `storage.guarded_yaml`; what is written and read by one run needs no limits."""
    guards = {PACKAGE / "storage" / f"guarded_{kind}.py" for kind in ("json", "yaml")}
    own = {PACKAGE / "doctor/examine.py", PACKAGE / "doctor/run.py", PACKAGE / "storage/files.py"}
    own |= {PACKAGE / "storage/hdf5_layout.py", PACKAGE / "storage/hdf5_process.py"}
    attributes = {PACKAGE / "features/bag.py", PACKAGE / "patches/file.py"}
    if path in guards | own | attributes:
        return
    readers = {"json.load", "json.loads", "json.JSONDecoder", "yaml.load", "yaml.safe_load", "yaml.safe_load_all"}
    assert {name for name, _ in calls(path)} & readers == set()
    assert {name for name in imported(path) if name in readers} == set()


def test_the_surface_for_python_is_a_list_of_names() -> None:
    assert {type(node) for node in tree(PACKAGE / "api/__init__.py").body} == {ast.Expr, ast.ImportFrom, ast.Assign}


@every_source
def test_package_files_without_code_stay_without_code(path: Path) -> None:
    if path.name == "__init__.py" and path not in (PACKAGE / "__init__.py", PACKAGE / "api/__init__.py"):
        assert [type(node).__name__ for node in tree(path).body] == ["Expr"], "a docstring and nothing else"


# ---------------------------------------------------------------------------------------------- what is never written


@every_source
def test_nothing_is_pickled(path: Path) -> None:
    """But for one tensor a slide, which SAM-MIL's loader reads and `weights_only` does."""
    names = {name for name, _ in calls(path)} - (
        {"torch.save"} if path == PACKAGE / "legacy" / "torch_file.py" else set()
    )
    forbidden = {"pickle.dump", "pickle.dumps", "pickle.Pickler", "torch.save", "np.save", "np.savez", "pickle.load"}
    assert names & (forbidden | {"pickle.loads", "marshal.loads", "marshal.dumps"}) == set()
    roots = {name.split(".")[0] for name in imported(path)}
    assert roots & {"joblib", "dill", "cloudpickle", "shelve"} == set()


@every_source
def test_torch_loads_weights_only_and_numpy_no_objects(path: Path) -> None:
    for name, call in calls(path):
        if name == "torch.load":
            given = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
            assert given.get("weights_only") == "True", f"{path}:{call.lineno}"
        if name == "np.load":
            assert "allow_pickle" not in {keyword.arg for keyword in call.keywords}, f"{path}:{call.lineno}"
    assert "torch.load" not in set(imported(path)), "call it as torch.load, so that this test sees it"


def test_the_rule_of_torch_load_meets_some_code() -> None:
    users = [path for path in SOURCES if any(name == "torch.load" for name, _ in calls(path))]
    assert len(users) >= 2


@every_source
def test_there_is_no_assert_and_no_print(path: Path) -> None:
    if part(path) != "testing":  # what plug-ins are held to
        assert [node.lineno for node in ast.walk(tree(path)) if isinstance(node, ast.Assert)] == []
    assert [call.lineno for name, call in calls(path) if name == "print"] == []


@every_source
def test_a_broad_except_stands_at_the_border_of_a_slide_only(path: Path) -> None:
    broad = [
        node
        for node in ast.walk(tree(path))
        if isinstance(node, ast.ExceptHandler)
        and (node.type is None or "Exception" in re.findall(r"\w+", ast.unparse(node.type)))
    ]
    assert len(broad) == (1 if path == PACKAGE / "runner" / "worker.py" else 0)


@every_source
def test_names_of_modules_say_what_is_in_them(path: Path) -> None:
    parts = {name.removesuffix(".py") for name in path.relative_to(PACKAGE).parts}
    assert parts & TOO_VAGUE == set()


@every_source
def test_files_stay_short_and_say_what_they_are(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= LONGEST_FILE
    if path != PACKAGE / "__init__.py":
        assert ast.get_docstring(tree(path))


# ---------------------------------------------------------------------------------------------- params.yaml, dvc.yaml


def test_params_yaml_is_the_demo_preset() -> None:
    text = (REPOSITORY / "params.yaml").read_text(encoding="utf-8")
    assert text == render_params("demo", stages=list(FILES)), "run: make project-files"


def test_dvc_yaml_is_the_pipeline() -> None:
    text = (REPOSITORY / "dvc.yaml").read_text(encoding="utf-8")
    assert text == render_dvc(demo=True), "run: make project-files"


def test_stages_are_the_settings_classes_in_order() -> None:
    assert list(FILES) == list(STAGES)
    assert list(ASKED_FOR) == list(ON_REQUEST)


@every_stage
@pytest.mark.parametrize("demo", [True, False])
def test_a_stage_depends_on_its_code_and_on_the_settings_that_it_reads(stage: str, demo: bool) -> None:
    stages = yaml.safe_load(render_dvc(demo=demo))["stages"]
    if stage == "demo":
        assert (stage in stages) == demo
        assert not demo or all((REPOSITORY / path).exists() for path in stages[stage]["deps"])
        return
    assert sorted(stages[stage]["params"]) == sorted(STAGES[stage].model_fields)
    assert f"artifacts/code/{stage}.txt" in stages[stage]["deps"]
    assert f"artifacts/code/{stage}.txt" in stages["code"]["outs"]
    assert stages["code"]["always_changed"] is True


@pytest.mark.parametrize("stage", list(ASKED_FOR))
def test_a_stage_on_request_depends_on_its_code_and_its_settings_and_the_default_pipeline_lacks_it(stage: str) -> None:
    in_hand = None if stage == "wsi-sam-train" else InHand(folders=("a",), tiles=stage == "tiles")
    stages = yaml.safe_load(render_dvc(demo=False, wsi_sam=in_hand is None, in_hand=in_hand))["stages"]
    assert sorted(stages[stage]["params"]) == sorted({*ON_REQUEST[stage].model_fields, *ASKED_FOR[stage].shared})
    assert f"artifacts/code/{stage}.txt" in stages[stage]["deps"]
    assert f"artifacts/code/{stage}.txt" in stages["code"]["outs"]
    for demo in (True, False):
        assert stage not in render_dvc(demo=demo)


@pytest.mark.parametrize("stage", [*FILES, *ON_REQUEST])
def test_a_setting_that_a_stage_has_is_read(stage: str) -> None:
    places = [PACKAGE / room / f"{stage}.py" for room in ("stages", "jobs")]
    elsewhere = {
        "wsi-sam-train": [f"prompting/{name}.py" for name in ("fields_plan", "loop", "train")],
        "convert-legacy": ["exchange/convert_legacy.py"],
        "tiles": ["jobs/extract.py"],
    }
    places += [PACKAGE / name for name in elsewhere.get(stage, ())]
    places += [PACKAGE / "jobs/drawn_folds.py", PACKAGE / "stages/settled.py"] if stage == "train" else []
    read = {
        node.attr
        for path in places
        if path.is_file()
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Attribute) and ast.unparse(node.value).split(".")[-1] in ("settings", "own")
    }
    for kind in KINDS.get(stage, ()):  # what a choice names is given to it
        read |= {name for word in choices.names(kind) for name in getattr(choices.load(kind, word), "SETTINGS", ())}
        read |= {"encoder_weights"} if kind is choices.ENCODERS else set()
    if stage == "train":  # what is handed on by the names of fields
        read |= {*Recipe.__dataclass_fields__, *ModelSpec.__dataclass_fields__}
    kind = {**STAGES, **ON_REQUEST}[stage]
    for own in kind.__mro__:  # what a group of settings reads of itself, to hand it on as one thing
        source = file_of(own.__module__) if own.__module__.startswith("sammil_cli.settings.") else None
        properties = (
            node
            for node in (ast.walk(tree(source)) if source else ())
            if isinstance(node, ast.FunctionDef) and "property" in map(ast.unparse, node.decorator_list)
        )
        inside = (node for one in properties for node in ast.walk(one) if isinstance(node, ast.Attribute))
        read |= {node.attr for node in inside if ast.unparse(node.value) == "self"}
    in_all = Tolerance.model_fields if issubclass(kind, Tolerance) else {}  # read by the runner
    assert set(kind.model_fields) - read - set(in_all) == set()


# ---------------------------------------------------------------------------------------------- types


@every_source
def test_functions_have_few_parameters(path: Path) -> None:
    if part(path) == "cli":
        return
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.FunctionDef):
            names = [one.arg for one in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
            assert len([name for name in names if name not in ("self", "cls")]) <= MOST_PARAMETERS, node.name


# `Any` is for what comes from outside without a type; the rooms not named here do without. numpy's generics do not
# count.
MOST_ANY = {
    "storage": 18,  # HDF5, JSON
    "legacy": 14,  # pickles, HDF5
    "settings": 7,  # defaults and limits of every type
    "config": 6,  # YAML
    "choices": 1,  # settings as a choice is given them
    "runner": 24,  # Dask, pebble, what travels between processes
    "report": 22,  # metrics.json
    "stages": 9,  # metrics.json, plans of several stages
    "studies": 12,  # metrics.json, ablation.json
    "project": 8,  # JSON of each slide, params in the record, presets
    "preflight": 5,  # plans of several stages, keys as JSON
    "regions": 5,  # modules of segment-anything
    "mil": 8,  # torch.autograd.Function's ctx
    "training": 2,  # options of a model
    "features": 2,  # attributes of HDF5
    "doctor": 2,  # JSON, YAML
    "tissue": 1,  # presets
    "cli": 1,  # what Typer has checked
    "api": 2,  # metrics.json
    "testing": 1,  # settings of choices
}


def test_any_stays_at_the_borders() -> None:
    found: Counter[str] = Counter()
    for path in SOURCES:
        inner = {
            id(n.slice)
            for n in ast.walk(tree(path))
            if isinstance(n, ast.Subscript) and ast.unparse(n.value).startswith(("np.", "NDArray"))
        }
        names = [n for n in ast.walk(tree(path)) if isinstance(n, ast.Name) and n.id == "Any" and id(n) not in inner]
        found[part(path)] += len(names)
    assert {room: count for room, count in found.items() if count > MOST_ANY.get(room, 0)} == {}
    assert found.total() <= 150


# ---------------------------------------------------------------------------------------------- what belongs together


def test_what_a_stage_reads_of_the_project_was_written_by_an_earlier_one() -> None:
    given = {
        "data/slides",
        "data/slides.csv",
        "data/labels.csv",
        "data/edits",
        "data/rois",
        "data/annotations",
    }  # the user's
    for files in FILES.values():
        assert set(files.deps) <= given
        given |= {*files.outs, *files.metrics}
