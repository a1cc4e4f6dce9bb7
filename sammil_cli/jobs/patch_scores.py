"""What a trained fold says of one slide: of each patch, and of the slide as a whole."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from sammil_cli.features.bag import FeatureBag
from sammil_cli.features.places import grid_places
from sammil_cli.storage.paths import ModelPath
from sammil_cli.training.bags import to_tensors
from sammil_cli.training.calibration import apply
from sammil_cli.training.thresholds import decide
from sammil_cli.training.trained_model import ModelFacts, read_model


@dataclass(frozen=True, kw_only=True)
class PatchScores:
    """`attention` (n,) and `evidence` (n, C) of the patches, group features left out; `probabilities` (C,), calibrated.

    `shown`: the class that evidence is drawn of: the positive one of two, of more the one that the slide is called.
    """

    facts: ModelFacts
    attention: NDArray[np.float64]
    evidence: NDArray[np.float64]
    probabilities: NDArray[np.float64]
    predicted: int
    shown: int


def score_patches(bag: FeatureBag, trained: ModelPath) -> PatchScores:
    """Runs a trained fold on a bag, on the CPU."""
    model, facts = read_model(trained, "cpu")
    with torch.inference_mode():
        places = grid_places(bag.xy, bag.encoder.patch_px_level0) if model.needs_places else None
        output = model(to_tensors(bag, "cpu", places, flagged=facts.spec.group_feature_flag))
    count = len(bag.xy)
    said = torch.softmax(output.logits.double(), 0).numpy()
    probabilities = apply(said[None], facts.temperature)[0]
    predicted = int(decide(probabilities[None], facts.calibrated_threshold)[0])
    return PatchScores(
        facts=facts,
        attention=output.attention[:count].double().numpy(),
        evidence=output.evidence[:count].double().numpy(),
        probabilities=probabilities,
        predicted=predicted,
        shown=predicted if facts.positive_class is None else 1,
    )
