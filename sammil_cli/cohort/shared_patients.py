"""Slides whose names say that they are one patient's, though the table makes them different patients."""

import re
from collections import defaultdict
from collections.abc import Sequence

from sammil_cli.cohort.cohort import Member

_BARCODE = re.compile(r"TCGA-[A-Z0-9]{2}-[A-Z0-9]{4}(?![A-Z0-9])", re.IGNORECASE)
_BREAK = re.compile(r"[-_. ]+")
_SHORTEST = 6  # letters and digits of a stem that may name a patient
_DIGITS = 3  # a case number has at least these; `batch1` and `site_02` do not
_LARGEST, _MOST_SLIDES = 0.25, 20  # share and number of slides; more with one stem are a study or a year, no patient


def patients_in_names(members: Sequence[Member]) -> dict[str, str]:
    """Slide -> the patient that its name holds, for slides that share one and count as different patients.

    A TCGA barcode (`TCGA-05-4244` of `TCGA-05-4244-01Z-00-DX1…`) names a patient whatever the table says. Any other
    beginning that slides share (`H19-1234` of `H19-1234_A` and `H19-1234_B`) is taken for one only where the table
    names no patients, so that each slide is its own: it is long, holds a number, and few slides have it.
    """
    barcode = {m.slide_id: found[0].upper() for m in members if (found := _BARCODE.search(m.slide_id))}
    own = sorted(m.slide_id for m in members if m.patient_id == m.slide_id and m.slide_id not in barcode)
    name_of = barcode | _stems(own)
    patients = defaultdict(set)
    for member in members:
        if name := name_of.get(member.slide_id):
            patients[name].add(member.patient_id)
    return {slide: name for slide, name in name_of.items() if len(patients[name]) > 1}


def _stems(slides: Sequence[str]) -> dict[str, str]:
    """Slide -> the shortest beginning that it shares with others and that may name a patient."""
    slides_of: dict[str, list[str]] = defaultdict(list)
    for slide in slides:
        for found in _BREAK.finditer(slide):
            stem = slide[: found.start()]
            if len(re.sub(r"[\W_]", "", stem)) >= _SHORTEST and sum(c.isdigit() for c in stem) >= _DIGITS:
                slides_of[stem].append(slide)
    few = max(2.0, min(_MOST_SLIDES, _LARGEST * len(slides)))
    by_length = sorted(slides_of, key=len, reverse=True)  # the shortest one is the last to be set
    return {slide: stem for stem in by_length if 1 < len(slides_of[stem]) <= few for slide in slides_of[stem]}
