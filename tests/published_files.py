"""Files of weights as others publish them: random ones, under the published names."""

from dataclasses import astuple

import torch
from torch import Tensor

from sammil_cli.mil.published import Architecture
from sammil_cli.training.published_weights import architectures

BY_TITLE = {one.title: one for one in architectures()}
FEATHER = BY_TITLE["AB-MIL of MIL-Lab (FEATHER)"]


def drawn(architecture: Architecture, dim: int, classes: int) -> dict[str, Tensor]:
    """Random weights under published names."""
    generator = torch.Generator().manual_seed(5)
    sizes = {"d": dim, "C": classes, "K": 8}
    return {
        name: torch.randn([size if isinstance(size, int) else sizes[size] for size in shape], generator=generator)
        for name, _, shape in map(astuple, architecture.parameters(classes))
    }


def without_classifier(architecture: Architecture, dim: int) -> dict[str, Tensor]:
    """The same without what belongs to the classes, as FEATHER is published."""
    kept = {entry.published for entry in architecture.lasting}
    return {name: tensor for name, tensor in drawn(architecture, dim, 2).items() if name in kept}
