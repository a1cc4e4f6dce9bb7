"""Any torchvision backbone by name, with a weights file: the classifier is cut off, positions are averaged."""

from pathlib import Path
from typing import TYPE_CHECKING

from sammil_cli.choices import Named
from sammil_cli.errors import InputError, MissingError
from sammil_cli.storage.files import sha256_file
from sammil_cli.storage.weights import WantedWeights

if TYPE_CHECKING:
    import torch

    from sammil_cli.features.torch_encoder import TorchEncoder

_HEADS = ("fc", "classifier", "heads", "head")


def wanted_weights(settings: Named) -> WantedWeights:
    """`encoder_weights`: none are published for all backbones."""
    return WantedWeights.of_encoder(settings, None)


def random_weights(settings: Named) -> "dict[str, torch.Tensor]":
    """Random values under the names of a file of `encoder_backbone`: for tests."""
    from sammil_cli.regions.light_torchvision import import_torchvision

    state: dict[str, torch.Tensor] = (
        import_torchvision().models.get_model(settings["encoder_backbone"], weights=None).state_dict()
    )
    return state


def build(*, weights: Path | None, device: str, backbone: str | None, input_px: int) -> "TorchEncoder":
    """Loads the encoder.

    `backbone`: a name of torchvision's classification models, such as `squeezenet1_1`.
    `weights`: a state dict in torchvision's key names; the classifier's part may be missing.

    Raises:
        InputError: no such backbone. MissingError: no weights, or they are another model's.
    """
    import torch  # takes seconds to load

    from sammil_cli.features.torch_encoder import TorchEncoder
    from sammil_cli.regions.light_torchvision import import_torchvision
    from sammil_cli.storage.state_dict import load_state

    models = import_torchvision().models
    if backbone not in models.list_models(module=models):
        raise InputError(f"encoder_backbone {backbone!r} is no torchvision model", remedy="for example resnet18")
    if weights is None or not weights.is_file():
        raise MissingError(
            f"the encoder torchvision needs a weights file, {weights} is none",
            remedy=f"set encoder_weights to a state dict of {backbone}",
        )
    model = models.get_model(backbone, weights=None)
    missing, unexpected = model.load_state_dict(load_state(weights), strict=False)
    lost = [key for key in missing if not key.startswith(_HEADS)]
    if lost or unexpected:
        key = (lost or unexpected)[0]
        raise MissingError(
            f"{weights} does not fit {backbone}: {len(lost)} weights are missing, {len(unexpected)} are unknown "
            f"(such as {key})",
            remedy="set encoder_backbone to the model the file belongs to",
        )
    for head in _HEADS:
        if hasattr(model, head):
            setattr(model, head, torch.nn.Identity())
    # SqueezeNet and its like give a flattened feature map without their classifier; `features` gives the map itself.
    # Swin has `features`, too, but with channels last and a norm and a permutation behind them: it is used whole.
    module = model if hasattr(model, "permute") else getattr(model, "features", model)
    with torch.inference_mode():
        dim = module.eval()(torch.zeros(1, 3, input_px, input_px)).shape[1]
    return TorchEncoder(
        module, name=f"torchvision:{backbone}", dim=dim, input_px=input_px, device=device, sha256=sha256_file(weights)
    )
