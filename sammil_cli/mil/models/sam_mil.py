"""SAM-MIL (the paper's eq. 3-13; METHODS §10): the published equations, not the released training loop.

The forward pass is the attention core of METHODS §3 (ReLU, no biases in the attention). Training adds the masked bag,
the pseudo-bags and the consistency term, all on the live model: L = L_cls + α L_cls^p + β L_con (eq. 13).
docs/paper-versus-code.md lists where the released code does otherwise.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from sammil_cli.mil.consistency import region_consistency
from sammil_cli.mil.contract import Bag, MILModel, ModelSpec, Options, Output, attention_evidence
from sammil_cli.mil.masking import keep_instances
from sammil_cli.mil.pseudo_bags import split

HIDDEN = 512
ATTENTION = 128


class Model(MILModel):
    """Composite features, masked, in pseudo-bags, with attention that is consistent inside regions."""

    def __init__(self, spec: ModelSpec, options: Options) -> None:
        super().__init__(spec, options)
        self.patch_to_emb = nn.Sequential(nn.Linear(spec.dim, HIDDEN), nn.ReLU(), nn.Dropout(spec.dropout))
        self.attention = nn.Sequential(
            nn.Linear(HIDDEN, ATTENTION, bias=False), nn.ReLU(), nn.Linear(ATTENTION, 1, bias=False)
        )
        self.predictor = nn.Linear(HIDDEN, spec.classes)

    def forward(self, bag: Bag) -> Output:
        """See `MILModel.forward`: all patches and group features, no mask, no pseudo-bags."""
        embedded, scores = self._embed(bag)
        attention = torch.softmax(scores, dim=0)
        return Output(
            logits=self.predictor(attention @ embedded),
            attention=attention,
            evidence=attention_evidence(attention, embedded, self.predictor),
        )

    def losses(self, bag: Bag, label: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """See `MILModel.losses`: the terms of eq. 13, each with its weight.

        The instances are embedded once, with one dropout draw; masked bag, pseudo-bags and attention share them.
        """
        spec = self.spec
        embedded, scores = self._embed(bag)
        region = bag.instance_region(spec.group_features)
        keep = keep_instances(
            spec.mask_strategy,
            region,
            len(bag.features),
            bag.region_area,
            target=spec.mask_ratio,
            function=spec.mask_ratio_function,
            slope=spec.sigmoid_slope,
            center=spec.sigmoid_center,
            generator=generator,
        )
        terms = {"bag": self._classify(embedded, scores, keep.nonzero()[:, 0], label)}
        if spec.pseudo_bag_weight > 0:
            parts = split(len(embedded), spec.pseudo_bags, generator, embedded.device)
            parted = torch.stack([self._classify(embedded, scores, part, label) for part in parts])
            terms["pseudo_bags"] = spec.pseudo_bag_weight * parted.mean()
        if spec.consistency_weight > 0:
            attention = torch.softmax(scores, dim=0)
            loss = region_consistency(attention, region, len(bag.region_area))
            terms["consistency"] = spec.consistency_weight * loss
        return terms

    def _embed(self, bag: Bag) -> tuple[Tensor, Tensor]:
        """Embedded instances (N, 512) and their attention scores (N,)."""
        embedded: Tensor = self.patch_to_emb(bag.instances(self.spec.group_features))
        return embedded, self.attention(embedded)[:, 0]

    def _classify(self, embedded: Tensor, scores: Tensor, chosen: Tensor, label: Tensor) -> Tensor:
        """Cross-entropy of the bag made of the chosen instances only."""
        pooled = torch.softmax(scores[chosen], dim=0) @ embedded[chosen]
        return cross_entropy(self.predictor(pooled)[None], label[None])
