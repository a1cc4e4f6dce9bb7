"""What MHIM-MIL teaches: three ways from instances to the feature and the logits of a bag (docs/methods.md §9).

Each core says the same three things: what it makes of a bag (`look`), what it learns from one (`learn`), and what it
weighs each instance by (`weigh`), which its teacher masks by.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sammil_cli.mil.class_token import HEADS, ClassTokenTransformer
from sammil_cli.mil.contract import Output, attention_evidence
from sammil_cli.mil.dsmil_head import DsmilHead
from sammil_cli.mil.pooling import AttentionWeights, pool

WIDTH = 512
ATTENTION = 128
TRANSFORMER_DROPOUT = 0.1  # after the output projections of attentions, as published


@dataclass(frozen=True, kw_only=True)
class Learned:
    """Of one bag: the feature (512,), or one for each class (C, 512); and all logits (C,) that have a loss, by name."""

    feature: Tensor
    logits: dict[str, Tensor]


class Core(nn.Module):
    """Base of the cores. `embed` is Linear → ReLU → Dropout, `predictor` the linear classifier of a feature."""

    def look(self, embedded: Tensor, predictor: nn.Linear) -> Output:
        """What is said of embedded instances (N, 512)."""
        raise TypeError(f"{type(self).__name__} does not look")

    def learn(
        self, instances: Tensor, embed: nn.Sequential, predictor: nn.Linear, generator: torch.Generator
    ) -> Learned:
        """What has a gradient: of instances (N, d) that are not embedded yet."""
        raise TypeError(f"{type(self).__name__} does not learn")

    def weigh(self, embedded: Tensor) -> tuple[Tensor, Tensor]:
        """The feature as in `Learned`, and the weights (h, N) of the instances to each of h heads."""
        raise TypeError(f"{type(self).__name__} does not weigh")


class AttentionCore(Core):
    """The attention of docs/methods.md §3, without biases: w · relu(V e), gated w · (relu(V e) ⊙ sigmoid(U e))."""

    def __init__(self, *, gated: bool) -> None:
        super().__init__()
        self.hidden = nn.Linear(WIDTH, ATTENTION, bias=False)
        self.gate = nn.Linear(WIDTH, ATTENTION, bias=False) if gated else None
        self.score = nn.Linear(ATTENTION, 1, bias=False)

    def look(self, embedded: Tensor, predictor: nn.Linear) -> Output:
        """See `Core.look`."""
        feature, weights = self.weigh(embedded)
        return Output(
            logits=predictor(feature),
            attention=weights[0],
            evidence=attention_evidence(weights[0], embedded, predictor),
        )

    def learn(
        self, instances: Tensor, embed: nn.Sequential, predictor: nn.Linear, generator: torch.Generator
    ) -> Learned:
        """See `Core.learn`: through the fused pooling."""
        weights = AttentionWeights(
            embed=embed.get_parameter("0.weight"),
            embed_bias=embed.get_parameter("0.bias"),
            hidden=self.hidden.weight,
            gate=None if self.gate is None else self.gate.weight,
            score=self.score.weight,
        )
        everything = torch.ones(1, len(instances), dtype=torch.bool, device=instances.device)
        dropout = embed.get_submodule("2")
        share = dropout.p if isinstance(dropout, nn.Dropout) and dropout.training else 0.0
        pooled, _ = pool((instances,), everything, weights, share, generator)
        return Learned(feature=pooled[0], logits={"bag": predictor(pooled[0])})

    def weigh(self, embedded: Tensor) -> tuple[Tensor, Tensor]:
        """See `Core.weigh`: one head."""
        hidden = torch.relu(self.hidden(embedded))
        if self.gate is not None:
            hidden = hidden * torch.sigmoid(self.gate(embedded))
        weights = torch.softmax(self.score(hidden)[:, 0], dim=0)
        return weights.to(embedded.dtype) @ embedded, weights[None]


class TransformerCore(Core):
    """TransMIL without squaring. Its teacher masks by the first layer; heat maps show the second."""

    def __init__(self, *, heads: int = HEADS) -> None:
        super().__init__()
        self.transformer = ClassTokenTransformer(dropout=TRANSFORMER_DROPOUT, square=False, heads=heads)

    def look(self, embedded: Tensor, predictor: nn.Linear) -> Output:
        """See `Core.look`."""
        seen = self.transformer.seen(embedded, predictor)
        return Output(logits=predictor(seen.feature), attention=seen.attention, evidence=seen.evidence)

    def learn(
        self, instances: Tensor, embed: nn.Sequential, predictor: nn.Linear, generator: torch.Generator
    ) -> Learned:
        """See `Core.learn`."""
        feature = self.transformer(embed(instances))
        return Learned(feature=feature, logits={"bag": predictor(feature)})

    def weigh(self, embedded: Tensor) -> tuple[Tensor, Tensor]:
        """See `Core.weigh`."""
        return self.transformer.weighing(embedded)


class DsmilCore(Core):
    """DSMIL's two streams, non-linear query and passed values; its logits are the bag stream's, not `predictor`'s.

    An instance weighs as much as the largest of its instance logits.
    """

    def __init__(self, *, classes: int) -> None:
        super().__init__()
        # The embedding has dropout already, so the values have no more.
        self.head = DsmilHead(WIDTH, classes, non_linear=True, passing_value=True, dropout=0.0)

    def look(self, embedded: Tensor, predictor: nn.Linear) -> Output:
        """See `Core.look`: the attention is that of the predicted class."""
        said = self.head(embedded)
        return Output(
            logits=said.logits,
            attention=said.attention[:, said.logits.argmax()],
            evidence=torch.softmax(self.head.shares(said), dim=1),
        )

    def learn(
        self, instances: Tensor, embed: nn.Sequential, predictor: nn.Linear, generator: torch.Generator
    ) -> Learned:
        """See `Core.learn`: the loss of each stream counts half."""
        said = self.head(embed(instances))
        feature = said.attention.to(said.values.dtype).T @ said.values
        return Learned(feature=feature, logits={"bag": said.logits, "instance": said.largest})

    def weigh(self, embedded: Tensor) -> tuple[Tensor, Tensor]:
        """See `Core.weigh`."""
        said = self.head(embedded)
        return said.attention.to(said.values.dtype).T @ said.values, said.instance_logits.amax(dim=1)[None]
