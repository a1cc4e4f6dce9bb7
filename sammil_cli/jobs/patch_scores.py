"""What trained models say of one slide, one or several together: of each patch, and of the slide as a whole."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from sammil_cli.features.bag import FeatureBag
from sammil_cli.features.places import grid_places
from sammil_cli.storage.paths import ModelPath
from sammil_cli.training.bags import to_tensors
from sammil_cli.training.calibration import apply
from sammil_cli.training.model_facts import ModelFacts
from sammil_cli.training.thresholds import decide, mean_threshold
from sammil_cli.training.trained_model import read_model


@dataclass(frozen=True, kw_only=True)
class PatchScores:
    """`attention` (n,) and `evidence` (n, C) of the patches, group features left out; `probabilities` (C,), calibrated.

    Of several models all of these are means, and so is the `threshold` for the probabilities (None = the largest class
    wins), as in `bundles.ensemble`; `patch_threshold` is that for the same before calibration, as evidence is. `facts`:
    of the first; `models`: the names of all. `shown`: the class that evidence is drawn of: the positive one of two, of
    more the one that the slide is called.
    """

    facts: ModelFacts
    models: tuple[str, ...]
    attention: NDArray[np.float64]
    evidence: NDArray[np.float64]
    probabilities: NDArray[np.float64]
    threshold: float | None
    patch_threshold: float | None
    predicted: int
    shown: int


def score_patches(bag: FeatureBag, *trained: ModelPath) -> PatchScores:
    """Runs trained models, of the same classes, on a bag, on the CPU."""
    each = [_said(bag, folder) for folder in trained]
    facts, first = [one.facts for one in each], each[0].facts
    probabilities = np.mean([one.probabilities for one in each], axis=0)
    threshold = mean_threshold([one.calibrated_threshold for one in facts])
    predicted = int(decide(probabilities[None], threshold)[0])
    return PatchScores(
        facts=first,
        models=tuple(one.model for one in facts),
        attention=np.mean([one.attention for one in each], axis=0),
        evidence=np.mean([one.evidence for one in each], axis=0),
        probabilities=probabilities,
        threshold=threshold,
        patch_threshold=mean_threshold([one.threshold for one in facts]),
        predicted=predicted,
        shown=predicted if first.positive_class is None else 1,
    )


@dataclass(frozen=True, kw_only=True)
class _Said:
    """What one model says: attention (n,), evidence (n, C), calibrated probabilities (C,)."""

    facts: ModelFacts
    attention: NDArray[np.float64]
    evidence: NDArray[np.float64]
    probabilities: NDArray[np.float64]


def _said(bag: FeatureBag, trained: ModelPath) -> _Said:
    model, facts = read_model(trained, "cpu")
    with torch.inference_mode():
        places = grid_places(bag.xy, bag.encoder.patch_px_level0) if model.needs_places else None
        output = model(to_tensors(bag, "cpu", places, flagged=facts.spec.group_feature_flag))
    count = len(bag.xy)
    said = torch.softmax(output.logits.double(), 0).numpy()
    return _Said(
        facts=facts,
        attention=output.attention[:count].double().numpy(),
        evidence=output.evidence[:count].double().numpy(),
        probabilities=apply(said[None], facts.temperature)[0],
    )
