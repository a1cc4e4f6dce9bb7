"""The run that the tests of old formats convert."""

from pathlib import Path

import pytest
from sam_mil_run import Run


@pytest.fixture
def run(tmp_path: Path) -> Run:
    root = tmp_path / "run"
    root.mkdir()
    return Run(root)
