"""A small project with drawings, and a small SAM."""

from pathlib import Path

import pytest
from drawn_project import small_weights, write_drawn_project

from sammil_cli.project.project import Project


@pytest.fixture
def sam(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """Settings that load a small SAM."""
    return small_weights(tmp_path / "sam.pth", monkeypatch)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """Three slides with drawings; the working directory is its folder."""
    monkeypatch.chdir(tmp_path)
    return write_drawn_project(tmp_path)
