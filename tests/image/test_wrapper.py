"""The wrapper that docs/containers.md gives to those who run DVC on the host."""

import re
import subprocess
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs/containers.md"


@pytest.mark.parametrize("below", ["", ".dvc/tmp/exps/tmp1"])
def test_the_whole_project_is_mounted_and_the_stage_runs_where_dvc_calls_it(tmp_path: Path, below: str) -> None:
    (text,) = re.findall(r"```sh\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    place = tmp_path / "study" / below
    place.mkdir(parents=True)
    wrapper, docker = tmp_path / "sammil", tmp_path / "docker"
    wrapper.write_text(text, encoding="utf-8")
    docker.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n', encoding="utf-8")
    for script in (wrapper, docker):
        script.chmod(0o755)
    said = subprocess.run(
        [wrapper, "segment", "--only", "a b"],
        cwd=place,
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout.splitlines()
    study = tmp_path / "study"
    assert said[said.index("-v") + 1] == f"{study}:{study}"
    assert said[said.index("-w") + 1].rstrip("/") == str(place)
    assert said[-4:] == ["sammil", "segment", "--only", "a b"]
