"""Real files that several tests read."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="module")
def slides(real_data: Path) -> Path:
    """The folder of real slides."""
    folder = real_data / "slides"
    if not folder.is_dir():
        pytest.skip(f"no slides in {real_data}")
    return folder


@pytest.fixture
def published_labels(real_data: Path) -> Path:
    """The folder of the label files as SAM-MIL ships them."""
    folder = real_data / "legacy" / "sam-mil" / "dataset_csv"
    if not folder.is_dir():
        pytest.skip(f"{folder} is missing")
    return folder


@pytest.fixture(scope="session")
def golden_file(real_data: Path) -> Callable[[str], dict[str, Any]]:
    """Reads a file of golden numbers by its name."""

    def read(name: str) -> dict[str, Any]:
        path = real_data / "golden" / name
        if not path.is_file():
            pytest.skip(f"no golden numbers: {path} is missing")
        loaded: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return loaded

    return read


@pytest.fixture(scope="session")
def golden(golden_file: Callable[[str], dict[str, Any]]) -> dict[str, Any]:
    """Numbers of the published models, by their names."""
    return golden_file("mil.json")
