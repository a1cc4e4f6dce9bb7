"""k-means beside scikit-learn's, from the same starting centres."""

import pytest
import torch
from sklearn.cluster import KMeans
from torch import Tensor

from sammil_cli.mil.k_means import k_means


def drawn(count: int, width: int, seed: int) -> Tensor:
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize(("count", "centres", "iterations"), [(40, 2, 20), (120, 8, 20), (200, 16, 20), (200, 16, 2)])
def test_clusters_are_those_of_scikit_learn(count: int, centres: int, iterations: int, seed: int) -> None:
    points = torch.nn.functional.normalize(drawn(count, 5, seed), dim=1)
    start = points[torch.randperm(count, generator=torch.Generator().manual_seed(seed))[:centres]]
    found = k_means(points, start, iterations)
    theirs = KMeans(centres, init=start.numpy(), n_init=1, max_iter=iterations, tol=0, algorithm="lloyd")
    assert len(set(found.tolist())) == centres  # scikit-learn moves a centre that lost all its points; ours stays
    assert found.tolist() == theirs.fit_predict(points.numpy()).tolist()


def test_groups_that_lie_apart_are_found_whatever_the_iterations_start_from() -> None:
    centres = torch.tensor([[0.0, 0.0], [9.0, 0.0], [0.0, 9.0]], dtype=torch.float64)
    wanted = torch.arange(30) % 3
    points = centres[wanted] + 0.1 * drawn(30, 2, 1)
    assert k_means(points, points[:3], 20).tolist() == wanted.tolist()
    assert k_means(points, points[[0, 1, 4]], 20).unique().tolist() == [0, 1, 2]


def test_a_centre_without_points_stays_and_takes_none() -> None:
    points = torch.tensor([[0.0], [1.0], [1.0], [2.0]])
    assert k_means(points, torch.tensor([[0.0], [1.5], [90.0]]), 20).tolist() == [0, 1, 1, 1]
    assert k_means(torch.ones(4, 2), torch.ones(3, 2), 20).tolist() == [0, 0, 0, 0]  # of equally near ones the first
