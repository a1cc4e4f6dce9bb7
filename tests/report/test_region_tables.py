"""The tables that compare proposers: whom the difference is to, what is said of it, and numbers made by hand."""

import math

import pytest
from two_folds import PERFECT, POOR

from sammil_cli.report.comparison import HIGHER, LIKE_ANOTHER_SEED, LOWER, NO_DIFFERENCE, ONE_REPEAT
from sammil_cli.report.estimate import Estimate
from sammil_cli.report.region_ablation import patches_per_region, quality_table, region_table, verdict


def test_each_row_is_compared_with_the_reference_wherever_it_stands() -> None:
    table = region_table(POOR, {"superpixels": PERFECT, "sam": POOR}, "superpixels", PERFECT, level=0.9, draws=200)
    assert table.title == "Whose regions? (8 slides of 8 patients)"
    assert table.header[-3] == "AUC minus superpixels"
    assert [row[0] for row in table.rows] == ["no regions", "superpixels", "sam", "same model, other seed"]
    gaps = [row[-3] for row in table.rows]
    assert gaps[3] == "+0.0 [+0.0, +0.0]"
    assert gaps[1] == "–"
    assert gaps[0].startswith("-50.0 [")
    assert gaps[0] == gaps[2]
    said, _, explained = table.note.splitlines()
    assert said.startswith("No regions or superpixels: this cohort cannot tell; no regions may be ")
    assert said.endswith(" points worse, taken alone.")  # not with two comparisons
    assert "how far another training would move" in explained
    other = region_table(POOR, {"superpixels": PERFECT, "sam": POOR}, "sam", None, level=0.9, draws=200)
    assert [row[-3].split()[0] for row in other.rows] == ["+0.0", "+50.0", "–"]


@pytest.mark.parametrize(
    ("gap", "shown", "said"),
    [
        (
            Estimate(-0.02, -0.05, 0.01),
            NO_DIFFERENCE,
            "No regions or sam: this cohort cannot tell; no regions may be 5.0 points worse to 1.0 points better.",
        ),
        (Estimate(-0.02, -0.05, -0.01), LOWER, "No regions did worse than sam here, by 1.0 to 5.0 points of AUC."),
        (Estimate(0.02, 0.01, 0.05), HIGHER, "No regions did better than sam here, by 1.0 to 5.0 points of AUC."),
        (Estimate(0.0, math.nan, math.nan), NO_DIFFERENCE, "No regions or sam: this cohort gives no interval."),
        (
            Estimate(0.02, 0.01, 0.05),
            ONE_REPEAT,
            "No regions or sam: no regions may be 1.0 points better to 5.0 points better with these very models; "
            "set repeats to 3 or more to know.",
        ),
        (
            Estimate(-0.02, -0.05, -0.01),
            LIKE_ANOTHER_SEED,
            "No regions or sam: no regions may be 5.0 points worse to 1.0 points worse, and another seed alone may "
            "move sam as far.",
        ),
    ],
)
def test_the_sentence_says_what_the_interval_holds(gap: Estimate, shown: str, said: str) -> None:
    assert verdict("no regions", gap, "sam", shown) == said


def record(**values: object) -> dict[str, object]:
    return {
        "patches": 10,
        "no_region": 0.2,
        "regions_per_patch": 1.5,
        "regions": 4,
        "group_features": 3,
        "contrast": 0.4,
        "contrast_of_squares": 0.1,
        **values,
    }


def test_regions_are_told_by_their_median_over_slides() -> None:
    table = quality_table({"sam": [record(regions=count) for count in (2, 4, 8)], "none": [record(contrast=None)]})
    assert table.rows[0] == (
        "sam",
        "4 [2, 8]",
        "3 [3, 3]",
        "4.0 [4.0, 4.0]",  # 8 patches, each in 1.5 regions, in 3 regions
        "80.0 [80.0, 80.0]",
        "0.40 [0.40, 0.40]",
        "0.10 [0.10, 0.10]",
    )
    assert table.rows[1][5] == "–"
    assert patches_per_region(record(group_features=0)) is None
