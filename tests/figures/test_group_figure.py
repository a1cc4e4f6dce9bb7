"""Figure 10, from the table that `sammil ablate --tables 7` writes."""

import json
from pathlib import Path

import pytest
from two_folds import PERFECT, POOR

from sammil_cli.errors import InputError
from sammil_cli.figures.group_features import pairs_of, run
from sammil_cli.report.ablation import make_table


def test_each_model_with_both_rows_is_drawn_with_its_difference(tmp_path: Path) -> None:
    found = {"abmil": POOR, "abmil-groups": PERFECT, "max": POOR}
    table = make_table("7", found, level=0.95, draws=50)
    cells = [dict(zip(table.header, row, strict=True)) for row in table.rows]
    path = tmp_path / "ablation.json"
    path.write_text(json.dumps({"title": "8 slides", "tables": [{"title": table.title, "rows": cells}]}), "utf-8")
    (pair,) = run(path, tmp_path)
    assert (pair.model, pair.without.value, pair.with_them.value, pair.difference.value) == ("abmil", 50, 100, 50)
    assert pair.difference.low <= 50 <= pair.difference.high
    record = json.loads((tmp_path / "group-features.json").read_text(encoding="utf-8"))
    assert record["models"][0]["difference_auc"] == 50
    assert (tmp_path / "group-features.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("content", [[], {}, {"tables": [{"title": "Components (Table 2)", "rows": []}]}])
def test_without_the_table_the_command_that_makes_it_is_named(content: object, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no table") as caught:
        pairs_of(content, tmp_path / "ablation.json")
    assert "ablate --tables 7" in caught.value.remedy
