"""The Segment Anything Model's automatic masks, with the paper's parameters (METHODS §14)."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from segment_anything import SamAutomaticMaskGenerator, sam_model_registry

from sammil_cli.errors import MissingError
from sammil_cli.regions.propose import View
from sammil_cli.regions.region_map import Proposal
from sammil_cli.regions.region_mask import RegionMask
from sammil_cli.storage.state_dict import load_state
from sammil_cli.storage.weights import WeightFile, find_weights

SETTINGS = (
    "sam_model",
    "sam_points_per_side",
    "sam_pred_iou_thresh",
    "sam_stability_thresh",
    "sam_crop_layers",
    "sam_crop_points_downscale",
)

_BASE = "https://dl.fbaipublicfiles.com/segment_anything/"
WEIGHTS = {
    name: WeightFile(file_name=file, url=_BASE + file, sha256=sha256, licence="Apache-2.0")
    for name, file, sha256 in (
        ("vit_h", "sam_vit_h_4b8939.pth", "a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e"),
        ("vit_l", "sam_vit_l_0b3195.pth", "3adcc4315b642a4d2101128f611684e8734c41232a17c648ed1693702a49a622"),
        ("vit_b", "sam_vit_b_01ec64.pth", "ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912"),
    )
}


def pinned_weights(settings: Mapping[str, Any]) -> WeightFile:
    """The published checkpoint of the model that the settings name."""
    return WEIGHTS[settings["sam_model"]]


def find_checkpoint(settings: Mapping[str, Any]) -> tuple[Path, str]:
    """The checkpoint file and its sha256.

    The published one is looked for and verified; a file of the user's own (`sam_checkpoint`, say MedSAM's) is
    taken as it is when `sam_checkpoint_sha256` pins it.

    Raises:
        MissingError: no file, or its content is not what is pinned.
    """
    given = Path(settings["sam_checkpoint"]) if settings["sam_checkpoint"] else None
    pinned = pinned_weights(settings)
    own = settings["sam_checkpoint_sha256"]
    if given and own:
        pinned = WeightFile(file_name=given.name, url=str(given), sha256=own, licence="your own")
    return find_weights(pinned, given), pinned.sha256


def make(settings: Mapping[str, Any], device: str) -> "SamProposer":
    """Loads the model; see `regions.propose`.

    Raises:
        MissingError: no weights, or they do not fit the model.
    """
    path, sha256 = find_checkpoint(settings)
    model = sam_model_registry[settings["sam_model"]](checkpoint=None)
    try:
        model.load_state_dict(load_state(path))
    except RuntimeError as error:
        raise MissingError(
            f"{path} does not fit {settings['sam_model']}: {str(error).splitlines()[0]}",
            remedy="set sam_model to the model the checkpoint belongs to",
        ) from None
    return SamProposer(model.to(device).eval(), settings, sha256)


class SamProposer:
    """`segment_anything.SamAutomaticMaskGenerator` on the whole canvas; masks that miss the tissue are dropped."""

    def __init__(self, model: torch.nn.Module, settings: Mapping[str, Any], sha256: str | None) -> None:
        self.weights_sha256 = sha256
        self._generator = SamAutomaticMaskGenerator(
            model,
            points_per_side=settings["sam_points_per_side"],
            pred_iou_thresh=settings["sam_pred_iou_thresh"],
            stability_score_thresh=settings["sam_stability_thresh"],
            crop_n_layers=settings["sam_crop_layers"],
            crop_n_points_downscale_factor=settings["sam_crop_points_downscale"],
        )

    def propose(self, view: View) -> list[Proposal]:
        """SAM's masks in SAM's order; they may overlap."""
        with torch.inference_mode():
            records = self._generator.generate(view.image)
        return [
            Proposal(
                mask=RegionMask.of(record["segmentation"]),
                predicted_iou=float(record["predicted_iou"]),
                stability=float(record["stability_score"]),
            )
            for record in records
            if (record["segmentation"] & view.tissue).any()
        ]
