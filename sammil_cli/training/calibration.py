"""Temperature scaling: one number per fold that makes probabilities say how often they are right (Guo et al. 2017)."""

import math

import numpy as np
from scipy.special import expit, log_softmax

from sammil_cli.training.thresholds import Labels, Probabilities, Values

COLDEST, HOTTEST = 1 / 20, 20.0
SPREAD = math.log(2)  # of log T before any slide is seen: T within 1/2 to 2 is likely

_STEPS = 121


def fit_temperature(labels: Labels, probabilities: Probabilities) -> float:
    """The T for softmax(log p / T) that fits the validation part.

    It minimises the negative log-likelihood, summed over slides, plus (log T)^2 / (2 SPREAD^2). Without the second
    term a small validation part that is judged without error gives T = 0, which calls every other slide certain; with
    it T leaves 1 only as far as the slides speak for it, and the term fades as they grow in number. Compared by
    simulation in docs/evaluation.md.

    Args:
        labels: (v,) classes. probabilities: (v, C).

    Returns:
        T between 1/20 and 20; 1 where there is no slide.
    """
    from scipy.optimize import minimize_scalar  # here: it takes a second to load

    logits = _logarithm(probabilities)
    rows = np.arange(len(labels))

    def loss(log_temperature: float) -> float:
        said = log_softmax(logits / math.exp(log_temperature), axis=1)[rows, labels]
        return float(-said.sum() + (log_temperature / SPREAD) ** 2 / 2)

    # The sum may have more than one valley: the lowest of a grid is refined between its neighbours.
    grid = np.linspace(math.log(COLDEST), math.log(HOTTEST), _STEPS)
    lowest = int(np.argmin([loss(float(place)) for place in grid]))
    around = (float(grid[max(lowest - 1, 0)]), float(grid[min(lowest + 1, _STEPS - 1)]))
    found = minimize_scalar(loss, bounds=around, method="bounded", options={"xatol": 1e-7})
    return math.exp(float(found.x))


def apply(probabilities: Probabilities, temperature: float) -> Probabilities:
    """softmax(logits / T) of probabilities (s, C): log p is the logits but for a constant, which softmax drops.

    Of two classes only that of class 1 is looked at, as in `apply_to_threshold`: a slide that lies on the threshold
    stays on it.
    """
    if probabilities.shape[1] == 2:
        positive = _scaled(probabilities[:, 1], temperature)
        return np.stack([1 - positive, positive], axis=1)
    return np.asarray(np.exp(log_softmax(_logarithm(probabilities) / temperature, axis=1)), np.float64)


def apply_to_threshold(threshold: float, temperature: float) -> float:
    """The threshold (0 to 1, on class 1 of two) for probabilities that `apply` gave: it decides the same slides."""
    return float(_scaled(np.array([threshold]), temperature)[0])


def before_calibration(threshold: float, temperature: float) -> float:
    """The threshold for uncalibrated probabilities that `apply_to_threshold` makes this one of."""
    return apply_to_threshold(threshold, 1 / temperature)


def _scaled(positive: Values, temperature: float) -> Values:
    """sigmoid(logit(p) / T) of probabilities (s,), never falling where they rise; p itself at T = 1.

    A small T does not make a probability below 1 equal to 1, which as a threshold calls nobody positive.
    """
    if temperature == 1:
        return positive
    scaled = expit((_logarithm(positive) - _logarithm(1 - positive)) / temperature)
    return np.asarray(np.where(positive < 1, np.minimum(scaled, np.nextafter(1, 0)), scaled), np.float64)


def _logarithm(probabilities: Probabilities) -> Probabilities:
    return np.log(np.maximum(probabilities, np.finfo(np.float64).tiny))  # a probability of 0 stays finite
