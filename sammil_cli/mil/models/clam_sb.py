"""CLAM-SB (Lu et al. 2021; docs/methods.md §5): one branch of attention for all classes."""

from torch import Tensor, nn

from sammil_cli.mil.clam import HIDDEN, Clam, ClamOptions, published_clam
from sammil_cli.mil.model_spec import ModelSpec
from sammil_cli.mil.published import CLASSES, linear

PUBLISHED = published_clam("CLAM-SB", "clam-sb", 1, linear("classifiers", "classifiers", CLASSES, HIDDEN))


class Model(Clam):
    """Every class sees the same weighted mean."""

    def __init__(self, spec: ModelSpec, options: ClamOptions) -> None:
        super().__init__(spec, options, branches=1)
        self.classifiers = nn.Linear(HIDDEN, spec.classes)

    def class_weights(self) -> tuple[Tensor, Tensor]:
        """See `Clam.class_weights`."""
        return self.classifiers.weight, self.classifiers.bias
