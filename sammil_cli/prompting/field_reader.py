"""Pictures and masks of fields, read from slides and drawings when they are wanted."""

import zlib
from collections import OrderedDict
from collections.abc import Collection, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Self

import numpy as np

from sammil_cli.prompting.foreground import Mask, NearbyAreas, read_foreground
from sammil_cli.prompting.samples import FieldsJob, SlideFields
from sammil_cli.regions.wsi_sam.field import Field
from sammil_cli.slides.files import open_slide
from sammil_cli.slides.pixels import RGB
from sammil_cli.slides.slide import Slide
from sammil_cli.tissue.mask import read_tissue

_MOST_OPEN = 16  # slides at once


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One field to learn from, or of a held-out patient. `number`: among the fields of its slide."""

    slide_id: str
    patient_id: str
    number: int
    field: Field
    share: float
    held_out: bool


def samples_of(
    fields: Mapping[str, SlideFields], patients: Mapping[str, str], held_out: Collection[str]
) -> list[Sample]:
    """All fields, by slide.

    Args:
        patients: slide id -> patient. held_out: patients.
    """
    return [
        Sample(
            slide_id=name,
            patient_id=patients[name],
            number=number,
            field=field,
            share=share,
            held_out=patients[name] in held_out,
        )
        for name, those in fields.items()
        for number, (field, share) in enumerate(zip(those.fields, those.shares, strict=True))
    ]


class FieldReader:
    """Reads fields of slides. Masks are painted once, and kept packed: some kilobytes each."""

    def __init__(self, jobs: Mapping[str, FieldsJob], fields: Mapping[str, SlideFields]) -> None:
        self._jobs, self._fields = jobs, fields
        self._open: OrderedDict[str, Slide] = OrderedDict()
        self._masks: dict[tuple[str, int], tuple[bytes, bytes]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with ExitStack() as stack:
            for slide in self._open.values():
                stack.callback(slide.close)
            self._open.clear()

    def paint(self, slide_id: str) -> None:
        """Paints the masks of all fields of a slide.

        Raises:
            SlideError: as `read_foreground`.
        """
        job = self._jobs[slide_id]
        tissue = None if job.tissue is None else read_tissue(job.tissue)
        areas, _ = read_foreground(job.drawing, self._slide(slide_id), tissue, job.classes)
        near = NearbyAreas(areas)
        for number, field in enumerate(self._fields[slide_id].fields):
            self._masks[slide_id, number] = (_packed(near.mask(field)), _packed(near.mask(field.low)))

    def masks(self, sample: Sample) -> tuple[Mask, Mask]:
        """Of a slide that was painted: those of HR and LR, each (s, s)."""
        side = sample.field.out_px
        high, low = (_unpacked(packed, side) for packed in self._masks[sample.slide_id, sample.number])
        return high, low

    def pictures(self, sample: Sample) -> tuple[RGB, RGB]:
        """HR and LR, each (s, s, 3).

        Raises:
            SlideError: as `Field.read`.
        """
        return sample.field.read(self._slide(sample.slide_id))

    def _slide(self, slide_id: str) -> Slide:
        if slide_id not in self._open:
            fields = self._fields[slide_id]
            self._open[slide_id] = open_slide(self._jobs[slide_id].slide, fields.slide_mpp, fields.scene)
            if len(self._open) > _MOST_OPEN:
                self._open.popitem(last=False)[1].close()
        self._open.move_to_end(slide_id)
        return self._open[slide_id]


def _packed(mask: Mask) -> bytes:
    return zlib.compress(np.packbits(mask).tobytes(), 1)


def _unpacked(packed: bytes, side: int) -> Mask:
    bits = np.frombuffer(zlib.decompress(packed), np.uint8)
    return np.unpackbits(bits, count=side * side).reshape(side, side).astype(np.bool_)
