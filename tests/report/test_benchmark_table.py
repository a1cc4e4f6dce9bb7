"""The table of a benchmark: differences on the same slides, p by Holm, costs; as LaTeX and as a forest plot."""

import math
from dataclasses import replace

import numpy as np
import pytest
from two_folds import LABELS, PERFECT, POOR, judged

from sammil_cli.report.benchmark_table import (
    OTHER_SEED,
    REFERENCE,
    Failed,
    Measured,
    Row,
    as_records,
    benchmark_table,
    failed_table,
    narrow,
    stand,
)
from sammil_cli.report.estimate import Estimate
from sammil_cli.report.forest_plot import ForestRow, forest
from sammil_cli.report.latex import as_latex, escaped
from sammil_cli.report.metrics import Predictions
from sammil_cli.report.paired_tests import holm
from sammil_cli.report.tables import Table

MIXED = judged([0.1, 0.6, 0.4, 0.9, 0.1, 0.2, 0.8, 0.9], LABELS)


def row(model: str, predictions: Predictions, role: str = "", *, peak: int | None = 3 * 2**20) -> Row:
    measured = Measured(
        predictions=predictions, parameters=1234, ms_per_slide=0.51234, peak_bytes=peak, peak_gpu_bytes=None
    )
    return Row(model=model, features="bags", measured=measured, role=role)


ROWS = [
    row("abmil", POOR, REFERENCE),
    row("abmil, other seed", MIXED, OTHER_SEED),
    row("max", PERFECT),
    row("mean", MIXED, peak=None),
]


def test_p_is_adjusted_for_the_rows_compared_and_not_for_the_other_seed() -> None:
    reference, seed, first, second = stand(ROWS, level=0.95, draws=200)
    assert reference.gap is None
    assert seed.gap is not None
    assert first.gap is not None
    assert second.gap is not None
    assert [first.p_holm, second.p_holm] == holm([first.gap.p, second.gap.p])
    assert (reference.p_holm, seed.p_holm) == (None, None)
    assert first.gap.value.value == pytest.approx(0.5)
    assert "other seed" not in first.says


def test_the_table_says_what_a_row_costs_and_a_dash_where_that_is_not_known() -> None:
    table = benchmark_table("Benchmark", stand(ROWS, level=0.95, draws=200), level=0.95)
    assert table.header[6:] == ("AUC minus abmil", "p (Holm)", "shown", "parameters", "ms per slide", "peak memory")
    assert [cells[-3:] for cells in table.rows[2:]] == [("1,234", "0.512", "3 MiB"), ("1,234", "0.512", "–")]
    assert table.rows[0][6:9] == ("–", "–", "the reference")
    assert table.rows[2][2] == "100.0 ± 0.0"
    assert "one repeat" in table.note


def test_a_terminal_is_shown_what_decides() -> None:
    table = narrow(benchmark_table("Benchmark", stand(ROWS, level=0.95, draws=200), level=0.95))
    assert table.header == ("model", "features", "AUC pooled [95%]", "AUC minus abmil", "p (Holm)", "shown")
    assert {len(row) for row in table.rows} == {6}
    assert table.rows[0][3:] == ("–", "–", "the reference")


def test_rows_that_failed_stand_beside_the_others_in_numbers() -> None:
    failed = [Failed(model="x", features="bags", code="E_BUG", message="why", remedy="fix")]
    records = as_records(stand(ROWS, level=0.95, draws=200), failed)
    assert len({tuple(record) for record in records}) == 1
    assert (records[-1]["role"], records[-1]["code"], records[-1]["auc_pooled"]) == ("failed", "E_BUG", None)
    assert records[2]["auc_pooled"] == 1.0
    assert not any(isinstance(value, float) and math.isnan(value) for record in records for value in record.values())
    assert failed_table(failed).rows == [("x", "bags", "E_BUG", "why", "fix")]
    assert as_records([], failed)[0]["message"] == "why"


def test_without_a_reference_nothing_is_compared() -> None:
    alone = stand([replace(one, role="") for one in ROWS], level=0.95, draws=200)
    assert [(one.gap, one.says) for one in alone] == [(None, "–")] * 4


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("50 % & more_or #1 {x}", "50 \\% \\& more\\_or \\#1 \\{x\\}"),
        ("a\\input{/etc/passwd}", "a\\textbackslash{}input\\{/etc/passwd\\}"),
        ("1 ± 2 < 3 ~ ^", "1 $\\pm$ 2 $<$ 3 \\textasciitilde{} \\textasciicircum{}"),
        ("--repeats ---", "-{}-repeats -{}-{}-"),
        ("–", "--"),
        ("$x$\n", "\\$x\\$\\textbackslash{}n"),
    ],
)
def test_latex_prints_what_stands_there_and_obeys_nothing(text: str, wanted: str) -> None:
    assert escaped(text) == wanted


def test_a_latex_table_has_a_column_for_each_cell_and_no_row_begins_with_an_option() -> None:
    table = Table(title="A_B", header=("a", "b"), rows=[("[x]", "1"), ("*", "2")], note="100 %")
    text = as_latex(table)
    assert "\\begin{tabular}{lr}\n\\hline\na & b \\\\\n\\hline\n{}[x] & 1 \\\\\n{}* & 2 \\\\\n\\hline" in text
    assert "\\caption{A\\_B}" in text
    assert "\\par\\footnotesize 100 \\%" in text
    assert "rule" not in text  # nothing of booktabs


def test_the_forest_plot_is_a_picture_that_each_row_changes() -> None:
    rows = [
        ForestRow(name="abmil", auc=Estimate(0.8, 0.7, 0.9), gap=None),
        ForestRow(name="other seed", auc=Estimate(0.7, 0.5, 0.8), gap=Estimate(-0.1, -2.0, 2.0), muted=True),
        ForestRow(name="max", auc=Estimate(np.nan, np.nan, np.nan), gap=Estimate(0.1, np.nan, np.nan)),
    ]
    known = forest(rows, "abmil", 0.2)
    assert known.startswith(b"\x89PNG")
    assert len({known, forest(rows[:2], "abmil", 0.2), forest(rows, "abmil", np.inf)}) == 3
    assert forest(rows, "abmil", 0.2) == known
