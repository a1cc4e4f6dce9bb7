"""Named settings: they fit the settings of the step, the presets of the package and the docs."""

from dataclasses import fields
from pathlib import Path

import pytest

from sammil_cli.config import SegmentSettings
from sammil_cli.project.presets import preset
from sammil_cli.tissue.spec import PRESETS, TissueSpec, setting_key

DOCS = Path(__file__).resolve().parents[2] / "docs" / "tissue.md"


def test_each_field_has_a_key_of_params_yaml() -> None:
    assert {setting_key(field.name) for field in fields(TissueSpec)} < set(SegmentSettings.model_fields)


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_within_the_limits_of_the_settings_and_in_the_docs(name: str) -> None:
    SegmentSettings(**{setting_key(field): value for field, value in PRESETS[name].items()})
    assert f"| `{name}` | {PRESETS[name]['segmenter']} |" in DOCS.read_text(encoding="utf-8")


@pytest.mark.parametrize(("name", "cohort"), [("bwh-biopsy", "camelyon16"), ("tcga", "tcga-nsclc")])
def test_the_presets_of_clam_are_those_of_the_cohorts_that_were_published_with_them(name: str, cohort: str) -> None:
    published = preset(cohort)
    for field, value in PRESETS[name].items():
        assert published.get(setting_key(field), SegmentSettings.model_fields[setting_key(field)].default) == value
