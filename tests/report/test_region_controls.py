"""The placebo's tables: which difference is the answer, what may be said of it, and what moving has kept."""

import math

import pytest
from two_folds import PERFECT, POOR

from sammil_cli.regions.placebo import Moved
from sammil_cli.report.comparison import HIGHER, LIKE_ANOTHER_SEED, LOWER, NO_DIFFERENCE, ONE_REPEAT
from sammil_cli.report.estimate import Estimate
from sammil_cli.report.region_ablation import region_table
from sammil_cli.report.region_controls import answer, drawn_note, moved_table, placebo_table

FOUND = {"placebo": POOR, "superpixels": PERFECT, "sam": POOR, "true regions": PERFECT}


def test_the_answer_is_the_reference_minus_its_placebo() -> None:
    table = placebo_table(POOR, FOUND, "superpixels", None, level=0.9, draws=200)
    assert table.rows[0][1:] == ("placebo minus no regions", "+0.0 [+0.0, +0.0]")
    assert [row[1] for row in table.rows[1:]] == ["superpixels minus placebo", "true regions minus placebo"]
    assert table.rows[1][2].startswith("+50.0 [+")
    assert table.rows[1][2] == table.rows[2][2]
    assert "is not shown" in table.note or "does not show" in table.note  # eight slides, one repeat
    without = placebo_table(POOR, {"placebo": POOR, "sam": POOR}, "sam", POOR, level=0.9, draws=200)
    assert len(without.rows) == 2
    assert "sam minus placebo" in without.rows[1]


def test_the_table_of_all_rows_leaves_the_placebo_to_the_other_one() -> None:
    note = region_table(POOR, FOUND, "superpixels", None, level=0.9, draws=200).note
    assert "lacebo" not in note
    assert "true regions or superpixels" in note


@pytest.mark.parametrize(
    ("gap", "shown", "said"),
    [
        (
            Estimate(0.02, 0.01, 0.05),
            HIGHER,
            "It mattered here where the regions of sam lie: against its placebo +1.0 to +5.0",
        ),
        (
            Estimate(-0.02, -0.05, -0.01),
            LOWER,
            "did worse here than the same ones moved at random: -5.0 to -1.0 points",
        ),
        (Estimate(0.01, -0.02, 0.04), NO_DIFFERENCE, "does not show that it matters where the regions of sam lie"),
        (Estimate(0.02, 0.01, 0.05), NO_DIFFERENCE, "does not show that it matters"),
        (Estimate(0.02, 0.01, 0.05), ONE_REPEAT, "is not shown: against its placebo +1.0 to +5.0"),
        (Estimate(0.02, 0.01, 0.05), LIKE_ANOTHER_SEED, "but another seed alone may move sam as far"),
        (Estimate(0.0, math.nan, math.nan), NO_DIFFERENCE, "gives no interval"),
    ],
)
def test_no_more_is_said_than_the_interval_allows(gap: Estimate, shown: str, said: str) -> None:
    assert said in answer("sam", gap, shown)


def test_what_moving_kept_is_said_by_its_median_over_slides() -> None:
    moved = [
        Moved(regions=4, area_ratio=1.0, tissue_before=1, tissue_after=1, as_drawn=share, agreement=0.1 * at)
        for at, share in enumerate((0.5, 0.75, None))
    ]
    before = [{"no_region": 0.0, "group_features": count} for count in (4, 4, 0)]
    after = [{"no_region": 0.1, "group_features": 3}] * 3
    table = moved_table("sam", moved, before, after)
    assert dict(zip(table.header, table.rows[0], strict=True)) == {
        "placebo of": "sam",
        "regions": "4 [4, 4]",
        "area, after / before": "1.000 [1.000, 1.000]",
        "with patches, after / before": "0.75 [0.75, 0.75]",
        "patches in a region before, %": "100.0 [100.0, 100.0]",
        "after, %": "90.0 [90.0, 90.0]",
        "in the moved shape, %": "62 [51, 74]",
        "same company": "0.10 [0.01, 0.19]",
    }


def test_true_regions_are_said_to_be_drawn_by_somebody_who_knew() -> None:
    said = drawn_note(3, 12, "sam")
    assert "3 of 12 slides have drawn lesions, which are cut into the regions of sam" in said
    assert "knew the answer" in said
