"""CLAM-MB (Lu et al. 2021; docs/methods.md §5): a branch of attention for each class."""

import torch
from torch import Tensor, nn

from sammil_cli.mil.clam import HIDDEN, Clam, ClamOptions, published_clam
from sammil_cli.mil.model_spec import ModelSpec
from sammil_cli.mil.published import CLASSES, EACH, linear

PUBLISHED = published_clam(
    "CLAM-MB", "clam-mb", CLASSES, linear(f"classifiers.{EACH}", f"classifiers.{EACH}", 1, HIDDEN)
)


class Model(Clam):
    """Each class sees the weighted mean of its own branch."""

    def __init__(self, spec: ModelSpec, options: ClamOptions) -> None:
        super().__init__(spec, options, branches=spec.classes)
        self.classifiers = nn.ModuleList(nn.Linear(HIDDEN, 1) for _ in range(spec.classes))

    def class_weights(self) -> tuple[Tensor, Tensor]:
        """See `Clam.class_weights`."""
        weight, bias = (
            torch.cat(tuple(self.get_parameter(f"classifiers.{index}.{part}") for index in range(self.spec.classes)))
            for part in ("weight", "bias")
        )
        return weight, bias
