"""What judging a slide costs with a trained model: parameters, and milliseconds on one thread."""

from collections.abc import Callable, Sequence

import torch

from sammil_cli.jobs.logistic import MOST_TIMED, median_ms
from sammil_cli.project.project import Project
from sammil_cli.storage.paths import ModelPath
from sammil_cli.training.bags import BagFolder
from sammil_cli.training.fold import Fold
from sammil_cli.training.loop import predict
from sammil_cli.training.trained_model import read_model


def cost_of(project: Project, fold: Fold) -> tuple[int, float]:
    """Parameters of a fold's model, and the median of `jobs.logistic.median_ms` over its test slides.

    On the CPU and one thread whatever it was trained on, so that rows of all machines can be compared.
    """
    model, _ = read_model(ModelPath(project.models / fold.name), "cpu")
    load = BagFolder(project.bags, "cpu").of_model(model)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:

        def timed(slide: str) -> Callable[[], object]:
            bag = load(slide)
            return lambda: predict(model, lambda _: bag, [slide])

        slides: Sequence[str] = fold.test[:MOST_TIMED]
        ms = median_ms([timed(slide) for slide in slides])
    finally:
        torch.set_num_threads(before)
    return sum(weights.numel() for weights in model.parameters()), ms
