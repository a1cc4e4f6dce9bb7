"""Bags for the models: mapped from their files on the CPU, moved once to a GPU while they fit into its memory."""

import logging
import resource
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sammil_cli.errors import InputError
from sammil_cli.features.bag import EncoderFacts, FeatureBag, Instances, read_bag, read_encoder, read_instances
from sammil_cli.features.encoder_details import agreed
from sammil_cli.features.own_patches import MPP_SPREAD
from sammil_cli.features.places import read_places
from sammil_cli.mil.contract import Bag, MILModel
from sammil_cli.storage.paths import BagPath

_SHARE_OF_MEMORY = 0.4  # of a GPU's; the rest is for the training step
_SHARE_OF_FILES = 0.5  # of those that a process may hold open; a mapped bag is one

log = logging.getLogger(__name__)


class BagFolder:
    """A folder of bag files, one per slide, as tensors on a device.

    A bag is opened once per process: on the CPU it costs no memory, since its features stay in the file; on a GPU
    bags are kept when those of the whole folder fit.

    Raises:
        InputError: no bags, or bags of more than one encoder.
    """

    def __init__(self, folder: Path, device: str) -> None:
        self.paths = {path.stem: BagPath(path) for path in sorted(folder.glob("*.h5"))}
        if not self.paths:
            raise InputError(f"there is no bag in {folder}", remedy="run: sammil extract")
        self._device = device
        self._kept: dict[tuple[str, bool, bool], Bag] = {}
        self._opened: dict[Path, FeatureBag] = {}
        self._most_kept = _most_kept(list(self.paths.values()), device)

    def of_model(self, model: MILModel) -> Callable[[str], Bag]:
        """`load` with all that this model reads."""
        return partial(self.load, places=model.needs_places, flagged=model.spec.group_feature_flag)

    def load(self, slide_id: str, *, places: bool = False, flagged: bool = False) -> Bag:
        """One bag as tensors; its features keep the precision of the file.

        Args:
            places: whether the bag says where its patches lie (`Bag.places`).
            flagged: whether its instances say what they are (`Bag.flagged`).
        """
        key = (slide_id, places, flagged)
        if key in self._kept:
            return self._kept[key]
        with torch.inference_mode(False):  # a bag that is first met in prediction may be trained on later
            path = self.paths[slide_id]
            seen = self._opened.get(path) or read_instances(path)
            bag = to_tensors(seen, self._device, read_places(path) if places else None, flagged=flagged)
        if len(self._kept) < self._most_kept:
            self._kept[key] = bag
        return bag

    def read(self, slide_id: str) -> FeatureBag:
        """One bag as it is on disk."""
        path = self.paths[slide_id]
        return self._opened.get(path) or read_bag(path)

    def open(self, path: BagPath) -> FeatureBag:
        """Opens a bag file and keeps it for `read` and `load`; on the CPU only, within the limit of open files."""
        bag = self._opened.get(path) or read_bag(path)
        if self._device == "cpu" and len(self._opened) < self._most_kept:
            self._opened[path] = bag
        return bag

    def encoder(self, slide_ids: list[str]) -> EncoderFacts:
        """The encoder that all these bags come from; of its details those that the bags which know them agree on.

        Raises:
            InputError: they come from more than one; the message counts them.
        """
        facts = {slide: read_encoder(self.paths[slide]) for slide in slide_ids}
        kinds = Counter((f.name, f.weights_sha256, f.dim, f.patch_px) for f in facts.values())
        if len(kinds) > 1:
            listing = "; ".join(f"{n} slides: {k[0]}, {k[2]}-d, {k[3]} px" for k, n in kinds.most_common())
            raise InputError(f"the bags come from different encoders: {listing}", remedy="run sammil extract again")
        mpps = [f.patch_mpp for f in facts.values()]
        if max(mpps) > MPP_SPREAD * min(mpps):  # allowed: the published code reads level 0, whatever it is
            log.warning(
                "patches are of %.3g to %.3g µm per pixel: patch_mpp would make them alike", min(mpps), max(mpps)
            )
        return replace(facts[slide_ids[0]], **asdict(agreed(list(facts.values()))))


def to_tensors(bag: Instances, device: str, places: NDArray[np.float32] | None = None, *, flagged: bool = False) -> Bag:
    """A bag as tensors on a device.

    Features keep their precision when it is float16 or float32, and become float32 when it is another. On the CPU they
    share the memory of `bag`, which for a bag from a file is the file itself.
    """
    return Bag(
        features=_move(_floats(bag.features), device),
        group_features=_move(_floats(bag.group_features), device),
        region=_move(torch.from_numpy(bag.region).long(), device),
        group_region=_move(torch.from_numpy(bag.group_region).long(), device),
        region_area=_move(torch.from_numpy(bag.region_area).float(), device),
        member_start=_move(torch.from_numpy(bag.members.start), device),
        member_patch=_move(torch.from_numpy(bag.members.patch), device),
        places=None if places is None else _move(torch.from_numpy(places), device),
        flagged=flagged,
    )


def _floats(features: NDArray[np.floating[Any]]) -> torch.Tensor:
    tensor = torch.from_numpy(features)
    return tensor if tensor.dtype in (torch.float16, torch.float32) else tensor.float()


def _move(tensor: torch.Tensor, device: str) -> torch.Tensor:
    if device.startswith("cuda"):  # out of pinned memory the copy runs beside the next kernels
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def _most_kept(paths: list[BagPath], device: str) -> int:
    """How many bags a process holds at once."""
    if device == "cpu":
        files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        return len(paths) if files == resource.RLIM_INFINITY else int(_SHARE_OF_FILES * files)
    fits = sum(path.stat().st_size for path in paths) < _SHARE_OF_MEMORY * _memory(device)
    return len(paths) if fits else 0


def _memory(device: str) -> int:
    """Bytes of memory of a GPU in all."""
    return int(torch.cuda.get_device_properties(device).total_memory)
