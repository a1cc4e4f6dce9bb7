"""The SAM proposer, with the official classes at reduced depth and random weights."""

import hashlib
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from segment_anything import sam_model_registry

from sammil_cli.config import SamSettings
from sammil_cli.errors import InputError, MissingError
from sammil_cli.regions.propose import View
from sammil_cli.regions.proposers import sam
from sammil_cli.regions.region_mask import RegionMask
from sammil_cli.regions.sam_engine import generator
from sammil_cli.regions.sam_engine.generator import MaskRecord
from sammil_cli.regions.sam_models.build import SAM_MODELS


@pytest.fixture(autouse=True)
def _empty_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAMMIL_WEIGHTS", str(tmp_path / "named"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def picture() -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    image = np.random.default_rng(0).integers(120, 255, (60, 90, 3), dtype=np.uint8)
    image[10:40, 20:70] //= 2
    tissue = np.zeros((60, 90), bool)
    tissue[5:45, 15:75] = True
    return image, tissue


def view() -> View:
    image, tissue = picture()
    return View(slide_id="s", image=image, tissue=tissue, origin_px=(0, 0), downsample=1.0)


def test_masks_become_proposals_with_their_scores(tiny_sam: dict[str, Any]) -> None:
    proposer = sam.make(tiny_sam, "cpu")
    assert proposer.weights_sha256 == tiny_sam["sam_checkpoint_sha256"]
    found = proposer.propose(view())
    assert found
    for proposal in found:
        x, y, width, height = proposal.mask.box
        assert 0 <= x <= x + width <= 90
        assert 0 <= y <= y + height <= 60
        assert (proposal.mask.within((0, 0, 90, 60)) & view().tissue).any()
        assert np.isfinite([proposal.predicted_iou, proposal.stability]).all()


@pytest.mark.parametrize("points", ["tissue", "all"])
def test_records_keep_their_order_and_those_beside_the_tissue_are_dropped(
    tiny_sam: dict[str, Any], monkeypatch: pytest.MonkeyPatch, points: str
) -> None:
    shown, asked = view(), []
    boxes = [((0, 5), (0, 90)), ((10, 20), (30, 40)), ((44, 60), (70, 90)), ((0, 60), (0, 90))]
    records = []
    for score, (rows, columns) in enumerate(boxes):
        mask = np.zeros((60, 90), bool)
        mask[slice(*rows), slice(*columns)] = True
        records.append(
            MaskRecord(
                mask=RegionMask.of(mask),
                predicted_iou=score / 10,
                stability=1 - score / 10,
                point=(0, 0),
                crop_box=(0, 0, 90, 60),
            )
        )

    def generate(image: Any, tissue: Any) -> list[MaskRecord]:
        asked.append((image, tissue))
        return records

    proposer = sam.make(tiny_sam | {"sam_points": points}, "cpu")
    monkeypatch.setattr(proposer._engine, "generate", generate)
    found = proposer.propose(shown)
    assert [(p.predicted_iou, p.stability) for p in found] == [(0.1, 0.9), (0.2, 0.8), (0.3, 0.7)]
    assert found[0].mask == records[1].mask
    assert asked[0][0] is shown.image
    assert asked[0][1] is (shown.tissue if points == "tissue" else None)


def test_the_settings_reach_the_engine(tiny_sam: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, Any] = {}
    monkeypatch.setattr(generator, "MaskEngine", lambda model, settings: given.update(vars(settings)))
    settings = tiny_sam | {
        "sam_points_per_side": 6,
        "sam_pred_iou_thresh": 0.61,
        "sam_stability_thresh": 0.62,
        "sam_crop_layers": 1,
        "sam_crop_points_downscale": 3,
        "sam_precision": "bfloat16",
        "sam_backend": "openvino",
        "sam_compile": True,
    }
    sam.make(settings, "cpu")
    assert given == {
        "points_per_side": 6,
        "pred_iou_thresh": 0.61,
        "stability_thresh": 0.62,
        "crop_layers": 1,
        "crop_points_downscale": 3,
        "precision": "bfloat16",
        "backend": "openvino",
        "compiled": True,
        "prompts_at_once": None,
    }


@pytest.mark.parametrize("wrap", [lambda s: {"model": s}, lambda s: {f"module.{k}": v for k, v in s.items()}])
def test_checkpoints_of_fine_tuning_are_read_as_they_are_saved(
    tmp_path: Path, tiny_sam: dict[str, Any], wrap: Callable[[Any], Any]
) -> None:
    state = torch.load(tiny_sam["sam_checkpoint"], weights_only=True)
    torch.save(wrap(state), tmp_path / "medsam.pth")
    loaded = sam.make(own(tiny_sam, tmp_path / "medsam.pth"), "cpu")._engine._model.state_dict()
    assert loaded.keys() == state.keys()
    assert all(torch.equal(loaded[name], state[name]) for name in state)


def test_the_model_is_the_one_that_the_official_builder_loads(tiny_sam: dict[str, Any]) -> None:
    expected = sam_model_registry["vit_b"](checkpoint=tiny_sam["sam_checkpoint"])
    model = sam.make(tiny_sam, "cpu")._engine._model
    for kind in ("named_parameters", "named_buffers"):
        pairs = zip(getattr(model, kind)(), getattr(expected, kind)(), strict=True)
        assert all(name == other and torch.equal(value, loaded) for (name, value), (other, loaded) in pairs)
    assert not model.training


def test_missing_weights_name_the_places_and_the_variable(tmp_path: Path, tiny_sam: dict[str, Any]) -> None:
    with pytest.raises(MissingError) as caught:
        sam.make(tiny_sam | {"sam_checkpoint": None, "sam_checkpoint_sha256": None}, "cpu")
    assert str(tmp_path / "named" / "sam_vit_b_01ec64.pth") in caught.value.message
    assert str(tmp_path / "cache") in caught.value.message
    assert "SAMMIL_WEIGHTS" in caught.value.remedy
    assert "https://dl.fbaipublicfiles.com/segment_anything/sam_vit_b_01ec64.pth" in caught.value.remedy


def test_a_checkpoint_that_is_not_the_pinned_one_is_refused(tmp_path: Path, tiny_sam: dict[str, Any]) -> None:
    with pytest.raises(MissingError, match="is not the pinned file") as caught:
        sam.make(tiny_sam | {"sam_checkpoint_sha256": "0" * 64}, "cpu")
    assert f"set sam_checkpoint_sha256: {tiny_sam['sam_checkpoint_sha256']}" in caught.value.remedy
    with pytest.raises(MissingError, match=sam.WEIGHTS["vit_b"].sha256):
        sam.make(tiny_sam | {"sam_checkpoint_sha256": None}, "cpu")  # then it has to be the published one


def test_a_checkpoint_is_found_in_the_named_folder(
    tmp_path: Path, tiny_sam: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    content = Path(tiny_sam["sam_checkpoint"]).read_bytes()
    (tmp_path / "named").mkdir()
    (tmp_path / "named" / "sam_vit_b_01ec64.pth").write_bytes(content)
    pinned = sam.WEIGHTS["vit_b"]
    monkeypatch.setitem(sam.WEIGHTS, "vit_b", replace(pinned, sha256=hashlib.sha256(content).hexdigest()))
    settings = tiny_sam | {"sam_checkpoint": None, "sam_checkpoint_sha256": None}
    assert sam.wanted_weights(settings).find()[0] == tmp_path / "named" / "sam_vit_b_01ec64.pth"
    assert sam.make(settings, "cpu").weights_sha256 == hashlib.sha256(content).hexdigest()


def own(tiny_sam: dict[str, Any], path: Path) -> dict[str, Any]:
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    return tiny_sam | {"sam_checkpoint": str(path), "sam_checkpoint_sha256": sha256}


def test_weights_of_another_model_are_refused(tmp_path: Path, tiny_sam: dict[str, Any]) -> None:
    torch.save({"image_encoder.pos_embed": torch.zeros(3)}, tmp_path / "other.pth")
    for refuse in (sam.check, sam.make):
        with pytest.raises(MissingError, match=r"does not fit vit_b: [MU]") as caught:
            refuse(own(tiny_sam, tmp_path / "other.pth"), "cpu")
        assert "sam_model" in caught.value.remedy


def test_the_model_that_a_checkpoint_is_of_is_named_before_any_slide(tmp_path: Path, tiny_sam: dict[str, Any]) -> None:
    torch.save({"image_encoder.patch_embed.seq.0.c.weight": torch.zeros(32, 3, 3, 3)}, tmp_path / "mobile_sam.pt")
    with pytest.raises(MissingError, match="does not fit vit_b: it holds vit_t") as caught:
        sam.check(own(tiny_sam, tmp_path / "mobile_sam.pt"), "cpu")
    assert caught.value.remedy == "set sam_model: vit_t"


def test_settings_that_work_pass_the_check(tiny_sam: dict[str, Any]) -> None:
    sam.check(tiny_sam, "cpu")
    sam.check(tiny_sam | {"sam_precision": "float16"}, "cuda:1")
    with pytest.raises(InputError, match="float16 needs a CUDA GPU"):
        sam.check(tiny_sam | {"sam_precision": "float16"}, "cpu")


class Bomb:
    """Unpickling it would make the file that it names."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.path),)


def test_a_checkpoint_that_carries_code_is_refused_and_nothing_is_run(tmp_path: Path, tiny_sam: dict[str, Any]) -> None:
    torch.save({"model": Bomb(tmp_path / "executed")}, tmp_path / "bomb.pth")
    with pytest.raises(MissingError, match=r"bomb\.pth holds more than tensors"):
        sam.make(own(tiny_sam, tmp_path / "bomb.pth"), "cpu")
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("content", [b"", b"<html>please log in</html>", b"PK\x03\x04cut off"])
def test_a_file_that_is_no_checkpoint_is_refused(tmp_path: Path, tiny_sam: dict[str, Any], content: bytes) -> None:
    (tmp_path / "bad.pth").write_bytes(content)
    with pytest.raises(MissingError, match=r"bad\.pth (is no weight file|holds more than tensors)"):
        sam.make(own(tiny_sam, tmp_path / "bad.pth"), "cpu")


def test_the_published_checkpoints_are_pinned() -> None:
    assert {name: pinned.sha256[:8] for name, pinned in sam.WEIGHTS.items()} == {
        "vit_h": "a7bf3b02",
        "vit_l": "3adcc431",
        "vit_b": "ec2df627",
        "vit_t": "6dbb9052",
    }
    assert all(pinned.url.endswith(pinned.file_name) for pinned in sam.WEIGHTS.values())
    assert all(pinned.used_by == f"proposer: sam or wsi-sam, sam_model: {name}" for name, pinned in sam.WEIGHTS.items())
    assert sam.WEIGHTS["vit_t"].fits(40_728_226)
    assert tuple(sam.WEIGHTS) == SAM_MODELS == get_args(SamSettings.model_fields["sam_model"].annotation)
