"""WSI-SAM's prediction for many prompts of one field, ordered to do less (docs/methods.md §12).

The same result, up to rounding, as the modules of `wsi_sam.model` give: what a picture has in common for all prompts is
computed once, of LR nothing but its token, and only masks that are wanted are drawn.
"""

from copy import deepcopy
from dataclasses import dataclass, replace

import torch
from segment_anything.modeling import Sam
from torch import Tensor

from sammil_cli.backends.backend import Precision
from sammil_cli.regions.sam_engine.decoder import Picture, Transformer
from sammil_cli.regions.wsi_sam.branch import Branch

FIRST_MASK, ADDED = 1, 5  # of the tokens: rating, four masks, the added one, then the prompt's


@dataclass(frozen=True, kw_only=True)
class DualPicture:
    """What all prompts of a field share: both pictures, and F of HR (1, c, 4 g, 4 g)."""

    high: Picture
    low: Picture
    features: Tensor


@dataclass(frozen=True, kw_only=True)
class DualDecoded:
    """What becomes of p prompts: ratings (p, 1), and what masks are drawn from: `token` t_HR + t_LR and `hyper` of mask
    token 0, (p, c) each, and HR's picture `tokens` (p, n, d)."""

    predicted_iou: Tensor
    token: Tensor
    hyper: Tensor
    tokens: Tensor


class DualDecoder:
    """Both branches around one SAM, on its device."""

    def __init__(self, sam: Sam, high: Branch, low: Branch, precision: Precision = "float32") -> None:
        self._transformer = Transformer(sam, precision)
        self._decoder = self._transformer.decoder
        dtype = self._transformer.dtype
        self._high, self._low = (
            branch if precision == "float32" else deepcopy(branch).to(dtype) for branch in (high, low)
        )
        theirs = (self._decoder.iou_token.weight, self._decoder.mask_tokens.weight)
        self._own_high, self._own_low = (torch.cat([*theirs, one.hf_token.weight]) for one in (self._high, self._low))

    def look(self, high: Tensor, early: Tensor, low: Tensor) -> DualPicture:
        """A field's embeddings (d, g, g) of HR and LR, and HR's early feature (e, g, g)."""
        dtype = self._transformer.dtype
        return DualPicture(
            high=self._transformer.look(high),
            low=self._transformer.look(low),
            features=self._high.features(high[None].to(dtype), early[None].to(dtype)),
        )

    def decode(self, picture: DualPicture, sparse: Tensor, sparse_low: Tensor) -> DualDecoded:
        """Runs both decoders for encoded prompts (p, t, d) on HR and on LR, without masks among them."""
        queries, tokens = self._run(picture.high, self._own_high, sparse)
        queries_low, _ = self._run(picture.low, self._own_low, sparse_low)
        token: Tensor = self._high.hf_mlp(queries[:, ADDED]) + self._low.hf_mlp(queries_low[:, ADDED])
        rated: Tensor = self._decoder.iou_prediction_head(queries[:, 0])[:, :1]
        hyper: Tensor = self._decoder.output_hypernetworks_mlps[0](queries[:, FIRST_MASK])
        return DualDecoded(predicted_iou=rated.float(), token=token, hyper=hyper, tokens=tokens)

    def draw(self, picture: DualPicture, decoded: DualDecoded) -> Tensor:
        """The logits (p, 4 g, 4 g): t · E_HR plus SAM's mask."""
        prompts, count, channels = decoded.tokens.shape
        side = round(count**0.5)
        pictures = decoded.tokens.mT.reshape(prompts, channels, side, side)
        upscaled: Tensor = self._decoder.output_upscaling(pictures)
        theirs = (decoded.hyper[:, None] @ upscaled.flatten(2)).view(len(upscaled), *upscaled.shape[2:])
        return (self._high.draw(decoded.token, upscaled, picture.features) + theirs).float()

    def _run(self, picture: Picture, own: Tensor, sparse: Tensor) -> tuple[Tensor, Tensor]:
        tokens = torch.cat([own.expand(len(sparse), -1, -1), sparse.to(own.dtype)], 1)
        return self._transformer.run(picture, tokens)


def only(decoded: DualDecoded, kept: Tensor) -> DualDecoded:
    """The prompts that `kept` (p,) names."""
    if kept.all():
        return decoded
    return replace(
        decoded,
        predicted_iou=decoded.predicted_iou[kept],
        token=decoded.token[kept],
        hyper=decoded.hyper[kept],
        tokens=decoded.tokens[kept],
    )
