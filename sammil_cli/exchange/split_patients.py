"""Splits of an older run that name patients where slides are meant."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from sammil_cli.cohort.label_table import contained
from sammil_cli.errors import InputError
from sammil_cli.legacy.tables import Split

_SHOWN = 3


def plain(slide: str, known: set[str]) -> str:
    """Splits name slides with or without suffix."""
    shorter = slide.rpartition(".")[0]
    return shorter if slide not in known and shorter in known else slide


def slides_of_patients(
    splits: list[Split], slides: set[str], patient_of: Mapping[str, str], remarks: list[str]
) -> list[Split]:
    """Puts slides in the place of patients.

    An id that is no slide's is a patient's where the labels say so or, where the splits name no slide at all, where it
    is part of slides' names.

    Args:
        slides: ids of the slides at hand. patient_of: slide -> patient, of the labels.

    Raises:
        InputError: a slide has the ids of two patients that a split gives to different parts.
    """
    known = slides | set(patient_of)
    named = {slide for split in splits for ids in split.parts.values() for slide in ids}
    strange = {slide for slide in named if plain(slide, known) not in known}
    own: dict[str, set[str]] = {}
    for slide, patient in patient_of.items():
        if patient in strange:
            own.setdefault(patient, set()).add(slide)
    if strange == named:
        for slide, ids in contained(strange - set(own), slides).items():
            own.setdefault(max(sorted(ids), key=len), set()).add(slide)
    if not own:
        return splits
    count = len(set().union(*own.values()))
    shown = ", ".join(sorted(own)[:_SHOWN]) + (" …" if len(own) > _SHOWN else "")
    remarks.append(f"the splits name patients: {len(own)} of them ({shown}) stand for their {count} slides")
    return [replace(split, parts=_parts(split.path, split.parts, own)) for split in splits]


def _parts(path: Path, parts: Mapping[str, tuple[str, ...]], own: Mapping[str, set[str]]) -> dict[str, tuple[str, ...]]:
    found: dict[str, dict[str, None]] = {role: {} for role in parts}
    for role, ids in parts.items():
        for name in ids:
            found[role] |= dict.fromkeys(sorted(own[name]) if name in own else [name])
    role_of: dict[str, str] = {}
    for role, slides in found.items():
        for slide in slides:
            if role_of.setdefault(slide, role) != role:
                raise InputError(
                    f"{path}: slide {slide!r} has the ids of two patients, of {role_of[slide]} and of {role}",
                    remedy="name slides in the splits, or give labels with a column patient_id: --labels FILE",
                )
    return {role: tuple(slides) for role, slides in found.items()}
