"""Which fields of a slide are shown in detail."""

import numpy as np

from sammil_cli.jobs.detail_fields import choose_fields

SIDE, SIZE, FIELD = 10, (1000, 600), (100, 60)


def grid() -> np.ndarray:
    return np.array([[x, y] for y in range(0, 600, SIDE) for x in range(0, 1000, SIDE)], np.int32)


def attention_at(*where: tuple[int, int, float]) -> np.ndarray:
    xy, attention = grid(), np.full(len(grid()), 1e-6)
    for x, y, value in where:
        attention[(xy == (x, y)).all(axis=1)] = value
    return attention


def test_foci_stand_in_the_middle_of_their_fields_the_largest_first() -> None:
    attention = attention_at((500, 300, 0.5), (510, 300, 0.4), (200, 100, 0.7), (800, 500, 0.1))
    boxes = choose_fields(grid(), SIDE, attention, FIELD, SIZE, 3)
    middles = [(x + 50, y + 30) for x, y, *_ in boxes]
    assert np.abs(np.array(middles) - [(505, 305), (205, 105), (805, 505)]).max() <= 10
    assert all(box[2:] == FIELD for box in boxes)


def test_fields_stay_on_the_slide_and_a_slide_smaller_than_a_field_has_one() -> None:
    corner = choose_fields(grid(), SIDE, attention_at((0, 0, 1.0)), FIELD, SIZE, 1)
    assert corner == [(0, 0, 100, 60)]
    far = choose_fields(grid(), SIDE, attention_at((990, 590, 1.0)), FIELD, SIZE, 1)
    assert far == [(900, 540, 100, 60)]
    tiny = np.array([[0, 0], [10, 0]], np.int32)
    assert choose_fields(tiny, SIDE, np.array([0.4, 0.6]), FIELD, (20, 10), 3) == [(0, 0, 100, 60)]


def test_fields_show_different_places() -> None:
    even = np.ones(len(grid()))
    boxes = choose_fields(grid(), SIDE, even, FIELD, SIZE, 3)
    assert len(boxes) == 3
    near = attention_at((500, 300, 0.5), (550, 300, 0.4), (500, 360, 0.3))
    (x, y, *_), (other_x, other_y, *_) = choose_fields(grid(), SIDE, near, FIELD, SIZE, 2)
    assert abs(x - other_x) / 100 + abs(y - other_y) / 60 > 0.5


def test_without_attention_there_is_no_field() -> None:
    assert choose_fields(grid(), SIDE, np.zeros(len(grid())), FIELD, SIZE, 3) == []
    assert choose_fields(grid(), SIDE, np.ones(len(grid())), FIELD, SIZE, 0) == []
