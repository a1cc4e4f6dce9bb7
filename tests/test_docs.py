"""The docs name what the code has."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CODE = re.compile(r'"(E_[A-Z_]+)"')


def test_every_code_of_an_error_stands_in_the_docs_and_no_other() -> None:
    used = {code for path in (ROOT / "sammil_cli").rglob("*.py") for code in CODE.findall(path.read_text())}
    listed = set(re.findall(r"^\| `(E_[A-Z_]+)`", (ROOT / "docs/errors.md").read_text(), re.MULTILINE))
    assert len(used) > 10
    assert used == listed


def test_every_dependency_is_explained() -> None:
    project = (ROOT / "pyproject.toml").read_text()
    wanted = project.split("dependencies = [", 1)[1].split("]", 1)[0]
    names = set(re.findall(r'^\s*"([a-z0-9-]+)', wanted, re.MULTILINE))
    page = (ROOT / "docs/dependencies.md").read_text()
    explained = {
        name.strip() for cell in re.findall(r"^\| ([a-z0-9, -]+) \|", page, re.MULTILINE) for name in cell.split(",")
    }
    assert len(names) > 15
    assert names == explained - {"package"}


def test_the_links_of_the_docs_lead_somewhere() -> None:
    pages = [ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").glob("*.md")]
    links = [(page, link) for page in pages for link in re.findall(r"\]\(([^)#:]+)\)", page.read_text())]
    assert len(links) > 8
    assert [(page.name, link) for page, link in links if not (page.parent / link).exists()] == []
