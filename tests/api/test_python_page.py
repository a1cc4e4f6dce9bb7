"""The examples of docs/python.md: they run in their order, print what the page says, and are typed."""

import contextlib
import io
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from inline_executor import open_inline
from study_fixtures import inside, training_inline

REPOSITORY = Path(__file__).resolve().parents[2]
PAGE = (REPOSITORY / "docs/python.md").read_text(encoding="utf-8")
SECTIONS = [section.partition("\n") for section in PAGE.split("\n## ")[1:]]
FENCED = re.compile(r"```python\n(.+?)```\n```text\n(.*?)```", re.DOTALL)
EXAMPLES = [(title, *found.groups()) for title, _, text in SECTIONS if (found := FENCED.search(text))]
LONGEST = 10  # lines of an example, without its imports


@pytest.fixture(scope="module")
def project(started: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("python") / "study"
    shutil.copytree(started, folder)
    return folder


def run(code: str, project: Path) -> tuple[str, str]:
    """What an example prints on stdout and stderr."""
    from sammil_cli.studies import benchmark_runs  # takes a second: torch comes with it

    out, err = io.StringIO(), io.StringIO()
    with (
        pytest.MonkeyPatch.context() as patch,
        inside(project),
        training_inline(),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        patch.setattr(benchmark_runs, "open_executor", open_inline)
        exec(compile(code, "docs/python.md", "exec"), {"__name__": "__main__"})
    return out.getvalue(), err.getvalue()


@pytest.mark.parametrize(("title", "code", "shown"), EXAMPLES, ids=[title for title, _, _ in EXAMPLES])
def test_an_example_prints_what_the_page_says_and_nothing_else(
    title: str, code: str, shown: str, project: Path
) -> None:
    assert run(code, project) == (shown, "")


def test_every_example_is_run_and_short() -> None:
    assert len(EXAMPLES) == PAGE.count("```python") >= 10
    for title, code, _ in EXAMPLES:
        lines = [line for line in code.splitlines() if line and not line.startswith(("import ", "from "))]
        assert len(lines) <= LONGEST, title


@pytest.mark.stress
def test_the_examples_are_typed(tmp_path: Path) -> None:
    paths = []
    for number, (_, code, _) in enumerate(EXAMPLES):
        paths.append(tmp_path / f"example_{number}.py")
        paths[-1].write_text(code, encoding="utf-8")
    command = [sys.executable, "-m", "mypy", *map(str, paths)]
    # In the repository mypy takes a second: its cache there knows the package since `make lint`.
    said = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stdout
