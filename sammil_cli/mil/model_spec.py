"""What a model is built from. Without torch, which takes seconds to load: facts of trained models are read with it."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """What every model is built from; models read what they need."""

    dim: int  # inputs of an instance: d, and one more with the flag
    classes: int  # C
    group_features: bool
    group_feature_flag: bool = False
    dropout: float = 0.25
    loss: str = "cross-entropy"
    sammil_mode: str = "paper"
    mask_strategy: str = "sam-guided"
    mask_ratio: float = 0.9
    mask_ratio_function: str = "sigmoid"
    sigmoid_slope: float = 5e-4
    sigmoid_center: float | Literal["median"] = 5000.0
    grouping: str = "region"
    pseudo_bags: int = 5
    group_features_of: str = "bag"
    pseudo_bag_weight: float = 0.5
    consistency_weight: float = 0.01
    consistency_form: str = "divergence"
