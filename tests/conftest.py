"""Fixtures for all tests: tiny slides that OpenSlide opens, and the shared real files."""

import os
from pathlib import Path

import pytest
from slide_maker import draw_asymmetric, write_pyramid

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture
def asymmetric_slide(tmp_path: Path) -> Path:
    """640 x 448 px at 2 µm per pixel, levels 1, 2, 4; see `slide_maker.draw_asymmetric`."""
    return write_pyramid(tmp_path / "slides" / "asymmetric.tif", draw_asymmetric(), mpp=2.0)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real files, see its CATALOG.md; tests are skipped where it is not."""
    folder = Path(os.environ.get("SAMMIL_TEST_DATA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real files in {folder}: set SAMMIL_TEST_DATA")
    return folder
