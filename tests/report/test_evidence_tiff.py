"""Evidence as an OME-TIFF: levels, physical size, colours at their places, and who can read it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile

from sammil_cli.report.colours import evidence_colours
from sammil_cli.report.evidence_tiff import EvidencePicture, write_evidence_tiff
from sammil_cli.slides.files import open_slide
from sammil_cli.storage.paths import SlidePath

STEP = 512  # level-0 pixels


def made_picture() -> EvidencePicture:
    """A slide of 11 000 x 8000 px of 0.5 µm, a grid of patches on it, and one of them that says much."""
    columns, rows = 20, 14
    places = np.arange(columns * rows)
    xy = np.stack([places % columns, places // columns], axis=1) * float(STEP)
    evidence = np.full(len(xy), 0.5)
    evidence[3 * columns + 5] = 0.95
    return EvidencePicture(
        xy=xy, side=STEP, evidence=evidence, shown="tumour", classes=2, size_px=(11_000, 8000), slide_mpp=0.5, mpp=8.0
    )


def test_it_has_levels_of_a_known_size_and_the_colours_of_the_patches(tmp_path: Path) -> None:
    path = tmp_path / "s.ome.tif"
    write_evidence_tiff(path, made_picture())
    with tifffile.TiffFile(path) as file:
        assert file.is_ome
        series = file.series[0]
        assert [level.shape for level in series.levels] == [(500, 688, 3), (250, 344, 3), (125, 172, 3)]
        assert 'PhysicalSizeX="8.0" PhysicalSizeXUnit="µm"' in str(file.ome_metadata)
        assert "evidence for tumour" in str(file.ome_metadata)
        assert file.pages.first.is_tiled
        levels = [level.asarray() for level in series.levels]
    strong = evidence_colours(np.array(0.95))
    for level, picture in enumerate(levels):
        found = np.argwhere((picture == strong).all(axis=2))
        side = STEP / 16 / 2**level
        assert found[0].tolist() == [round(3 * side), round(5 * side)]
        assert len(found) == pytest.approx(side**2, rel=0.02)
        assert (picture[-1, -1] == 255).all()  # beside the patches


def test_sammil_itself_reads_it_at_its_resolution(tmp_path: Path) -> None:
    path = tmp_path / "s.ome.tif"
    write_evidence_tiff(path, made_picture())
    with open_slide(SlidePath(path)) as slide:
        assert slide.mpp == pytest.approx(8.0)
        assert slide.size_px == (688, 500)
        assert [round(one) for one in slide.reader.downsamples] == [1, 2, 4]
        assert (slide.read_at((161, 97), (30, 30), (30, 30)) == evidence_colours(np.array(0.95))).all()


def test_the_same_evidence_gives_the_same_bytes(tmp_path: Path) -> None:
    picture = made_picture()
    for name, one in (("a", picture), ("b", picture), ("c", replace(picture, evidence=picture.evidence * 0.9))):
        write_evidence_tiff(tmp_path / name, one)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes() != (tmp_path / "c").read_bytes()


def test_a_focus_smaller_than_a_pixel_is_on_every_level(tmp_path: Path) -> None:
    write_evidence_tiff(tmp_path / "s.ome.tif", replace(made_picture(), mpp=500.0 * 0.5))
    with tifffile.TiffFile(tmp_path / "s.ome.tif") as file:
        picture = file.asarray()
    assert picture.shape == (16, 22, 3)
    assert (picture == evidence_colours(np.array(0.95))).all(axis=2).sum() >= 1


def test_it_is_never_finer_than_the_slide(tmp_path: Path) -> None:
    small = replace(made_picture(), size_px=(300, 200), mpp=0.1)
    write_evidence_tiff(tmp_path / "s.ome.tif", small)
    with tifffile.TiffFile(tmp_path / "s.ome.tif") as file:
        assert [level.shape for level in file.series[0].levels] == [(200, 300, 3), (100, 150, 3)]
