"""Weights in contracts: what is published is pinned; random values stand in for it."""

import re
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

import pytest

from sammil_cli.choices import Named
from sammil_cli.storage.files import sha256_file


def with_random_weights(choice: ModuleType, settings: Named, folder: Path) -> Named:
    """The settings; of a choice that wants weights with a file of its `random_weights` as the user's own."""
    if not hasattr(choice, "wanted_weights"):
        return settings
    if not hasattr(choice, "random_weights"):
        pytest.fail(f"{choice.__name__} has wanted_weights: add random_weights(settings) -> {{name: Tensor}} for tests")
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(0)
    state = {name: tensor.clone().contiguous() for name, tensor in choice.random_weights(settings).items()}
    key, path = choice.wanted_weights(settings).key, folder / "random.safetensors"
    save_file(state, path)
    pin = {f"{key}_sha256": sha256_file(path)} if f"{key}_sha256" in settings else {}
    return {**settings, key: str(path), **pin}


def check_wanted_weights(choice: ModuleType, settings: Named) -> None:
    """Asserts that a choice says which weights it wants, where they come from, and how the user gives others."""
    weights = getattr(choice, "WEIGHTS", {})
    known = list(weights.values()) if isinstance(weights, Mapping) else [weights]
    assert hasattr(choice, "wanted_weights") or not known, "what is published is wanted by wanted_weights"
    if hasattr(choice, "wanted_weights"):
        wanted = choice.wanted_weights(settings)
        assert wanted.published in (None, *known), "WEIGHTS makes it known to sammil weights"
        assert choice.wanted_weights({**settings, wanted.key: "mine.pth"}).own == Path("mine.pth")
    for one in known:
        assert re.fullmatch(r"[0-9a-f]{64}", one.sha256)
        assert (one.url[:8], one.page[:8], Path(one.file_name).name) == ("https://", "https://", one.file_name)
        assert one.licence
        assert one.hub is None or re.fullmatch(r"[0-9a-f]{40}", one.hub.revision), (
            "a branch's file changes: pin a commit"
        )
        assert one.hub or not one.gated, "only the hub's files are gated"
