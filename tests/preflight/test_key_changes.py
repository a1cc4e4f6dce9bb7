"""Settings in recipes have the names that a user knows."""

from dataclasses import fields

from sammil_cli.config import SegmentSettings
from sammil_cli.preflight.key_changes import listed_settings, setting_name
from sammil_cli.tissue.spec import TissueSpec, setting_key


def test_settings_are_named_and_written_as_in_params_yaml() -> None:
    tissue = {"mpp": 8.0, "without_pen": True, "min_area_um2": 1_638_400.0, "artefact_mpp": None}
    assert listed_settings("segment", tissue) == ("tissue_mpp 8, tissue_without_pen true, tissue_min_area_um2 1638400")
    grid = {"patch_px": 512, "patch_mpp": None, "overlap": 0.5, "limits": {"pen": 0.2}}
    assert listed_settings("patch", grid) == "patch_px 512, patch_overlap 0.5, patch_max_pen 0.2"


def test_every_field_of_the_tissue_spec_has_its_own_key() -> None:
    for field in fields(TissueSpec):
        assert setting_name("segment", (field.name,)) == setting_key(field.name)
        assert setting_key(field.name) in SegmentSettings.model_fields
