"""The rules of the code base, read from its sources: who may import whom, and what is never written."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path

import pytest
import yaml

from sammil_cli import choices
from sammil_cli.config import STAGES, Tolerance, render_params
from sammil_cli.stages.pipeline import FILES, render_dvc, render_versions, stage_module
from sammil_cli.storage import code

REPOSITORY = Path(__file__).resolve().parents[1]
PACKAGE = REPOSITORY / "sammil_cli"
SOURCES = sorted(PACKAGE.rglob("*.py"))

# Left never imports right (ARCHITECTURE §2).
ORDER = (
    "errors",
    "choices",
    "storage",
    "slides",
    "tissue",
    "patches",
    "regions",
    "features",
    "legacy",
    "mil",
    "training",
    "report",
    "demo",
    "config",
    "console",
    "stages",
    "cli",
)
TOO_VAGUE = {"utils", "util", "common", "helpers", "helper", "core", "misc", "tools", "base"}
LONGEST_FILE = 450

every_source = pytest.mark.parametrize("path", SOURCES, ids=[str(path.relative_to(PACKAGE)) for path in SOURCES])
every_stage = pytest.mark.parametrize("stage", list(FILES))


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


def runtime_imports(path: Path) -> set[Path]:
    """The same without what is imported for types only, below `if TYPE_CHECKING`: that cannot change a result."""
    only_types = {
        alias.name
        for block in ast.walk(tree(path))
        if isinstance(block, ast.If) and ast.unparse(block.test).endswith("TYPE_CHECKING")
        for node in ast.walk(block)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    names = {name for name in imported(path) if name.rpartition(".")[2] not in only_types}
    return {found for name in names if (found := file_of(name)) is not None}


def chosen_later(path: Path) -> set[Path]:
    """The files of the folders of choices that a file names (`choices.ENCODERS`): one of them is imported later."""
    found = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "choices":
            folder = getattr(choices, node.attr, None)
            if isinstance(folder, str) and folder.startswith("sammil_cli."):
                found |= set(PACKAGE.joinpath(*folder.split(".")[1:]).glob("*.py"))
    return found


def calls(path: Path) -> Iterator[tuple[str, ast.Call]]:
    """Calls with the dotted name of what is called: `torch.load`, `open`, …"""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


# ---------------------------------------------------------------------------------------------- imports


def test_the_rules_are_read_from_the_whole_package() -> None:
    assert {part(path) for path in SOURCES} == {*ORDER, "__init__"}
    assert PACKAGE / "storage" / "hdf5.py" in own_imports(PACKAGE / "features" / "bag.py")
    assert PACKAGE / "choices.py" in own_imports(PACKAGE / "stages" / "extract.py")
    assert PACKAGE / "features" / "encoders" / "texture.py" in chosen_later(PACKAGE / "stages" / "extract.py")


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


def test_rich_is_in_the_console_only_and_typer_in_the_command_line_only() -> None:
    others = {"yaml": {"stages"}, "h5py": {"legacy"}}
    for library, home in (("rich", "console"), ("typer", "cli"), ("yaml", "config"), ("h5py", "storage")):
        users = {part(path) for path in SOURCES if library in {name.split(".")[0] for name in imported(path)}}
        assert home in users
        assert users <= {home} | others.get(library, set()), library


def test_only_stages_and_the_command_line_know_settings_and_console() -> None:
    for path in SOURCES:
        known = {part(other) for other in own_imports(path)} & {"config", "console"}
        assert not known or part(path) in ("stages", "cli"), path


@every_source
def test_package_files_without_code_stay_without_code(path: Path) -> None:
    if path.name == "__init__.py" and path != PACKAGE / "__init__.py":
        assert [type(node).__name__ for node in tree(path).body] == ["Expr"], "a docstring and nothing else"


# ---------------------------------------------------------------------------------------------- what is never written


@every_source
def test_nothing_is_pickled(path: Path) -> None:
    names = {name for name, _ in calls(path)}
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
    assert len(broad) == (1 if path == PACKAGE / "stages" / "worker.py" else 0)


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


@every_stage
@pytest.mark.parametrize("demo", [True, False])
def test_a_stage_depends_on_the_settings_that_it_reads(stage: str, demo: bool) -> None:
    if stage == "cohort" and not demo:
        assert stage not in yaml.safe_load(render_dvc(demo=False))["stages"]
        return
    entry = yaml.safe_load(render_dvc(demo=demo))["stages"][stage]
    named = [key for key in entry.get("params", []) if isinstance(key, str)]
    assert sorted(named) == sorted(STAGES[stage].model_fields)
    versions = [key for key in entry.get("params", []) if isinstance(key, dict)]
    assert versions == ([] if demo else [{"steps.yaml": [stage]}])


@every_stage
def test_a_setting_that_a_stage_has_is_read_by_its_module(stage: str) -> None:
    source = (PACKAGE / "stages" / f"{FILES[stage].module}.py").read_text(encoding="utf-8")
    whole = re.findall(r"settings\.model_dump|SETTINGS|_SHARED|__dataclass_fields__", source)
    unread = {key for key in STAGES[stage].model_fields if f"settings.{key}" not in source} - set(
        Tolerance.model_fields
    )
    assert not unread or whole, unread


def used_folders(stage: str) -> set[str]:
    """The folders of the package that a stage's module uses, through everything that is no stage."""
    seen, todo = set(), [PACKAGE / "stages" / f"{stage}.py"]
    while todo:
        path = todo.pop()
        new = {other for other in runtime_imports(path) | chosen_later(path) if part(other) != "stages"} - seen
        seen |= new
        todo += new
    return {part(path) for path in seen if path.parent != PACKAGE}


STAGE_MODULES = [*(files.module for files in FILES.values()), "legacy_plan"]


@pytest.mark.parametrize("module", STAGE_MODULES)
def test_the_code_of_a_stage_is_every_folder_that_it_uses(module: str) -> None:
    declared = import_module(f"sammil_cli.stages.{module}").CODE
    assert f"stages/{module}.py" in declared
    assert sorted(place for place in declared if not place.startswith("stages/")) == sorted(used_folders(module))


@every_stage
def test_a_changed_stage_file_changes_the_version_of_its_results(
    stage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A stage's own file computes its results: the result store and a user's DVC must see it change.
    if stage == "cohort":
        return  # the demo's own; it keeps no results, and its DVC stage depends on the file itself
    copy = tmp_path / "sammil_cli"
    for path in SOURCES:
        target = copy / path.relative_to(PACKAGE)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    monkeypatch.setattr(code, "PACKAGE", copy)
    try:
        code.code_version.cache_clear()
        before = yaml.safe_load(render_versions())[stage]
        with (copy / "stages" / f"{FILES[stage].module}.py").open("a", encoding="utf-8") as stream:
            stream.write("\n# changed\n")
        code.code_version.cache_clear()
        assert yaml.safe_load(render_versions())[stage] != before
    finally:
        code.code_version.cache_clear()


@every_stage
def test_a_stage_of_the_demo_depends_on_its_own_file_and_its_code(stage: str) -> None:
    deps = yaml.safe_load(render_dvc(demo=True))["stages"][stage]["deps"]
    assert f"sammil_cli/stages/{FILES[stage].module}.py" in deps
    assert {f"sammil_cli/{folder}" for folder in stage_module(stage).CODE} <= set(deps)
    assert all((REPOSITORY / path).exists() for path in deps if path.startswith("sammil_cli/"))


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
