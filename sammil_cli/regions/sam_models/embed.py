"""Embeddings of pictures by a frozen SAM of any size, and the early feature that WSI-SAM takes besides."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from segment_anything.modeling import ImageEncoderViT, Sam
from torch import Tensor, nn

from sammil_cli.backends.backend import Backend, Precision, check_backend, check_precision_of, network_by
from sammil_cli.choices import Named
from sammil_cli.errors import InputError
from sammil_cli.regions.sam_engine.image_encoder import ImageEncoder, check_precision
from sammil_cli.regions.sam_models.tiny_vit import TinyViTEncoder


class Seen(NamedTuple):
    """What SAM's image encoder gives for b pictures of side s: two tensors in float32.

    `embedding`: (b, 256, s / 16, s / 16). `early`: (b, c, s / 16, s / 16), see `build.EARLY_WIDTH`; of a ViT what
    comes out of the first block with global attention, of TinyViT what its third stage begins with.
    """

    embedding: Tensor
    early: Tensor


def check_embedder(settings: Named, device: str) -> None:
    """Refuses what an `Embedder` cannot do on a device, as the settings of `sam` ask for it.

    Raises:
        InputError: float16 without a CUDA device; another backend than torch with a GPU, compiled by torch, or in a
            precision that it does not know on this processor. MissingError: the backend is not installed.
    """
    check_precision(settings["sam_precision"], device)
    backend = settings["sam_backend"]
    check_backend(backend, "sam_backend", device)
    check_precision_of(backend, "sam_precision", settings["sam_precision"])
    if settings["sam_compile"] and backend != "torch":
        raise InputError(f"sam_compile is for torch, and sam_backend is {backend}", remedy="set sam_compile: false")


class Embedder:
    """Runs a SAM's image encoder with that module's own weights; nothing is differentiated.

    A GPU takes all pictures together; a processor one after the other, which is as fast there and takes less memory.

    Args:
        sam: on its device, in eval mode. It has to stay there.
        precision: of products and attention; the neck stays float32.
        compiled: with `torch.compile`. backend: what runs it; not torch: on the CPU only, the neck in `precision`, too.

    Raises:
        InputError: float16 without a CUDA device, or another backend than torch on a GPU. MissingError: it is not
            installed.
    """

    def __init__(
        self, sam: Sam, precision: Precision = "float32", compiled: bool = False, backend: Backend = "torch"
    ) -> None:
        module = sam.image_encoder
        self._embed: Callable[[Tensor], Tensor]
        self._see: Callable[[Tensor], tuple[Tensor, Tensor]]
        if backend != "torch":
            self._see = _by_other(module, precision, backend)
            self._embed = lambda pixels: self._see(pixels)[0]
        elif isinstance(module, TinyViTEncoder):
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


def _by_other(
    module: TinyViTEncoder | ImageEncoderViT, precision: Precision, backend: Backend
) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
    """The same, by a backend other than torch."""
    device = next(module.parameters()).device.type
    check_precision(precision, device)
    check_backend(backend, "sam_backend", device)
    run = network_by(
        backend,
        (_SeeingTinyViT if isinstance(module, TinyViTEncoder) else _SeeingViT)(module).eval(),
        name="SAM's image encoder",
        setting="sam_backend",
        px=module.img_size,
        precision=precision,
        one_by_one=True,
    )

    def see(pixels: Tensor) -> tuple[Tensor, Tensor]:
        embedding, early = (torch.from_numpy(output) for output in run(pixels.numpy()))
        return embedding, early

    return see


class _SeeingTinyViT(nn.Module):
    """What `Embedder.see` says of a TinyViT, as one module."""

    def __init__(self, encoder: TinyViTEncoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        return self.encoder.see(pixels)


class _SeeingViT(nn.Module):
    """What `Embedder.see` says of a ViT, in the official encoder's own steps."""

    def __init__(self, encoder: ImageEncoderViT) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        encoder = self.encoder
        first = next(number for number, block in enumerate(encoder.blocks) if not block.window_size)
        x: Tensor = encoder.patch_embed(pixels)
        if encoder.pos_embed is not None:
            x = x + encoder.pos_embed
        for number, block in enumerate(encoder.blocks):
            x = block(x)
            if number == first:
                early = x.permute(0, 3, 1, 2)
        embedding: Tensor = encoder.neck(x.permute(0, 3, 1, 2))
        return embedding, early


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
