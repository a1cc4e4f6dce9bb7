"""Real slides: each opens, or says why not; the chain runs up to bags."""

import json
from pathlib import Path

import numpy as np
import openslide
import pytest
import shapely
from tissue_specs import CLEANED, segment

from sammil_cli import choices
from sammil_cli.errors import SlideError
from sammil_cli.features.bag import EncoderFacts, FeatureBag, mean_group_features, read_bag, write_bag
from sammil_cli.patches.grid import GridSpec, make_grid
from sammil_cli.patches.images import batches
from sammil_cli.preflight.inspect import describe
from sammil_cli.regions.members import find_members, smallest_region
from sammil_cli.regions.propose import propose_regions
from sammil_cli.slides.files import find_slides, open_slide
from sammil_cli.tissue.mask import TissueMask

# file: (level-0 size, µm per pixel) or the code it is set aside with
OUTCOMES: dict[str, tuple[tuple[int, int], float] | str] = {
    "CMU-1-Saved-1_16.mrxs": "E_OPEN",  # its data folder is not there
    "CMU-1-Small-Region.svs": ((2220, 2967), 0.499),
    "TCGA-CR-7395-01A-01-TS1.svs": "E_MPP",
    "broken.svs": "E_OPEN",
    "c16_tumor_001_level5.tif": "E_MPP",
    "camelyon_multiframe.dcm": ((1152, 700), 28.9685),
    "kidney-48-5.tif": "E_MPP",  # stored in one strip
    "small_HE_levels.tiff": "E_MPP",  # 72 dpi
    "small_dicom.dcm": "E_OPEN",
    "small_vectra.qptiff": "E_FORMAT",  # three channels of fluorescence
    "smalltif.tif": "E_FORMAT",  # 16-bit grey
    "openslide-fixtures/boxes.tiff": "E_MPP",  # 72 dpi
    "openslide-fixtures/boxes_0.dcm": ((16, 16), 0.499),
    "openslide-fixtures/small.svs": ((16, 16), 0.499),
    "openslide-fixtures/unopenable.tiff": "E_OPEN",
    "openslide-fixtures/unreadable.svs": "E_READ",
}
SIDECARS = {".json": 1, ".png": 1}


def test_the_table_of_outcomes_names_every_slide(slides: Path) -> None:
    found = find_slides(slides)
    assert {path.relative_to(slides).as_posix() for path in found.paths.values()} == set(OUTCOMES)
    assert (found.unsupported, found.sidecars) == ({}, SIDECARS)
    assert found.inner == 1  # boxes_1.dcm is of one series with boxes_0.dcm


@pytest.mark.parametrize("name", [name for name, outcome in OUTCOMES.items() if not isinstance(outcome, str)])
def test_a_good_slide_opens_and_can_be_read(slides: Path, name: str) -> None:
    size, mpp = OUTCOMES[name]
    with open_slide(slides / name) as slide:
        assert slide.size_px == size
        assert slide.mpp == pytest.approx(mpp, abs=1e-4)
        assert slide.mpp_source == ("DICOM PixelSpacing" if name.endswith(".dcm") else "openslide.mpp-x")
        image = slide.read_at((size[0] // 2, size[1] // 2), (8, 6), (8, 6))
    assert image.shape == (6, 8, 3)
    with openslide.OpenSlide(slides / name) as official:
        expected = official.read_region((size[0] // 2, size[1] // 2), 0, (8, 6)).convert("RGB")
    np.testing.assert_array_equal(image, np.asarray(expected))
    assert image.std() > 0


@pytest.mark.parametrize("name", [name for name, outcome in OUTCOMES.items() if isinstance(outcome, str)])
def test_a_bad_slide_is_set_aside_with_its_code_and_remedy(slides: Path, name: str) -> None:
    with pytest.raises(SlideError) as caught, open_slide(slides / name) as slide:
        slide.thumbnail(slide.mpp)
    assert caught.value.code == OUTCOMES[name]
    assert caught.value.set_aside
    assert caught.value.message
    assert caught.value.remedy


def test_a_resolution_of_the_users_own_opens_slides_that_do_not_say_theirs(slides: Path) -> None:
    for name in ("TCGA-CR-7395-01A-01-TS1.svs", "small_HE_levels.tiff"):
        with open_slide(slides / name, 0.5) as slide:
            assert (slide.mpp, slide.mpp_source) == (0.5, "slides.csv")
    with open_slide(slides / "TCGA-CR-7395-01A-01-TS1.svs", 0.5) as slide:
        assert slide.size_px == (4443, 3567)
        assert len(slide.reader.downsamples) == 2


def test_a_tiff_of_no_vendor_reads_like_openslide(slides: Path) -> None:
    path = slides / "c16_tumor_001_level5.tif"
    with open_slide(path, 7.776) as slide, openslide.OpenSlide(path) as other:
        assert type(slide.reader).__module__ == "sammil_cli.slides.formats.tiff"
        assert slide.size_px == other.dimensions
        for xy in ((1400, 3000), (2900, 7000), (500, 500)):
            expected = np.asarray(other.read_region(xy, 0, (400, 300)).convert("RGB"))
            inside = np.asarray(other.read_region(xy, 0, (400, 300)))[..., 3] == 255
            np.testing.assert_array_equal(slide.read_at(xy, (400, 300), (400, 300))[inside], expected[inside])


def test_inspect_knows_every_slide(slides: Path) -> None:
    told = {}
    for name in OUTCOMES:
        try:
            facts = describe("x", slides / name, None)
        except SlideError as error:
            told[name] = error.code
            continue
        told[name] = facts.code or (facts.size_px, pytest.approx(facts.mpp, abs=1e-4))
    assert told == OUTCOMES
    svs = describe("x", slides / "CMU-1-Small-Region.svs", None)
    assert (svs.kind, svs.objective, svs.flags) == ("aperio", 20, ())


def tissue_of(path: Path, mpp: float | None = None) -> TissueMask:
    with open_slide(path, mpp) as slide:
        return segment(slide, CLEANED)[0]


def test_the_whole_metastasis_slide_has_a_plausible_tissue_mask(slides: Path) -> None:
    mask = tissue_of(slides / "c16_tumor_001_level5.tif", 7.776)
    # 23.9 x 55.7 mm of glass with several pieces of lymph nodes in fat: some 130 mm² of 1331 mm².
    assert 100e6 < mask.area_um2 < 200e6
    assert mask.polygons.is_valid
    assert 2 <= len(mask.polygons.geoms) <= 40
    x, y, width, height = mask.box_px
    assert x >= 0
    assert y >= 0
    assert x + width <= 3072
    assert y + height <= 7168
    # The pathologists' outlines of the metastases, drawn on the whole slide, lie in the tissue.
    annotation = json.loads((slides / "c16_tumor_001_annotation.json").read_text())
    lesions = [shapely.Polygon(np.array(part["vertices"]) / 32).buffer(0) for part in annotation["positive"]]
    area = sum(lesion.area for lesion in lesions)
    assert area > 1000
    assert sum(lesion.intersection(mask.polygons).area for lesion in lesions) > 0.97 * area


@pytest.mark.parametrize(
    ("name", "reader"),
    [
        ("CMU-1-Small-Region.svs", "aperio"),
        ("TCGA-CR-7395-01A-01-TS1.svs", "openslide"),
        ("camelyon_multiframe.dcm", "openslide"),
        ("kidney-48-5.tif", "tiff"),
    ],
)
@pytest.mark.parametrize(("side", "out"), [(256, 256), (300, 200)])
def test_neighbours_read_in_one_go_have_the_pixels_of_single_reads(
    slides: Path, name: str, reader: str, side: int, out: int
) -> None:
    with open_slide(slides / name, 0.5) as slide:
        assert slide.read_by == reader
        width, height = slide.size_px
        for left, y in ((-130, -70), (width // 3 + 1, 13), (width - side - 50, height - 100)):
            corners = [(left + place * side, y) for place in range(3)]
            together = slide.read_together(corners, (side, side), (out, out))
            assert together is not None
            for corner, patch in zip(corners, together, strict=True):
                np.testing.assert_array_equal(patch, slide.read_at(corner, (side, side), (out, out)))


def test_a_real_slide_goes_through_the_chain_to_a_bag(slides: Path, tmp_path: Path) -> None:
    path = slides / "CMU-1-Small-Region.svs"
    tissue = tissue_of(path)
    whole_um2 = 2220 * 2967 * 0.499**2
    assert 0.3 * whole_um2 < tissue.area_um2 < whole_um2
    grid = make_grid(tissue, GridSpec(patch_px=128, patch_mpp=1.0, min_tissue=0.25))
    assert grid.patch_px_level0 == 257  # 128 / 0.499
    proposer = choices.load(choices.PROPOSERS, "superpixels")
    encoder = choices.load(choices.ENCODERS, "texture").build(weights=None, device="cpu", backbone=None, input_px=224)
    with open_slide(path) as slide:
        settings = {"superpixel_method": "slic", "superpixel_area_px": 1500, "superpixel_merge": 6.0}
        made = proposer.make(settings, "cpu")
        regions, image = propose_regions(slide, tissue, made, canvas_px=1024)
        reading = batches(slide, grid, encoder.prepare, batch_size=16, threads=2)
        features = np.concatenate([encoder.encode(batch) for batch in reading])
    assert regions.canvas.downsample == 4
    assert image.shape[:2] == regions.canvas.size_px[::-1]
    assert 5 < len(regions) < 400
    members = find_members(regions, grid.xy, grid.patch_px_level0, 0.0)
    group_features, group_region = mean_group_features(features, members)
    region = smallest_region(members, regions.area_px, len(grid.xy))
    bag = FeatureBag(
        slide_id=grid.slide_id,
        features=features,
        xy=grid.xy,
        region=region,
        region_area=regions.area_px,
        region_area_um2=regions.area_um2,
        group_features=group_features,
        group_region=group_region,
        members=members,
        encoder=EncoderFacts(
            name=encoder.name,
            weights_sha256=None,
            dim=encoder.dim,
            patch_px=grid.patch_px,
            patch_mpp=grid.patch_mpp,
            patch_px_level0=grid.patch_px_level0,
        ),
    )
    write_bag(tmp_path / f"{bag.slide_id}.h5", bag, {"step": "extract"})
    back = read_bag(tmp_path / f"{bag.slide_id}.h5")
    assert 30 < len(back.features) <= (2220 // 257) * (2967 // 257)
    assert np.isfinite(back.features).all()
    assert (back.features.std(axis=0) > 0.05).mean() > 0.5  # patches differ in most features
    assert (back.region >= 0).all()  # superpixels tile the tissue, and every patch holds some
    assert len(back.group_features) == len(back.group_region) == (members.size > 0).sum()
