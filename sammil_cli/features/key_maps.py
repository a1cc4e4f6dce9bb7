"""The names of weights in published files, and those of the library that builds the network."""

from collections.abc import Callable, Mapping

import torch

State = dict[str, torch.Tensor]
KeyMap = Callable[[State], State]

KEY_MAPS: Mapping[str, KeyMap] = {"timm": dict}  # published names -> the library's
PUBLISHED_NAMES: Mapping[str, KeyMap] = {"timm": dict}  # and back: for tests
