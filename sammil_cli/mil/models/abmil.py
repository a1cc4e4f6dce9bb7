"""Attention-based MIL (Ilse et al. 2018; docs/methods.md §3), plain or gated.

The forward pass is written plainly; training goes through the fused pooling, which computes the same. The paper
embeds small pictures with a network that it trains along, by a recipe made for that (docs/methods.md §3). Features of
slides are given, so the recipe is the common one, by which SAM-MIL's authors trained their AB-MIL.
"""

import torch
from pydantic import Field
from torch import Tensor, nn

from sammil_cli.mil.contract import Bag, MILModel, Options, Output, attention_evidence
from sammil_cli.mil.model_spec import ModelSpec
from sammil_cli.mil.pooling import Activation, AttentionWeights, pool
from sammil_cli.mil.published import CLASSES, DIM, Architecture, Entry, linear

EMBEDDING = 512
ATTENTION = 128
MIL_LAB_ATTENTION = 384


def _published_gated(names: tuple[str, str, str, str, str], attention: int, *, bias: bool) -> tuple[Entry, ...]:
    """`names`: what embedding, V, U, w and classifier are called."""
    embedding, hidden, gate, score, classifier = names
    return (
        *linear(embedding, "feature.0", EMBEDDING, DIM),
        *linear(hidden, "attention_v.0", attention, EMBEDDING, bias=bias),
        *linear(gate, "attention_u.0", attention, EMBEDDING, bias=bias),
        *linear(score, "attention_w", 1, attention, bias=bias),
        *linear(classifier, "classifier", CLASSES, EMBEDDING),
    )


PUBLISHED = (
    Architecture(
        title="AB-MIL (plain)",
        model="abmil",
        group_features=False,
        entries=(
            *linear("feature.0", "feature.0", EMBEDDING, DIM),
            *linear("attention.0", "attention_v.0", ATTENTION, EMBEDDING),
            *linear("attention.2", "attention_w", 1, ATTENTION),
            *linear("classifier.0", "classifier", CLASSES, EMBEDDING),
        ),
    ),
    Architecture(
        title="AB-MIL (gated, as released)",
        model="abmil",
        group_features=False,
        options={"gated": True, "released": True},
        entries=_published_gated(
            ("feature.0", "attention_a.0", "attention_b.0", "attention_c", "classifier.0"), ATTENTION, bias=False
        ),
    ),
    Architecture(
        title="AB-MIL of MIL-Lab (FEATHER)",
        model="abmil",
        group_features=False,
        options={"gated": True, "attention": MIL_LAB_ATTENTION},
        entries=_published_gated(
            (
                "patch_embed.0",
                "global_attn.attention_a.0",
                "global_attn.attention_b.0",
                "global_attn.attention_c",
                "classifier",
            ),
            MIL_LAB_ATTENTION,
            bias=True,
        ),
    ),
)


class AbmilOptions(Options):
    """Which form of the attention, and its widths.

    `gated`: tanh(V h) ⊙ sigmoid(U h) instead of tanh(V h), the second form of the paper.
    `released`: ReLU in place of tanh and no biases in the attention, as in the code of SAM-MIL and MHIM-MIL.
    `embedding`, `attention`: values of an embedded instance, and rows of V and U.
    """

    gated: bool = False
    released: bool = False
    embedding: int = Field(EMBEDDING, ge=1)
    attention: int = Field(ATTENTION, ge=1)


class Model(MILModel):
    """Embedding, one attention weight per instance, the weighted mean, a linear classifier."""

    options_type = AbmilOptions

    def __init__(self, spec: ModelSpec, options: AbmilOptions) -> None:
        super().__init__(spec, options)
        embedding, attention, bias = options.embedding, options.attention, not options.released
        self._activation: Activation = "relu" if options.released else "tanh"
        activation = nn.ReLU() if options.released else nn.Tanh()
        self.feature = nn.Sequential(nn.Linear(spec.dim, embedding), nn.ReLU(), nn.Dropout(spec.dropout))
        self.attention_v = nn.Sequential(nn.Linear(embedding, attention, bias=bias), activation)
        self.attention_u = (
            nn.Sequential(nn.Linear(embedding, attention, bias=bias), nn.Sigmoid()) if options.gated else None
        )
        self.attention_w = nn.Linear(attention, 1, bias=bias)
        self.classifier = nn.Linear(embedding, spec.classes)

    def forward(self, bag: Bag) -> Output:
        """See `MILModel.forward`."""
        embedded: Tensor = self.feature(bag.instances(self.spec.group_features))  # (N, embedding)
        hidden = self.attention_v(embedded)
        if self.attention_u is not None:
            hidden = hidden * self.attention_u(embedded)
        attention = torch.softmax(self.attention_w(hidden)[:, 0], dim=0)  # (N,)
        return Output(
            logits=self.classifier(attention @ embedded),
            attention=attention,
            evidence=attention_evidence(attention, embedded, self.classifier),
        )

    def losses(self, bag: Bag, label: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """See `MILModel.losses`: the loss of the whole bag. The bias of the scores changes no attention: it stays."""
        blocks = bag.blocks(self.spec.group_features)
        everything = torch.ones(1, sum(map(len, blocks)), dtype=torch.bool, device=bag.features.device)
        dropout = self.spec.dropout if self.training else 0.0
        pooled, _ = pool(blocks, everything, self._weights(), dropout, generator)
        return {"bag": self.classification_loss(self.classifier(pooled[0]), label)}

    def _weights(self) -> AttentionWeights:
        found = dict(self.named_parameters())
        return AttentionWeights(
            embed=found["feature.0.weight"],
            embed_bias=found["feature.0.bias"],
            hidden=found["attention_v.0.weight"],
            hidden_bias=found.get("attention_v.0.bias"),
            gate=found.get("attention_u.0.weight"),
            gate_bias=found.get("attention_u.0.bias"),
            score=self.attention_w.weight,
            activation=self._activation,
        )
