"""The ablation tables: what each variant sets, and numbers that can be checked by hand."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
from two_folds import PERFECT, POOR

from sammil_cli import choices
from sammil_cli.config import TrainSettings
from sammil_cli.mil.models.srmil import SrmilOptions
from sammil_cli.report.ablation import (
    ABLATIONS,
    DEFAULT_TABLES,
    VARIANTS,
    in_points,
    make_table,
    references_of,
    tables_of,
    variants_of,
    with_other_seed,
)
from sammil_cli.report.estimate import Estimate
from sammil_cli.report.markdown import as_markdown
from sammil_cli.report.published import published
from sammil_cli.report.tables import Table, shown_p
from sammil_cli.studies.variant import settings_of
from sammil_cli.training.trained_model import check_model


@pytest.mark.parametrize("model", list(DEFAULT_TABLES))
def test_every_variant_is_one_that_settings_and_model_accept(model: str) -> None:
    for variant in variants_of(tables_of(model)):
        found = settings_of(TrainSettings(model=model), variant)
        check_model(found.model, found.model_options)


def test_a_variant_leaves_the_other_options_of_the_model_as_they_are() -> None:
    settings = TrainSettings(model="srmil", model_options={"mask_share": 0.6, "attention_dropout": 0.2})
    kept = settings_of(settings, "no-reconstruction").model_options
    assert kept == {"mask_share": 0.6, "attention_dropout": 0.2, "reconstruction_weight": 0.0}
    assert settings_of(settings, "mask-share-0.3").model_options == {"mask_share": 0.3, "attention_dropout": 0.2}
    assert settings_of(settings, "full") == settings


def test_the_rows_of_srmil_are_shares_and_every_choice_of_its_terms() -> None:
    shares = [VARIANTS[variant].get("model_options.mask_share") for variant, _ in ABLATIONS["mask"].rows]
    assert shares == [0.3, 0.5, 0.9, None]
    assert SrmilOptions().mask_share == 0.7  # as the label of the last row says
    terms = set()
    for variant, _ in ABLATIONS["losses"].rows:
        options = SrmilOptions(**settings_of(TrainSettings(model="srmil"), variant).model_options)
        weights = (2 - options.unmasked_weight, options.unmasked_weight, options.reconstruction_weight)
        terms.add(tuple(weight > 0 for weight in weights))
    assert len(terms) == len(ABLATIONS["losses"].rows) == 6  # without classification there is nothing to judge


def test_each_table_takes_one_model_apart_and_four_are_made_with_any() -> None:
    assert tables_of("abmil") == ["1", "5", "7", "protocol"]
    assert tables_of("srmil") == ["1", "5", "7", "protocol", "mask", "losses"]
    assert tables_of("sam-mil") == ["1", "2", "3", "4", "5", "6", "7", "protocol"]
    assert all(set(names) <= set(tables_of(model)) for model, names in DEFAULT_TABLES.items())


def test_the_tables_end_with_the_papers_choice_and_name_known_variants() -> None:
    assert {ABLATIONS[name].rows[-1][0] for name in ("2", "6", "mask", "losses")} == {"full"}
    assert {ABLATIONS[name].rows[-1][0] for name in ("3", "4")} == {"instance"}
    assert set(variants_of(list(ABLATIONS))) == set(VARIANTS)


def test_every_table_has_the_core_with_and_without_group_features_and_7_every_model() -> None:
    for name in ("2", "3", "4", "6"):
        assert [variant for variant, _ in ABLATIONS[name].rows][:2] == ["baseline", "no-mask"]
        without = VARIANTS["baseline"]
        assert (without["group_features"], without["group_feature_flag"]) == (False, False)
    assert {**VARIANTS["no-mask"], "group_feature_flag": True} == VARIANTS["flagged"]
    assert [name for name, one in ABLATIONS.items() if "flagged" in dict(one.rows)] == ["2"]
    pairs = [VARIANTS[variant] for variant, _ in ABLATIONS["7"].rows]
    assert sorted((one["model"], one["group_features"]) for one in pairs) == [
        (model, groups) for model in choices.names(choices.MODELS) for groups in (False, True)
    ]


def test_masking_is_studied_without_the_terms_of_the_bag_level() -> None:
    for name in ("baseline", "no-mask", "random", "non-group", "instance", "constant", "linear"):
        assert (VARIANTS[name]["pseudo_bag_weight"], VARIANTS[name]["consistency_weight"]) == (0, 0)


def test_a_table_gives_folds_pooled_value_and_the_difference_to_its_last_row() -> None:
    found = {"baseline": POOR, "no-mask": POOR, "no-consistency": PERFECT, "full": PERFECT}
    table = make_table("6", found, level=0.9, draws=200)
    header, baseline, _, same, last = table.header, *table.rows
    assert header[4:8] == ("AUC pooled [90%]", "AUC minus last row", "p (Holm)", "shown")
    assert baseline[1:4] == ("50.0 ± 0.0", "50.0 ± 0.0", "50.0 ± 0.0")
    assert last[1:5] == ("100.0 ± 0.0", "100.0 ± 0.0", "100.0 ± 0.0", "100.0 [52.7, 100.0]")  # four of a class
    assert baseline[5].startswith("-50.0 [-")
    assert same[5:8] == ("+0.0 [+0.0, +0.0]", "1.000", "no difference shown")
    assert last[5:8] == ("–", "–", "–")


def test_the_reference_with_another_seed_stands_above_it_and_is_no_comparison_of_the_family() -> None:
    found = {"baseline": POOR, "no-mask": POOR, "no-consistency": PERFECT, "full": PERFECT}
    alone = make_table("6", found, level=0.9, draws=100)
    table = make_table("6", found | {with_other_seed("full"): POOR}, level=0.9, draws=100)
    assert [row for row in table.rows if row[0] != "same model, other seed"] == list(alone.rows)
    label, *_, gap, p, shown = table.rows[-2][:8]
    assert (label, p, shown) == ("same model, other seed", "–", "–")
    assert gap == table.rows[0][5]
    assert references_of(["2", "3", "4", "6", "7"]) == ["full", "instance", "abmil"]


def test_table_7_compares_each_model_with_itself() -> None:
    found = {variant: PERFECT if variant.startswith("max") else POOR for variant, _ in ABLATIONS["7"].rows}
    table = make_table("7", found | {"abmil-groups": PERFECT}, level=0.9, draws=200)
    assert table.header[5] == "AUC minus row above"
    gaps = [row[5].split(" ")[0] for row in table.rows]
    assert gaps[:8] == ["–", "+0.0", "–", "+0.0", "–", "+50.0", "–", "+0.0"]
    assert len(gaps) == 2 * len(choices.names(choices.MODELS))
    assert table.rows[5][0] == "abmil with group features"


def test_rows_that_could_not_be_trained_are_left_out() -> None:
    found = dict.fromkeys(("mean", "mean-groups", "abmil", "abmil-groups"), POOR)
    table = make_table("7", found, level=0.9, draws=100)
    assert [row[0] for row in table.rows] == ["mean", "mean with group features", "abmil", "abmil with group features"]
    alone = make_table("7", {"mean": POOR, "max": PERFECT}, level=0.9, draws=100)
    assert [row[5] for row in alone.rows] == ["–", "–"]  # another model is no row to be compared with


def test_names_end_no_cell_of_markdown_and_begin_no_html() -> None:
    table = Table(title="a|b", header=("run",), rows=[("<img src=x>|2",), ("x\ny, p < 0.001",)], note="one\ntwo")
    assert as_markdown([table]).splitlines() == [
        *("## a\\|b", "", "| run |", "|---|"),
        *("| \\<img src=x>\\|2 |", "| x\\\\ny, p < 0.001 |", "", "one", "two"),
    ]


def test_what_is_not_defined_is_a_dash_and_a_small_p_is_not_zero() -> None:
    assert in_points(Estimate(math.nan, math.nan, math.nan)) == "–"
    assert in_points(Estimate(0.5, math.nan, math.nan)) == "+50.0"
    assert in_points(Estimate(0.5, 0.25, 0.75), "") == "50.0 [25.0, 75.0]"
    assert [shown_p(p) for p in (None, math.nan, 0.0001, 0.04)] == ["–", "–", "< 0.001", "0.040"]


def test_markdown_has_a_row_per_variant_and_the_note() -> None:
    found = {"baseline": POOR, "no-mask": POOR, "no-consistency": POOR, "full": PERFECT}
    table = make_table("6", found, level=0.95, draws=100)
    lines = as_markdown([table]).splitlines()
    assert lines[0] == "## Consistency (Table 6)"
    assert sum(line.startswith("|") for line in lines) == 6
    assert "how far another training would move" in lines[-1]
    assert "none was measured here" in lines[-1]
    named = replace(POOR, positive_class="tumour")
    table = make_table(
        "6", {"baseline": named, "no-mask": POOR, "no-consistency": POOR, "full": PERFECT}, level=0.95, draws=100
    )
    assert table.title == "Consistency (Table 6), positive class: tumour"


@pytest.mark.parametrize("name", list(ABLATIONS))
def test_every_table_can_be_made(name: str) -> None:
    found = {variant: PERFECT for variant, _ in ABLATIONS[name].rows}
    assert len(make_table(name, found, level=0.95, draws=100).rows) == len(ABLATIONS[name].rows)


def test_the_papers_numbers_stand_beside_their_rows_and_are_marked_as_published() -> None:
    found = dict.fromkeys(("baseline", "no-mask", "random", "instance"), POOR)
    table = make_table("3", found, level=0.9, draws=100)
    assert table.header[8:] == ("published, CAMELYON16: AUC / F1", "published, TCGA lung: AUC / F1")
    assert [row[8:] for row in table.rows] == [
        ("94.54 / 87.44", "94.27 / 88.69"),
        ("–", "–"),
        ("95.25 / 89.04", "95.34 / 90.66"),
        ("96.01 / 89.33", "95.84 / 91.81"),
    ]
    assert make_table("protocol", {"full": POOR}, level=0.9, draws=100).header[-1] == "shown"


def test_every_published_cell_has_a_row_and_as_many_numbers_as_its_column_says() -> None:
    assert [name for name in ABLATIONS if published(name)] == ["1", "2", "3", "4", "5", "6", "7"]
    for name, ablation in ABLATIONS.items():
        for cells in published(name).values():
            assert cells.keys() <= {variant for variant, _ in ablation.rows}
            parts = [cell.split(" / ") for cell in cells.values()]
            assert {len(part) for part in parts} == {3 if name == "1" else 2}
            assert all(50 < float(part.split(" ± ")[0]) < 100 for cell in parts for part in cell)
    for cells in published("1").values():  # as the paper has it: the whole of Table 1
        assert cells.keys() == {variant for variant, _ in ABLATIONS["1"].rows}


def test_every_published_number_stands_in_the_docs() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs/methods.md").read_text(encoding="utf-8")
    page = page[page.index("## 15. Published results") : page.index("## 16.")].replace("**", "")
    for name in ABLATIONS:
        for cells in published(name).values():
            for cell in cells.values():
                auc, f1, *accuracy = cell.replace(" ± ", "±").split(" / ")
                assert " / ".join([*accuracy, auc, f1]) in page, (name, cell)


def test_table_1_compares_all_models_of_the_paper_with_sam_mil_which_alone_has_group_features() -> None:
    rows = [VARIANTS[variant] for variant, _ in ABLATIONS["1"].rows]
    assert [one["model"] for one in rows if one["group_features"]] == ["sam-mil"] == [rows[-1]["model"]]
    assert len(rows) == 11
    assert [variant for variant, _ in ABLATIONS["5"].rows] == ["transmil", "transmil-groups", "mhim", "mhim-groups"]
