"""State dicts of older tools and of publishers: tensors are read, code is never run."""

import pickle
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from sammil_cli.errors import MissingError


def load_state(path: Path) -> dict[str, torch.Tensor]:
    """Reads a state dict from a safetensors or a torch file, never running code from it.

    Raises:
        MissingError: the file is no state dict of tensors.
    """
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
        state = state.get("state_dict", state.get("model", state))
        return {key: value for key, value in state.items() if isinstance(value, torch.Tensor)}
    except (SafetensorError, RuntimeError, ValueError, AttributeError, EOFError, OSError) as error:
        raise MissingError(
            f"{path} is no weight file: {(str(error) or type(error).__name__).splitlines()[0]}",
            remedy="give a .safetensors or .pth state dict",
        ) from None
    except pickle.UnpicklingError:  # what torch raises for anything that is not plain tensors
        raise MissingError(
            f"{path} holds more than tensors and was not loaded, since loading it would run its code",
            remedy="ask its author for a .safetensors file",
        ) from None
