"""Whether bags are made as those that a model learned from: what decides is compared, and both values are named."""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from sammil_cli import choices
from sammil_cli.errors import InputError
from sammil_cli.features.making import WEIGHTS, Making, shared
from sammil_cli.features.own_patches import MPP_SPREAD
from sammil_cli.mil.model_spec import ModelSpec
from sammil_cli.training.encoder_check import check_encoder
from sammil_cli.training.model_facts import ModelFacts, TrainedOn

_MEMBERSHIP = ("membership_rule", "membership_min_share")
_ALIKE = ("encode_backend",)  # features differ by rounding
_NEARLY_ALIKE = ("sam_precision", "sam_backend", "sam_points")  # SAM's masks differ a little
_KNOWN_BETTER = ("patch_px", "patch_mpp")  # the encoder's facts say what they are, and not what was asked for
_SIDE, _PREPARATION = ("extract", "encoder_input_px"), ("extract", "preparation")
# What the bag's encoder says itself, by its attribute; in bags of earlier versions it says nothing.
_OF_ENCODER = {"pooling": ("extract", "encoder_pooling"), "preparation": _PREPARATION}
_NO_SETTINGS = (WEIGHTS, "preparation")
_SHOWN = 3

Values = dict[tuple[str, str], object]  # (stage, key) -> value


@dataclass(frozen=True, kw_only=True)
class Likeness:
    """How a bag compares with those of a training.

    `other`: what decides and differs, such as `patch_px 128 in training, 64 in these bags`. `settings`: with which
    settings it would be the same, `key=value` by stage. `remarks`: what differs and changes which patches there are,
    not what they show. `unknown`: what the bag or the model does not say.
    """

    other: Sequence[str]
    settings: Mapping[str, Sequence[str]]
    remarks: Sequence[str]
    unknown: Sequence[str]


def sees_regions(model: str, spec: ModelSpec) -> bool:
    """Whether regions change what a model says of a slide: by group features; a plug-in may look at more than these."""
    return spec.group_features or not choices.module_name(choices.MODELS, model).startswith("sammil_cli.")


def trained_on(makings: Mapping[str, Making], slides: Sequence[str]) -> TrainedOn:
    """What a trained model keeps of the bags of these slides."""
    used = [makings[slide] for slide in slides]
    mpps = [making.encoder.patch_mpp for making in used]
    return TrainedOn(
        slides=tuple(sorted(slides)),
        patch_mpp=(min(mpps), max(mpps)) if all(mpp > 0 for mpp in mpps) else None,
        made_with=shared(making.made_with for making in used),
    )


def check_bag(making: Making, facts: ModelFacts, *, remedy: str = "") -> Likeness:
    """Refuses a bag in which a model would see something else than what it learned from.

    Args:
        remedy: what else can be done about it.

    Raises:
        InputError: another encoder, other patches, or other regions where the model sees them.
    """
    more = f"; or {remedy}" if remedy else ""
    check_encoder(
        making.encoder, facts.encoder, remedy=f"give bags of the model's encoder: sammil extract, --bags{more}"
    )
    likeness = compare(making, facts)
    if likeness.other:
        stages = [stage for stage in ("patch", "sam", "extract") if stage in likeness.settings or stage == "extract"]
        commands = [" -S ".join([f"sammil {stage}", *likeness.settings.get(stage, ())]) for stage in stages]
        raise InputError(
            f"the bags are made otherwise than those that the model learned from: {'; '.join(likeness.other)}",
            remedy=f"make them alike: {', then '.join(commands)}{more}",
        )
    return likeness


def compare(making: Making, facts: ModelFacts) -> Likeness:
    """Compares a bag with those that a model learned from, but for the encoder."""
    on = facts.trained_on or TrainedOn(slides=(), patch_mpp=_only(facts.encoder.patch_mpp), made_with={})
    trained = Making(encoder=facts.encoder, made_with=on.made_with)
    regions = sees_regions(facts.model, facts.spec)
    then, now = _said_once([_decisive(trained, regions), _decisive(making, regions)])
    other, settings = [], defaultdict[str, list[str]](list)
    for stage, key in _differing(then, now):
        other.append(_both(key, then[stage, key], now[stage, key]))
        settings[stage] += [f"{key}={_text(then[stage, key])}"] if key not in _NO_SETTINGS else []
    mpp = _only(making.encoder.patch_mpp)
    if on.patch_mpp and mpp:
        low, high = on.patch_mpp
        if not low / MPP_SPREAD <= mpp[0] <= high * MPP_SPREAD:
            said = f"{low:.3g}" if f"{low:.3g}" == f"{high:.3g}" else f"{low:.3g} to {high:.3g}"
            other.append(f"patch_mpp {said} in training, {mpp[0]:.3g} in these bags")
            settings["patch"].append(f"patch_mpp={low if mpp[0] < low else high:.4g}")
    mild = _mild(trained, regions), _mild(making, regions)
    known = {"patch_mpp": bool(on.patch_mpp and mpp), "patch_px": ("patch", "patch_px") in then.keys() & now.keys()}
    known |= {"regions": all("sam" in one.made_with for one in (trained, making))} if regions else {}
    return Likeness(
        other=other,
        settings=settings,
        remarks=[_both(place[1], mild[0][place], mild[1][place]) for place in _differing(*mild)],
        unknown=[name for name, is_known in known.items() if not is_known],
    )


def check_alike(makings: Mapping[str, Making], *, regions: bool) -> list[str]:
    """Refuses bags of one training that differ among themselves in what decides.

    Args:
        makings: by slide. regions: whether the training uses regions.

    Returns:
        Remarks on what differs and changes which patches there are, not what they show.

    Raises:
        InputError: each key with its values, how many bags have each, and some of the slides of all but the commonest.
    """
    decisive = _said_once([_decisive(making, regions) for making in makings.values()])
    if lines := list(_spreads(dict(zip(makings, decisive, strict=True)))):
        raise InputError(
            f"the bags are not made alike: {'; '.join(lines)}",
            remedy="make them with one params.yaml: sammil patch, sammil sam, sammil extract; or delete the odd ones",
        )
    mild = _spreads({slide: _mild(making, regions) for slide, making in makings.items()})
    return [f"the bags do not choose patches alike: {line}" for line in mild]


def _decisive(making: Making, regions: bool) -> Values:
    """What is known of how a bag was made and changes what a patch or a region is, µm per pixel apart."""
    values: Values = {("patch", "patch_px"): making.encoder.patch_px} if making.encoder.patch_px > 0 else {}
    for key, value in making.made_with.get("extract", {}).items():
        if key not in _ALIKE and (regions or key not in _MEMBERSHIP):
            values["extract", key] = value
    values |= {at: known for name, at in _OF_ENCODER.items() if (known := getattr(making.encoder, name)) is not None}
    for key, value in making.made_with.get("sam", {}).items():
        if regions and key not in _NEARLY_ALIKE:
            values["sam", key] = value
    return values


def _said_once(values: list[Values]) -> list[Values]:
    """The values without the preparation where the encoder's input side differs, with which it differs, too."""
    if len({one[_SIDE] for one in values if _SIDE in one}) < 2:
        return values
    return [{place: value for place, value in one.items() if place != _PREPARATION} for one in values]


def _mild(making: Making, regions: bool) -> Values:
    """What is known besides, and hardly changes what a model says."""
    known = making.made_with
    values: Values = {("patch", k): v for k, v in known.get("patch", {}).items() if k not in _KNOWN_BETTER}
    return values | {("sam", k): v for k, v in known.get("sam", {}).items() if regions and k in _NEARLY_ALIKE}


def _differing(then: Values, now: Values) -> list[tuple[str, str]]:
    """Keys that both know, with different values."""
    return [place for place in then if place in now and then[place] != now[place]]


def _spreads(values: Mapping[str, Values]) -> Iterator[str]:
    """A line for each key that not all slides which know it agree on."""
    for place in dict.fromkeys(place for one in values.values() for place in one):
        slides = defaultdict[str, list[str]](list)
        for slide, one in values.items():
            if place in one:
                slides[_said(place[1], one[place])].append(slide)
        if len(slides) > 1:
            commonest, *others = sorted(slides.items(), key=lambda item: -len(item[1]))
            parts = [f"{commonest[0]} in {len(commonest[1])} bags"]
            for value, odd in others:
                more = ", …" if len(odd) > _SHOWN else ""
                parts.append(f"{value} in {len(odd)} ({', '.join(odd[:_SHOWN])}{more})")
            yield f"{_word(place[1])} {', '.join(parts)}"


def _both(key: str, then: object, now: object) -> str:
    return f"{_word(key)} {_said(key, then)} in training, {_said(key, now)} in these bags"


def _word(key: str) -> str:
    return "weights of the regions" if key == WEIGHTS else key


def _said(key: str, value: object) -> str:
    return str(value)[:8] if key == WEIGHTS else _text(value)


def _text(value: object) -> str:
    """A value as params.yaml has it."""
    return value if isinstance(value, str) else json.dumps(value)


def _only(mpp: float) -> tuple[float, float] | None:
    return (mpp, mpp) if mpp > 0 else None  # NaN is not
