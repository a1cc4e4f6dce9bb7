"""How a model is trained: each model declares what its paper does; params.yaml overrides it key by key."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Optimiser, schedule, loss, sampling, and which epoch is kept. The defaults are `COMMON`.

    `optimiser`: `adam` (L2), `adamw` (decoupled), or `lookahead-radam` (k 6, α 0.5, L2 on matrices only: TransMIL's).
    `schedule`, by epoch: `cosine` from `learning_rate` to `final_learning_rate`; `step`, a fifth from the middle on;
    `constant`.
    `loss`: `cross-entropy`, or `binary` (one sigmoid per class, averaged over the classes).
    `accumulate`: slides whose gradients are averaged for one step of the optimiser.
    `clip_norm`: the largest gradient norm of each part of a model (each of its children); None = not clipped.
    `sampling`: `shuffled` (each slide once an epoch, in a new order), `fixed` (in the order of the folds), or
    `balanced` (as many draws as slides, each class as likely as the others).
    `chosen_by`: what the kept epoch has the best of, on validation: `auc` (of equals, the smallest loss), `loss`,
    `accuracy` (of equals, the largest AUC), or `auc-and-accuracy` (their mean).
    `choose_last`: the kept epoch is among this many at the end; None = any epoch.
    `class_weights`: `balanced`, a slide's loss weighs by how rare its class is, or `none`.
    `precision`: of products in training, `float32` or `bfloat16`.
    `patience`: epochs without a better one after which training stops, not before `min_epochs`.
    """

    epochs: int = 200
    patience: int = 30
    min_epochs: int = 132
    learning_rate: float = 2e-4
    final_learning_rate: float = 0.0
    weight_decay: float = 1e-5
    betas: tuple[float, float] = (0.9, 0.999)
    optimiser: str = "adam"
    schedule: str = "cosine"
    loss: str = "cross-entropy"
    accumulate: int = 1
    clip_norm: float | None = None
    sampling: str = "shuffled"
    chosen_by: str = "auc"
    choose_last: int | None = None
    dropout: float = 0.25
    class_weights: str = "none"
    precision: str = "float32"

    @property
    def most_epochs(self) -> int:
        """How many are trained at most."""
        return self.epochs


@dataclass(frozen=True, kw_only=True)
class CutShort(Recipe):
    """A recipe that ends after some epochs, in the midst of its schedule."""

    stop_after: int

    @property
    def most_epochs(self) -> int:
        """How many are trained at most."""
        return min(self.epochs, self.stop_after)


COMMON = Recipe()  # docs/methods.md §0: what SAM-MIL's authors trained every model of their Table 1 by
