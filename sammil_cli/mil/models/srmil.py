"""SRMIL (Wu et al., WACV 2026; docs/methods.md §11): a graph of neighbouring patches that learns to fill its gaps.

A graph attention network classifies through a super-node that every patch is joined to. Two further losses come from
the same bag with most of its patches hidden behind a token: the classification of what is left, and the
reconstruction of the hidden features from their neighbours.
"""

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity, relu

from sammil_cli.mil.contract import Bag, MILModel, Options, Output
from sammil_cli.mil.graph_attention import Dropout, GraphAttention, Projected
from sammil_cli.mil.model_spec import ModelSpec
from sammil_cli.mil.patch_graph import PatchGraph
from sammil_cli.mil.published import CLASSES, DIM, Architecture, Entry, linear
from sammil_cli.mil.recipe import Recipe

HEADS, WIDTH = 4, 64
HIDDEN = HEADS * WIDTH
CONDENSED = 128
TOKEN_SD = 0.01
GAIN = 1.414  # as the released code has it


def _published_layer(published: str, ours: str, dim: int | str, *, residual: bool = False) -> tuple[Entry, ...]:
    """A layer of the encoder."""
    vectors = ("bias", "norm.weight", "norm.bias")
    return (
        *linear(f"{published}.fc", f"{ours}.fc", HIDDEN, dim, bias=False),
        *(linear(f"{published}.res_fc", f"{ours}.res_fc", HIDDEN, dim, bias=False) if residual else ()),
        *(Entry(f"{published}.{name}", f"{ours}.{name}", (1, HEADS, WIDTH)) for name in ("attn_l", "attn_r")),
        *(Entry(f"{published}.{name}", f"{ours}.{name}", (HIDDEN,)) for name in vectors),
        Entry(f"{published}.activation.weight", f"{ours}.activation.weight", (1,)),
    )


PUBLISHED = (
    Architecture(
        title="SRMIL",
        model="srmil",
        group_features=False,
        entries=(
            Entry("super_tokens", "super_tokens", (1, DIM)),
            *linear("reformer.0", "reformer", DIM, DIM),
            *_published_layer("encoder.gat_layers.0", "first_encoder", DIM, residual=True),
            *_published_layer("encoder.gat_layers.1", "second_encoder", HIDDEN),
            *linear("classifier.0", "condense", CONDENSED, WIDTH),
            *linear("classifier.3", "classifier", CLASSES, CONDENSED),
        ),
        untold_options=(
            *("mask_share", "reconstruction_weight", "unmasked_weight"),
            *("attention_dropout", "classifier_dropout"),
        ),
        # What only training needs; and what no pass of the released code uses, the attender and the mask_tokens (those
        # of the decoder are among the first).
        unused=(
            *("decoder.", "encoder_to_decoder.", "enc_mask_token", "dec_mask_token"),
            *("attender.", "encoder.mask_tokens."),
        ),
    ),
)


class SrmilOptions(Options):
    """`mask_share`: of the nodes, hidden in a training step.

    `reconstruction_weight` w_gen and `unmasked_weight` w_ce of L = (2 − w_gen) [(2 − w_ce) CE_mask + w_ce CE_full] +
    w_gen L_rec; a term of weight 0 is not computed. `dropout` (of a layer's inputs) is a setting of its own.
    """

    mask_share: float = Field(0.7, gt=0, lt=1)
    reconstruction_weight: float = Field(1.8, ge=0, lt=2)
    unmasked_weight: float = Field(1.0, ge=0, le=2)
    attention_dropout: float = Field(0.15, ge=0, lt=1)
    classifier_dropout: float = Field(0.059, ge=0, lt=1)


class Model(MILModel):
    """Reformer, two graph layers with a super-node, classifier; for training a decoder of two graph layers besides."""

    options_type = SrmilOptions
    options: SrmilOptions
    needs_places = True
    training_only = ("first_decoder.", "second_decoder.", "encoder_to_decoder.", "enc_mask_token", "dec_mask_token")
    recipe = Recipe(
        epochs=100,
        patience=100,
        min_epochs=100,  # it never stops early
        learning_rate=5e-4,
        weight_decay=1e-5,
        optimiser="adamw",
        sampling="fixed",
        chosen_by="accuracy",
        choose_last=39,
        dropout=0.11,
    )

    def __init__(self, spec: ModelSpec, options: SrmilOptions) -> None:
        super().__init__(spec, options)
        self.super_tokens = nn.Parameter(torch.empty(1, spec.dim))
        self.enc_mask_token = nn.Parameter(torch.empty(1, spec.dim))
        self.dec_mask_token = nn.Parameter(torch.empty(1, HIDDEN))
        self.reformer = nn.Linear(spec.dim, spec.dim)
        self.first_encoder = GraphAttention(spec.dim, HEADS, WIDTH, residual=True)
        self.second_encoder = GraphAttention(HIDDEN, HEADS, WIDTH)
        self.condense = nn.Linear(WIDTH, CONDENSED)
        self.classifier = nn.Linear(CONDENSED, spec.classes)
        self.encoder_to_decoder = nn.Linear(HIDDEN, HIDDEN, bias=False)
        self.first_decoder = GraphAttention(HIDDEN, HEADS, WIDTH)
        self.second_decoder = GraphAttention(HIDDEN, 1, spec.dim, finished=False)
        self.initialise()

    def initialise(self) -> None:
        """See `MILModel.initialise`: as released, by any recipe."""
        for token in (self.super_tokens, self.enc_mask_token, self.dec_mask_token):
            nn.init.normal_(token, std=TOKEN_SD)
        nn.init.xavier_uniform_(self.reformer.weight, GAIN)
        nn.init.zeros_(self.reformer.bias)
        nn.init.xavier_normal_(self.encoder_to_decoder.weight, GAIN)
        for layer in (self.first_encoder, self.second_encoder, self.first_decoder, self.second_decoder):
            layer.initialise()
        for linear_layer in (self.condense, self.classifier):
            linear_layer.reset_parameters()

    def forward(self, bag: Bag) -> Output:
        """See `MILModel.forward`: no instance is hidden.

        Attention is how the super-node weighs the instances in the second layer, mean of its heads; the evidence of an
        instance is what the classifier says where the super-node weighs nothing else.
        """
        graph, dropout = bag.neighbours(self.spec.group_features), self._dropout(None)
        seen = self.first_encoder.project(self.reformer(bag.instances(self.spec.group_features)), dropout)
        nodes, super_node = self._beside(seen, self.first_encoder.gather(seen, graph, dropout), dropout)
        said, attention = self._pool(nodes, super_node, dropout)
        each = self.second_encoder.finish(self.second_encoder.fc(nodes))
        return Output(
            logits=self._classify(said, dropout)[0],
            attention=attention.mean(dim=1),
            evidence=torch.softmax(self._classify(each, dropout), dim=1),
        )

    def losses(self, bag: Bag, label: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """See `MILModel.losses`: CE_full, CE_mask and L_rec, each with its weight.

        The last two share the first layer, and with it one dropout draw: they differ in the super-node alone.
        """
        options, dropout = self.options, self._dropout(generator)
        features, graph = bag.instances(self.spec.group_features), bag.neighbours(self.spec.group_features)
        classification = 2 - options.reconstruction_weight
        reformed, terms = self.reformer(features), dict[str, Tensor]()
        if options.unmasked_weight > 0:
            seen = self.first_encoder.project(reformed, dropout)
            entropy = self._entropy(seen, self.first_encoder.gather(seen, graph, dropout), label, dropout)
            terms["bag"] = classification * options.unmasked_weight * entropy
        hidden, shown = self._draw(len(features), generator)
        is_hidden = torch.zeros_like(features[:, :1], dtype=torch.bool).index_fill(0, hidden, True)
        # The reformer looks at each node alone: what it makes of those that are shown is known.
        reformed = torch.where(is_hidden, self.reformer(self.enc_mask_token), reformed)
        seen = self.first_encoder.project(reformed, dropout)
        del reformed
        gathered = self.first_encoder.gather(seen, graph, dropout)
        if options.unmasked_weight < 2:
            entropy = self._entropy(seen, gathered, label, dropout)
            terms["masked"] = classification * (2 - options.unmasked_weight) * entropy
        if options.reconstruction_weight > 0:
            nodes = self.first_encoder.finish(gathered[0], seen.residual)
            found = self._reconstruct(nodes, hidden, shown, graph, dropout)
            distance = 1 - cosine_similarity(found, features[hidden], dim=1)
            terms["reconstruction"] = options.reconstruction_weight * distance.mean()
        return terms

    def _dropout(self, generator: torch.Generator | None) -> Dropout:
        if not self.training:
            return Dropout()
        return Dropout(self.spec.dropout, self.options.attention_dropout, generator)

    def _draw(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """The nodes that are hidden in this step, at least one, and those that are shown; rising numbers both."""
        drawn = torch.randperm(count, generator=generator, device=generator.device)
        size = max(1, int(self.options.mask_share * count))
        return drawn[:size].sort().values, drawn[size:].sort().values

    def _beside(self, seen: Projected, gathered: tuple[Tensor, Tensor], dropout: Dropout) -> tuple[Tensor, Tensor]:
        """The first layer with the super-node, as the second one takes it up: (N, 256) nodes, (1, 256) super-node."""
        super_node = self.first_encoder.project(self.reformer(self.super_tokens), dropout)
        nodes, super_row = self.first_encoder.beside(seen, gathered, super_node, dropout)
        return dropout.of_inputs(nodes), dropout.of_inputs(super_row)

    def _pool(self, nodes: Tensor, super_node: Tensor, dropout: Dropout) -> tuple[Tensor, Tensor]:
        """The second layer, for the super-node alone: (1, 256), and its attention by head (N, 4)."""
        layer = self.second_encoder
        pooled, attention = layer.pool(nodes, layer.scores(nodes)[0], layer.scores(super_node)[1], dropout)
        return layer.finish(pooled), attention

    def _classify(self, rows: Tensor, dropout: Dropout) -> Tensor:
        """Logits of what the second layer gives: (n, 256) -> (n, C). Its heads are averaged."""
        mean = rows.view(-1, HEADS, WIDTH).mean(dim=1)
        share = self.options.classifier_dropout if self.training else 0.0
        condensed = Dropout(share, generator=dropout.generator).of_inputs(relu(self.condense(mean)))
        logits: Tensor = self.classifier(condensed).to(self.classifier.weight.dtype)
        return logits

    def _entropy(self, seen: Projected, gathered: tuple[Tensor, Tensor], label: Tensor, dropout: Dropout) -> Tensor:
        """The classification loss of a pass with the super-node."""
        said, _ = self._pool(*self._beside(seen, gathered, dropout), dropout)
        return self.classification_loss(self._classify(said, dropout)[0], label)

    def _reconstruct(self, nodes: Tensor, hidden: Tensor, shown: Tensor, graph: PatchGraph, dropout: Dropout) -> Tensor:
        """The features of the hidden nodes, as the decoder makes them of their neighbours: (N, 256) -> (r, d)."""
        encoded = self.second_encoder(nodes, graph, dropout)
        kept = self.encoder_to_decoder(encoded[shown]).to(encoded.dtype)
        gaps = self.dec_mask_token.expand(len(nodes), -1).index_copy(0, shown, kept)
        return self.second_decoder.of_some(self.first_decoder(gaps, graph, dropout), hidden, graph, dropout)
