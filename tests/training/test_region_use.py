"""Settings that act on regions, and bags without any."""

import logging

import pytest

from sammil_cli.errors import InputError
from sammil_cli.mil.model_spec import ModelSpec
from sammil_cli.training.region_use import acting_on_regions, check_regions


def acting(model: str, **settings: object) -> dict[str, str]:
    return dict(acting_on_regions(model, ModelSpec(**{"dim": 3, "classes": 2, "group_features": True, **settings})))


def test_what_acts_on_regions() -> None:
    all_of_it = {"group_features": "true", "mask_strategy": "sam-guided", "consistency_weight": "0.01"}
    assert acting("sam-mil") == all_of_it
    assert acting("sam-mil", mask_strategy="random", group_features=False) == {"consistency_weight": "0.01"}
    assert acting("sam-mil", sammil_mode="released") == acting("abmil") == {"group_features": "true"}
    assert acting("sam-mil", group_features=False, mask_strategy="none", consistency_weight=0.0) == {}
    assert acting("abmil", group_features=False) == {}
    flag = {"group_feature_flag": "true"}
    assert acting("sam-mil", group_feature_flag=True) == {**all_of_it, **flag}
    with pytest.raises(InputError) as caught:
        check_regions("sam-mil", acting("sam-mil", group_feature_flag=True), {"a": 0})
    assert "-S group_feature_flag=false" in caught.value.remedy


def test_sam_mil_without_regions_is_refused_with_the_ways_out() -> None:
    with pytest.raises(
        InputError, match="no bag has regions: masking, group features and consistency would do"
    ) as caught:
        check_regions("sam-mil", acting("sam-mil"), {"a": 0, "b": 0})
    for way in ("--segments", "sammil sam", "-S model=abmil", "-S group_features=false -S mask_strategy=none"):
        assert way in caught.value.remedy
    check_regions("sam-mil", {}, {"a": 0})


@pytest.mark.parametrize(
    ("model", "regions", "said"),
    [
        ("abmil", {"a": 0, "b": 0}, "no bag has regions, so that group_features: true does nothing"),
        ("sam-mil", {"a": 3, "b": 0, "c": 2}, "1 of 3 bags have no regions, where group_features: true, mask_strategy"),
        ("sam-mil", {"a": 3}, ""),
    ],
)
def test_what_is_only_remarked(
    model: str, regions: dict[str, int], said: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        check_regions(model, acting(model), regions)
    assert said in caplog.text
    assert bool(said) == bool(caplog.text)
