"""How bright the tissue of a slide is, from what `segment` leaves."""

from pathlib import Path

import numpy as np
import pytest
import shapely

from sammil_cli.storage.paths import TissuePath
from sammil_cli.tissue.brightness import read_look
from sammil_cli.tissue.mask import TissueMask, write_tissue
from sammil_cli.tissue.overlay import write_overlay


def leave(folder: Path, colour: tuple[int, int, int]) -> None:
    """A slide of 1200 x 800 px with one piece of tissue of one colour on white glass, as `segment` leaves it."""
    piece = shapely.box(200, 150, 700, 600)
    mask = TissueMask(
        slide_id="s",
        polygons=shapely.MultiPolygon([piece]),
        slide_mpp=0.5,
        slide_size_px=(1200, 800),
        bounds_px=(0, 0, 1200, 800),
    )
    thumbnail = np.full((400, 600, 3), 255, np.uint8)
    thumbnail[75:300, 100:350] = colour
    write_tissue(TissuePath(folder / "s.geojson"), mask, {})
    write_overlay(folder / "s.jpg", thumbnail, mask)


def test_the_glass_and_the_outline_do_not_count(tmp_path: Path) -> None:
    leave(tmp_path, (200, 120, 160))
    look = read_look(tmp_path, "s")
    assert look is not None
    assert look[0] == pytest.approx(160 / 255, abs=0.01)
    assert look[1] == pytest.approx(-np.log10(np.array([200, 120, 160]) / 255).mean(), abs=0.01)


def test_what_is_missing_or_damaged_says_nothing(tmp_path: Path) -> None:
    assert read_look(tmp_path, "s") is None
    leave(tmp_path, (200, 120, 160))
    (tmp_path / "s.jpg").write_bytes(b"no picture")
    assert read_look(tmp_path, "s") is None
    leave(tmp_path, (200, 120, 160))
    (tmp_path / "s.geojson").write_text("{}", encoding="utf-8")
    assert read_look(tmp_path, "s") is None
