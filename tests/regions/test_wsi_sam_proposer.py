"""proposer: wsi-sam, its settings and its two weight files; with a tiny SAM and random tokens."""

import hashlib
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sammil_cli import choices
from sammil_cli.errors import InputError, MissingError
from sammil_cli.regions.propose import View
from sammil_cli.regions.proposers import sam, wsi_sam
from sammil_cli.regions.region_mask import RegionMask
from sammil_cli.regions.sam_engine.generator import MaskRecord
from sammil_cli.regions.wsi_sam import engine


@pytest.fixture(autouse=True)
def _empty_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAMMIL_WEIGHTS", str(tmp_path / "named"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def view(**changes: Any) -> View:
    rng = np.random.default_rng(0)
    tissue = np.zeros((60, 90), bool)
    tissue[5:45, 15:75] = True
    known: dict[str, Any] = {"image": rng.integers(0, 255, (60, 90, 3), dtype=np.uint8), "tissue": tissue}
    known |= {"around": rng.integers(0, 255, (90, 90, 3), dtype=np.uint8)}
    return View(**{"slide_id": "s", "origin_px": (0, 0), "downsample": 1.0, **known, **changes})


def sha256(path: str | Path) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def test_the_word_is_typed_with_a_hyphen_as_all_are() -> None:
    assert "wsi-sam" in choices.names(choices.PROPOSERS)
    with pytest.raises(InputError, match="wsi_sam"):
        choices.check(choices.PROPOSERS, "wsi_sam")


@pytest.mark.parametrize("points", ["tissue", "all"])
def test_the_settings_and_both_pictures_reach_the_engine(
    tiny_wsi_sam: dict[str, Any], monkeypatch: pytest.MonkeyPatch, points: str
) -> None:
    shown, asked = view(), []
    inside, beside = np.zeros((60, 90), bool), np.zeros((60, 90), bool)
    inside[10:20, 30:40], beside[50:55, 80:85] = True, True
    records = [
        MaskRecord(mask=RegionMask.of(mask), predicted_iou=iou, stability=0.5, point=(0, 0), crop_box=(0, 0, 90, 60))
        for iou, mask in ((0.9, beside), (0.8, inside))
    ]

    class Engine:
        def __init__(self, model: Any, settings: Any) -> None:
            asked.append(settings)

        def generate(self, *given: Any) -> list[MaskRecord]:
            asked.extend(given)
            return records

    monkeypatch.setattr(engine, "DualEngine", Engine)
    settings = tiny_wsi_sam | {"sam_points": points, "sam_pred_iou_thresh": 0.61, "sam_crop_layers": 1}
    (found,) = wsi_sam.make(settings, "cpu").propose(shown)
    assert (found.predicted_iou, found.stability, found.mask) == (0.8, 0.5, records[1].mask)
    assert asked[0] == sam.asked(settings)
    assert asked[1] is shown.image
    assert asked[2] is shown.around
    assert asked[3] is (shown.tissue if points == "tissue" else None)


def test_a_view_without_its_surroundings_is_a_mistake_of_the_caller(tiny_wsi_sam: dict[str, Any]) -> None:
    proposer = wsi_sam.make(tiny_wsi_sam, "cpu")
    assert proposer.wider
    with pytest.raises(ValueError, match="around"):
        proposer.propose(view(around=None))


def test_the_weights_are_both_files_and_where_they_lie_does_not_matter(
    tiny_wsi_sam: dict[str, Any], tmp_path: Path
) -> None:
    both = sha256(tiny_wsi_sam["sam_checkpoint"]) + sha256(tiny_wsi_sam["wsi_sam_tokens"])
    wanted = hashlib.sha256(both.encode()).hexdigest()
    assert wsi_sam.wanted_weights(tiny_wsi_sam).identify() == wanted
    moved = shutil.copy(tiny_wsi_sam["wsi_sam_tokens"], tmp_path / "moved.safetensors")
    assert wsi_sam.make(tiny_wsi_sam | {"wsi_sam_tokens": str(moved)}, "cpu").weights_sha256 == wanted
    assert {"wsi_sam_tokens", "wsi_sam_tokens_sha256"} < set(wsi_sam.LOCAL)


def test_a_folder_of_published_tokens_is_known_by_both_of_its_files(
    tiny_wsi_sam: dict[str, Any], tmp_path: Path
) -> None:
    folder = tmp_path / "published"
    folder.mkdir()
    for name, content in (("net_high.pth", b"1"), ("net_low.pth", b"2")):
        (folder / name).write_bytes(content)
    settings = tiny_wsi_sam | {"wsi_sam_tokens": str(folder)}
    tokens = wsi_sam.wanted_weights(settings).beside
    assert tokens is not None
    both = "".join(hashlib.sha256(content).hexdigest() for content in (b"1", b"2"))
    assert tokens.find() == (folder, hashlib.sha256(both.encode()).hexdigest())
    (folder / "net_low.pth").unlink()
    with pytest.raises(MissingError, match=r"net_low\.pth does not exist"):
        tokens.find()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"wsi_sam_tokens": None}, "none is published"),
        ({"wsi_sam_tokens": "lost.safetensors"}, r"lost\.safetensors does not exist"),
        ({"wsi_sam_tokens_sha256": "0" * 64}, "not the pinned file"),
        ({"sam_checkpoint": None, "sam_checkpoint_sha256": None}, "another SAM"),
        ({"sam_model": "vit_t"}, "does not fit vit_t"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_cannot_work_is_refused_before_any_slide(
    tiny_wsi_sam: dict[str, Any], changes: dict[str, Any], words: str
) -> None:
    wsi_sam.check(tiny_wsi_sam, "cpu")
    with pytest.raises(MissingError, match=words) as caught:
        wsi_sam.check(tiny_wsi_sam | changes, "cpu")
    assert caught.value.remedy


def test_half_precision_without_a_gpu_is_refused_before_weights_are_read(tiny_wsi_sam: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="float16 needs a CUDA GPU"):
        wsi_sam.check(tiny_wsi_sam | {"sam_precision": "float16", "wsi_sam_tokens": None}, "cpu")


def test_half_precision_gives_nearly_the_same_masks(tiny_wsi_sam: dict[str, Any]) -> None:
    shown = view()
    whole = (0, 0, 90, 60)
    settings = tiny_wsi_sam | {"sam_points_per_side": 1}
    masks = []
    for precision in ("float32", "bfloat16"):
        (found,) = wsi_sam.make(settings | {"sam_precision": precision}, "cpu").propose(shown)
        masks.append(found.mask.within(whole))
    assert 0 < (masks[0] != masks[1]).mean() < 0.1


def test_the_estimate_counts_as_for_sam_and_times_both_pictures(
    tiny_wsi_sam: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from sammil_cli.regions.sam_engine import rates

    monkeypatch.setattr(rates, "_POINTS", {"cpu": 1})
    tissue = view().tissue
    assert wsi_sam.workload(tiny_wsi_sam, tissue) == sam.workload(tiny_wsi_sam, tissue)
    encoded, generate = [], engine.DualEngine.generate

    def counted(self: Any, *given: Any) -> Any:
        encode = self.encoder
        self.encoder = lambda pixels: (encoded.append(len(pixels)), encode(pixels))[1]
        return generate(self, *given)

    monkeypatch.setattr(engine.DualEngine, "generate", counted)
    none = {"wsi_sam_tokens": None, "sam_checkpoint": None}
    found = wsi_sam.rates(tiny_wsi_sam | none, "cpu", view(around=None))
    assert found.keys() == {"crops", "prompts"}
    assert min(found.values()) > 0
    assert encoded == [2]
