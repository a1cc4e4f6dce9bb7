"""The picture of a slide: what it follows, where its parts stand, and what is stamped across it."""

from dataclasses import replace

import numpy as np
import pytest
from made_view import decode, make_heading, make_view

from sammil_cli.report.heading import HEIGHT
from sammil_cli.report.heatmap import draw
from sammil_cli.report.sheet import Sheet
from sammil_cli.report.slide_view import Detail, SlideView, TopPatch

GREEN = (10, 200, 30)


def green_of(image: np.ndarray) -> np.ndarray:
    """Places (row, column) of the colour that a part of the picture was given, but for marks on it."""
    return np.argwhere(np.abs(image.astype(int) - GREEN).max(axis=2) <= 3)


def colours_of(image: np.ndarray) -> int:
    """How many colours a picture has."""
    return len(np.unique(image[::3, ::3].astype(np.int64) @ (1, 256, 65536)))


def written(view: SlideView, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, float, float]]:
    """All words of a picture with where they stand."""
    words: list[tuple[str, float, float]] = []
    write = Sheet.write

    def kept(sheet: Sheet, text: str, at: tuple[float, float], size: int, **how: object) -> float:
        words.append((text, *at))
        return write(sheet, text, at, size, **how)  # type: ignore[arg-type]

    monkeypatch.setattr(Sheet, "write", kept)
    draw(view)
    return words


def make_detail(**changes: object) -> Detail:
    values = {
        "image": np.full((42, 64, 3), GREEN, np.uint8),
        "box": (10.0, 5.0, 20.0, 13.0),
        "index": np.array([0, 2]),
        "xy": np.array([[5.0, 5.0], [5.0, 25.0]]),
        "side": 20.0,
        "um_per_px": 16.0,
        "share": 0.9,
        "outlines": [],
    }
    return Detail(**{**values, **changes})  # type: ignore[arg-type]


def test_the_picture_is_a_png_of_many_colours() -> None:
    image = decode(draw(make_view()))
    assert image.shape[1] > 1900
    assert colours_of(image) > 50


def test_the_picture_follows_all_that_it_shows() -> None:
    pictures = [
        draw(make_view(**changes))
        for changes in (
            {},
            {"attention": np.array([0.1, 0.7, 0.2])},
            {"evidence": np.array([0.4, 0.9, 0.5])},
            {"threshold": 0.7},
            {"um_per_px": None},
            {"heading": make_heading(truth=None)},
            {"heading": make_heading(truth="normal")},
            {"heading": make_heading(probability=0.8)},
            {"outlines": [np.array([[10.0, 5.0], [30.0, 5.0], [30.0, 25.0], [10.0, 5.0]])]},
            {"details": [make_detail()]},
        )
    ]
    assert len(set(pictures)) == len(pictures)
    assert draw(make_view()) == pictures[0]


@pytest.mark.parametrize(("count", "classes"), [(1, 2), (6, 3), (32, 2)])
def test_top_patches_are_drawn_in_the_cells_that_are_left(count: int, classes: int) -> None:
    many = {"xy": np.zeros((40, 2)), "attention": np.ones(40), "evidence": np.full(40, 0.5), "classes": classes}
    patch = np.full((16, 16, 3), GREEN, np.uint8)
    plain = decode(draw(make_view(**many)))
    with_top = decode(draw(make_view(**many, top=[TopPatch(image=patch, index=i) for i in range(count)])))
    assert with_top.shape == plain.shape
    assert len(green_of(plain)) == 0
    places = green_of(with_top)
    assert len(places) > 2000
    height, width = with_top.shape[:2]
    assert places[:, 0].min() > height / 2  # second row
    assert places[:, 1].min() > width * (2 if classes == 2 else 1) / 3
    assert places[:, 0].max() < height - 20
    assert places[:, 1].max() < width - 20


def test_equal_values_everywhere_can_be_drawn() -> None:
    flat = np.full(3, 0.25)
    assert colours_of(decode(draw(make_view(attention=flat, evidence=flat)))) > 10


def test_a_tall_slide_has_its_panels_in_one_row() -> None:
    tall = np.full((220, 110, 3), GREEN, np.uint8)
    image = decode(draw(make_view(image=tall, regions=tall)))
    assert image.shape[1] > 2 * image.shape[0]
    places = green_of(image)  # slide and regions
    row = np.unique(places[:, 1])
    assert 1 + (np.diff(row) > 5).sum() == 2
    assert np.ptp(places[:, 0]) == pytest.approx(640, abs=3)


def test_panels_of_one_size_stand_in_one_grid() -> None:
    picture = np.full((60, 110, 3), GREEN, np.uint8)
    image = decode(draw(make_view(image=picture, regions=picture, um_per_px=None)))
    places = green_of(image)  # the slide, and the regions below it
    rows = np.unique(places[:, 0])
    parts = np.split(rows, np.flatnonzero(np.diff(rows) > 50) + 1)
    assert len(parts) == 2
    assert abs(np.ptp(parts[0]) - np.ptp(parts[1])) <= 1
    assert parts[0].min() > HEIGHT
    left = [places[np.isin(places[:, 0], part), 1].min() for part in parts]
    assert left[0] == left[1]


def test_details_have_a_row_of_their_own() -> None:
    without, one = (decode(draw(make_view(details=details))) for details in ([], [make_detail()] * 3))
    places = green_of(one)
    assert one.shape[1] == without.shape[1]
    assert places[:, 0].min() > without.shape[0]
    columns = np.unique(places[:, 1])
    assert 1 + (np.diff(columns) > 15).sum() == 3


def test_three_classes_have_no_view_of_the_paper() -> None:
    key = (0, 255, 255)  # cyan as in the key, and nowhere else
    two, three = (decode(draw(make_view(classes=classes))) for classes in (2, 3))
    assert (two == key).all(axis=2).sum() > 50
    assert not (three == key).all(axis=2).any()


# ------------------------------------------------------------------------------------------ in words


def test_the_heading_says_truth_decision_probability_threshold_and_who_judges(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [text for text, *_ in written(make_view(), monkeypatch)]
    for text in ("slide_1", "called tumour", "P(tumour) = 0.900", "threshold 0.400"):
        assert text in texts
    line = "".join(texts)
    assert "truth tumour  ✓ right" in line
    assert "sam-mil, fold 0.1  ·  features of texture  ·  out of fold: not seen in training" in line
    wrong = [text for text, *_ in written(make_view(heading=make_heading(called="normal")), monkeypatch)]
    assert any("✗ wrong" in text for text in wrong)
    unknown = [text for text, *_ in written(make_view(heading=make_heading(truth=None)), monkeypatch)]
    assert any("no label" in text for text in unknown)


def test_probability_and_threshold_stand_on_one_scale(monkeypatch: pytest.MonkeyPatch) -> None:
    places = {text: x for text, x, _ in written(make_view(), monkeypatch)}
    low, high = places["0"], 0.0
    for text, x, y in written(make_view(), monkeypatch):
        if text == "1" and y < HEIGHT:
            high = x
    length = high - low
    assert (places["threshold 0.400"] - low) / length == pytest.approx(0.4, abs=0.03)
    far = make_view(heading=make_heading(probability=0.5, texts=("0.500", "0.400")))
    middle = {text: x for text, x, _ in written(far, monkeypatch)}["P(tumour) = 0.500"]
    assert (middle - low) / length == pytest.approx(0.5, abs=0.03)


def test_the_scales_are_said_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [text for text, *_ in written(make_view(), monkeypatch)]
    said = {"◀ speaks against", "speaks for ▶", "threshold 0.45", "1× or less", "10×", "100× or more"}
    assert said <= set(texts)
    assert any("not calibrated" in text for text in texts)
    assert any("one scale for all slides" in text for text in texts)
    assert "500 µm" in texts  # 640 px are 2.2 mm; the bar takes at most 28 % of them


def test_top_patches_have_the_same_number_on_the_slide_in_the_strip_and_in_detail(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    patch = np.full((16, 16, 3), GREEN, np.uint8)
    top = [TopPatch(image=patch, index=0), TopPatch(image=patch, index=2)]
    far = np.array([[10.0, 5.0], [80.0, 5.0], [60.0, 40.0]])
    view = make_view(top=top, details=[make_detail()], xy=far)
    numbers = [(text, x, y) for text, x, y in written(view, monkeypatch) if text in ("1", "2") and y > HEIGHT]
    assert sorted(text for text, *_ in numbers) == ["1", "1", "1", "1", "2", "2", "2"]  # one ends the scale of evidence
    # On the slide: right of its patch (side 10 px at 640/110), at its middle.
    (x, y) = next(at for text, *at in numbers if text == "1")
    assert x == pytest.approx(24 + 20 * 640 / 110 + 5, abs=2)
    assert y == pytest.approx(HEIGHT + 34 + 10 * 640 / 110, abs=2)


def test_neighbours_share_a_label(monkeypatch: pytest.MonkeyPatch) -> None:
    patch = np.full((16, 16, 3), GREEN, np.uint8)
    top = [TopPatch(image=patch, index=index) for index in (0, 1, 2)]
    assert "1–3" in [text for text, *_ in written(make_view(top=top), monkeypatch)]


@pytest.mark.parametrize(
    "stamp", ["in sample - trained or chosen on this slide", "selected on test - not an estimate of generalisation"]
)
def test_a_stamp_lies_across_the_whole_picture_and_leaves_what_lies_below_readable(stamp: str) -> None:
    plain = decode(draw(make_view())).astype(int)
    stamped = decode(draw(make_view(heading=make_heading(stamp=stamp)))).astype(int)
    changed = (np.abs(plain - stamped).max(axis=2) > 40)[HEIGHT:]
    rows, columns = np.nonzero(changed)
    assert np.ptp(columns) > 0.5 * changed.shape[1]
    assert np.ptp(rows) > 0.5 * changed.shape[0]
    assert 0.005 < changed.mean() < 0.1


def test_long_names_and_many_digits_stay_within_the_picture() -> None:
    long = make_heading(slide_id="s" * 300, called="c" * 90, truth="t" * 90, shown="p" * 90, encoder="e" * 300)
    texts = replace(long, texts=("0." + "9" * 17, "0." + "8" * 17))
    for image in (np.full((60, 110, 3), 240, np.uint8), np.full((220, 60, 3), 240, np.uint8)):
        picture = decode(draw(make_view(heading=texts, shown="p" * 90, image=image, regions=image)))
        assert (picture[:, :10] == 255).all()
        assert (picture[:, -10:] == 255).all()
