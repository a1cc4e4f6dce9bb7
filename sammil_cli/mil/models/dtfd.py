"""DTFD-MIL (Zhang et al., CVPR 2022; docs/methods.md §7): attention in pseudo-bags, then over what is distilled.

Tier 1 pools each pseudo-bag and is trained on it by the slide's label; tier 2 pools what tier 1 distils from all of
them, and decides. As in the official order of steps, the loss of tier 2 does not reach tier 1 (`coupling`).
"""

from dataclasses import dataclass
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from sammil_cli.mil.byte_dropout import relu_dropout
from sammil_cli.mil.contract import Bag, MILModel, Options, Output, attention_evidence
from sammil_cli.mil.gated_attention import GatedAttention
from sammil_cli.mil.model_spec import ModelSpec
from sammil_cli.mil.pseudo_bags import draw_parts
from sammil_cli.mil.published import CLASSES, DIM, Architecture, Entry, linear
from sammil_cli.mil.recipe import Recipe

HIDDEN = 512
ATTENTION = 128
_EPOCHS = 200


def _published_attention(published: str, ours: str) -> tuple[Entry, ...]:
    names = (("attention_V.0", "v", ATTENTION, HIDDEN), ("attention_U.0", "u", ATTENTION, HIDDEN))
    return tuple(
        entry
        for theirs, name, rows, columns in (*names, ("attention_weights", "w", 1, ATTENTION))
        for entry in linear(f"{published}.{theirs}", f"{ours}.{name}", rows, columns)
    )


PUBLISHED = (
    Architecture(
        title="DTFD-MIL",
        model="dtfd",
        group_features=False,
        options={"prediction": "consecutive"},
        untold_options=("distillation", "groups", "instances", "coupling", "prediction"),
        entries=(
            *linear("dim_reduction.fc1", "dim_reduction", HIDDEN, DIM, bias=False),
            *_published_attention("attention", "attention"),
            *linear("classifier.fc", "classifier", CLASSES, HIDDEN),
            *_published_attention("att_classifier.attention", "att_classifier.attention"),
            *linear("att_classifier.classifier.fc", "att_classifier.classifier", CLASSES, HIDDEN),
        ),
    ),
)


class DtfdOptions(Options):
    """What tier 1 hands to tier 2, and what may come back.

    `distillation`: of each pseudo-bag `AFS` gives the pooled feature, `MaxS` the instances that tier 1 finds most
    positive, `MaxMinS` the least positive ones besides.
    `groups`: pseudo-bags; a bag of fewer instances has one of each.
    `instances`: how many `MaxS` takes, and `MaxMinS` from each end; at most as many as the smallest pseudo-bag has.
    `coupling`: `none`, tier 1 learns from its own loss only (official); `joint`, from tier 2's as well.
    `prediction`: its pseudo-bags. `dealt`, instances are dealt out to them in the order of tier 1's attention, so that
    all are alike, as random ones are; `consecutive`, the bag is cut in its order.
    """

    distillation: Literal["AFS", "MaxS", "MaxMinS"] = "AFS"
    groups: int = Field(4, ge=1)
    instances: int = Field(1, ge=1)
    coupling: Literal["none", "joint"] = "none"
    prediction: Literal["dealt", "consecutive"] = "dealt"


@dataclass(frozen=True, kw_only=True)
class FirstTier:
    """What tier 1 makes of N instances in G pseudo-bags. h = 512."""

    embedded: Tensor  # (N, h)
    members: Tensor  # (G, N) bool
    attention: Tensor  # (N,) summing to 1 in each pseudo-bag
    pooled: Tensor  # (G, h)
    logits: Tensor  # (G, C)


class SecondTier(nn.Module):
    """Gated attention over distilled features (R, 512), a linear classifier: logits (C,)."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.attention = GatedAttention(HIDDEN, ATTENTION)
        self.classifier = nn.Linear(HIDDEN, classes)

    def forward(self, distilled: Tensor) -> Tensor:
        """See the class."""
        logits: Tensor = self.classifier(torch.softmax(self.attention(distilled), dim=0) @ distilled)
        return logits


class Model(MILModel):
    """Two tiers. Training draws the pseudo-bags at random; prediction makes the same ones of a bag every time."""

    options_type = DtfdOptions
    recipe = Recipe(
        epochs=_EPOCHS,
        min_epochs=_EPOCHS,  # it never stops early
        learning_rate=1e-4,
        weight_decay=1e-4,
        schedule="step",
        clip_norm=5.0,
        choose_last=39,
        dropout=0.0,
    )

    def __init__(self, spec: ModelSpec, options: DtfdOptions) -> None:
        super().__init__(spec, options)
        self._own = options
        # Each child is one of the four networks whose gradients the official code clips by themselves.
        self.dim_reduction = nn.Linear(spec.dim, HIDDEN, bias=False)
        self.attention = GatedAttention(HIDDEN, ATTENTION)
        self.classifier = nn.Linear(HIDDEN, spec.classes)
        self.att_classifier = SecondTier(spec.classes)

    def forward(self, bag: Bag) -> Output:
        """See `MILModel.forward`. The attention is tier 1's over the whole slide, the evidence that of its ranking."""
        embedded, scores = self.embed(bag)
        part, parts = (
            consecutive_parts(len(scores), self._own.groups, scores.device)
            if self._own.prediction == "consecutive"
            else dealt_parts(scores, self._own.groups)
        )
        first = self.first_tier(embedded, scores, part, parts)
        return Output(
            logits=self.att_classifier(self.distil(first)),
            attention=torch.softmax(scores, dim=0),
            evidence=attention_evidence(first.attention, embedded, self.classifier),
        )

    def losses(self, bag: Bag, label: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """See `MILModel.losses`: the mean loss of the pseudo-bags (tier 1), and that of the bag (tier 2)."""
        embedded, scores = self.embed(bag, generator)
        part, parts = draw_parts(len(scores), self._own.groups, generator, scores.device)
        first = self.first_tier(embedded, scores, part, parts)
        distilled = self.distil(first)
        if self._own.coupling == "none":
            distilled = distilled.detach()
        return {
            "bag": self.classification_loss(self.att_classifier(distilled), label),
            "pseudo_bags": torch.stack([self.classification_loss(one, label) for one in first.logits]).mean(),
        }

    def embed(self, bag: Bag, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """The bag's N instances (N, h), and what tier 1's attention scores them, before any softmax (N,).

        In training there is dropout, if any is asked for; None = by torch's own random numbers.
        """
        dropout = self.spec.dropout if self.training else 0.0
        embedded = relu_dropout(self.dim_reduction(bag.instances(self.spec.group_features)), dropout, generator)
        return embedded, self.attention(embedded)

    def first_tier(self, embedded: Tensor, scores: Tensor, part: Tensor, parts: int) -> FirstTier:
        """Attention pooling inside each pseudo-bag.

        Args:
            embedded, scores: as `embed` gives them.
            part: (N,) int64, the pseudo-bag of each instance. parts: G; no pseudo-bag is empty.
        """
        members = part == torch.arange(parts, device=part.device)[:, None]  # (G, N)
        attention = torch.softmax(scores.masked_fill(~members, float("-inf")), dim=1)
        pooled = attention @ embedded
        return FirstTier(
            embedded=embedded,
            members=members,
            attention=attention.sum(dim=0),
            pooled=pooled,
            logits=self.classifier(pooled),
        )

    def distil(self, first: FirstTier) -> Tensor:
        """What tier 2 sees: (R, h). R is G for AFS, G k for MaxS and 2 G k for MaxMinS."""
        if self._own.distillation == "AFS":
            return first.pooled
        groups, count = first.members.shape
        number = min(self._own.instances, count // groups)
        with torch.no_grad():  # the last class ranks: of two, the positive one
            positive = attention_evidence(first.attention, first.embedded, self.classifier)[:, -1]
            chosen = positive.masked_fill(~first.members, float("-inf")).topk(number).indices  # (G, k)
            if self._own.distillation == "MaxMinS":
                others = positive.masked_fill(~first.members, float("inf"))
                chosen = torch.cat([chosen, others.topk(number, largest=False).indices], dim=1)
        return first.embedded[chosen.flatten()]

    def initialise(self) -> None:
        """See `MILModel.initialise`; as torch draws linear layers, which the official code leaves so."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                module.reset_parameters()


def dealt_parts(scores: Tensor, parts: int) -> tuple[Tensor, int]:
    """A bag dealt out, the highest score first: the part of each instance (N,), and how many parts there are."""
    parts = min(parts, len(scores))
    place = torch.arange(len(scores), device=scores.device) % parts
    return torch.empty_like(place).index_copy_(0, scores.argsort(descending=True), place), parts


def consecutive_parts(count: int, parts: int, device: torch.device) -> tuple[Tensor, int]:
    """A bag cut in its order, as `np.array_split` does: the part of each instance (count,), and how many parts."""
    parts = min(parts, count)
    size, larger = divmod(count, parts)
    sizes = torch.full((parts,), size, device=device)
    sizes[:larger] += 1
    return torch.repeat_interleave(sizes, output_size=count), parts
