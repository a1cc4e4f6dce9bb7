"""Which settings of a training act on regions, and bags that have none, to which these settings would do nothing."""

import logging
from collections.abc import Mapping

from sammil_cli.errors import InputError
from sammil_cli.mil.model_spec import ModelSpec

_SAM_MIL = "sam-mil"
_BY_REGION = "sam-guided"  # the other masks draw patches wherever they lie
_OFF = {"group_features": "false", "group_feature_flag": "false", "mask_strategy": "none", "consistency_weight": "0"}
_SHOWN = 5

log = logging.getLogger(__name__)


def acting_on_regions(model: str, spec: ModelSpec) -> Mapping[str, str]:
    """The settings that act on regions, each with its value: for sam-mil those of its method, else group features."""
    found = {"group_features": "true"} if spec.group_features else {}
    if spec.group_feature_flag:
        found["group_feature_flag"] = "true"
    if model == _SAM_MIL and spec.sammil_mode == "paper":  # the released code trains on pseudo-bags alone
        if spec.mask_strategy == _BY_REGION and spec.mask_ratio > 0:
            found["mask_strategy"] = spec.mask_strategy
        if spec.consistency_weight > 0:
            found["consistency_weight"] = f"{spec.consistency_weight:g}"
    return found


def check_regions(model: str, acting: Mapping[str, str], regions: Mapping[str, int]) -> None:
    """Refuses SAM-MIL without regions; warns where some bags have none, or another model was to make use of them.

    Args:
        acting: see `acting_on_regions`. regions: how many each slide's bag has.

    Raises:
        InputError: no bag has regions, and the settings of sam-mil do not say that none are wanted.
    """
    without = [slide for slide, count in regions.items() if not count]
    if not acting or not without:
        return
    named = ", ".join(f"{key}: {value}" for key, value in acting.items())
    if len(without) < len(regions):
        listed = ", ".join(without[:_SHOWN]) + (", …" if len(without) > _SHOWN else "")
        share = f"{len(without)} of {len(regions)}"
        log.warning("%s bags have no regions, where %s does nothing: %s", share, named, listed)
    elif model != _SAM_MIL:
        log.warning("no bag has regions, so that %s does nothing", named)
    else:
        raise InputError(
            "no bag has regions: masking, group features and consistency would do nothing, and this would be attention "
            f"with pseudo-bags, not SAM-MIL ({named})",
            remedy="give the bags regions: of old files with the run's segments (sammil convert-legacy RUN --segments "
            "DIR), or from the slides (sammil convert-legacy RUN --grids, sammil segment, sammil sam, sammil extract); "
            "or train -S model=abmil; or say that you want no regions: "
            + " ".join(f"-S {key}={_OFF[key]}" for key in acting),
        )
