"""DSMIL (Li, Li, Eliceiri, CVPR 2021; docs/methods.md §4): its official form; options for the one of SAM-MIL's authors.

The loss is half the bag's and half that of the largest instance logit of each class.
"""

import torch
from pydantic import PositiveInt
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.functional import dropout as drop

from sammil_cli.errors import InputError
from sammil_cli.mil.contract import Bag, MILModel, ModelSpec, Options, Output
from sammil_cli.mil.dsmil_head import DsmilHead, TwoStreams, published_head
from sammil_cli.mil.published import CLASSES, DIM, Architecture, linear
from sammil_cli.mil.recipe import Recipe

HARNESS = 512  # the embedding in SAM-MIL's and MHIM-MIL's training code

PUBLISHED = (
    Architecture(
        title="DSMIL",
        model="dsmil",
        group_features=False,
        entries=published_head(
            *("i_classifier.fc.0", "b_classifier", "head"),
            width=DIM,
            outputs=CLASSES,
            non_linear=True,
            passing_value=False,
        ),
    ),
    Architecture(
        title="DSMIL (one output)",
        model="dsmil",
        group_features=False,
        entries=published_head(
            *("i_classifier.fc.0", "b_classifier", "head"), width=DIM, outputs=1, non_linear=True, passing_value=False
        ),
        options={"one_output": True},
        classes=2,
    ),
    Architecture(
        title="DSMIL (passing values)",
        model="dsmil",
        group_features=False,
        entries=published_head(
            *("i_classifier.fc.0", "b_classifier", "head"),
            width=DIM,
            outputs=CLASSES,
            non_linear=True,
            passing_value=True,
        ),
        options={"passing_value": True},
    ),
    Architecture(
        title="DSMIL (SAM-MIL's)",
        model="dsmil",
        group_features=False,
        entries=(
            *linear("patch_to_emb.0", "embed.0", HARNESS, DIM),
            *published_head(
                *("i_classifier", "b_classifier", "head"),
                width=HARNESS,
                outputs=CLASSES,
                non_linear=False,
                passing_value=False,
            ),
        ),
        options={"embedding": HARNESS, "linear_query": True},
    ),
)


class DsmilOptions(Options):
    """The forms that DSMIL was published in.

    `embedding`: Linear(d, so many) → ReLU → dropout in front of both streams; null = the features as they are.
    `linear_query`: a query without hidden layer and tanh.
    `passing_value`: the bag's values are dropout → Linear → ReLU of the instances, and not the instances themselves.
    `one_output`: of two classes, one sigmoid for the positive one.
    """

    embedding: PositiveInt | None = None
    linear_query: bool = False
    passing_value: bool = False
    one_output: bool = False


class Model(MILModel):
    """Two streams; the bag's logits are the answer. Its attention is that of the predicted class."""

    options_type = DsmilOptions
    recipe = Recipe(
        epochs=50,
        patience=10,
        min_epochs=0,
        learning_rate=1e-4,
        final_learning_rate=5e-6,
        weight_decay=1e-3,
        betas=(0.5, 0.9),
        loss="binary",
        chosen_by="auc-and-accuracy",
        dropout=0.0,
    )

    def __init__(self, spec: ModelSpec, options: DsmilOptions) -> None:
        super().__init__(spec, options)
        if options.one_output and spec.classes != 2:
            raise InputError(
                f"model_options.one_output of dsmil tells two classes apart, and there are {spec.classes}",
                remedy="set it to false",
            )
        self._one_output = options.one_output
        self._drops_patches = not options.embedding and not options.passing_value
        self.embed = (
            nn.Sequential(nn.Linear(spec.dim, options.embedding), nn.ReLU(), nn.Dropout(spec.dropout))
            if options.embedding
            else None
        )
        self.head = DsmilHead(
            options.embedding or spec.dim,
            1 if options.one_output else spec.classes,
            non_linear=not options.linear_query,
            passing_value=options.passing_value,
            dropout=spec.dropout,
        )

    def forward(self, bag: Bag) -> Output:
        """See `MILModel.forward`; the evidence of an instance is the softmax of what it adds to each logit."""
        said = self._streams(bag)
        predicted = said.logits.argmax(dim=0, keepdim=True)  # of a single output: its column
        return Output(
            logits=self._of_classes(said.logits),
            attention=said.attention.index_select(1, predicted)[:, 0],
            evidence=torch.softmax(self._of_classes(self.head.shares(said)), dim=1),
        )

    def losses(self, bag: Bag, label: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """See `MILModel.losses`: ½ loss(bag) + ½ loss(largest instance logits)."""
        said = self._streams(bag)
        return {
            "bag": self.classification_loss(said.logits, label) / 2,
            "instance": self.classification_loss(said.largest, label) / 2,
        }

    def classification_loss(self, logits: Tensor, label: Tensor) -> Tensor:
        """The recipe's `loss` of the outputs (K,). Of a single one, cross-entropy and binary are the same."""
        if self._one_output:
            return cross_entropy(self._of_classes(logits)[None], label[None])
        return super().classification_loss(logits, label)

    def initialise(self) -> None:
        """Orthogonal weights and zero biases; with an embedding, as the code that it is from (`MILModel`)."""
        if self.embed is not None:
            super().initialise()
            return
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Conv1d):
                nn.init.orthogonal_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def _streams(self, bag: Bag) -> TwoStreams:
        instances = bag.instances(self.spec.group_features)
        if self.embed is not None:
            instances = self.embed(instances)
        said: TwoStreams = self.head(instances, self._kept(instances))
        return said

    def _kept(self, instances: Tensor) -> Tensor | None:
        """Where no layer has a dropout, it takes whole instances, as the official code's option does: (N,) bool."""
        if not (self._drops_patches and self.training and self.spec.dropout > 0):
            return None
        kept = drop(instances.new_ones(len(instances)), self.spec.dropout) > 0
        return kept | ~kept.any()  # never a bag without instances

    def _of_classes(self, outputs: Tensor) -> Tensor:
        """(…, K) -> (…, C): a single output l becomes (0, l), whose softmax is sigmoid(l)."""
        return nn.functional.pad(outputs, (1, 0)) if self._one_output else outputs
