"""Resolutions: printers' figures are none, odd ones are named."""

import pytest

from sammil_cli.slides.resolution import flags, from_tiff_tags, outliers, table_line


@pytest.mark.parametrize("dpi", [1, 72, 96, 150, 300, 600, 1200])
def test_what_a_printer_needs_is_no_resolution_of_a_slide(dpi: float) -> None:
    assert from_tiff_tags(dpi, dpi, "inch") is None
    assert from_tiff_tags(dpi / 2.54, dpi / 2.54, "centimeter") is None


def test_resolution_tags_are_pixels_per_unit() -> None:
    assert from_tiff_tags(40_000, 20_000, "centimeter") == (0.25, 0.5)
    assert from_tiff_tags(50_800, 50_800, "inch") == (0.5, 0.5)
    assert from_tiff_tags(40_000, 40_000, "") is None
    assert from_tiff_tags(0, 40_000, "centimeter") is None
    assert from_tiff_tags(float("nan"), 40_000, "centimeter") is None


@pytest.mark.parametrize(("mpp", "power"), [(0.25, 40), (0.23, 40), (0.17, 40), (0.5, 20), (1.0, 10), (0.25, None)])
def test_usual_scanners_raise_no_flag(mpp: float, power: float | None) -> None:
    assert flags(mpp, (mpp, mpp), power) == []


def test_each_oddity_has_its_flag() -> None:
    assert flags(0.5, (0.5, 0.5), 40) == ["0.5 µm per pixel does not go with 40x (about 0.25)"]
    assert flags(0.234, (0.234, 0.234), 20) == ["0.234 µm per pixel does not go with 20x (about 0.5)"]
    assert flags(0.5025, (0.5, 0.505), 20) == ["x and y differ: 0.5, 0.505 µm per pixel"]
    assert flags(7.776, None, None) == ["7.776 µm per pixel is unusual (0.1 to 2)"]
    assert flags(0.05, None, None) == ["0.05 µm per pixel is unusual (0.1 to 2)"]
    assert flags(0.25, (0.5, 0.5), None) == ["slides.csv says 0.25, the file 0.5 µm per pixel"]


def test_a_slide_unlike_the_cohort_is_an_outlier() -> None:
    cohort = {f"s{i}": 0.25 + 0.001 * i for i in range(9)}
    assert outliers(cohort) == {}
    assert outliers({**cohort, "odd": 0.5}) == {
        "odd": "unlike the other slides: 0.5 µm per pixel, most have about 0.254"
    }


def test_a_mixed_cohort_has_no_outliers_and_a_tiny_one_has_no_median() -> None:
    mixed = {f"s{i}": (0.25, 0.5)[i % 3 == 0] for i in range(12)}
    assert outliers(mixed) == {}
    assert outliers({"a": 0.25, "b": 0.25, "c": 0.5, "d": 0.25}) == {}


def test_the_line_to_add_is_csv() -> None:
    assert table_line("a") == "a,<µm per pixel of level 0>"
    assert table_line("a, b") == '"a, b",<µm per pixel of level 0>'
