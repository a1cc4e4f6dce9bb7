"""Bags for the models: read from files when they are wanted, kept while they fit in memory."""

import logging
import os
from collections import Counter
from pathlib import Path

import torch

from sammil_cli.errors import InputError
from sammil_cli.features.bag import EncoderFacts, FeatureBag, read_bag, read_encoder
from sammil_cli.mil.contract import Bag

_SHARE_OF_MEMORY = 0.4
_MPP_SPREAD = 1.1  # scanners of one magnification differ by less

log = logging.getLogger(__name__)


class BagFolder:
    """A folder of bag files, one per slide, as tensors on a device.

    Raises:
        InputError: no bags, or bags of more than one encoder.
    """

    def __init__(self, folder: Path, device: str) -> None:
        self.paths = {path.stem: path for path in sorted(folder.glob("*.h5"))}
        if not self.paths:
            raise InputError(f"there are no bags in {folder}", remedy="run: sammil extract")
        self._device = device
        self._kept: dict[str, Bag] = {}
        self._encoder: EncoderFacts | None = None
        self._keep = sum(path.stat().st_size for path in self.paths.values()) < _SHARE_OF_MEMORY * _memory(device)

    def load(self, slide_id: str) -> Bag:
        """One bag as tensors; features become float32."""
        if slide_id in self._kept:
            return self._kept[slide_id]
        with torch.inference_mode(False):  # a bag that is first met in prediction may be trained on later
            bag = to_tensors(self.read(slide_id), self._device)
        if self._keep:
            self._kept[slide_id] = bag
        return bag

    def read(self, slide_id: str) -> FeatureBag:
        """One bag as it is on disk."""
        return read_bag(self.paths[slide_id])

    def encoder(self, slide_ids: list[str]) -> EncoderFacts:
        """The encoder that all these bags come from.

        Raises:
            InputError: they come from more than one; the message counts them.
        """
        facts = {slide: read_encoder(self.paths[slide]) for slide in slide_ids}
        kinds = Counter((f.name, f.weights_sha256, f.dim, f.patch_px) for f in facts.values())
        if len(kinds) > 1:
            listing = "; ".join(f"{n} slides: {k[0]}, {k[2]}-d, {k[3]} px" for k, n in kinds.most_common())
            raise InputError(f"the bags come from different encoders: {listing}", remedy="run sammil extract again")
        mpps = [f.patch_mpp for f in facts.values()]
        if max(mpps) > _MPP_SPREAD * min(mpps):  # allowed: the paper reads level 0, whatever it is
            log.warning(
                "patches are of %.3g to %.3g µm per pixel: patch_mpp would make them alike", min(mpps), max(mpps)
            )
        return facts[slide_ids[0]]


def to_tensors(bag: FeatureBag, device: str) -> Bag:
    """A bag as tensors on a device."""
    return Bag(
        features=torch.from_numpy(bag.features).to(device, torch.float32),
        group_features=torch.from_numpy(bag.group_features).to(device, torch.float32),
        region=torch.from_numpy(bag.region).to(device, torch.int64),
        group_region=torch.from_numpy(bag.group_region).to(device, torch.int64),
        region_area=torch.from_numpy(bag.region_area).to(device, torch.float32),
    )


def _memory(device: str) -> int:
    """Bytes of memory of the device in all."""
    if device.startswith("cuda"):
        return int(torch.cuda.get_device_properties(device).total_memory)
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
