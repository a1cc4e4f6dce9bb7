"""What a MIL model is: a bag in, logits and attention over patches out, and a loss to train on."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn
from torch.nn.functional import pad

from sammil_cli.mil.groups import Groups, make_groups
from sammil_cli.mil.model_spec import ModelSpec
from sammil_cli.mil.patch_graph import PatchGraph, make_graph
from sammil_cli.mil.recipe import COMMON, Recipe


@dataclass(frozen=True, kw_only=True)
class Bag:
    """One slide as tensors on one device. n patches, g group features, m regions, d features."""

    features: Tensor  # (n, d) float, of any precision
    group_features: Tensor  # (g, d) float
    region: Tensor  # (n,) int64, region of each patch, -1 = none
    group_region: Tensor  # (g,) int64, region of each group feature
    region_area: Tensor  # (m,) float, pixels of the paper's canvas (eq. 7)
    # All k patch-region pairs (eq. 3): region r holds member_patch[member_start[r] : member_start[r + 1]].
    # None = a patch belongs to `region` and to no other.
    member_start: Tensor | None = None  # (m + 1,) int
    member_patch: Tensor | None = None  # (k,) int
    # Where the patches lie, in steps of their grid: column and row, whole numbers on a grid of ours. None = not asked
    # for (`MILModel.needs_places`), or not known.
    places: Tensor | None = None  # (n, 2) float
    # Whether an instance says what it is (`group_feature_flag`): blocks and instances then have d + 1 columns.
    flagged: bool = False

    def blocks(self, group_features: bool) -> tuple[Tensor, ...]:
        """Composite features (eq. 4): patches, then group features if wanted and there are any.

        Without the flag they share the bag's memory.
        """
        patches = self._flag(self.features, 0)
        return (patches, self.as_group_features(self.group_features)) if self._has(group_features) else (patches,)

    def as_group_features(self, means: Tensor) -> Tensor:
        """Means of patches (e, d) as instances of this bag: (e, d), or (e, d + 1) with the flag 1."""
        return self._flag(means, 1)

    def _flag(self, features: Tensor, value: int) -> Tensor:
        return pad(features, (0, 1), value=value) if self.flagged else features

    def _has(self, group_features: bool) -> bool:
        """Whether there are group features among the instances."""
        return group_features and len(self.group_features) > 0

    def instances(self, group_features: bool) -> Tensor:
        """Composite features (eq. 4) as one float32 tensor, or float64 where they are so. (n + g, d) or (n, d).

        With the flag there is one column more, the last.

        It may share the bag's memory: it is not to be written to.
        """
        blocks = self.blocks(group_features)
        exact = tuple(block if block.dtype == torch.float64 else block.float() for block in blocks)
        return exact[0] if len(exact) == 1 else torch.cat(exact)  # autocast joins no float16

    def instance_places(self, group_features: bool) -> Tensor:
        """Where the instances lie, in grid steps: (N, 2). A group feature stands at its region's centroid.

        Raises:
            ValueError: the places of the patches are not known.
        """
        if self.places is None:
            raise ValueError("the places of this bag's patches are not known")
        return torch.cat([self.places, self._centroids]) if self._has(group_features) else self.places

    @cached_property
    def _centroids(self) -> Tensor:
        """The mean place of the patches of each group feature's region: (g, 2)."""
        places = self.instance_places(group_features=False)
        patch, group = self.pairs
        sums = places.new_zeros(len(self.group_region), 2).index_add(0, group, places[patch])
        size = places.new_zeros(len(self.group_region)).index_add(0, group, places.new_ones(len(group)))
        return sums / size.clamp(min=1)[:, None]

    def neighbours(self, group_features: bool) -> PatchGraph:
        """Which instances are neighbours (`mil.patch_graph`), made when first asked for and kept with the bag.

        Raises:
            ValueError: as `instance_places`.
        """
        return self._composite_graph if self._has(group_features) else self._patch_graph

    @cached_property
    def _patch_graph(self) -> PatchGraph:
        return make_graph(self.instance_places(group_features=False))

    @cached_property
    def _composite_graph(self) -> PatchGraph:
        return make_graph(self.instance_places(group_features=True))

    def groups(self, grouping: str) -> Groups:
        """Groups by `region` or by equal `area`, made when first asked for and kept with the bag."""
        return self._by_area if grouping == "area" else self._by_region

    @cached_property
    def pairs(self) -> tuple[Tensor, Tensor]:
        """The patch and the group feature of each patch-region pair: (k,) int64 each, made when first asked for."""
        if self.member_start is None or self.member_patch is None:
            patch = (self.region >= 0).nonzero()[:, 0]
            region = self.region[patch]
        else:
            patch = self.member_patch.long()
            region = torch.repeat_interleave(self.member_start.diff(), output_size=len(patch))
        return patch, torch.searchsorted(self.group_region, region)

    @cached_property
    def _by_region(self) -> Groups:
        return make_groups(self.region, self.group_region, self.region_area, "region")

    @cached_property
    def _by_area(self) -> Groups:
        return make_groups(self.region, self.group_region, self.region_area, "area")


@dataclass(frozen=True, kw_only=True)
class Output:
    """What a model says about a bag of N instances (patches first, then group features) and C classes."""

    logits: Tensor  # (C,)
    attention: Tensor  # (N,) weights of the instances, summing to 1
    evidence: Tensor  # (N, C) class probabilities that each instance speaks for


class Options(BaseModel):
    """Settings of one model only, `model_options:` in params.yaml. Unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class MILModel(nn.Module):
    """Base of all models. A subclass named `Model` in a file of `mil/models/` is a choice of the setting `model`."""

    options_type: ClassVar[type[Options]] = Options
    # What `group_features: auto` means: does the paper of this model have SAM's group features among its instances?
    wants_group_features: ClassVar[bool] = False
    # How the paper of this model trains it.
    recipe: ClassVar[Recipe] = COMMON
    # Whether `Bag.places` is read: a slide whose patches have no known places cannot be used.
    needs_places: ClassVar[bool] = False
    # Whether the answer depends on the order of the instances; a model of which only some options do sets its own.
    ordered: bool = False
    # With fewer instances than this, the model cannot do all that its paper says; training says so.
    least_instances: ClassVar[int] = 1
    # Starts of the names of parameters that only training needs: they are not kept with a trained model.
    training_only: ClassVar[tuple[str, ...]] = ()

    def __init__(self, spec: ModelSpec, options: Options) -> None:
        super().__init__()
        self.spec = spec
        self.options = options

    def forward(self, bag: Bag) -> Output:
        """Bag -> Output. Every instance of the bag takes part, whatever the training does."""
        raise TypeError(f"{type(self).__name__} does not say how a bag is classified")

    def losses(self, bag: Bag, label: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """Weighted terms of the training loss; their sum is minimised.

        Args:
            label: () int64.
            generator: the only source of randomness beside dropout, on the bag's device.
        """
        del generator
        return {"bag": self.classification_loss(self(bag).logits, label)}

    def classification_loss(self, logits: Tensor, label: Tensor) -> Tensor:
        """The recipe's `loss` of one bag: (C,), () -> ()."""
        if self.spec.loss == "binary":
            wanted = nn.functional.one_hot(label, len(logits)).to(logits.dtype)
            return nn.functional.binary_cross_entropy_with_logits(logits, wanted)
        return nn.functional.cross_entropy(logits[None], label[None])

    def first_stage(self) -> "MILModel | None":
        """A model that is trained before this one, on the same slides and by the same recipe; None = none."""
        return None

    def begin(self, first: "MILModel | None", bags: Iterable[Bag], generator: torch.Generator) -> None:
        """Takes up what this model needs before its first epoch. What it takes must be in `state_dict`.

        Args:
            first: the trained model of `first_stage`, in evaluation mode.
            bags: of the training slides and no others; each is loaded only when it is reached.
            generator: as in `losses`.
        """

    def after_step(self, done: float) -> None:
        """Called after each step of the optimiser.

        Args:
            done: the share of all steps of the recipe's epochs that are done, 0 … 1. What is kept of it must be in
                `state_dict`.
        """

    def initialise(self) -> None:
        """Xavier-normal weights and zero biases in every linear layer (docs/methods.md §0)."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_normal_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)


def attention_evidence(attention: Tensor, embedded: Tensor, head: nn.Linear) -> Tensor:
    """softmax_c(W (a_n e_n)) without bias (docs/methods.md §10.9): (N,), (N, h) -> (N, C)."""
    return torch.softmax((attention[:, None] * embedded) @ head.weight.T, dim=1)
