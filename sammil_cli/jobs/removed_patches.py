"""What a trained model says of a slide when some of its patches are taken away."""

import numpy as np
import torch
from numpy.typing import NDArray

from sammil_cli.features.bag import FeatureBag
from sammil_cli.features.places import grid_places
from sammil_cli.features.without_patches import without
from sammil_cli.report.removal import Orders, at_shares, numbers_gone
from sammil_cli.storage.paths import ModelPath
from sammil_cli.training.bags import to_tensors
from sammil_cli.training.calibration import apply
from sammil_cli.training.trained_model import read_model


def removal_curves(bag: FeatureBag, trained: ModelPath, orders: Orders, called: int) -> dict[str, NDArray[np.float64]]:
    """The calibrated probability of a class at `removal.SHARES` as patches go, by order; of several draws the mean.

    Patches keep their places on the grid. Group features are made anew from the patches that are left, also where
    nothing is gone, so that a curve never mixes two roundings.

    Args:
        called: the class.
    """
    model, facts = read_model(trained, "cpu")
    places = grid_places(bag.xy, bag.encoder.patch_px_level0) if model.needs_places else None
    numbers = numbers_gone(len(bag.xy))

    def probability(gone: NDArray[np.bool_]) -> float:
        seen = without(bag, gone, grouped=facts.spec.group_features)
        at = None if places is None else places[~gone]
        with torch.inference_mode():
            logits = model(to_tensors(seen, "cpu", at, flagged=facts.spec.group_feature_flag)).logits
        said = torch.softmax(logits.double(), 0).numpy()
        return float(apply(said[None], facts.temperature)[0, called])

    whole = probability(np.zeros(len(bag.xy), bool))

    def curve(order: NDArray[np.int64]) -> NDArray[np.float64]:
        said = {0: whole}
        for number in numbers:
            if number not in said:
                gone = np.zeros(len(order), bool)
                gone[order[:number]] = True
                said[number] = probability(gone)
        return at_shares(len(order), np.array([said[number] for number in numbers]))

    return {name: np.mean([curve(one) for one in draws], axis=0) for name, draws in orders.items()}
