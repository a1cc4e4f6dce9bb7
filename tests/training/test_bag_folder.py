"""Bags as the trainer meets them."""

from pathlib import Path

import numpy as np
import pytest
import torch

from sammil_cli.errors import InputError
from sammil_cli.features.bag import EncoderFacts, FeatureBag, read_bag, write_bag
from sammil_cli.regions.membership import Membership
from sammil_cli.training import bags as bags_module
from sammil_cli.training.bags import BagFolder, to_tensors

FACTS = {"name": "texture", "weights_sha256": None, "dim": 3, "patch_px": 64, "patch_mpp": 0.5, "patch_px_level0": 128}


def write(folder: Path, slide: str, *, dtype: str = "float32", **encoder: object) -> Path:
    rng = np.random.default_rng(len(slide))
    facts = EncoderFacts(**{**FACTS, **encoder})
    bag = FeatureBag(
        slide_id=slide,
        features=rng.normal(size=(4, facts.dim)).astype(dtype),
        xy=np.array([[0, 0], [128, 0], [0, 128], [256, 128]], np.int32),
        region=np.array([1, -1, 0, 1], np.int32),
        region_area=np.array([70, 12], np.int64),
        region_area_um2=np.array([280.0, 48.0]),
        group_features=rng.normal(size=(2, facts.dim)).astype(dtype),
        group_region=np.array([0, 1], np.int32),
        members=Membership(start=np.array([0, 1, 3]), patch=np.array([2, 0, 3], np.int32)),
        encoder=facts,
    )
    folder.mkdir(exist_ok=True)
    write_bag(folder / f"{slide}.h5", bag, {})
    return folder / f"{slide}.h5"


@pytest.mark.parametrize(
    ("stored", "expected"), [("float16", torch.float16), ("float32", torch.float32), ("float64", torch.float32)]
)
def test_a_bag_becomes_tensors_of_the_types_that_models_take(
    tmp_path: Path, stored: str, expected: torch.dtype
) -> None:
    write(tmp_path, "a", dtype=stored)
    bag = BagFolder(tmp_path, "cpu").load("a")
    assert bag.features.dtype == bag.group_features.dtype == expected
    assert bag.region_area.dtype == torch.float32
    assert bag.region.dtype == bag.group_region.dtype == torch.int64
    assert bag.region.tolist() == [1, -1, 0, 1]
    assert bag.region_area.tolist() == [70, 12]
    assert bag.features.shape == (4, 3)
    assert bag.group_features.shape == (2, 3)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_features_are_not_copied_on_the_cpu(tmp_path: Path, dtype: str) -> None:
    bag = read_bag(write(tmp_path, "a", dtype=dtype))
    tensors = to_tensors(bag, "cpu")
    assert np.shares_memory(tensors.features.numpy(), bag.features)
    assert np.shares_memory(tensors.group_features.numpy(), bag.group_features)


def test_slides_are_known_by_the_names_of_their_files(tmp_path: Path) -> None:
    for slide in ("b.2", "a"):
        write(tmp_path, slide)
    assert list(BagFolder(tmp_path, "cpu").paths) == ["a", "b.2"]


def test_a_folder_without_bags_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no bag") as caught:
        BagFolder(tmp_path / "nowhere", "cpu")
    assert "sammil extract" in caught.value.remedy


def test_a_bag_is_opened_once_and_outlives_its_file(tmp_path: Path) -> None:
    path = write(tmp_path, "a")
    folder = BagFolder(tmp_path, "cpu")
    first = folder.load("a")
    before = first.features.clone()
    write(tmp_path, "a", dtype="float16")  # replaced, as a stage does
    path.unlink()
    assert folder.load("a") is first
    assert torch.equal(first.features, before)


def test_a_flagged_bag_and_a_plain_one_of_a_slide_are_never_taken_for_each_other(tmp_path: Path) -> None:
    write(tmp_path, "a", dtype="float16")
    folder = BagFolder(tmp_path, "cpu")
    for flagged in (False, True, False):
        bag = folder.load("a", flagged=flagged)
        assert bag.instances(True).shape == (6, 3 + flagged)
        assert bag.instances(True)[:, 3:].flatten().tolist() == [0, 0, 0, 0, 1, 1] * flagged


def test_a_process_keeps_half_of_the_files_open_that_it_may(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bags_module.resource, "getrlimit", lambda _: (4, 4))
    for slide in "abc":
        write(tmp_path, slide)
    folder = BagFolder(tmp_path, "cpu")
    first = {slide: folder.load(slide) for slide in "abc"}
    assert [folder.load(slide) is first[slide] for slide in "abc"] == [True, True, False]
    assert torch.equal(folder.load("c").features, first["c"].features)


@pytest.mark.parametrize(("memory", "kept"), [(10_000_000, True), (100, False)])
def test_bags_stay_on_a_gpu_when_all_of_them_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, memory: int, kept: bool
) -> None:
    monkeypatch.setattr(bags_module, "_memory", lambda device: memory)
    write(tmp_path, "a", dtype="float16")
    folder = BagFolder(tmp_path, "meta")  # a device that every machine has, without memory of its own
    first = folder.load("a")
    assert first.features.device.type == "meta"
    assert first.features.dtype == torch.float16
    assert (folder.load("a") is first) == kept


def test_a_bag_first_met_in_prediction_can_be_learned_from_afterwards(tmp_path: Path) -> None:
    write(tmp_path, "a")
    folder = BagFolder(tmp_path, "cpu")
    with torch.inference_mode():
        folder.load("a")
    layer = torch.nn.Linear(3, 1)
    features = folder.load("a").features
    layer(features).sum().backward()
    assert layer.weight.grad is not None
    assert torch.allclose(layer.weight.grad[0], features.sum(0))
    assert not features.is_inference()


def test_the_encoder_of_the_bags_is_found(tmp_path: Path) -> None:
    for slide, side in (("a", 128), ("b", 256)):  # scanners differ in resolution, so the level-0 side may differ
        write(tmp_path, slide, patch_px_level0=side)
    assert BagFolder(tmp_path, "cpu").encoder(["b", "a"]).name == "texture"


@pytest.mark.parametrize(
    ("other", "listing"),
    [
        ({"name": "resnet50", "dim": 5}, "2 slides: texture, 3-d, 64 px; 1 slides: resnet50, 5-d, 64 px"),
        ({"patch_px": 32}, "2 slides: texture, 3-d, 64 px; 1 slides: texture, 3-d, 32 px"),
        ({"weights_sha256": "abc"}, "2 slides: texture, 3-d, 64 px; 1 slides: texture, 3-d, 64 px"),
    ],
)
def test_bags_of_different_encoders_are_refused_and_counted(
    tmp_path: Path, other: dict[str, object], listing: str
) -> None:
    write(tmp_path, "a")
    write(tmp_path, "b", **other)
    write(tmp_path, "c")
    folder = BagFolder(tmp_path, "cpu")
    with pytest.raises(InputError, match="different encoders") as caught:
        folder.encoder(["a", "b", "c"])
    assert listing in caught.value.message
    assert folder.encoder(["a", "c"]).dim == 3


def test_bags_of_earlier_versions_are_used_beside_those_that_say_how_they_were_encoded(tmp_path: Path) -> None:
    write(tmp_path, "a")
    write(tmp_path, "b", pooling="cls", revision="x", mpp=0.5)
    write(tmp_path, "c", pooling="cls", revision="y")
    found = BagFolder(tmp_path, "cpu").encoder(["a", "b", "c"])
    assert (found.pooling, found.mpp, found.revision) == ("cls", 0.5, None)  # b and c have the same weights, or not


def test_bags_of_different_resolutions_are_allowed_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(tmp_path, "a")
    write(tmp_path, "b", patch_mpp=1.0)
    BagFolder(tmp_path, "cpu").encoder(["a", "b"])
    assert "1 µm per pixel" in caplog.text
    caplog.clear()
    BagFolder(tmp_path, "cpu").encoder(["a"])
    assert not caplog.text
