"""Training the tokens of WSI-SAM: only what was added to the frozen SAM learns (docs/methods.md §12)."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import interpolate
from torchvision.transforms import functional as colours

from sammil_cli.config import WsiSamTrainSettings
from sammil_cli.errors import SammilError
from sammil_cli.prompting.dice import overlap
from sammil_cli.prompting.drawn_prompts import KINDS, Kind, draw_prompt, joined
from sammil_cli.prompting.embedding_cache import EmbeddingCache
from sammil_cli.prompting.field_reader import FieldReader, Sample
from sammil_cli.prompting.foreground import Mask
from sammil_cli.regions.sam_models.embed import Seen
from sammil_cli.regions.wsi_sam.losses import wsi_sam_loss
from sammil_cli.regions.wsi_sam.model import WsiSam
from sammil_cli.regions.wsi_sam.prompts import Prompts, for_low
from sammil_cli.slides.pixels import RGB
from sammil_cli.training.checkpoint import Checkpoint, read_checkpoint, write_checkpoint

Scalar = TypeVar("Scalar", bound=np.generic)
Figures = dict[str, float]
CHOSEN_BY = "val_dice_box"
_HALF = 0.5  # how likely a picture is mirrored, and how likely recoloured
_ORDER, _SAMPLE, _ANSWER = 1, 2, 3  # what random numbers are for, in their seeds
_BRIGHTNESS = _CONTRAST = _SATURATION = 0.2
_HUE = 0.1


@dataclass(frozen=True, kw_only=True)
class Learned:
    """The chosen epoch, counted from 0: what was added, as it was then; and the figures of all epochs."""

    state: dict[str, Tensor]
    epoch: int
    history: list[Figures]


@dataclass(frozen=True, kw_only=True)
class _Shown:
    """What one sample is in one epoch: embeddings, masks (s, s), and its prompt on both pictures."""

    kind: Kind
    high: Seen
    low: Seen
    masks: tuple[Mask, Mask]
    prompt: Prompts
    prompt_low: Prompts


class TokenTraining:
    """A model in training on the fields of some patients, judged on those of others.

    All that is random follows from the settings' seed, the epoch and the sample's place in `samples`: a run that goes
    on from a checkpoint draws the same.

    Args:
        model: on its device.
        reader: knows the masks of all samples.
        samples: in their order; at least one is held out, and one is not.
    """

    def __init__(
        self,
        model: WsiSam,
        reader: FieldReader,
        cache: EmbeddingCache,
        samples: Sequence[Sample],
        settings: WsiSamTrainSettings,
    ) -> None:
        self.model, self._reader, self._cache = model, reader, cache
        self._samples, self._settings = samples, settings
        self._device = torch.device(model.sam.device)
        self._added = model.added()
        self._learned = Learned(state={}, epoch=-1, history=[])
        self._optimiser = torch.optim.AdamW(
            list(self._added.values()), lr=settings.wsi_sam_learning_rate, weight_decay=settings.wsi_sam_weight_decay
        )

    def resume(self, checkpoint: Path) -> int:
        """Takes up what `run` has written after its last epoch, if it is there; how many epochs are trained."""
        if (saved := read_checkpoint(checkpoint)) is not None:
            self._restore(saved.tensors)
            self._learned = Learned(state=saved.best, epoch=saved.best_epoch, history=saved.history)
        return len(self._learned.history)

    def run(self, checkpoint: Path, log: Callable[[int, Figures], None], step: Callable[[int, str], None]) -> Learned:
        """Trains the epochs that are left. The best has the highest mean Dice of boxes on held-out fields.

        Args:
            checkpoint: written after each epoch.
            log: called after each epoch.
            step: called with the fields that were learned from so far, and the epoch in words.

        Raises:
            SammilError: a loss is not finite.
        """
        for epoch in range(len(self._learned.history), self._settings.wsi_sam_epochs):
            figures = {**self._epoch(epoch, step), **self._validate()}
            before = self._learned
            history = [*before.history, figures]
            if before.epoch < 0 or figures[CHOSEN_BY] > history[before.epoch][CHOSEN_BY]:
                self._learned = Learned(state=self._copied(), epoch=epoch, history=history)
            else:
                self._learned = replace(before, history=history)
            now = Checkpoint(
                tensors=self._state(),
                best=self._learned.state,
                best_epoch=self._learned.epoch,
                history=history,
                probabilities=(),
            )
            write_checkpoint(checkpoint, now)
            log(epoch, figures)
        return self._learned

    def _epoch(self, epoch: int, step: Callable[[int, str], None]) -> Figures:
        """One pass over the samples that are not held out; the mean of each loss term."""
        self.model.train()
        learned_from = [index for index, sample in enumerate(self._samples) if not sample.held_out]
        order = np.random.default_rng([self._settings.seed, _ORDER, epoch]).permutation(learned_from).tolist()
        sums: dict[str, float] = {}
        settings, words = self._settings, f"epoch {epoch + 1}"
        size = settings.wsi_sam_batch
        for start in range(0, len(order), size):
            batch = order[start : start + size]
            for name, value in self._step([self._shown(epoch, index) for index in batch]).items():
                sums[name] = sums.get(name, 0.0) + value * len(batch)
            if not np.isfinite(list(sums.values())).all():
                those = ", ".join(f"{self._samples[i].slide_id} (field {self._samples[i].number})" for i in batch)
                raise SammilError(
                    f"the loss is not finite on {those}", remedy="lower wsi_sam_learning_rate, or look at these fields"
                )
            step(epoch * len(order) + start + len(batch), words)
        means = {f"loss_{name}": value / len(order) for name, value in sums.items()}
        return {**means, "loss_total": sum(means.values())}

    def _step(self, batch: Sequence[_Shown]) -> dict[str, float]:
        """One step on the mean loss of a batch; its terms. Prompts of one kind are decoded together."""
        self._optimiser.zero_grad(set_to_none=True)
        sums: dict[str, float] = {}
        for kind in KINDS:
            if not (alike := [shown for shown in batch if shown.kind == kind]):
                continue
            share = len(alike) / len(batch)
            terms = self._losses(alike)
            (torch.stack(list(terms.values())).sum() * share).backward()  # type: ignore[no-untyped-call]
            for name, value in terms.items():
                sums[name] = sums.get(name, 0.0) + value.item() * share
        self._optimiser.step()
        return sums

    def _losses(self, alike: Sequence[_Shown]) -> dict[str, Tensor]:
        high, low = (Seen(*map(torch.cat, zip(*seen, strict=True))) for seen in _columns(alike))
        prompts, prompts_low = (
            joined(parts).to(self._device)
            for parts in ([shown.prompt for shown in alike], [shown.prompt_low for shown in alike])
        )
        high_mask, low_mask = (
            torch.from_numpy(np.stack(masks))[:, None].to(self._device)
            for masks in zip(*(shown.masks for shown in alike), strict=True)
        )
        with self._autocast():
            high_logits, low_logits = self.model(high, low, prompts, prompts_low)
        return wsi_sam_loss(high_logits.float(), low_logits.float(), high_mask, low_mask)

    def _autocast(self) -> torch.autocast:
        half = self._settings.wsi_sam_precision == "bfloat16"
        return torch.autocast(self._device.type, torch.bfloat16, enabled=half)

    def _shown(self, epoch: int, index: int) -> _Shown:
        """A sample as it is in an epoch: mirrored, recoloured, asked for by a prompt of some kind."""
        sample = self._samples[index]
        rng = np.random.default_rng([self._settings.seed, _SAMPLE, epoch, index])
        kind = KINDS[rng.integers(len(KINDS))]
        mirrored, recoloured = (rng.random(2) < _HALF).tolist()
        mirrored &= self._settings.wsi_sam_augment != "none"
        recoloured &= self._settings.wsi_sam_augment == "colour-and-flip"
        hue = np.random.default_rng(rng.integers(2**63)) if recoloured else None
        high, low = self._cache.pair(
            None if recoloured else (sample.slide_id, sample.number, mirrored),
            lambda: self._pictures(sample, mirrored=mirrored, hue=hue),
        )
        masks = self._masks(sample, mirrored=mirrored)
        prompt, prompt_low = draw_prompt(kind, *masks, rng)
        return _Shown(
            kind=kind,
            high=high,
            low=low,
            masks=masks,
            prompt=prompt,
            prompt_low=for_low(prompt, self.model.side_px) if prompt_low is None else prompt_low,
        )

    def _masks(self, sample: Sample, *, mirrored: bool) -> tuple[Mask, Mask]:
        high, low = self._reader.masks(sample)
        return (_mirror(high), _mirror(low)) if mirrored else (high, low)

    def _pictures(self, sample: Sample, *, mirrored: bool, hue: np.random.Generator | None) -> tuple[RGB, RGB]:
        high, low = self._reader.pictures(sample)
        if mirrored:
            high, low = _mirror(high), _mirror(low)
        return (high, low) if hue is None else recolour(high, low, hue, self._device)

    def _validate(self) -> Figures:
        """Mean Dice and IoU over held-out fields for each kind of prompt, the same prompts in each epoch."""
        scores: dict[str, list[float]] = {}
        for sample in self._samples:
            if sample.held_out:
                truth = self._reader.masks(sample)[0]
                for kind, (mask, _) in self.answers(sample).items():
                    met = overlap(mask, truth)
                    scores.setdefault(f"val_dice_{kind}", []).append(met.dice)
                    scores.setdefault(f"val_iou_{kind}", []).append(met.iou)
        return {name: float(np.mean(values)) for name, values in sorted(scores.items())}

    def answers(self, sample: Sample) -> dict[Kind, tuple[Mask, Prompts]]:
        """The model's mask (s, s) of a sample for a prompt of each kind, and the prompt; the box is the tight one.

        A pixel is inside where the fused logit and SAM's together are above 0, as in inference.
        """
        self.model.eval()
        high, low = self._cache.pair(
            (sample.slide_id, sample.number, False), lambda: self._pictures(sample, mirrored=False, hue=None)
        )
        masks = self._reader.masks(sample)
        found: dict[Kind, tuple[Mask, Prompts]] = {}
        for number, kind in enumerate(KINDS):
            rng = np.random.default_rng(
                [self._settings.seed, _ANSWER, number, sample.number, *sample.slide_id.encode()]
            )
            prompt, _ = draw_prompt(kind, *masks, rng, jitter=0)
            logits = self.model.predict(high, low, prompt.to(self._device)).logits[None]
            grown = interpolate(logits, masks[0].shape, mode="bilinear", align_corners=False)
            found[kind] = ((grown[0, 0] > 0).cpu().numpy(), prompt)
        return found

    def take(self, state: dict[str, Tensor]) -> None:
        """Gives the model what was added to it in another epoch."""
        with torch.no_grad():
            for name, value in state.items():
                self._added[name].copy_(value)

    def _copied(self) -> dict[str, Tensor]:
        return {name: value.detach().cpu().clone() for name, value in self._added.items()}

    def _state(self) -> dict[str, Tensor]:
        """Everything that the next epoch depends on, beside its number."""
        moments = self._optimiser.state_dict()["state"].items()
        return {f"added.{name}": value for name, value in self._copied().items()} | {
            f"moments.{number}.{name}": value for number, those in moments for name, value in those.items()
        }

    def _restore(self, tensors: dict[str, Tensor]) -> None:
        """Takes up what `_state` gave."""
        self.take({n.removeprefix("added."): value for n, value in tensors.items() if n.startswith("added.")})
        moments: dict[int, dict[str, Tensor]] = {}
        for name, value in tensors.items():
            if name.startswith("moments."):
                _, number, moment = name.split(".")
                moments.setdefault(int(number), {})[moment] = value
        self._optimiser.load_state_dict({**self._optimiser.state_dict(), "state": moments})


def _columns(alike: Sequence[_Shown]) -> Iterator[list[Seen]]:
    yield [shown.high for shown in alike]
    yield [shown.low for shown in alike]


def _mirror(picture: NDArray[Scalar]) -> NDArray[Scalar]:
    return np.ascontiguousarray(picture[:, ::-1])


def recolour(high: RGB, low: RGB, rng: np.random.Generator, device: torch.device) -> tuple[RGB, RGB]:
    """Both pictures in other colours, by one draw: brightness, contrast and saturation by up to a fifth, hue by 0.1.

    In an order that is drawn, too, as torchvision's `ColorJitter(.2, .2, .2, .1)` has it.
    """
    pictures = torch.from_numpy(np.stack([high, low])).permute(0, 3, 1, 2).to(device)
    steps = (
        (colours.adjust_brightness, 1 + rng.uniform(-_BRIGHTNESS, _BRIGHTNESS)),
        (colours.adjust_contrast, 1 + rng.uniform(-_CONTRAST, _CONTRAST)),
        (colours.adjust_saturation, 1 + rng.uniform(-_SATURATION, _SATURATION)),
        (colours.adjust_hue, rng.uniform(-_HUE, _HUE)),
    )
    for number in rng.permutation(len(steps)):
        adjust, factor = steps[number]
        pictures = adjust(pictures, factor)
    changed = pictures.permute(0, 2, 3, 1).contiguous().cpu().numpy()
    return changed[0], changed[1]
