"""`make sbom`: every package of the lock, with its version and the hashes that are checked when it is installed."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
COMMAND = (
    "cyclonedx-py requirements --output-reproducible --index-url /simple --pyproject pyproject.toml "
    "--output-format JSON --output-file sbom.json requirements.lock"
)


def written(path: Path, *more: str) -> bytes:
    """What the command writes, into a file of the test's own."""
    program, *words = shlex.split(COMMAND.replace("sbom.json", shlex.quote(str(path))))
    call = [Path(sys.executable).with_name(program), *words, *more]
    environment = {name: value for name, value in os.environ.items() if name != "SOURCE_DATE_EPOCH"}
    subprocess.run(call, cwd=ROOT, capture_output=True, check=True, timeout=240, env=environment)
    return path.read_bytes()


def locked() -> set[tuple[str, str, frozenset[str]]]:
    """Name, version and hashes of each package, read from the lock by itself."""
    text = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    entries = re.findall(r"^([\w.-]+)==(\S+)(.*?)(?=^\S|\Z)", text, re.MULTILINE | re.DOTALL)
    return {(name, version, frozenset(re.findall(r"sha256:([0-9a-f]{64})", rest))) for name, version, rest in entries}


@pytest.mark.stress  # asks for every package of the lock
@pytest.mark.slow
def test_it_names_every_package_of_the_lock_and_is_the_same_each_time(tmp_path: Path) -> None:
    content = written(tmp_path / "sbom.json")
    assert written(tmp_path / "again.json", "--no-validate") == content
    bom: dict[str, Any] = json.loads(content)
    found = {
        (
            one["name"],
            one["version"],
            frozenset(h["content"] for ref in one["externalReferences"] for h in ref["hashes"]),
        )
        for one in bom["components"]
    }
    packages = locked()
    assert len(packages) > 150
    assert found == packages
    assert all(hashes for _, _, hashes in found)
    assert all(one["purl"] == f"pkg:pypi/{one['name']}@{one['version']}" for one in bom["components"])
    assert (bom["bomFormat"], bom["metadata"]["component"]["name"]) == ("CycloneDX", "sammil-cli")
    assert "timestamp" not in bom["metadata"]
    assert "serialNumber" not in bom
    assert "://" not in json.dumps(bom["components"])  # where somebody fetched them is nobody's business
    assert str(ROOT) not in content.decode()


def test_make_sbom_is_this_command_and_git_ignores_what_it_writes() -> None:
    assert f"sbom: .venv/ready\n\t{COMMAND}\n" in (ROOT / "Makefile").read_text(encoding="utf-8").replace(
        " \\\n\t", " "
    )
    assert "/sbom.json" in (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
