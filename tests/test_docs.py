"""The docs name what the code has."""

import re
from pathlib import Path

import yaml

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


def test_an_experiment_of_single_stages_names_the_one_that_reads_the_keys() -> None:
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    called = re.compile(r"dvc (?:exp run|repro)[^`\n]*--single-item[^`\n]*")
    calls = [call for page in pages for call in called.findall(page.read_text())]
    assert calls
    assert [call for call in calls if " code train" not in call] == []


def headings(page: str) -> set[str]:
    """The numbers of a page's sections: `0`, `10.1`, …"""
    return set(re.findall(r"^#+ (\d+(?:\.\d+)?)\.? ", (ROOT / page).read_text(), re.MULTILINE))


def test_every_citation_of_a_section_leads_to_it() -> None:
    files = [
        path for root in ("sammil_cli", "tests", "benchmarks") for path in (ROOT / root).rglob("*") if path.is_file()
    ]
    cited = []
    for path in (path for path in files if path.suffix in (".py", ".yaml", ".md") and path != Path(__file__)):
        for number, line in enumerate(path.read_text().splitlines(), start=1):
            sections = re.findall(r"§ ?(\d+(?:\.\d+)?)", line)
            pages = re.findall(r"(docs/[a-z-]+\.md) §", line)
            assert not sections or len(set(pages)) == 1, f"{path}:{number} names sections of no page, or of several"
            cited += [(f"{path.relative_to(ROOT)}:{number}", pages[0], section) for section in sections]
    assert len(cited) > 40
    assert [one for one in cited if one[2] not in headings(one[1])] == []


def test_no_document_is_named_that_is_not_here() -> None:
    named = re.compile(r"\b(METHODS|ARCHITECTURE|BASELINES|NEEDS|STYLE|ROOMS|ENCODERS)(\.md| §| \d)")
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "benchmarks").glob("*")]
    sources = [path for root in ("sammil_cli", "tests") for path in (ROOT / root).rglob("*.py")]
    read = [path for path in (*pages, *sources) if path.is_file() and path != Path(__file__)]
    assert [str(path) for path in read if named.search(path.read_text())] == []
    links = re.compile(r"\bdocs/[a-z-]+\.md")
    lost = [
        (path.name, link) for path in read for link in links.findall(path.read_text()) if not (ROOT / link).is_file()
    ]
    assert lost == []


def test_the_hooks_before_a_commit_are_the_commands_of_make_lint() -> None:
    page = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    hooks = [hook["entry"].removeprefix(".venv/bin/") for repo in page["repos"] for hook in repo["hooks"]]
    recipe = re.search(r"^lint:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert recipe is not None
    assert hooks == recipe[1].replace("\t", "").splitlines()
