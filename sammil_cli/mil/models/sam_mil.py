"""SAM-MIL (the paper's eq. 3-13; docs/methods.md §10): the published equations, not the released training loop.

The forward pass is the attention core of docs/methods.md §3 (ReLU, no biases in the attention). Training adds the
masked bag, the pseudo-bags and the consistency term, all on the live model: L = L_cls + α L_cls^p + β L_con (eq. 13).
`sammil_mode: released` trains what the released code trains; docs/paper-versus-code.md lists the differences.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, pad

from sammil_cli.mil.consistency import consistency
from sammil_cli.mil.contract import Bag, MILModel, Options, Output, attention_evidence
from sammil_cli.mil.masking import keep_instances
from sammil_cli.mil.model_spec import ModelSpec
from sammil_cli.mil.pooling import AttentionWeights, pool
from sammil_cli.mil.pseudo_bags import divide, draw_parts
from sammil_cli.mil.published import CLASSES, DIM, Architecture, linear

HIDDEN = 512
ATTENTION = 128
_ATTENTION = "online_encoder.attn_model.attention.attention"


PUBLISHED = (
    Architecture(
        title="SAM-MIL",
        model="sam-mil",
        group_features=True,
        entries=(
            *linear("patch_to_emb.0", "patch_to_emb.0", HIDDEN, DIM),
            *linear(f"{_ATTENTION}.0", "attention.0", ATTENTION, HIDDEN, bias=False),
            *linear(f"{_ATTENTION}.2", "attention.2", 1, ATTENTION, bias=False),
            *linear("predictor", "predictor", CLASSES, HIDDEN),
        ),
    ),
)


class Model(MILModel):
    """Composite features, masked, in pseudo-bags, with attention that is consistent inside regions."""

    wants_group_features = True

    def __init__(self, spec: ModelSpec, options: Options) -> None:
        super().__init__(spec, options)
        self.patch_to_emb = nn.Sequential(nn.Linear(spec.dim, HIDDEN), nn.ReLU(), nn.Dropout(spec.dropout))
        self.attention = nn.Sequential(
            nn.Linear(HIDDEN, ATTENTION, bias=False), nn.ReLU(), nn.Linear(ATTENTION, 1, bias=False)
        )
        self.predictor = nn.Linear(HIDDEN, spec.classes)

    def forward(self, bag: Bag) -> Output:
        """See `MILModel.forward`: all patches and group features, no mask, no pseudo-bags."""
        embedded: Tensor = self.patch_to_emb(bag.instances(self.spec.group_features))
        attention = torch.softmax(self.attention(embedded)[:, 0], dim=0)
        return Output(
            logits=self.predictor(attention @ embedded),
            attention=attention,
            evidence=attention_evidence(attention, embedded, self.predictor),
        )

    def losses(self, bag: Bag, label: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """See `MILModel.losses`: the terms of eq. 13, each with its weight, over one shared embedding."""
        if self.spec.sammil_mode == "released":
            return self._released_losses(bag, label, generator)
        spec, groups = self.spec, bag.groups(self.spec.grouping)
        keep = keep_instances(
            spec.mask_strategy,
            groups,
            group_features=spec.group_features,
            target=spec.mask_ratio,
            function=spec.mask_ratio_function,
            slope=spec.sigmoid_slope,
            center=spec.sigmoid_center,
            generator=generator,
        )
        blocks, members = bag.blocks(spec.group_features), keep[None]
        if spec.pseudo_bag_weight > 0:
            pairs = bag.pairs if spec.group_features_of == "pseudo-bag" else None
            parts, means = divide(bag.features, len(keep) - len(bag.features), spec.pseudo_bags, pairs, generator)
            members = torch.cat([pad(members, (0, parts.shape[1] - len(keep))), parts])
            if means is not None:
                blocks += (bag.as_group_features(means),)
        entropy, scores = self._entropies(blocks, members, label, generator)
        terms = {"bag": entropy[0]}
        if spec.pseudo_bag_weight > 0:
            terms["pseudo_bags"] = spec.pseudo_bag_weight * entropy[1:].mean()
        if spec.consistency_weight > 0:
            loss = consistency(spec.consistency_form, scores[: len(keep)], groups.members(spec.group_features))
            terms["consistency"] = spec.consistency_weight * loss
        return terms

    def _released_losses(self, bag: Bag, label: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """What the released loop minimises (docs/methods.md §10.6): CE(last pseudo-bag) + α mean CE(all pseudo-bags).

        Its masked bag never enters the loss and its consistency term has no gradient, so neither is computed.
        """
        blocks, device = bag.blocks(self.spec.group_features), bag.features.device
        part, parts = draw_parts(sum(map(len, blocks)), self.spec.pseudo_bags, generator, device, remainder_last=True)
        members = part == torch.arange(parts, device=device)[:, None]
        entropy, _ = self._entropies(blocks, members, label, generator)
        return {"last_pseudo_bag": entropy[-1], "pseudo_bags": self.spec.pseudo_bag_weight * entropy.mean()}

    def _entropies(
        self, blocks: tuple[Tensor, ...], members: Tensor, label: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Cross-entropy of each bag (k,) made of its members (k, N), and the scores (N,) of all instances."""
        weights = AttentionWeights(
            embed=self.get_parameter("patch_to_emb.0.weight"),
            embed_bias=self.get_parameter("patch_to_emb.0.bias"),
            hidden=self.get_parameter("attention.0.weight"),
            score=self.get_parameter("attention.2.weight"),
        )
        dropout = self.spec.dropout if self.training else 0.0
        pooled, scores = pool(blocks, members, weights, dropout, generator)
        logits = self.predictor(pooled).to(scores.dtype)
        return cross_entropy(logits, label.expand(len(logits)), reduction="none"), scores
