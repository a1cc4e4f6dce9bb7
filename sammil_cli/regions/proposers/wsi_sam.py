"""WSI-SAM's automatic masks: SAM's grid of points, decoded in two resolutions (docs/methods.md §12, §14).

See `regions.wsi_sam`. Torch comes in where it is used, as in `proposers.sam`, whose settings these are besides the
tokens'.
"""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sammil_cli.choices import Named
from sammil_cli.regions.light_torchvision import import_torchvision
from sammil_cli.regions.propose import View
from sammil_cli.regions.proposers import sam
from sammil_cli.regions.region_map import Proposal
from sammil_cli.regions.wsi_sam.published_files import PUBLISHED_FILES
from sammil_cli.storage.weights import WantedWeights

if TYPE_CHECKING:
    from sammil_cli.regions.wsi_sam.model import WsiSam

HINT = "SAM in two resolutions"
SETTINGS = (*sam.SETTINGS, "wsi_sam_tokens", "wsi_sam_tokens_sha256")
LOCAL = (*sam.LOCAL, "wsi_sam_tokens", "wsi_sam_tokens_sha256")
ADVICE = sam.ADVICE
WEIGHTS = sam.WEIGHTS


def wanted_weights(settings: Named) -> WantedWeights:
    """The checkpoint of the frozen SAM, see `proposers.sam`, and the tokens beside it."""
    return replace(sam.wanted_weights(settings), beside=_wanted_tokens(settings))


def _wanted_tokens(settings: Named) -> WantedWeights:
    own = Path(settings["wsi_sam_tokens"]) if settings["wsi_sam_tokens"] else None
    pin = settings["wsi_sam_tokens_sha256"]
    return WantedWeights(published=None, key="wsi_sam_tokens", own=own, own_sha256=pin, parts=PUBLISHED_FILES)


def check(settings: Named, device: str) -> None:
    """Refuses settings that cannot work, before any slide.

    Raises:
        InputError, MissingError: see `check_embedder`. MissingError: a checkpoint of the user's own that does not
            fit the model, or tokens that are not here or belong to another SAM.
    """
    import_torchvision()
    from sammil_cli.regions.sam_models.embed import check_embedder
    from sammil_cli.regions.wsi_sam.tokens import check_sam, read_tokens

    check_embedder(settings, device)
    wanted = wanted_weights(settings)
    if wanted.to_fetch:  # it may yet have to come
        check_sam(read_tokens(_wanted_tokens(settings).find()[0]), wanted.to_fetch.sha256)
    else:
        _load(settings)


def make(settings: Named, device: str) -> "WsiSamProposer":
    """Loads the model; see `regions.propose`.

    Raises:
        MissingError: no weights, or they do not fit the model or each other.
    """
    return WsiSamProposer(_load(settings).to(device), settings, wanted_weights(settings).identify())


def _load(settings: Named) -> "WsiSam":
    import_torchvision()
    from sammil_cli.regions.wsi_sam.tokens import load_wsi_sam

    (path, sha256), (tokens, _) = wanted_weights(settings).files()
    return load_wsi_sam(path, settings["sam_model"], tokens, sam_sha256=sha256, colours=settings["sam_colours"])


class WsiSamProposer:
    """Masks of the whole view and of its crops; they may overlap. Masks that miss the tissue are dropped."""

    partition = False
    wider = True

    def __init__(self, model: "WsiSam", settings: Named, sha256: str | None) -> None:
        from sammil_cli.regions.wsi_sam.engine import DualEngine

        self.weights_sha256 = sha256
        self._on_tissue = settings["sam_points"] == "tissue"
        self._engine = DualEngine(model, sam.asked(settings))

    def propose(self, view: View) -> list[Proposal]:
        """The masks, each crop's best first."""
        if view.around is None:
            raise ValueError("the view does not show what lies around it")
        records = self._engine.generate(view.image, view.around, view.tissue if self._on_tissue else None)
        return sam.on_tissue(records, view.tissue)


def workload(settings: Named, tissue: NDArray[np.bool_]) -> dict[str, float]:
    """What a view with this tissue (h, w) asks for, in units of `rates`: crops, each with its LR, and prompts."""
    return sam.workload(settings, tissue)


def rates(settings: Named, device: str, view: View) -> dict[str, float]:
    """Seconds per unit of `workload`, measured on a view, here and now; no weights are needed."""
    import_torchvision()
    from sammil_cli.regions.wsi_sam.engine import measure

    return measure(settings, device, view.image)
