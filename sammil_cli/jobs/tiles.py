"""tiles, one slide: a folder of pre-cut tiles -> a feature bag without regions."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sammil_cli.config import TilesSettings
from sammil_cli.errors import SlideError
from sammil_cli.features.bag import EncoderFacts, check_finite, write_bag
from sammil_cli.features.encoder import details_of
from sammil_cli.features.grouping import without_regions
from sammil_cli.features.making import ENCODE
from sammil_cli.features.places import measured_step
from sammil_cli.jobs.encoder_settings import patches_remark
from sammil_cli.jobs.extract import build_encoder, encode_all
from sammil_cli.patches.images import prepared
from sammil_cli.patches.tile_images import look_at, tile_readers
from sammil_cli.patches.tile_names import Unit
from sammil_cli.runner.worker import threads
from sammil_cli.storage.files import Record
from sammil_cli.storage.paths import BagPath

_TILES = ("tiles_mpp", "tiles_px_level0")  # what a bag keeps of the settings of the tiles themselves
_MOST = 2**31 - 1


@dataclass(frozen=True, kw_only=True)
class TilesJob:
    """What one slide's bag is made from.

    `names`: the tiles' file names in `folder`, in the order of the bag. `places`: (n, 2) column and row as the names
    say them, None = they say none; `unit`: what these numbers are.
    """

    slide_id: str
    folder: Path
    names: Sequence[str]
    places: NDArray[np.int64] | None
    unit: Unit
    settings: TilesSettings
    device: str


def work(folder: Path, record: Record, job: TilesJob) -> list[str]:
    """Writes one slide's bag into `folder`; returns remarks.

    Raises:
        SlideError: `E_TILES`, tiles of several sizes, or beyond any slide; `E_READ`, more tiles than allowed cannot be
            read; `E_FORMAT`; `E_NAN`.
    """
    settings, paths = job.settings, [job.folder / name for name in job.names]
    look = look_at(paths, 2 * threads())
    xy, side_px0, remarks = _placed(job, look.side_px)
    encoder = build_encoder(settings, job.device)
    unreadable: dict[int, SlideError] = {}
    reading = prepared(
        len(paths),
        lambda indices, most: [indices[at : at + most] for at in range(0, len(indices), most)],
        partial(tile_readers, paths, look.side_px),
        encoder.prepare,
        batch_size=settings.batch_size,
        threads=2 * threads(),
        unreadable=unreadable,
    )
    encoded = encode_all(reading, encoder)
    remarks += _left_out(len(paths), unreadable, settings.unreadable_share if encoded else 0.0)
    features = np.concatenate(encoded).astype(settings.feature_dtype)
    check_finite(features)
    facts = EncoderFacts(
        name=encoder.name,
        weights_sha256=encoder.weights_sha256,
        dim=encoder.dim,
        patch_px=look.side_px,
        patch_mpp=settings.tiles_mpp or float("nan"),
        patch_px_level0=side_px0,
        **asdict(details_of(encoder)),
    )
    if odd := patches_remark(settings, px=facts.patch_px, mpp=facts.patch_mpp):
        remarks.append(odd)
    bag = without_regions(job.slide_id, features, np.delete(xy, list(unreadable), axis=0), facts)
    made: dict[str, Mapping[str, object]] = {
        "tiles": {"places": "none" if job.places is None else job.unit}
        | {name: getattr(settings, name) for name in _TILES},
        "extract": {name: getattr(settings, name) for name in ENCODE},
    }
    write_bag(BagPath(folder / f"{job.slide_id}.h5"), replace(bag, made_with=made), record)
    turned = [f"orientation: viewers turn {look.turned} tiles (EXIF); they are taken as they are stored"]
    return [*remarks, *(turned if look.turned else [])]


def _placed(job: TilesJob, side_px: int) -> tuple[NDArray[np.int32], int, list[str]]:
    """Level-0 corners (n, 2), the side of a tile in level-0 pixels (0 = not known), and remarks.

    Counted places become pixels of a picture in which the tiles lie side by side.

    Raises:
        SlideError: `E_TILES`, a tile lies beyond any slide.
    """
    given = job.settings.tiles_px_level0
    if job.places is None:
        return np.full((len(job.names), 2), -1, np.int32), given or 0, ["no places: there will be no picture of it"]
    if job.unit == "counted":
        side = given or side_px
        corners, said = job.places * side, f"places are counted: each is taken for {side} pixels"
    else:
        side, corners = given or 0, job.places
        step = 0 if given else measured_step(corners.astype(np.int32), side_px)
        said = "" if given else f"tiles are taken to cover {step} level-0 pixels, the step between them"
        if not given and step < side_px:  # they overlap, or are too few to say
            said = "side: nothing says how many level-0 pixels a tile covers; set tiles_px_level0 in params.yaml"
        else:
            side = side or step
    if corners.max() + side > _MOST:
        raise SlideError("E_TILES", "its tiles lie beyond any slide", remedy="look at their names")
    return corners.astype(np.int32), side, [said] if said else []


def _left_out(tiles: int, unreadable: Mapping[int, SlideError], allowed: float) -> list[str]:
    """The remarks on tiles that could not be read.

    Raises:
        SlideError: `E_READ`, they are a larger share than allowed.
    """
    if not unreadable:
        return []
    first = unreadable[min(unreadable)].message
    if len(unreadable) > allowed * tiles:
        share = f"{allowed:g} now" if allowed else "0 allows none"
        remedy = f"copy them again; or leave them out: a larger unreadable_share in params.yaml ({share})"
        raise SlideError("E_READ", f"{len(unreadable)} of {tiles} tiles cannot be read, {first}", remedy=remedy)
    return [f"unreadable: {len(unreadable)} of {tiles} tiles are left out, {first}"]
