"""Real files that several tests read."""

from pathlib import Path

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
