"""TransMIL (Shao et al. 2021; docs/methods.md §6): instances attend to each other, a class token to all of them."""

from pydantic import Field
from torch import Tensor, nn

from sammil_cli.mil.class_token import WIDTH, ClassTokenTransformer, transformer_entries
from sammil_cli.mil.contract import Bag, MILModel, Options, Output
from sammil_cli.mil.model_spec import ModelSpec
from sammil_cli.mil.published import CLASSES, DIM, Architecture, linear
from sammil_cli.mil.recipe import Recipe

PUBLISHED = (
    Architecture(
        title="TransMIL",
        model="transmil",
        group_features=False,
        entries=(
            *linear("_fc1.0", "embed.0", WIDTH, DIM),
            *transformer_entries("", "transformer.", "pos_layer"),
            *linear("_fc2", "classifier", CLASSES, WIDTH),
        ),
        untold_options=("embedding_dropout",),
    ),
)


class TransmilOptions(Options):
    """`embedding_dropout`: after the first layer; 0.25 in SAM-MIL's harness, 0 as published.

    The setting `dropout` is the one after the attentions' output projections, 0.1 as published.
    """

    embedding_dropout: float = Field(default=0.0, ge=0, lt=1)


class Model(MILModel):
    """Embedding, transformer, a linear classifier of the class token."""

    options_type = TransmilOptions
    recipe = Recipe(
        patience=10,
        min_epochs=0,
        optimiser="lookahead-radam",
        schedule="constant",
        accumulate=2,
        chosen_by="loss",
        dropout=0.1,
    )
    ordered = True

    def __init__(self, spec: ModelSpec, options: TransmilOptions) -> None:
        super().__init__(spec, options)
        self.embed = nn.Sequential(nn.Linear(spec.dim, WIDTH), nn.ReLU(), nn.Dropout(options.embedding_dropout))
        self.transformer = ClassTokenTransformer(dropout=spec.dropout, square=True)
        self.classifier = nn.Linear(WIDTH, spec.classes)

    def forward(self, bag: Bag) -> Output:
        """See `MILModel.forward`; attention and evidence are those of the second layer."""
        seen = self.transformer.seen(self.embed(bag.instances(self.spec.group_features)), self.classifier)
        return Output(logits=self.classifier(seen.feature), attention=seen.attention, evidence=seen.evidence)

    def losses(self, bag: Bag, label: Tensor, generator: object) -> dict[str, Tensor]:
        """See `MILModel.losses`."""
        del generator
        feature = self.transformer(self.embed(bag.instances(self.spec.group_features)))
        return {"bag": self.classification_loss(self.classifier(feature), label)}

    def initialise(self) -> None:
        """As published: what PyTorch draws for each layer, and the class token from N(0, 1)."""
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Conv2d | nn.LayerNorm):
                module.reset_parameters()
        nn.init.normal_(self.transformer.cls_token)
