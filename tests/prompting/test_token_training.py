"""The loop: what is drawn for a sample, batches that are really used, embeddings that are kept."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from drawn_project import EARLY, SIDE_PX, build_small_sam, settings_of

from sammil_cli.config import WsiSamTrainSettings
from sammil_cli.prompting import loop
from sammil_cli.prompting.drawn_prompts import KINDS
from sammil_cli.prompting.embedding_cache import EmbeddingCache, pair_bytes
from sammil_cli.prompting.field_reader import Sample
from sammil_cli.prompting.foreground import Mask
from sammil_cli.prompting.loop import TokenTraining, recolour
from sammil_cli.regions.sam_models.embed import Embedder
from sammil_cli.regions.wsi_sam.field import Field
from sammil_cli.regions.wsi_sam.model import WsiSam
from sammil_cli.slides.pixels import RGB

_ROOM = 1 << 30
Make = Callable[..., TokenTraining]


class PaintedReader:
    """Stands in for slides: a dark disc on noise, left of the middle, in each picture."""

    def __init__(self) -> None:
        self.reads = 0

    def masks(self, sample: Sample) -> tuple[Mask, Mask]:
        y, x = np.mgrid[:SIDE_PX, :SIDE_PX]
        place, middle = 60 + 8 * sample.number, SIDE_PX / 2
        high = (x - place) ** 2 + (y - 100) ** 2 < 30**2
        low = (x - (place / 2 + middle / 2)) ** 2 + (y - (50 + middle / 2)) ** 2 < 15**2
        return high, low

    def pictures(self, sample: Sample) -> tuple[RGB, RGB]:
        self.reads += 1
        rng = np.random.default_rng(sample.number)
        noise = rng.integers(150, 250, (2, SIDE_PX, SIDE_PX, 3)).astype(np.uint8)
        for picture, mask in zip(noise, self.masks(sample), strict=True):
            picture[mask] = (90, 40, 120)
        return noise[0], noise[1]


def samples_of(count: int, held: int = 1) -> list[Sample]:
    field = Field(corner_px=(0, 0), side_px0=SIDE_PX, out_px=SIDE_PX)
    return [
        Sample(slide_id="s", patient_id="p", number=n, field=field, share=0.1, held_out=n >= count - held)
        for n in range(count)
    ]


@pytest.fixture
def make() -> Make:
    def built(count: int = 3, *, room: int = _ROOM, folder: Path | None = None, **others: object) -> TokenTraining:
        torch.manual_seed(1)
        model = WsiSam(build_small_sam(), EARLY)
        settings = settings_of({}, **others).stage(WsiSamTrainSettings)
        cache = EmbeddingCache(
            model.sam, Embedder(model.sam, settings.wsi_sam_precision), room_bytes=room, folder=folder
        )
        training = TokenTraining(model, PaintedReader(), cache, samples_of(count), settings)  # type: ignore[arg-type]
        training.model.train()
        return training

    return built


def shown(training: TokenTraining, epochs: int = 40) -> list[loop._Shown]:
    return [training._shown(epoch, index) for epoch in range(epochs) for index in range(2)]


def test_kinds_of_prompts_and_mirrored_pictures_are_drawn_evenly(make: Make) -> None:
    training = make(wsi_sam_augment="flip")
    found = shown(training, 100)
    for kind in KINDS:
        assert sum(one.kind == kind for one in found) / len(found) == pytest.approx(1 / 3, abs=0.1)
    truth = training._reader.masks(training._samples[0])[0]
    mirrored = [not np.array_equal(one.masks[0], truth) for one in found[::2]]
    assert np.mean(mirrored) == pytest.approx(0.5, abs=0.15)


def test_pictures_masks_and_prompt_are_mirrored_together(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    training = make(wsi_sam_augment="flip")
    seen: list[tuple[RGB, RGB]] = []
    monkeypatch.setattr(training._cache, "pair", lambda key, read: seen.append(read()) or (None, None))
    mirrored = 0
    for epoch in range(12):
        one = training._shown(epoch, 0)
        for picture, mask in zip(seen[-1], one.masks, strict=True):
            assert np.array_equal((picture == (90, 40, 120)).all(-1), mask)
        mirrored += bool(one.masks[0][:, SIDE_PX // 2 :].any())
        if one.prompt.points is not None:
            columns, rows = one.prompt.points[0].numpy().astype(int).T
            assert one.masks[0][rows, columns].all()
    assert 0 < mirrored < 12


@pytest.mark.parametrize(("augment", "kept"), [("none", 1.0), ("flip", 1.0), ("colour-and-flip", 0.5)])
def test_what_is_recoloured_has_no_key_and_all_else_has(
    make: Make, monkeypatch: pytest.MonkeyPatch, augment: str, kept: float
) -> None:
    training = make(wsi_sam_augment=augment)
    keys: list[object] = []
    monkeypatch.setattr(training._cache, "pair", lambda key, read: keys.append(key) or (None, None))
    shown(training, 100)
    named = [key for key in keys if key is not None]
    assert len(named) / len(keys) == pytest.approx(kept, abs=0.12 * (kept < 1))
    assert {mirrored for _, _, mirrored in named} == ({False} if augment == "none" else {False, True})


def test_both_pictures_are_recoloured_by_one_draw() -> None:
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 255, (32, 32, 3)).astype(np.uint8)
    changed = [recolour(picture, picture.copy(), np.random.default_rng(seed), torch.device("cpu")) for seed in range(4)]
    for high, low in changed:
        assert np.array_equal(high, low)
        assert not np.array_equal(high, picture)
        assert high.dtype == np.uint8
    assert not np.array_equal(changed[0][0], changed[1][0])


def gradients(training: TokenTraining) -> dict[str, torch.Tensor]:
    return {name: value.grad.clone() for name, value in training.model.added().items() if value.grad is not None}


def test_a_step_is_on_the_mean_loss_of_the_whole_batch_whatever_the_prompts(make: Make) -> None:
    """The published collator threw half of each batch away."""
    training = make()
    batch = [training._shown(epoch, index) for epoch in range(3) for index in range(2)]
    assert len({one.kind for one in batch}) > 1
    training._optimiser.step = lambda: None  # type: ignore[method-assign,assignment]
    terms = training._step(batch)
    whole = gradients(training)
    singles = []
    alone = []
    for one in batch:
        alone.append(training._step([one]))
        singles.append(gradients(training))
    assert whole.keys() == training.model.added().keys()
    for name, value in whole.items():
        mean = torch.stack([each[name] for each in singles]).mean(0)
        assert torch.allclose(value, mean, atol=1e-5, rtol=1e-3), name
    assert {name: pytest.approx(np.mean([each[name] for each in alone]), abs=1e-5) for name in terms} == terms


def test_training_learns_the_disc_and_chooses_the_epoch_with_the_best_box(make: Make, tmp_path: Path) -> None:
    training = make(8, wsi_sam_epochs=8, wsi_sam_augment="flip")
    logged: list[dict[str, float]] = []
    learned = training.run(tmp_path / "c.safetensors", lambda _, figures: logged.append(figures), lambda *_: None)
    assert learned.history == logged
    assert len(logged) == 8
    dice = [figures["val_dice_box"] for figures in logged]
    assert learned.epoch == int(np.argmax(dice))
    assert max(dice) > dice[0] + 0.1
    assert logged[-1]["loss_total"] < logged[0]["loss_total"]
    for kind in KINDS:
        assert logged[0][f"val_iou_{kind}"] <= logged[0][f"val_dice_{kind}"]
    training.take(learned.state)
    assert all(torch.equal(value, learned.state[name]) for name, value in training.model.added().items())


def test_half_precision_trains_float32_weights(make: Make, tmp_path: Path) -> None:
    losses = []
    for precision in ("float32", "bfloat16"):
        training = make(wsi_sam_epochs=1, wsi_sam_precision=precision)
        learned = training.run(tmp_path / precision, lambda *_: None, lambda *_: None)
        assert {value.dtype for value in learned.state.values()} == {torch.float32}
        losses.append(learned.history[0]["loss_total"])
    assert losses[0] != losses[1]
    assert losses[0] == pytest.approx(losses[1], rel=0.05)


def test_kept_embeddings_in_memory_or_on_disk_change_no_number_and_save_the_encoder(make: Make, tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    states, counts = [], []
    for place in ({"room": 0}, {}, {"folder": tmp_path / "kept"}):
        training = make(wsi_sam_epochs=4, wsi_sam_augment="none", **place)
        learned = training.run(tmp_path / f"{len(states)}", lambda *_: None, lambda *_: None)
        states.append(learned.state)
        counts.append((training._cache.asked, training._cache.computed))
    assert counts == [(12, 12), (12, 3), (12, 3)]
    for other in states[1:]:
        assert all(torch.equal(value, other[name]) for name, value in states[0].items())


def test_no_more_is_kept_than_there_is_room_for(make: Make) -> None:
    one = pair_bytes(64, EARLY, SIDE_PX)
    training = make(3, room=2 * one + 1, wsi_sam_augment="none")
    for epoch in range(2):
        for index in range(3):
            training._shown(epoch, index)
    assert training._cache.kept_bytes == 2 * one
    assert (training._cache.asked, training._cache.computed) == (6, 4)
