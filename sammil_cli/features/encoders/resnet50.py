"""ResNet-50 up to layer3, then global average: 1024 features, the paper's encoder (docs/methods.md §13)."""

from pathlib import Path
from typing import TYPE_CHECKING

from sammil_cli.choices import Named
from sammil_cli.errors import MissingError
from sammil_cli.features.encoder_details import EncoderDetails
from sammil_cli.storage.files import sha256_file
from sammil_cli.storage.weights import WantedWeights, WeightFile, find_weights

if TYPE_CHECKING:
    import torch

    from sammil_cli.features.torch_encoder import TorchEncoder

HINT = "the paper"
DIM = 1024
REVISION = "IMAGENET1K_V1"  # torchvision's name of the published file
WEIGHTS = WeightFile(
    word="resnet50",
    used_by="encoder: resnet50",
    file_name="resnet50-0676ba61.pth",
    url="https://download.pytorch.org/models/resnet50-0676ba61.pth",
    sha256="0676ba61b6795bbe1773cffd859882e5e297624d384b6993f7c9e683e722fb8a",
    megabytes=102.5,
    licence="BSD-3-Clause (torchvision's)",
    page="https://pytorch.org/vision/stable/models/generated/torchvision.models.resnet50.html",
)


def wanted_weights(settings: Named) -> WantedWeights:
    """The published file, or `encoder_weights`."""
    return WantedWeights.of_encoder(settings, WEIGHTS)


def random_weights(settings: Named) -> "dict[str, torch.Tensor]":
    """Random values under the names of the published file: for tests."""
    from sammil_cli.regions.light_torchvision import import_torchvision

    del settings
    state: dict[str, torch.Tensor] = import_torchvision().models.resnet50(weights=None).state_dict()
    return state


def build(*, weights: Path | None, device: str, backbone: str | None, input_px: int) -> "TorchEncoder":
    """Loads the encoder.

    `weights`: any ResNet-50 state dict in torchvision's or timm's key names; None = the published ImageNet file.

    Raises:
        MissingError: no weights, or they are not a ResNet-50's.
    """
    del backbone
    path = weights or find_weights(WEIGHTS)
    if not path.is_file():
        raise MissingError(f"{path} does not exist", remedy="give encoder_weights a ResNet-50 state dict")
    from sammil_cli.features.torch_encoder import TorchEncoder  # torch takes seconds to load
    from sammil_cli.storage.state_dict import load_state

    sha256 = sha256_file(path)
    revision = REVISION if sha256 == WEIGHTS.sha256 else None
    return TorchEncoder(
        truncated(load_state(path), path),
        name="resnet50",
        dim=DIM,
        input_px=input_px,
        device=device,
        sha256=sha256,
        known=EncoderDetails(revision=revision, pooling="pooled"),
    )


def truncated(state: "dict[str, torch.Tensor]", path: Path) -> "torch.nn.Module":
    """conv1 … layer3 with the given weights; layer4 and the classifier are not used."""
    import torch

    from sammil_cli.regions.light_torchvision import import_torchvision

    model = import_torchvision().models.resnet50(weights=None)
    missing, _ = model.load_state_dict(state, strict=False)
    needed = [key for key in missing if not key.startswith(("layer4", "fc"))]
    if needed:
        raise MissingError(
            f"{path} is no ResNet-50: {len(needed)} weights are missing, the first is {needed[0]}",
            remedy="give encoder_weights a file in torchvision's key names",
        )
    children = dict(model.named_children())
    names = ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3")
    return torch.nn.Sequential(*(children[name] for name in names))
