"""Embeddings of pictures by a frozen SAM of any size, and the early feature that WSI-SAM takes besides."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from segment_anything.modeling import Sam
from torch import Tensor

from sammil_cli.regions.sam_engine.image_encoder import ImageEncoder, Precision, check_precision
from sammil_cli.regions.sam_models.tiny_vit import TinyViTEncoder


class Seen(NamedTuple):
    """What SAM's image encoder gives for b pictures of side s: two tensors in float32.

    `embedding`: (b, 256, s / 16, s / 16). `early`: (b, c, s / 16, s / 16), see `build.EARLY_WIDTH`; of a ViT what
    comes out of the first block with global attention, of TinyViT what its third stage begins with.
    """

    embedding: Tensor
    early: Tensor


class Embedder:
    """Runs a SAM's image encoder with that module's own weights; nothing is differentiated.

    A GPU takes all pictures together; a processor one after the other, which is as fast there and takes less memory.

    Args:
        sam: on its device, in eval mode. It has to stay there.
        precision: of products and attention; the neck stays float32.
        compiled: with `torch.compile`.

    Raises:
        InputError: float16 without a CUDA device.
    """

    def __init__(self, sam: Sam, precision: Precision = "float32", compiled: bool = False) -> None:
        module = sam.image_encoder
        self._embed: Callable[[Tensor], Tensor]
        self._see: Callable[[Tensor], tuple[Tensor, Tensor]]
        if isinstance(module, TinyViTEncoder):
            self._see = _TinyViT(module, precision, compiled)
            self._embed = lambda pixels: self._see(pixels)[0]
        else:
            encoder = ImageEncoder(module, precision=precision, compiled=compiled)
            self._embed, self._see = encoder, encoder.see

    def __call__(self, pixels: Tensor) -> Tensor:
        """Pictures (b, 3, s, s), prepared (`image_encoder.prepare`), on the model's device -> embeddings."""
        return self._embed(pixels)

    def see(self, pixels: Tensor) -> Seen:
        """The same, and the early feature."""
        return Seen(*self._see(pixels))


class _TinyViT:
    """TinyViT in a precision, which torch's autocast gives to products; the neck in float32, as that of a ViT."""

    def __init__(self, module: TinyViTEncoder, precision: Precision, compiled: bool) -> None:
        device = next(module.parameters()).device
        check_precision(precision, device.type)
        self._device, self._on_gpu = device.type, device.type == "cuda"
        self._dtype: torch.dtype = getattr(torch, precision)
        self._trunk = torch.compile(module.trunk) if compiled else module.trunk
        self._neck = module.neck

    @torch.no_grad()
    def __call__(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        parts = [pixels] if self._on_gpu else torch.split(pixels, 1)
        embedding, early = zip(*(self._run(part) for part in parts), strict=True)
        return torch.cat(embedding), torch.cat(early)

    def _run(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        with torch.autocast(self._device, self._dtype, enabled=self._dtype != torch.float32):
            x, early = self._trunk(pixels)
        return self._neck(x.float()), early.float()
