"""The Segment Anything Model's automatic masks, with the paper's parameters (docs/methods.md §14).

See `regions.sam_engine`. Torch takes seconds to load and comes in where it is used: settings and weights are looked
at without.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sammil_cli.choices import Named
from sammil_cli.regions.light_torchvision import import_torchvision
from sammil_cli.regions.propose import View
from sammil_cli.regions.region_map import Proposal
from sammil_cli.regions.region_mask import RegionMask
from sammil_cli.storage.weights import WantedWeights, WeightFile

if TYPE_CHECKING:
    from segment_anything.modeling import Sam

    from sammil_cli.regions.sam_engine.generator import MaskRecord, MaskSettings

HINT = "the paper"
SETTINGS = (
    "sam_model",
    "sam_checkpoint",
    "sam_checkpoint_sha256",
    "sam_colours",
    "sam_points_per_side",
    "sam_pred_iou_thresh",
    "sam_stability_thresh",
    "sam_crop_layers",
    "sam_crop_points_downscale",
    "sam_points",
    "sam_precision",
    "sam_backend",
    "sam_compile",
)
LOCAL = ("sam_checkpoint", "sam_checkpoint_sha256", "sam_compile")  # do not change the regions: the weights count

_MORE = "lower sam_pred_iou_thresh and sam_stability_thresh"
_FINER = "raise sam_points_per_side or set sam_mpp"
ADVICE = {
    "no-regions": _MORE,
    "uncovered": f"{_MORE}, or raise sam_points_per_side",
    "one-region": _FINER,
    "few-regions": _FINER,
    "flat": "look at the overlay, compare with proposer superpixels",
    "fragments": "raise sam_pred_iou_thresh, or sam_mpp where it is set",
}

_BASE = "https://dl.fbaipublicfiles.com/segment_anything/"
WEIGHTS = {
    name: WeightFile(
        word=name,
        used_by=f"proposer: sam or wsi-sam, sam_model: {name}",
        file_name=file,
        url=_BASE + file,
        sha256=sha256,
        megabytes=megabytes,
        licence="Apache-2.0",
        commercial=True,
        page="https://github.com/facebookresearch/segment-anything",
    )
    for name, file, megabytes, sha256 in (
        ("vit_h", "sam_vit_h_4b8939.pth", 2564.6, "a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e"),
        ("vit_l", "sam_vit_l_0b3195.pth", 1249.5, "3adcc4315b642a4d2101128f611684e8734c41232a17c648ed1693702a49a622"),
        ("vit_b", "sam_vit_b_01ec64.pth", 375.0, "ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912"),
    )
}
WEIGHTS["vit_t"] = WeightFile(
    word="vit_t",
    used_by="proposer: sam or wsi-sam, sam_model: vit_t",
    file_name="mobile_sam.pt",
    url="https://github.com/ChaoningZhang/MobileSAM/raw/f706ad9c4eb7f219c00d9050e46328518ffb65d2/weights/mobile_sam.pt",
    sha256="6dbb90523a35330fedd7f1d3dfc66f995213d81b29a5ca8108dbcdd4e37d6c2f",
    megabytes=40.7,
    licence="Apache-2.0",
    commercial=True,
    page="https://github.com/ChaoningZhang/MobileSAM",
)


def wanted_weights(settings: Named) -> WantedWeights:
    """The checkpoint that the settings ask for.

    The published one is looked for and verified; a file of the user's own (`sam_checkpoint`, say MedSAM's) is
    taken as it is when `sam_checkpoint_sha256` pins it.
    """
    published = WEIGHTS[settings["sam_model"]]
    own = Path(settings["sam_checkpoint"]) if settings["sam_checkpoint"] else None
    sha256 = settings["sam_checkpoint_sha256"] or published.sha256
    return WantedWeights(published=published, key="sam_checkpoint", own=own, own_sha256=sha256)


def check(settings: Named, device: str) -> None:
    """Refuses settings that cannot work, before any slide.

    Raises:
        InputError, MissingError: see `check_embedder`. MissingError: a checkpoint of the user's own that does not
            fit the model.
    """
    import_torchvision()
    from sammil_cli.regions.sam_models.embed import check_embedder

    check_embedder(settings, device)
    if settings["sam_checkpoint"] and settings["sam_checkpoint_sha256"]:
        from sammil_cli.regions.sam_models.build import load_sam

        load_sam(wanted_weights(settings).find()[0], settings["sam_model"], settings["sam_colours"])


def make(settings: Named, device: str) -> "SamProposer":
    """Loads the model; see `regions.propose`.

    Raises:
        MissingError: no weights, or they do not fit the model.
    """
    import_torchvision()
    from sammil_cli.regions.sam_models.build import load_sam

    path, sha256 = wanted_weights(settings).find()
    model = load_sam(path, settings["sam_model"], settings["sam_colours"])
    return SamProposer(model.to(device), settings, sha256)


class SamProposer:
    """Masks of the whole view and of its crops; they may overlap. Masks that miss the tissue are dropped."""

    partition = False

    def __init__(self, model: "Sam", settings: Named, sha256: str | None) -> None:
        from sammil_cli.regions.sam_engine.generator import MaskEngine

        self.weights_sha256 = sha256
        self._on_tissue = settings["sam_points"] == "tissue"
        self._engine = MaskEngine(model, asked(settings))

    def propose(self, view: View) -> list[Proposal]:
        """SAM's masks in SAM's order."""
        records = self._engine.generate(view.image, view.tissue if self._on_tissue else None)
        return on_tissue(records, view.tissue)


def asked(settings: Named) -> "MaskSettings":
    """What the settings ask of an engine."""
    from sammil_cli.regions.sam_engine.generator import MaskSettings

    return MaskSettings(
        points_per_side=settings["sam_points_per_side"],
        pred_iou_thresh=settings["sam_pred_iou_thresh"],
        stability_thresh=settings["sam_stability_thresh"],
        crop_layers=settings["sam_crop_layers"],
        crop_points_downscale=settings["sam_crop_points_downscale"],
        precision=settings["sam_precision"],
        backend=settings["sam_backend"],
        compiled=settings["sam_compile"],
    )


def on_tissue(records: "Sequence[MaskRecord]", tissue: NDArray[np.bool_]) -> list[Proposal]:
    """The masks that touch the tissue (h, w), with their scores."""
    return [
        Proposal(mask=record.mask, predicted_iou=record.predicted_iou, stability=record.stability)
        for record in records
        if _touches(record.mask, tissue)
    ]


def _touches(mask: RegionMask, tissue: NDArray[np.bool_]) -> bool:
    x, y, width, height = mask.box
    return bool((mask.array() & tissue[y : y + height, x : x + width]).any())


def workload(settings: Named, tissue: NDArray[np.bool_]) -> dict[str, float]:
    """What a view with this tissue (h, w) asks for, in units of `rates`: crops and prompts."""
    import_torchvision()
    from sammil_cli.regions.sam_engine.rates import count

    return count(settings, tissue)


def rates(settings: Named, device: str, view: View) -> dict[str, float]:
    """Seconds per unit of `workload`, measured on a view, here and now; no weights are needed."""
    import_torchvision()
    from sammil_cli.regions.sam_engine.rates import measure

    return measure(settings, device, view.image)
