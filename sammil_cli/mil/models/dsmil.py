"""DSMIL (Li, Li, Eliceiri, CVPR 2021; docs/methods.md §4): its official form; options for the one of SAM-MIL's authors.

The loss is half the bag's and half that of the largest instance logit of each class.
"""

import torch
from pydantic import PositiveInt
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from sammil_cli.errors import InputError
from sammil_cli.mil.byte_dropout import drop_, in_bytes, relu_dropout
from sammil_cli.mil.contract import Bag, MILModel, Options, Output
from sammil_cli.mil.dsmil_head import DsmilHead, TwoStreams, published_head
from sammil_cli.mil.model_spec import ModelSpec
from sammil_cli.mil.published import CLASSES, DIM, Architecture, Size, linear
from sammil_cli.mil.recipe import Recipe

HARNESS = 512  # the embedding in SAM-MIL's and MHIM-MIL's training code


def _published(title: str, outputs: Size = CLASSES, **options: bool) -> Architecture:
    """The official form under its published names."""
    return Architecture(
        title=title,
        model="dsmil",
        group_features=False,
        entries=published_head(
            *("i_classifier.fc.0", "b_classifier", "head"),
            width=DIM,
            outputs=outputs,
            non_linear=True,
            passing_value=options.get("passing_value", False),
        ),
        options=options,
        classes=None if outputs == CLASSES else 2,
        judging=() if outputs == CLASSES else ("i_classifier.", "b_classifier.fcc."),
    )


PUBLISHED = (
    _published("DSMIL"),
    _published("DSMIL (one output)", outputs=1, one_output=True),
    _published("DSMIL (passing values)", passing_value=True),
    Architecture(
        title="DSMIL (SAM-MIL's)",
        model="dsmil",
        group_features=False,
        entries=(
            *linear("patch_to_emb.0", "embed", HARNESS, DIM),
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

    `embedding`: the width of a layer with ReLU and dropout before both streams; null = the features themselves.
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
        self._passing = options.passing_value
        self.embed = nn.Linear(spec.dim, options.embedding) if options.embedding else None
        self.head = DsmilHead(
            options.embedding or spec.dim,
            1 if options.one_output else spec.classes,
            non_linear=not options.linear_query,
            passing_value=options.passing_value,
            dropout=spec.dropout,
        )

    def forward(self, bag: Bag) -> Output:
        """See `MILModel.forward`; the evidence of an instance is the softmax of what it adds to each logit."""
        said = self.streams(bag)
        predicted = said.logits.argmax(dim=0, keepdim=True)  # of a single output: its column
        return Output(
            logits=self._of_classes(said.logits),
            attention=said.attention.index_select(1, predicted)[:, 0],
            evidence=torch.softmax(self._of_classes(self.head.shares(said)), dim=1),
        )

    def losses(self, bag: Bag, label: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """See `MILModel.losses`: ½ loss(bag) + ½ loss(largest instance logits)."""
        said = self.streams(bag, generator)
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

    def streams(self, bag: Bag, generator: torch.Generator | None = None) -> TwoStreams:
        """What both streams say.

        In training `dropout` acts after the embedding and on passing values. With neither, it leaves out whole
        instances, as an option of the official code does.
        """
        instances, share = bag.instances(self.spec.group_features), self.spec.dropout if self.training else 0.0
        kept = None
        if self.embed is not None:
            instances = relu_dropout(self.embed(instances), share, generator)
        elif share > 0 and not self._passing:
            kept = drop_(instances.new_ones(len(instances)), in_bytes(share)[0], generator) > 0
            kept = kept | ~kept.any()  # never a bag without instances
        said: TwoStreams = self.head(instances, kept)
        return said

    def _of_classes(self, outputs: Tensor) -> Tensor:
        """(…, K) -> (…, C): a single output l becomes (0, l), whose softmax is sigmoid(l)."""
        return nn.functional.pad(outputs, (1, 0)) if self._one_output else outputs
