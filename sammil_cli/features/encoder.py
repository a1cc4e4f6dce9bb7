"""What an encoder is: patch image in, feature vector out, with its own preparation."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from sammil_cli.features.encoder_details import EncoderDetails
from sammil_cli.slides.pixels import RGB


class Encoder(Protocol):
    """What a file in `features/encoders/` gives, by `build(weights=…, device=…, backbone=…, input_px=…)`.

    An encoder never travels without its preparation: resize and normalisation are its own business. One that can
    compute in less than float32 has `compute_in(precision)`, too, and one whose network other backends can run has
    `run_by(backend)`, as `torch_encoder.TorchEncoder` has them. What else a bag is to say of it is in its `details`, an
    `EncoderDetails`.
    """

    name: str  # also tells variants apart, such as `torchvision:squeezenet1_1`
    dim: int
    weights_sha256: str | None

    def prepare(self, patch: RGB) -> NDArray[np.float32]:
        """One patch (h, w, 3) -> what `encode` takes several of. Called by several threads at once.

        The patch may be a part of a larger picture in memory, and is not to be changed.
        """
        ...

    def encode(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """Stacked prepared patches (b, …) -> features (b, dim)."""
        ...


def details_of(encoder: Encoder) -> EncoderDetails:
    """What an encoder says of itself; nothing where it has no `details`."""
    found: EncoderDetails = getattr(encoder, "details", EncoderDetails())
    return found
