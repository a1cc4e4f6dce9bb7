"""MHIM-MIL (Tang et al., ICCV 2023; docs/methods.md §9): a teacher hides easy instances from the student.

The teacher is the student's moving average. It sees the whole bag; what it weighs most (and some more) is masked; the
student classifies the rest, and its feature is held to the teacher's. Prediction is the student's, on the whole bag.
The first stage trains the same model without a mask, which teacher and embedding start from.
"""

import math
from collections.abc import Iterable
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from sammil_cli.mil.attention_masks import MaskShares, kept
from sammil_cli.mil.class_token import ClassTokenTransformer, transformer_entries
from sammil_cli.mil.contract import Bag, MILModel, Options, Output
from sammil_cli.mil.dsmil_head import published_head
from sammil_cli.mil.mhim_cores import ATTENTION, WIDTH, AttentionCore, Core, DsmilCore, Learned, TransformerCore
from sammil_cli.mil.model_spec import ModelSpec
from sammil_cli.mil.published import CLASSES, DIM, Architecture, Entry, linear

TEACHER_TEMPERATURE, STUDENT_TEMPERATURE = 0.1, 1.0
TOKEN_SCALE = 1e-6  # of the class token at the start
_TEACHER, _DONE = "teacher.", "_extra_state"
_OF_TRAINING = (
    *("mask_random", "mask_low", "mask_high", "high_share", "high_decay", "head_fusion"),
    *("distillation_weight", "momentum", "momentum_rise"),
)


def _published(core: str, options: dict[str, object], *entries: Entry) -> Architecture:
    """A core with its published names between those of embedding and predictor."""
    embed = linear("patch_to_emb.0", "patch_to_emb.0", WIDTH, DIM)
    return Architecture(
        title=f"MHIM-MIL ({core})",
        model="mhim",
        group_features=False,
        entries=(*embed, *entries, *linear("predictor", "predictor", CLASSES, WIDTH)),
        options=options,
        untold_options=_OF_TRAINING,
    )


PUBLISHED = (
    _published(
        "attention",
        {},
        *linear("online_encoder.attention.attention.0", "core.hidden", ATTENTION, WIDTH, bias=False),
        *linear("online_encoder.attention.attention.2", "core.score", 1, ATTENTION, bias=False),
    ),
    _published(
        "gated attention",
        {"gated": True},
        *linear("online_encoder.attention.attention_a.0", "core.hidden", ATTENTION, WIDTH, bias=False),
        *linear("online_encoder.attention.attention_b.0", "core.gate", ATTENTION, WIDTH, bias=False),
        *linear("online_encoder.attention.attention_c", "core.score", 1, ATTENTION, bias=False),
    ),
    _published(
        "TransMIL", {"core": "selfattn"}, *transformer_entries("online_encoder.", "core.transformer.", "pos_embedding")
    ),
    _published(
        "DSMIL",
        {"core": "dsmil"},
        *published_head(
            *("online_encoder.i_classifier.0", "online_encoder.b_classifier", "core.head"),
            width=WIDTH,
            outputs=CLASSES,
            non_linear=True,
            passing_value=True,
        ),
    ),
)


class MhimOptions(Options):
    """Core, masks and teacher. The defaults are the paper's for CAMELYON16 with AB-MIL (docs/methods.md §9).

    `core`: `attn` (AB-MIL), `selfattn` (TransMIL) or `dsmil`. `gated`: of `attn`. `heads`: of `selfattn`.
    `mask_random`, `mask_low`, `mask_high`: shares of the bag that are hidden at random, for their low and their high
    attention; each 0 = not at all. `high_share`: below 1, `mask_high` are drawn from the `mask_high` / `high_share` of
    highest attention.
    `high_decay`: whether `mask_high` falls to 0 over training. `head_fusion`: what several heads hide together.
    `distillation_weight`: of the term that holds the student's feature to the teacher's.
    `momentum`: how much of the teacher stays at each step. `momentum_rise`: whether it rises to 1 over training.
    """

    core: Literal["attn", "selfattn", "dsmil"] = "attn"
    gated: bool = False
    heads: Literal[1, 2, 4, 8, 16] = 8
    mask_random: float = Field(default=0.5, ge=0, le=1)
    mask_low: float = Field(default=0.0, ge=0, le=1)
    mask_high: float = Field(default=0.01, ge=0, le=1)
    high_share: float = Field(default=0.5, gt=0, le=1)
    high_decay: bool = True
    head_fusion: Literal["vote", "mean"] = "vote"
    distillation_weight: float = Field(default=0.1, ge=0)
    momentum: float = Field(default=0.9999, ge=0, le=1)
    momentum_rise: bool = False


class Plain(MILModel):
    """Embedding, core, predictor, without a mask: the first stage, and the teacher."""

    options_type = MhimOptions

    def __init__(self, spec: ModelSpec, options: MhimOptions) -> None:
        super().__init__(spec, options)
        self.patch_to_emb = nn.Sequential(nn.Linear(spec.dim, WIDTH), nn.ReLU(), nn.Dropout(spec.dropout))
        self.core = _make_core(spec, options)
        self.ordered = options.core == "selfattn"
        # The DSMIL core has a classifier of its own; the published one holds this one besides, and so do we.
        self.predictor = nn.Linear(WIDTH, spec.classes)

    def forward(self, bag: Bag) -> Output:
        """See `MILModel.forward`: the whole bag, no mask."""
        return self.core.look(self.patch_to_emb(bag.instances(self.spec.group_features)), self.predictor)

    def losses(self, bag: Bag, label: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """See `MILModel.losses`."""
        return self._entropies(self._learn(bag.instances(self.spec.group_features), generator), label)

    def initialise(self) -> None:
        """As the common recipe has it (`MILModel`), and a class token near 0."""
        super().initialise()
        for module in self.modules():
            if isinstance(module, ClassTokenTransformer):
                nn.init.normal_(module.cls_token, std=TOKEN_SCALE)

    def _learn(self, instances: Tensor, generator: torch.Generator) -> Learned:
        return self.core.learn(instances, self.patch_to_emb, self.predictor, generator)

    def _entropies(self, learned: Learned, label: Tensor) -> dict[str, Tensor]:
        """The mean loss of all logits."""
        share = 1 / len(learned.logits)
        return {name: share * self.classification_loss(one, label) for name, one in learned.logits.items()}


class Model(Plain):
    """The student, with the teacher in it."""

    training_only = (_TEACHER, _DONE)

    def __init__(self, spec: ModelSpec, options: MhimOptions) -> None:
        super().__init__(spec, options)
        self._own = options
        self._done = 0.0  # share of training; kept on the host: no step waits for the device
        self.teacher = Plain(spec, options).requires_grad_(False)

    def losses(self, bag: Bag, label: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """See `MILModel.losses`: cross-entropy of the masked bag, and the distance to the teacher's feature."""
        instances = bag.instances(self.spec.group_features)
        with torch.no_grad():
            feature, weights = self.teacher.core.weigh(self.teacher.patch_to_emb(instances))
            left = kept(weights, self._masks(), generator)
        learned = self._learn(instances.index_select(0, left), generator)
        terms = self._entropies(learned, label)
        if self._own.distillation_weight > 0:
            terms["distillation"] = self._own.distillation_weight * feature_distance(feature, learned.feature)
        return terms

    def first_stage(self) -> MILModel:
        """The same model without a mask."""
        return Plain(self.spec, self._own)

    def begin(self, first: MILModel | None, bags: Iterable[Bag], generator: torch.Generator) -> None:
        """The teacher takes all of the first stage, the student its embedding."""
        if not isinstance(first, Plain):
            raise TypeError("MHIM-MIL's teacher starts from a trained first stage")
        self.teacher.load_state_dict(first.state_dict())
        self.patch_to_emb.load_state_dict(first.patch_to_emb.state_dict())

    @torch.no_grad()
    def after_step(self, done: float) -> None:
        """See `MILModel.after_step`: teacher ← m teacher + (1 - m) student."""
        momentum = self._own.momentum
        if self._own.momentum_rise:
            momentum = 1 - (1 - momentum) * _falling(self._done)
        for mean, weight in zip(self.teacher.parameters(), self._student(), strict=True):
            mean.lerp_(weight, 1 - momentum)
        self._done = done

    def train(self, mode: bool = True) -> "Model":
        """The teacher never drops anything, so that masks and targets hold no noise (docs/paper-versus-code.md)."""
        super().train(mode)
        self.teacher.eval()
        return self

    def get_extra_state(self) -> Tensor:
        """How much of the training is done, for a run that is taken up again."""
        return torch.tensor(self._done, dtype=torch.float64)

    def set_extra_state(self, state: Tensor) -> None:
        """Takes up what `get_extra_state` gave."""
        self._done = float(state)

    def _student(self) -> list[Tensor]:
        return [weight for name, weight in self.named_parameters() if not name.startswith(_TEACHER)]

    def _masks(self) -> MaskShares:
        own = self._own
        return MaskShares(
            random=own.mask_random,
            low=own.mask_low,
            high=own.mask_high * (_falling(self._done) if own.high_decay else 1),
            high_share=own.high_share,
            by_vote=own.head_fusion == "vote",
        )


def feature_distance(teacher: Tensor, student: Tensor) -> Tensor:
    """Soft-target cross-entropy of features, each taken for the logits of a distribution over its 512 dimensions.

    -sum softmax(z_T / 0.1) log softmax(z_S); of several features (C, 512), their mean.
    """
    target = torch.softmax(teacher / TEACHER_TEMPERATURE, dim=-1)
    return -(target * torch.log_softmax(student / STUDENT_TEMPERATURE, dim=-1)).sum(dim=-1).mean()


def _falling(done: float) -> float:
    """From 1 to 0 along half a cosine."""
    return (1 + math.cos(math.pi * done)) / 2


def _make_core(spec: ModelSpec, options: MhimOptions) -> Core:
    if options.core == "selfattn":
        return TransformerCore(heads=options.heads)
    return DsmilCore(classes=spec.classes) if options.core == "dsmil" else AttentionCore(gated=options.gated)
