"""The ablation tables: what each variant sets, and numbers that can be checked by hand."""

from dataclasses import replace

import pytest
from two_folds import PERFECT, POOR

from sammil_cli.config import TrainSettings
from sammil_cli.report.ablation import ABLATIONS, VARIANTS, as_markdown, make_table, variants_of


def test_every_variant_is_one_that_settings_accept() -> None:
    for overrides in VARIANTS.values():
        TrainSettings(**{**TrainSettings().model_dump(), **overrides})


def test_the_tables_end_with_the_papers_choice_and_name_known_variants() -> None:
    assert {ABLATIONS[name].rows[-1][0] for name in ("2", "6")} == {"full"}
    assert {ABLATIONS[name].rows[-1][0] for name in ("3", "4")} == {"instance"}
    assert set(variants_of(list(ABLATIONS))) == set(VARIANTS)


def test_every_table_has_the_core_with_and_without_group_features_and_7_every_model() -> None:
    for name in ("2", "3", "4", "6"):
        assert [variant for variant, _ in ABLATIONS[name].rows][:2] == ["baseline", "no-mask"]
    pairs = [VARIANTS[variant] for variant, _ in ABLATIONS["7"].rows]
    assert [(one["model"], one["group_features"]) for one in pairs] == [
        (model, groups) for model in ("mean", "max", "abmil", "sam-mil") for groups in (False, True)
    ]


def test_masking_is_studied_without_the_terms_of_the_bag_level() -> None:
    for name in ("baseline", "no-mask", "random", "non-group", "instance", "constant", "linear"):
        assert (VARIANTS[name]["pseudo_bag_weight"], VARIANTS[name]["consistency_weight"]) == (0, 0)


def test_a_table_gives_folds_pooled_value_and_the_difference_to_its_last_row() -> None:
    found = {"baseline": POOR, "no-mask": POOR, "no-consistency": PERFECT, "full": PERFECT}
    table = make_table("6", found, level=0.9, draws=200)
    header, baseline, _, same, last = table.header, *table.rows
    assert header[-2:] == ("AUC pooled [90%]", "AUC minus last row")
    assert baseline[1:4] == ("50.0 ± 0.0", "50.0 ± 0.0", "50.0 ± 0.0")
    assert last[1:5] == ("100.0 ± 0.0", "100.0 ± 0.0", "100.0 ± 0.0", "100.0 [100.0, 100.0]")
    assert baseline[5].startswith("-50.0 [-")
    assert same[5] == "+0.0 [+0.0, +0.0]"
    assert last[5] == "–"


def test_table_7_compares_each_model_with_itself() -> None:
    found = {variant: PERFECT if variant.startswith("max") else POOR for variant, _ in ABLATIONS["7"].rows}
    table = make_table("7", found | {"abmil-groups": PERFECT}, level=0.9, draws=200)
    assert table.header[-1] == "AUC minus row above"
    gaps = [row[-1].split(" ")[0] for row in table.rows]
    assert gaps == ["–", "+0.0", "–", "+0.0", "–", "+50.0", "–", "+0.0"]
    assert table.rows[5][0] == "abmil with group features"


def test_markdown_has_a_row_per_variant_and_the_note() -> None:
    found = {"baseline": POOR, "no-mask": POOR, "no-consistency": POOR, "full": PERFECT}
    table = make_table("6", found, level=0.95, draws=100)
    lines = as_markdown([table]).splitlines()
    assert lines[0] == "## Consistency (Table 6)"
    assert sum(line.startswith("|") for line in lines) == 6
    assert "does not tell the two apart" in lines[-1]
    named = replace(POOR, positive_class="tumour")
    table = make_table(
        "6", {"baseline": named, "no-mask": POOR, "no-consistency": POOR, "full": PERFECT}, level=0.95, draws=100
    )
    assert table.title == "Consistency (Table 6), positive class: tumour"


@pytest.mark.parametrize("name", list(ABLATIONS))
def test_every_table_can_be_made(name: str) -> None:
    found = {variant: PERFECT for variant, _ in ABLATIONS[name].rows}
    assert len(make_table(name, found, level=0.95, draws=100).rows) == len(ABLATIONS[name].rows)
