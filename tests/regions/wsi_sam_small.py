"""A small WSI-SAM with random weights, and what its encoder might see."""

import torch
from sam_pair import INPUT_PX, small_sam

from sammil_cli.regions.sam_models.embed import Seen
from sammil_cli.regions.wsi_sam.model import WsiSam
from sammil_cli.regions.wsi_sam.prompts import Prompts

WIDTH, EARLY, GRID = 64, 32, INPUT_PX // 16


def small_wsi_sam() -> WsiSam:
    """On the small SAM; whatever it adds counts, norms and biases, too."""
    generator = torch.Generator().manual_seed(1)
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(1)
        model = WsiSam(small_sam(WIDTH), EARLY)
        for value in model.added().values():
            if value.ndim == 1:
                value += 0.2 * torch.randn(value.shape, generator=generator)
            else:
                value *= 3  # so that the tokens' masks are no smaller than SAM's
    return model.eval()


def seen(fields: int, seed: int) -> Seen:
    """Embeddings and early features of some fields."""
    generator = torch.Generator().manual_seed(seed)
    shapes = (fields, WIDTH, GRID, GRID), (fields, EARLY, GRID, GRID)
    return Seen(*(torch.randn(shape, generator=generator) for shape in shapes))


def prompts_of(kind: str, count: int, seed: int = 0) -> Prompts:
    """Prompts of a kind, no two alike."""
    generator = torch.Generator().manual_seed(seed)
    if kind == "boxes":
        corner = torch.rand(count, 2, generator=generator) * INPUT_PX / 2
        return Prompts(boxes=torch.cat([corner, corner + 20 + torch.rand(count, 2, generator=generator) * 80], 1))
    if kind == "points":
        labels = torch.tensor([1.0, 1.0, 0.0]).expand(count, 3)
        return Prompts(points=torch.rand(count, 3, 2, generator=generator) * INPUT_PX, labels=labels)
    return Prompts(masks=torch.randn(count, 1, 4 * GRID, 4 * GRID, generator=generator) * 5)
