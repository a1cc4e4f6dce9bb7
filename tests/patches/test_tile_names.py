"""What names say of the places of tiles: read where all agree, left where none say it, refused where it is in doubt."""

import numpy as np
import pytest

from sammil_cli.errors import InputError, SlideError
from sammil_cli.patches.tile_names import Naming, naming_of

GRID = [(column, row) for row in range(4) for column in range(5)]
PIXELS = [(256 * column + 100, 256 * row + 37) for column, row in GRID]  # a grid may begin anywhere


def names(form: str, places: list[tuple[int, int]], slide: str = "TCGA-05-4244-01Z") -> list[str]:
    return [form.format(x=x, y=y, slide=slide, number=number) for number, (x, y) in enumerate(places)]


def settled(form: str, places: list[tuple[int, int]], given: str | None = None) -> tuple[Naming, list[str]]:
    """What is made of two slides whose tiles have the same places."""
    slides = {slide: names(form, places, slide) for slide in ("TCGA-05-4244-01Z", "B_2012_17")}
    return naming_of(slides, given), slides["B_2012_17"]


def found(form: str, places: list[tuple[int, int]], given: str | None = None) -> list[tuple[int, int]]:
    naming, own = settled(form, places, given)
    xy = naming.places(own)
    assert xy is not None
    return [(int(x), int(y)) for x, y in xy]


@pytest.mark.parametrize(
    "form",
    [
        "{x}_{y}",
        "{x}-{y}",
        "{slide}_{x}_{y}",
        "{slide}_x{x}_y{y}",
        "{slide}_X={x}_Y={y}_20x",
        "y{y}x{x}",
        "tile_({x},{y})",
        "{slide}_({x}, {y})_256",
        "row_{y}_col_{x}",
        "{slide}_r{y}_c{x}",
        "column{x}-row{y}",
        "{slide}_{x:06}_{y:06}",
        "0000_{slide}_{number:04}_x{x}_y{y}_w256",
    ],
)
@pytest.mark.parametrize(("places", "unit"), [(GRID, "counted"), (PIXELS, "pixels")])
def test_the_usual_forms_are_read_and_what_their_numbers_are(
    form: str, places: list[tuple[int, int]], unit: str
) -> None:
    naming, _ = settled(form, places)
    assert (naming.unit, found(form, places)) == (unit, places)


@pytest.mark.parametrize(
    "form",
    [
        "lungn{number}",  # one number
        "tile",
        "{slide}_3_{number}",  # the first is the same in all tiles of a slide
        "{slide}_{number}_256",
        "{slide}_-{x}_{y}",  # below zero, or not
        "{slide}_x-{x}_y-{y}",
        "{x}.5_{y}.5",
        "x{x}.5_y{y}.5",
        "²{x}x{y}",
    ],
)
def test_names_that_say_no_places_are_left_as_they_are(form: str) -> None:
    naming, own = settled(form, PIXELS)
    assert naming.places(own) is None
    assert "tiles_names in params.yaml" in naming.said


@pytest.mark.parametrize(
    ("form", "places", "said"),
    [
        ("x{x}_y{y}_r1_c2", PIXELS, "two places in their names: x…, y… and row…, column…"),
        ("x{x}_y{y}_{number}_{number}", PIXELS, "two places"),
        ("{slide}_{number}_{x}_{y}", PIXELS, "three numbers, all of which vary"),
        ("{x}_{y}", [(1000, 1003), (1017, 2020)], "level-0 pixels or may count"),  # few and far apart
        ("x{x}_y{y}", [(512, 512)], "level-0 pixels or may count"),
        ("x{x}_y{y}", [(20_000, 2), (20_001, 2)], "level-0 pixels or may count"),
    ],
)
def test_what_can_be_read_in_two_ways_is_refused_with_the_setting_that_says_it(
    form: str, places: list[tuple[int, int]], said: str
) -> None:
    with pytest.raises(InputError, match=said) as caught:
        settled(form, places)
    assert "tiles_names" in caught.value.remedy


def test_a_regular_expression_settles_what_names_leave_open() -> None:
    few = [(1000, 1003), (1017, 2020)]
    pixels = r"(?P<x>[0-9]+)_(?P<y>[0-9]+)$"
    assert found("{x}_{y}", few, pixels) == few
    assert settled("{x}_{y}", few, pixels)[0].unit == "pixels"
    rows_first = r"(?P<row>[0-9]+)_(?P<column>[0-9]+)$"
    assert found("{y}_{x}", GRID, rows_first) == GRID
    assert settled("{y}_{x}", GRID, rows_first)[0].unit == "counted"
    naming, own = settled("{x}_{y}", PIXELS, "none")
    assert naming.places(own) is None


@pytest.mark.parametrize("given", ["(", "(?P<x>.)", "(?P<x>.)(?P<y>.)(?P<row>.)", ""])
def test_a_setting_that_is_no_such_expression_is_refused(given: str) -> None:
    with pytest.raises(InputError, match="tiles_names"):
        settled("{x}_{y}", PIXELS, given)


@pytest.mark.parametrize(
    ("odd", "said"),
    [
        ("thumbnail", "'thumbnail' does not say where the tile lies"),
        ("x1_y2_x3_y4", "does not say where"),
        ("copy_x100_y37", "'s_x100_y37' and 'copy_x100_y37' have the same place, 100, 37"),
        ("s_x99999999999_y0", "beyond any slide"),
        (f"s_x{'9' * 200}_y0", "does not say where"),
    ],
)
def test_one_odd_name_costs_its_slide_only(odd: str, said: str) -> None:
    good = names("s_x{x}_y{y}", PIXELS)
    naming = naming_of({"a": [*good, odd], "b": good}, None)
    xy = naming.places(good)
    assert xy is not None
    np.testing.assert_array_equal(xy, PIXELS)
    with pytest.raises(SlideError, match=said) as caught:
        naming.places([*good, odd])
    assert caught.value.code == "E_TILES"
