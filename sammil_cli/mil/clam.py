"""What CLAM-SB and CLAM-MB share (Lu et al., Nature Biomedical Engineering 2021; docs/methods.md §5).

Gated attention over embedded instances, in one branch for all classes (SB) or one for each (MB), and an instance branch
in training: L = 0.7 CE(bag) + 0.3 L(instances).
"""

from typing import Literal

import torch
from torch import Tensor, nn

from sammil_cli.mil.byte_dropout import gated_dropout, relu_dropout
from sammil_cli.mil.contract import Bag, MILModel, Options, Output
from sammil_cli.mil.instance_branch import AT_EACH_END, instance_loss
from sammil_cli.mil.model_spec import ModelSpec
from sammil_cli.mil.published import DIM, EACH, Architecture, Entry, Size
from sammil_cli.mil.published import linear as published_linear
from sammil_cli.mil.recipe import Recipe

HIDDEN = 512
ATTENTION = {"small": 256, "big": 384}
BAG_WEIGHT = 0.7


def published_clam(title: str, model: str, branches: Size, classifiers: tuple[Entry, ...]) -> tuple[Architecture, ...]:
    """The key maps of both sizes."""
    found = []
    for size, hidden in ATTENTION.items():
        entries = (
            *published_linear("attention_net.0", "embed", HIDDEN, DIM),
            *published_linear("attention_net.3.attention_a.0", "attention_a", hidden, HIDDEN),
            *published_linear("attention_net.3.attention_b.0", "attention_b", hidden, HIDDEN),
            *published_linear("attention_net.3.attention_c", "attention_c", branches, hidden),
            *classifiers,
            *published_linear(f"instance_classifiers.{EACH}", f"instance_classifiers.{EACH}", 2, HIDDEN),
        )
        small = size == "small"
        found.append(
            Architecture(
                title=title if small else f"{title} ({size})",
                model=model,
                group_features=False,
                entries=entries,
                options={} if small else {"size": size},
                untold_options=("instance_loss", "subtyping"),
                unused=("instance_loss_fn.",),
                older={"attention_net.2.": "attention_net.3."},  # trained without dropout, which had a place of its own
            )
        )
    return tuple(found)


class ClamOptions(Options):
    """`size`: 256 hidden units of the attention, or 384. `instance_loss`: smooth top-1 SVM, or cross-entropy.

    `subtyping`: the classes exclude each other, so the instances that one class attends to most are negative examples
    for the others.
    """

    size: Literal["small", "big"] = "small"
    instance_loss: Literal["svm", "cross-entropy"] = "svm"
    subtyping: bool = False


class Clam(MILModel):
    """A subclass says how many branches K the attention has, and where the weights of the classes are."""

    options_type = ClamOptions
    recipe = Recipe(
        epochs=200,
        patience=20,
        min_epochs=50,
        learning_rate=2e-4,
        weight_decay=1e-5,
        schedule="constant",
        sampling="balanced",
        chosen_by="loss",
        dropout=0.25,
    )
    least_instances = AT_EACH_END

    def __init__(self, spec: ModelSpec, options: ClamOptions, branches: int) -> None:
        super().__init__(spec, options)
        self._svm, self._subtyping = options.instance_loss == "svm", options.subtyping
        hidden = ATTENTION[options.size]
        self.embed = nn.Linear(spec.dim, HIDDEN)
        self.attention_a = nn.Linear(HIDDEN, hidden)
        self.attention_b = nn.Linear(HIDDEN, hidden)
        self.attention_c = nn.Linear(hidden, branches)
        self.instance_classifiers = nn.ModuleList(nn.Linear(HIDDEN, 2) for _ in range(spec.classes))

    def class_weights(self) -> tuple[Tensor, Tensor]:
        """Weights (C, 512) and biases (C,) of the bag's classifiers."""
        raise TypeError(f"{type(self).__name__} does not say where its classifiers are")

    def forward(self, bag: Bag) -> Output:
        """See `MILModel.forward`; attention is that of the predicted class.

        The evidence of an instance is the softmax of what it adds to each logit.
        """
        embedded, scores = self.attend(bag)
        attention = torch.softmax(scores, dim=1)  # (K, N)
        logits = self._classify(attention, embedded)
        weight, _ = self.class_weights()
        return Output(
            logits=logits,
            attention=attention.expand(len(logits), -1).index_select(0, logits.argmax(dim=0, keepdim=True))[0],
            evidence=torch.softmax(attention.T * (embedded @ weight.T), dim=1),
        )

    def losses(self, bag: Bag, label: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """See `MILModel.losses`: bag and instances, weighted."""
        embedded, scores = self.attend(bag, generator)
        logits = self._classify(torch.softmax(scores, dim=1), embedded)
        instances = instance_loss(
            scores.expand(self.spec.classes, -1),
            embedded,
            self.instance_classifiers,  # type: ignore[arg-type]
            label,
            svm=self._svm,
            subtyping=self._subtyping,
        )
        return {"bag": BAG_WEIGHT * self.classification_loss(logits, label), "instance": (1 - BAG_WEIGHT) * instances}

    def attend(self, bag: Bag, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """Embedded instances (N, 512), and the scores of attention (K, N) before their softmax."""
        share = self.spec.dropout if self.training else 0.0
        embedded = relu_dropout(self.embed(bag.instances(self.spec.group_features)), share, generator)
        # Both gates have a dropout of this share. Of their product 1 - (1 - share)² is zeroed: one draw is enough.
        gates = self.attention_a(embedded), self.attention_b(embedded)
        return embedded, self.attention_c(gated_dropout(*gates, 1 - (1 - share) ** 2, generator)).T

    def _classify(self, attention: Tensor, embedded: Tensor) -> Tensor:
        """Logits (C,) of the means that attention (K, N) weighs."""
        weight, bias = self.class_weights()
        return ((attention @ embedded) * weight).sum(dim=1) + bias
