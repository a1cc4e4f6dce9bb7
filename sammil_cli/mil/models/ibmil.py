"""IBMIL (Lin et al., CVPR 2023; docs/methods.md §8): attention MIL that looks at a dictionary of confounders.

Stage one is the same model without a dictionary. The features that it gives the training bags, clustered, are the
dictionary; with it, stage two is trained from scratch.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import sqrt
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import normalize

from sammil_cli.mil.byte_dropout import relu_dropout
from sammil_cli.mil.contract import Bag, MILModel, Options, Output
from sammil_cli.mil.k_means import k_means
from sammil_cli.mil.model_spec import ModelSpec
from sammil_cli.mil.published import CLASSES, DIM, Architecture, Entry, linear
from sammil_cli.mil.recipe import Recipe

HIDDEN = 512
ATTENTION = 128
QUERY = 128
PROTOTYPES = "K"  # how many, a published file chooses
_DICTIONARY = "confounders"
_ITERATIONS = 20  # of k-means
_EPOCHS = 50

PUBLISHED = (
    Architecture(
        title="IBMIL (harness)",
        model="ibmil",
        group_features=False,
        untold_options=("confounders",),
        entries=(
            *linear("embedding.embed.0", "pooling.embedding", HIDDEN, DIM),
            *linear("attention.0", "pooling.attention.0", ATTENTION, HIDDEN),
            *linear("attention.2", "pooling.attention.2", 1, ATTENTION),
            *linear("W_q", "query", QUERY, HIDDEN),
            *linear("W_k", "key", QUERY, HIDDEN),
            *linear("head", "head", CLASSES, 2 * HIDDEN),
            Entry("confounder_feat", _DICTIONARY, (PROTOTYPES, HIDDEN)),
        ),
    ),
)


class IbmilOptions(Options):
    """The dictionary's size, and what its features are.

    `confounders`: prototypes in the dictionary; there are fewer where fewer training bags differ.
    `form`: `harness`, features are embedded in 512 dimensions, as where SAM-MIL's authors compare IBMIL; `official`,
    attention sees them as they are.
    """

    confounders: int = Field(8, ge=1)
    form: Literal["harness", "official"] = "harness"


@dataclass(frozen=True, kw_only=True)
class Pooled:
    """N instances and their weighted mean, h wide."""

    embedded: Tensor  # (N, h)
    attention: Tensor  # (N,)
    feature: Tensor  # (h,)


class AttentionPooling(nn.Module):
    """Instances -> embedding, attention and bag feature. `width` is that of a bag's feature."""

    def __init__(self, spec: ModelSpec, options: IbmilOptions) -> None:
        super().__init__()
        embeds = options.form == "harness"
        self.width, hidden = (HIDDEN, ATTENTION) if embeds else (spec.dim, spec.dim)
        self.embedding = nn.Linear(spec.dim, HIDDEN) if embeds else None
        self.attention = nn.Sequential(nn.Linear(self.width, hidden), nn.Tanh(), nn.Linear(hidden, 1))

    def forward(self, instances: Tensor, dropout: float, generator: torch.Generator | None) -> Pooled:
        """(N, d) -> what it pools them to. Dropout acts on what is embedded; None = torch's own random numbers."""
        embedded = instances if self.embedding is None else relu_dropout(self.embedding(instances), dropout, generator)
        attention = torch.softmax(self.attention(embedded)[:, 0], dim=0)
        return Pooled(embedded=embedded, attention=attention, feature=attention @ embedded)


class _Classifier(MILModel):
    """What both stages share: a bag's feature is pooled, and logits follow from it."""

    def __init__(self, spec: ModelSpec, options: IbmilOptions) -> None:
        super().__init__(spec, options)
        self.pooling = AttentionPooling(spec, options)

    def pool(self, bag: Bag, generator: torch.Generator | None = None) -> Pooled:
        """The pooled instances of a bag, with dropout in training."""
        dropout = self.spec.dropout if self.training else 0.0
        pooled: Pooled = self.pooling(bag.instances(self.spec.group_features), dropout, generator)
        return pooled

    def classify(self, feature: Tensor) -> Tensor:
        """A bag's feature (h,) -> logits (C,)."""
        raise TypeError(f"{type(self).__name__} does not classify")

    def forward(self, bag: Bag) -> Output:
        """See `MILModel.forward`. The evidence is that of the bag's feature, without the context of the dictionary."""
        pooled = self.pool(bag)
        weight = self.get_parameter("head.weight")[:, : self.pooling.width]
        return Output(
            logits=self.classify(pooled.feature),
            attention=pooled.attention,
            evidence=torch.softmax((pooled.attention[:, None] * pooled.embedded) @ weight.T, dim=1),
        )

    def losses(self, bag: Bag, label: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """See `MILModel.losses`."""
        return {"bag": self.classification_loss(self.classify(self.pool(bag, generator).feature), label)}


class FirstStage(_Classifier):
    """Attention pooling and a linear classifier."""

    def __init__(self, spec: ModelSpec, options: IbmilOptions) -> None:
        super().__init__(spec, options)
        self.head = nn.Linear(self.pooling.width, spec.classes)

    def classify(self, feature: Tensor) -> Tensor:
        """See the class."""
        logits: Tensor = self.head(feature)
        return logits


class Model(_Classifier):
    """The bag's feature beside its context: the prototypes of the dictionary, weighted by how they answer to it."""

    options_type = IbmilOptions
    recipe = Recipe(
        epochs=_EPOCHS,
        min_epochs=_EPOCHS,  # it never stops early
        learning_rate=1e-4,
        final_learning_rate=5e-6,
        weight_decay=1e-4,
        betas=(0.5, 0.9),
        loss="binary",
        chosen_by="auc-and-accuracy",
    )
    confounders: Tensor  # (K, h)

    def __init__(self, spec: ModelSpec, options: IbmilOptions) -> None:
        super().__init__(spec, options)
        width = self.pooling.width
        self._own = options
        self.query, self.key = nn.Linear(width, QUERY), nn.Linear(width, QUERY)
        self.head = nn.Linear(2 * width, spec.classes)
        self.register_buffer(_DICTIONARY, torch.zeros(options.confounders, width))
        self.register_load_state_dict_pre_hook(_fit_dictionary)  # type: ignore[no-untyped-call]

    def first_stage(self) -> FirstStage:
        """See `MILModel.first_stage`."""
        return FirstStage(self.spec, self._own)

    def begin(self, first: MILModel | None, bags: Iterable[Bag], generator: torch.Generator) -> None:
        """See `MILModel.begin`: takes up the dictionary."""
        if not isinstance(first, FirstStage):
            raise TypeError("the dictionary is made of what the first stage says of the training bags")
        with torch.no_grad():
            features = torch.stack([first.pool(bag).feature for bag in bags])
            self.confounders = make_prototypes(features, self._own.confounders, generator).to(self.confounders)

    def classify(self, feature: Tensor) -> Tensor:
        """See the class."""
        match = self.key(self.confounders) @ self.query(feature) / sqrt(QUERY)  # (K,)
        context = torch.softmax(match, dim=0) @ self.confounders
        logits: Tensor = self.head(torch.cat([feature, context]))
        return logits


def make_prototypes(features: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Clusters of bag features by direction; a prototype is the mean of a cluster's features, in full length.

    Args:
        features: (n, h). count: of clusters, at most; fewer bags make fewer, and a cluster that ends empty is dropped.

    Returns:
        (k, h) with 1 <= k <= count, in double precision.
    """
    exact = features.double()
    directions = normalize(exact, dim=1, eps=1e-10)
    start = torch.randperm(len(exact), generator=generator, device=exact.device)[:count]
    cluster = k_means(directions, directions[start], _ITERATIONS)
    sizes = torch.bincount(cluster, minlength=len(start))[:, None]
    sums = exact.new_zeros(len(start), exact.shape[1]).index_add_(0, cluster, exact)
    return (sums / sizes.clamp(min=1))[sizes[:, 0] > 0]


def _fit_dictionary(module: nn.Module, state: Mapping[str, Tensor], prefix: str, *_: object) -> None:
    """Before weights are loaded: a dictionary may have fewer prototypes than were asked for."""
    stored = state.get(f"{prefix}{_DICTIONARY}")
    if stored is not None:
        module.register_buffer(_DICTIONARY, module.get_buffer(_DICTIONARY).new_zeros(stored.shape))
