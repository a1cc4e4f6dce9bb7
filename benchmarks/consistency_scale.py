"""How hard each form of the consistency term pulls (β = 1), and how that changes with the size of a bag.

Every patch of a seeded bag is there k times over, which changes nothing for attention pooling: the pooled bag, its
logits and the gradient of its classification stay the same. Prints the norm of each form's gradient over all weights of
an untrained SAM-MIL beside that of the bag's cross-entropy, and checks that it falls as docs/methods.md §10.5 says.
"""

import torch
from torch import Tensor

from sammil_cli.config import TrainSettings
from sammil_cli.mil.consistency import FORMS
from sammil_cli.mil.contract import Bag, MILModel
from sammil_cli.mil.model_spec import ModelSpec
from sammil_cli.training.trained_model import build_model

PATCHES, REGIONS, DIM, COPIES = 625, 25, 1024, (1, 4, 16)
POWERS = {"divergence": 0.0, "distance": -0.5, "variance": -2.0, "eq12": -1.0}  # of k
TOLERANCE = 0.1  # relative: 1/√k and 1/k hold for large regions


def main() -> None:
    """One row for each form, one column for each k."""
    sizes = [PATCHES * k for k in COPIES]
    print(f"gradient of consistency, β = 1, over that of the bag; {REGIONS} regions")
    print(f"{'patches':12}" + "".join(f"{size:>12,}" for size in sizes) + "   falls as")
    for form in FORMS:
        shares = [share(form, k) for k in COPIES]
        print(f"{form:12}" + "".join(f"{value:12.2g}" for value in shares) + f"   k^{POWERS[form]:g}")
        for k, value in zip(COPIES, shares, strict=True):
            if abs(value / shares[0] / k ** POWERS[form] - 1) > TOLERANCE:
                raise SystemExit(f"{form} does not fall as it should: {value / shares[0]:.3g} at k = {k}")


def share(form: str, k: int) -> float:
    """The norm of the term's gradient over that of the bag's, every patch k times."""
    spec = ModelSpec(
        dim=DIM,
        classes=2,
        group_features=False,
        dropout=0.0,
        mask_strategy="none",
        pseudo_bag_weight=0.0,
        consistency_form=form,
        consistency_weight=1.0,
    )
    torch.manual_seed(TrainSettings().seed)
    model = build_model("sam-mil", spec, {})
    model.initialise()
    terms = model.losses(make_bag(k), torch.tensor(1), torch.Generator().manual_seed(0))
    return float(norm(model, terms["consistency"]) / norm(model, terms["bag"]))


def make_bag(k: int) -> Bag:
    """Patches whose features follow their region in part, none below 0, as encoders give them; each k times."""
    generator = torch.Generator().manual_seed(0)
    region = torch.arange(PATCHES) % REGIONS
    features = torch.randn(PATCHES, DIM, generator=generator) + torch.randn(REGIONS, DIM, generator=generator)[region]
    return Bag(
        features=features.relu().repeat_interleave(k, dim=0),
        group_features=torch.empty(0, DIM),
        region=region.repeat_interleave(k),
        group_region=torch.empty(0, dtype=torch.int64),
        region_area=torch.full((REGIONS,), 5000.0),
    )


def norm(model: MILModel, term: Tensor) -> Tensor:
    """L2 norm of a term's gradient over all weights."""
    found = torch.autograd.grad(term, list(model.parameters()), retain_graph=True, allow_unused=True)
    total: Tensor = torch.linalg.vector_norm(torch.cat([one.flatten() for one in found if one is not None]))
    return total


if __name__ == "__main__":
    main()
