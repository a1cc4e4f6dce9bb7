"""sammil doctor as a user runs it: in a process of its own, for people and for programs."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sammil_cli.doctor import run as doctor

LIGHT = ("python_packages.sammil", "folders.writing", "weight_files.folders")


@pytest.fixture(autouse=True)
def _light_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that need no torch: importing it takes seconds, and other tests make the other checks."""
    monkeypatch.setattr(doctor, "CHECKS", LIGHT)


def test_people_get_groups_and_what_to_do(
    sammil: Callable[..., Any], project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "CHECKS", (*LIGHT, "settings.valid"))
    answer = sammil("doctor", "-S", "mask_ratoi=0.5")
    assert answer.code == 3
    assert [line for line in answer.out.splitlines() if line[:1] not in (" ", "")] == [
        "Python",
        "Folders",
        "Weights",
        "Settings",
        "What to do (1 wrong):",
    ]
    assert answer.out.endswith("unknown key 'mask_ratoi'\n     did you mean mask_ratio?\n")
    assert answer.err == ""
    assert [path.name for path in project.iterdir()] == ["params.yaml"]  # it leaves nothing behind


def test_programs_get_json_alone_and_a_module_of_the_working_folder_is_in_no_way(
    sammil: Callable[..., Any], project: Path
) -> None:
    (project / "json.py").write_text("raise RuntimeError")
    answer = sammil("doctor", "--json")
    record = json.loads(answer.out)
    assert (answer.code, record["exit_code"]) == (0, 0)
    assert record["counts"] == {"ok": 4, "note": 0, "wrong": 0}
    weights = next(finding for finding in record["findings"] if finding["group"] == "Weights")
    assert weights["facts"]["folders"][0] == str(project.parent / "weights")
