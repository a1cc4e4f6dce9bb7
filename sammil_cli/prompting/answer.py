"""The answers to a slide's prompts: each by itself, on the field that belongs to it; embeddings are shared."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import shapely
from numpy.typing import NDArray
from segment_anything.utils.amg import calculate_stability_score
from torch.nn import functional

from sammil_cli import console
from sammil_cli.prompting.asked import Prompt
from sammil_cli.prompting.panels import Panels
from sammil_cli.prompting.places import field_of
from sammil_cli.prompting.prompt_job import How
from sammil_cli.prompting.promptable import Ask, Promptable, asked_of
from sammil_cli.regions.polygons import outline_of
from sammil_cli.regions.wsi_sam.field import Field, same_mpp
from sammil_cli.slides.pixels import RGB
from sammil_cli.slides.slide import Slide
from sammil_cli.storage.files import Record
from sammil_cli.storage.geojson import Shape, write_geojson
from sammil_cli.storage.summed import write_of_slide

_OFFSET = 1.0  # of the stability score, as published
_SMALL_PX = 8.0  # of HR: a smaller prompt shows the model next to nothing
_COARSE = 1.5  # times the resolution that was asked for; fields are twice, four times, … as coarse or not at all
_QUIET_SECONDS = 30.0  # between two words on a slide that takes long
_MM2 = 1e-6  # of a µm²


@dataclass(frozen=True, kw_only=True)
class Answered:
    """One prompt's answer: its outline in level-0 pixels of the whole file (may be empty) and what is known of it.

    `number`: the prompt's, counted from 1; `mpp`: µm per pixel of the HR that it was answered on.
    """

    number: int
    prompt: Prompt
    outline: shapely.MultiPolygon
    area_mm2: float
    predicted_iou: float
    stability: float
    mpp: float
    remark: str

    def row(self) -> Record:
        """As it is in the slide's JSON and in `prompted.csv`."""
        return {
            "prompt": self.number,
            "name": self.prompt.name,
            "class": self.prompt.class_name,
            "area_mm2": round(self.area_mm2, 6),
            "predicted_iou": round(self.predicted_iou, 4),
            "stability": round(self.stability, 4),
            "mpp": round(self.mpp, 4),
            "remark": self.remark,
        }

    def measurements(self) -> Record:
        """As QuPath shows and sorts them."""
        return {
            "Prompt": self.number,
            "Area mm^2": round(self.area_mm2, 6),
            "Predicted IoU": round(self.predicted_iou, 4),
            "Stability": round(self.stability, 4),
            "mpp": round(self.mpp, 4),
        }


def write_answers(
    folder: Path, record: Record, slide: Slide, prompts: Sequence[Prompt], model: Promptable, how: How
) -> list[str]:
    """Answers all prompts and writes `<slide>.geojson`, `.json` and, if asked for, `.png`; returns flags.

    Raises:
        SlideError: see `field_of` and `Slide.read_at`.
    """
    panels = Panels(len(prompts)) if how.pictures else None
    answers = sorted(answer_all(slide, prompts, model, how, panels), key=lambda answered: answered.number)
    name = slide.slide_id
    found = (
        (Shape(geometry=one.outline, class_name=one.prompt.class_name, name=one.prompt.name), one.measurements())
        for one in answers
        if not one.outline.is_empty
    )
    facts = {**record, "slide_id": name}
    write_geojson(folder / f"{name}.geojson", found, offset_px=slide.bounds_px[:2], provenance=facts)
    write_of_slide(folder / f"{name}.json", {"prompts": [one.row() for one in answers]})
    if panels is not None:
        panels.write(folder / f"{name}.png")
    return [*_trained_otherwise(model, how), *_flags(answers)]


def answer_all(
    slide: Slide, prompts: Sequence[Prompt], model: Promptable, how: How, panels: Panels | None = None
) -> Iterator[Answered]:
    """Answers prompts (level-0 pixels of the whole file) field by field; each field is read and embedded once.

    A prompt is decoded by itself: products of other shapes round otherwise, and its answer would depend on how many
    there are.
    """
    places: dict[Field, list[int]] = {}
    for number, prompt in enumerate(prompts, start=1):
        field = field_of(prompt, mpp=how.mpp, slide_mpp=slide.mpp, out_px=model.side_px, extent=how.extent)
        places.setdefault(field, []).append(number)
    watch = _Watch(slide.slide_id, len(prompts))
    for field, numbers in places.items():
        high = _read(slide, field)
        ask = model.look(high, _read(slide, field.low) if model.needs_low else None)
        for number in numbers:
            answered, inside = _answer(slide, number, prompts[number - 1], field, ask, model, how)
            if panels is not None:
                panels.add(high, field, answered.prompt, inside, answered.number, answered.predicted_iou)
            watch.done()
            yield answered


def _answer(
    slide: Slide, number: int, prompt: Prompt, field: Field, ask: Ask, model: Promptable, how: How
) -> tuple[Answered, NDArray[np.bool_]]:
    """One answer, and its mask on HR."""
    said = ask(asked_of(prompt, field, as_mask=how.as_mask, mask_levels=model.mask_levels))
    logits = functional.interpolate(
        said.logits[None].float(), (field.out_px,) * 2, mode="bilinear", align_corners=False
    )[0]
    inside: NDArray[np.bool_] = (logits[0] > 0).cpu().numpy()
    mpp = field.downsample * slide.mpp
    stable = float(calculate_stability_score(logits, 0.0, _OFFSET)[0]) if inside.any() else 0.0
    outline = shapely.transform(outline_of(inside), lambda points: np.round(field.to_slide(points), 2))
    answered = Answered(
        number=number,
        prompt=prompt,
        outline=outline,
        area_mm2=float(inside.sum()) * mpp**2 * _MM2,
        predicted_iou=float(said.predicted_iou[0]),
        stability=stable,
        mpp=mpp,
        remark="; ".join(_remarks(prompt, field, inside, mpp, how)),
    )
    return answered, inside


def _remarks(prompt: Prompt, field: Field, inside: NDArray[np.bool_], mpp: float, how: How) -> Iterator[str]:
    if not inside.any():
        yield "empty: the model finds nothing there"
    elif inside[[0, -1]].any() or inside[:, [0, -1]].any():
        yield f"cut: the answer reaches the edge of its field of {field.out_px * mpp / 1000:.2g} mm; set a larger --mpp"
    x0, y0, x1, y1 = prompt.bounds
    longest = max(x1 - x0, y1 - y0) / field.downsample
    if mpp > _COARSE * how.mpp:
        yield f"coarse: the prompt is large, so it was answered at {mpp:.3g} µm per pixel"
    if prompt.is_area and longest < _SMALL_PX:
        yield f"small: the prompt has {longest:.1f} px at {mpp:.3g} µm per pixel; set a smaller --mpp"


def _flags(answers: Sequence[Answered]) -> list[str]:
    """Each kind of remark once, with the number of its prompts."""
    kinds: dict[str, int] = {}
    for one in answers:
        for text in filter(None, one.remark.split("; ")):
            kind = text.partition(":")[0]
            if kind in ("empty", "cut", "coarse", "small"):
                kinds[kind] = kinds.get(kind, 0) + 1
    return [f"{kind}: {count} of {len(answers)} prompt(s), see prompted.csv" for kind, count in kinds.items()]


def _trained_otherwise(model: Promptable, how: How) -> list[str]:
    if model.trained_mpp is None or same_mpp(model.trained_mpp, how.mpp):
        return []
    return [f"mpp: the tokens were trained at {model.trained_mpp:.3g} µm per pixel, not at {how.mpp:.3g}"]


def _read(slide: Slide, field: Field) -> RGB:
    return slide.read_at(field.corner_px, (field.side_px0,) * 2, (field.out_px,) * 2)


class _Watch:
    """Says now and then how far a slide with many prompts is."""

    def __init__(self, name: str, total: int) -> None:
        self._name, self._total, self._done = name, total, 0
        self._start = self._said = time.monotonic()

    def done(self) -> None:
        """One more."""
        self._done += 1
        now = time.monotonic()
        if now - self._said > _QUIET_SECONDS and self._done < self._total:
            self._said = now
            left = (now - self._start) / self._done * (self._total - self._done)
            console.note(f"{self._name}: {self._done} of {self._total} prompts, about {left / 60:.0f} min left")
