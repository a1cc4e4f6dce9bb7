"""Mean pooling of instance logits (docs/methods.md §2): the baseline that local lesions defeat."""

import torch
from torch import Tensor, nn

from sammil_cli.mil.contract import Bag, MILModel, Options, Output
from sammil_cli.mil.model_spec import ModelSpec
from sammil_cli.mil.published import CLASSES, DIM, Architecture, linear

HIDDEN = 512
PUBLISHED_ENTRIES = (*linear("head.0", "head.0", HIDDEN, DIM), *linear("head.3", "head.3", CLASSES, HIDDEN))
PUBLISHED = (Architecture(title="mean pooling", model="mean", group_features=False, entries=PUBLISHED_ENTRIES),)


class InstanceClassifier(MILModel):
    """Linear(d, 512) → ReLU → dropout → Linear(512, C) on each instance, then a pooling that a subclass names."""

    def __init__(self, spec: ModelSpec, options: Options) -> None:
        super().__init__(spec, options)
        self.head = nn.Sequential(
            nn.Linear(spec.dim, HIDDEN), nn.ReLU(), nn.Dropout(spec.dropout), nn.Linear(HIDDEN, spec.classes)
        )

    def forward(self, bag: Bag) -> Output:
        """See `MILModel.forward`; the evidence of an instance is its own softmax."""
        logits: Tensor = self.head(bag.instances(self.spec.group_features))
        pooled, attention = self.pool(logits)
        return Output(logits=pooled, attention=attention, evidence=torch.softmax(logits, dim=1))

    def pool(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """Instance logits (N, C) -> bag logits (C,) and the weight of each instance in them (N,)."""
        raise TypeError(f"{type(self).__name__} does not pool")


class Model(InstanceClassifier):
    """The mean of the instance logits."""

    def pool(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """See `InstanceClassifier.pool`: all weigh the same."""
        return logits.mean(dim=0), torch.full_like(logits[:, 0], 1 / len(logits))
