"""The feature bag: one slide for learning, in memory and on disk."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from sammil_cli.errors import SlideError
from sammil_cli.features.encoder_details import EncoderDetails
from sammil_cli.regions.membership import Membership
from sammil_cli.storage.files import Record
from sammil_cli.storage.hdf5 import Arrays, Facts, read_hdf5, write_hdf5
from sammil_cli.storage.paths import BagPath

MadeWith = Mapping[str, Mapping[str, object]]  # stage -> its settings by key; what is not known is not there


@dataclass(frozen=True, kw_only=True)
class EncoderFacts(EncoderDetails):
    """What made the features: bags of different encoders are never mixed."""

    name: str
    weights_sha256: str | None
    dim: int
    patch_px: int
    patch_mpp: float
    patch_px_level0: int


@dataclass(frozen=True, kw_only=True)
class Instances:
    """What a model sees of a slide: patches and group features, two blocks; n patches, m regions, g group features."""

    features: NDArray[np.floating[Any]]  # (n, d)
    region: NDArray[np.int32]  # (n,) the smallest region that covers the patch, -1 = none
    region_area: NDArray[np.int64]  # (m,) pixels of the paper's canvas, as eq. 7 needs
    group_features: NDArray[np.floating[Any]]  # (g, d)
    group_region: NDArray[np.int32]  # (g,) the region each group feature stands for
    members: Membership  # all patch-region pairs, over the m regions


@dataclass(frozen=True, kw_only=True)
class FeatureBag(Instances):
    """One slide for learning, with where everything lies and what made it."""

    slide_id: str
    xy: NDArray[np.int32]  # (n, 2) level-0 corners; (-1, -1) where an older tool did not keep them
    region_area_um2: NDArray[np.float64]  # (m,); NaN where the scale is unknown
    encoder: EncoderFacts
    made_with: MadeWith = field(default_factory=dict)  # see `features.making`


def mean_group_features(
    features: NDArray[np.floating[Any]], members: Membership
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """The group feature g_r = mean of the features of region r's member patches (eq. 3).

    Returns:
        (g, d) group features of the regions that have members, and (g,) their region ids, rising.
    """
    size = members.size
    pick = csr_matrix(
        (np.ones(len(members.patch), np.float32), members.patch, members.start), shape=(len(size), len(features))
    )
    held = np.flatnonzero(size)
    sums = np.asarray(pick[held] @ features.astype(np.float32))
    return (sums / size[held, None]).astype(np.float32), held.astype(np.int32)


def check_finite(features: NDArray[np.floating[Any]]) -> None:
    """Refuses features that would poison training.

    Raises:
        SlideError: `E_NAN`, with the first bad patch.
    """
    bad = np.flatnonzero(~np.isfinite(features).all(axis=1))
    if len(bad):
        raise SlideError(
            "E_NAN",
            f"{len(bad)} of {len(features)} patches have NaN or infinite features, the first is patch {bad[0]}",
            remedy="look at these patches"
            + ("; where float16 overflowed, set feature_dtype: float32" if features.dtype == np.float16 else ""),
            set_aside=False,
        )


_ARRAYS = ("features", "xy", "region", "region_area", "region_area_um2", "group_features", "group_region")
_MEMBERS = ("member_start", "member_patch")
_ENCODER = tuple(field.name for field in fields(EncoderFacts))


def write_bag(path: BagPath, bag: FeatureBag, provenance: Record) -> None:
    """Writes the bag; arrays are contiguous, so that they load at the disk's speed."""
    arrays = {name: getattr(bag, name) for name in _ARRAYS}
    arrays |= dict(zip(_MEMBERS, (bag.members.start, bag.members.patch), strict=True))
    facts = {f"encoder_{name}": getattr(bag.encoder, name) for name in _ENCODER}
    facts |= {"made_with": json.dumps(bag.made_with, sort_keys=True)}
    write_hdf5(path, "bag", arrays, {"slide_id": bag.slide_id, **facts}, provenance, rules=_wrong)


def read_bag(path: BagPath) -> FeatureBag:
    """Reads what `write_bag` wrote; `InputError` as `storage.hdf5.read_hdf5`, also for parts that do not fit together.

    The arrays are mapped from the file (see `storage.hdf5.read_hdf5`): they are read where and when they are used.
    """
    arrays, facts = read_hdf5(path, "bag", mapped=True, rules=_wrong)
    return FeatureBag(
        slide_id=facts["slide_id"],
        members=_members(arrays),
        encoder=_encoder_facts(facts),
        made_with=_made_with(facts),
        **{name: arrays[name] for name in _ARRAYS},
    )


def read_instances(path: BagPath) -> Instances:
    """What a model sees of a bag, mapped as `read_bag` does it, without what it does not see."""
    names = tuple(field.name for field in fields(Instances) if field.name in _ARRAYS)
    arrays, _ = read_hdf5(path, "bag", arrays=(*names, *_MEMBERS), mapped=True, rules=_wrong)
    return Instances(**{name: arrays[name] for name in names}, members=_members(arrays))


def read_corners(path: BagPath) -> tuple[NDArray[np.int32], int]:
    """Level-0 corners of the patches (n, 2), and the patches' side in level-0 pixels; reads no features."""
    arrays, facts = read_hdf5(path, "bag", arrays=("xy",))
    return arrays["xy"], _encoder_facts(facts).patch_px_level0


def read_encoder(path: BagPath) -> EncoderFacts:
    """What made a bag's features; reads no features. `InputError` where it is no bag."""
    return read_origin(path)[0]


def read_origin(path: BagPath) -> tuple[EncoderFacts, MadeWith]:
    """What made a bag's features, and the settings that it was made with; reads and raises as `read_encoder`."""
    facts = read_hdf5(path, "bag", arrays=False)[1]
    return _encoder_facts(facts), _made_with(facts)


def _members(arrays: Mapping[str, NDArray[Any]]) -> Membership:
    start, patch = (arrays[name] for name in _MEMBERS)
    return Membership(start=start, patch=patch)


def _encoder_facts(facts: Mapping[str, Any]) -> EncoderFacts:
    values: dict[str, Any] = {name: facts.get(f"encoder_{name}") for name in _ENCODER}
    return EncoderFacts(**values)


def _made_with(facts: Mapping[str, object]) -> MadeWith:
    known: MadeWith = json.loads(str(facts.get("made_with", "{}")))  # older bags and those of other tools do not say it
    return known


def _wrong(arrays: Arrays, facts: Facts) -> str:
    """What is wrong between the arrays and attributes of a bag."""
    patches, dim = arrays["features"].shape
    start, patch = (arrays[name] for name in _MEMBERS)
    regions = len(arrays["region_area"])
    if not patches:
        return "it holds no patch"
    if dim != facts["encoder_dim"]:
        return f"its features are {dim}-d, and its encoder {facts['encoder_name']} gives {facts['encoder_dim']}-d"
    if start[0] != 0 or start[-1] != len(patch):
        return f"its member_start does not go from 0 to the {len(patch)} members in {regions} regions"
    if len(patch) and patch.max() >= patches:
        return f"its regions have members that it does not have: it has {patches} patches"
    if any(len(arrays[name]) and arrays[name].max() >= regions for name in ("region", "group_region")):
        return f"it names regions that it does not have: it has {regions}"
    if "xy" in arrays and (arrays["xy"] < 0).any() and not (arrays["xy"] == -1).all():
        return "some of its patches have no place"
    made = _made_with(facts)
    if not all(isinstance(settings, dict) for settings in made.values()):
        return "its made_with holds no settings"
    if math.isnan(facts["encoder_patch_mpp"]) and "patch" in made:  # only older tools may leave it unknown
        return "its encoder_patch_mpp is no number"
    return ""
