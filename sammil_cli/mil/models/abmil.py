"""Attention-based MIL (Ilse et al. 2018; docs/methods.md §3), plain or gated."""

import torch
from torch import Tensor, nn

from sammil_cli.mil.contract import Bag, MILModel, ModelSpec, Options, Output, attention_evidence
from sammil_cli.mil.published import CLASSES, DIM, Architecture, linear

HIDDEN = 512
ATTENTION = 128

PUBLISHED = (
    Architecture(
        title="AB-MIL (plain)",
        model="abmil",
        group_features=False,
        entries=(
            *linear("feature.0", "feature.0", HIDDEN, DIM),
            *linear("attention.0", "attention_v.0", ATTENTION, HIDDEN),
            *linear("attention.2", "attention_w", 1, ATTENTION),
            *linear("classifier.0", "classifier", CLASSES, HIDDEN),
        ),
    ),
)


class AbmilOptions(Options):
    """`gated`: tanh(V h) ⊙ sigmoid(U h) instead of tanh(V h), the second form of the paper."""

    gated: bool = False


class Model(MILModel):
    """Embedding, one attention weight per instance, the weighted mean, a linear classifier."""

    options_type = AbmilOptions

    def __init__(self, spec: ModelSpec, options: AbmilOptions) -> None:
        super().__init__(spec, options)
        self.feature = nn.Sequential(nn.Linear(spec.dim, HIDDEN), nn.ReLU(), nn.Dropout(spec.dropout))
        self.attention_v = nn.Sequential(nn.Linear(HIDDEN, ATTENTION), nn.Tanh())
        self.attention_u = nn.Sequential(nn.Linear(HIDDEN, ATTENTION), nn.Sigmoid()) if options.gated else None
        self.attention_w = nn.Linear(ATTENTION, 1)
        self.classifier = nn.Linear(HIDDEN, spec.classes)

    def forward(self, bag: Bag) -> Output:
        """See `MILModel.forward`."""
        embedded: Tensor = self.feature(bag.instances(self.spec.group_features))  # (N, 512)
        hidden = self.attention_v(embedded)
        if self.attention_u is not None:
            hidden = hidden * self.attention_u(embedded)
        attention = torch.softmax(self.attention_w(hidden)[:, 0], dim=0)  # (N,)
        return Output(
            logits=self.classifier(attention @ embedded),
            attention=attention,
            evidence=attention_evidence(attention, embedded, self.classifier),
        )
