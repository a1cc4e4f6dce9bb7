"""Max pooling of instance logits (docs/methods.md §2)."""

from torch import Tensor

from sammil_cli.mil.models.mean import PUBLISHED_ENTRIES, InstanceClassifier
from sammil_cli.mil.published import Architecture

PUBLISHED = (Architecture(title="max pooling", model="max", group_features=False, entries=PUBLISHED_ENTRIES),)


class Model(InstanceClassifier):
    """Each class takes the largest logit of all instances, independently of the other classes."""

    def pool(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """See `InstanceClassifier.pool`: an instance weighs by the share of classes it decides."""
        values, winners = logits.max(dim=0)
        weight = logits.new_zeros(len(logits))
        return values, weight.index_add(0, winners, weight.new_full(winners.shape, 1 / len(winners)))
