"""A plain transformer over the instances: a class token reads them through self-attention, without positions.

Self-attention of Vaswani et al. 2017, class token and normalisation before each part as in the vision transformer
(Dosovitskiy et al. 2021), in the shape that Wagner et al. 2023 gave it for the patches of slides: docs/methods.md §17.
"""

import math
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import linear, scaled_dot_product_attention

from sammil_cli.mil.contract import Bag, MILModel, Options, Output, attention_evidence
from sammil_cli.mil.model_spec import ModelSpec
from sammil_cli.mil.recipe import Recipe

HIDDEN = 512
_TOKEN_SD = 0.02  # of the class token at the start


class TransformerOptions(Options):
    """`layers`: how many, one after the other. `heads`: of each layer's attention; together they are 512 wide."""

    layers: int = Field(2, ge=1)
    heads: Literal[1, 2, 4, 8, 16, 32] = 8


class Layer(nn.Module):
    """x + attention(norm(x)), then x + two linear layers(norm(x)), on tokens (n, 512)."""

    def __init__(self, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(HIDDEN)
        self.to_qkv = nn.Linear(HIDDEN, 3 * HIDDEN, bias=False)
        self.to_out = nn.Linear(HIDDEN, HIDDEN)
        self.feed_forward = nn.Sequential(
            nn.LayerNorm(HIDDEN), nn.Linear(HIDDEN, HIDDEN), nn.GELU(), nn.Linear(HIDDEN, HIDDEN)
        )

    def forward(self, tokens: Tensor) -> Tensor:
        """All tokens look at all tokens: (n, 512) -> (n, 512). Memory grows with n, time with n²."""
        queries, keys, values = (self._by_head(part) for part in self.to_qkv(self.norm(tokens)).chunk(3, dim=-1))
        return self._finish(tokens, scaled_dot_product_attention(queries[None], keys[None], values[None])[0])

    def read(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """What `forward` makes of the first token, (512,), and the logarithm of its attention (heads, n)."""
        normed = self.norm(tokens)
        weight = self.to_qkv.weight
        query = self._by_head(linear(normed[:1], weight[:HIDDEN]))  # (heads, 1, 512 / heads)
        keys, values = (self._by_head(part) for part in linear(normed, weight[HIDDEN:]).chunk(2, dim=-1))
        scores = query @ keys.transpose(1, 2) / math.sqrt(query.shape[-1])
        attention = torch.log_softmax(scores, dim=-1)  # (heads, 1, n)
        return self._finish(tokens[:1], attention.exp().to(values.dtype) @ values)[0], attention[:, 0]

    def _by_head(self, tokens: Tensor) -> Tensor:
        """(n, 512) -> (heads, n, 512 / heads)."""
        return tokens.reshape(len(tokens), self.heads, -1).transpose(0, 1)

    def _finish(self, tokens: Tensor, attended: Tensor) -> Tensor:
        """Adds what was attended to, (heads, n, 512 / heads), and then the linear layers' part."""
        tokens = tokens + self.to_out(attended.transpose(0, 1).flatten(1))
        finished: Tensor = tokens + self.feed_forward(tokens)
        return finished


class Model(MILModel):
    """Embedding, a class token before the instances, layers of self-attention, a linear classifier of the token."""

    options_type = TransformerOptions
    recipe: ClassVar[Recipe] = Recipe(  # that of Wagner et al. 2023
        epochs=8,
        patience=8,
        min_epochs=0,
        learning_rate=2e-5,
        weight_decay=2e-5,
        optimiser="adamw",
        schedule="constant",
        chosen_by="loss",
        dropout=0.0,
    )

    def __init__(self, spec: ModelSpec, options: TransformerOptions) -> None:
        super().__init__(spec, options)
        self.embedding = nn.Sequential(nn.Linear(spec.dim, HIDDEN), nn.ReLU(), nn.Dropout(spec.dropout))
        self.class_token = nn.Parameter(torch.zeros(1, HIDDEN))
        self.layers = nn.Sequential(*(Layer(options.heads) for _ in range(options.layers - 1)))
        self.last = Layer(options.heads)
        self.norm = nn.LayerNorm(HIDDEN)
        self.classifier = nn.Linear(HIDDEN, spec.classes)

    def initialise(self) -> None:
        """See `MILModel.initialise`; and the class token, N(0, 0.02²)."""
        super().initialise()
        nn.init.normal_(self.class_token, std=_TOKEN_SD)

    def forward(self, bag: Bag) -> Output:
        """See `MILModel.forward`. The attention is the class token's in the last layer, the mean over heads.

        The class token looks at itself, too; what it gives to the instances is made to sum to 1. The evidence of an
        instance is what the classifier says of its token, as the last layer finds it, weighted by its attention.
        """
        embedded = self.embedding(bag.instances(self.spec.group_features))
        tokens = self.layers(torch.cat([self.class_token.to(embedded.dtype), embedded]))  # (1 + N, 512)
        token, attention = self.last.read(tokens)  # of the last layer, nothing but the class token is looked at
        weights = torch.softmax(torch.logsumexp(attention[:, 1:], dim=0), dim=0)  # no division by nearly nothing
        return Output(
            logits=self.classifier(self.norm(token)),
            attention=weights,
            evidence=attention_evidence(weights, self.norm(tokens[1:]), self.classifier),
        )
