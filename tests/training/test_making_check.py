"""Bags that are made otherwise than those of the training, and bags of one training that differ among themselves."""

from dataclasses import replace
from typing import Any

import pytest

from sammil_cli.errors import InputError
from sammil_cli.features.bag import EncoderFacts
from sammil_cli.features.making import Making
from sammil_cli.mil.model_spec import ModelSpec
from sammil_cli.training.making_check import check_alike, check_bag, trained_on
from sammil_cli.training.model_facts import ModelFacts, TrainedOn

ENCODER = EncoderFacts(name="texture", weights_sha256=None, dim=3, patch_px=64, patch_mpp=0.5, patch_px_level0=128)


def making(**here: Any) -> Making:
    """Facts of the encoder by their names, and settings by their stage."""
    settings = {stage: made for stage, made in here.items() if isinstance(made, dict)}
    facts = {name: value for name, value in here.items() if name not in settings}
    return Making(encoder=replace(ENCODER, **facts), made_with=settings)


@pytest.mark.parametrize(
    ("trained", "here", "group_features", "said"),
    [
        ({}, {"patch_px": 32}, False, "patch_px 64 in training, 32 in these bags"),
        ({"patch_mpp": (0.25, 0.5)}, {"patch_mpp": 2.0}, False, "patch_mpp 0.25 to 0.5 in training, 2 in these bags"),
        (
            {"sam": {"proposer": "sam"}},
            {"sam": {"proposer": "superpixels"}},
            True,
            "proposer sam in training, superpixels",
        ),
        ({"sam": {"sam_mpp": None}}, {"sam": {"sam_mpp": 8.0}}, True, "sam_mpp null in training, 8.0 in these bags"),
        ({"sam": {"weights": "a" * 64}}, {"sam": {"weights": "b" * 64}}, True, "weights of the regions aaaaaaaa in"),
        (
            {"extract": {"membership_rule": "overlap"}},
            {"extract": {"membership_rule": "released"}},
            True,
            "membership_rule overlap in training, released in these bags",
        ),
        (
            {"extract": {"encoder_input_px": 224}},
            {"extract": {"encoder_input_px": 448}},
            False,
            "encoder_input_px 224 in",
        ),
        ({"pooling": "cls"}, {"pooling": "cls-mean"}, False, "encoder_pooling cls in training, cls-mean in these bags"),
        ({"preparation": "224 px"}, {"preparation": "256 px"}, False, "preparation 224 px in training, 256 px in"),
        ({}, {"pooling": "cls", "preparation": "224 px", "mpp": 0.5}, False, None),  # the training's bags are older
        ({"pooling": "cls", "preparation": "224 px"}, {}, False, None),
        ({"sam": {"proposer": "sam"}}, {"sam": {"proposer": "superpixels"}}, False, None),  # this model sees no regions
        ({"sam": {"sam_precision": "float32"}}, {"sam": {"sam_precision": "bfloat16"}}, True, None),
        ({"patch": {"patch_overlap": 0.0}}, {"patch": {"patch_overlap": 0.5}}, False, None),
        ({"patch_mpp": (0.5, 0.5)}, {"patch_mpp": 0.53}, False, None),  # another scanner
        ({}, {"patch_px": 0, "patch_mpp": float("nan")}, False, None),  # converted
    ],
)
def test_bags_that_are_made_otherwise_are_refused_with_both_values(
    trained: dict[str, Any], here: dict[str, Any], group_features: bool, said: str | None
) -> None:
    settings = {stage: made for stage, made in trained.items() if isinstance(made, dict)}
    facts = ModelFacts(
        **dict.fromkeys(("threshold", "temperature", "repeat", "fold", "seed", "epoch", "val_auc")),
        model="abmil",
        model_options={},
        spec=ModelSpec(dim=3, classes=2, group_features=group_features),
        classes=("normal", "tumour"),
        protocol="honest",
        encoder=replace(ENCODER, **{key: trained[key] for key in ("pooling", "preparation") if key in trained}),
        provenance={},
        trained_on=TrainedOn(slides=(), patch_mpp=trained.get("patch_mpp", (0.5, 0.5)), made_with=settings),
    )
    if said is None:
        likeness = check_bag(making(**here), facts)
        assert bool(likeness.remarks) == ("overlap" in str(here) or "precision" in str(here))
        assert ("patch_px" in likeness.unknown) == ("patch_px" in here)
    else:
        with pytest.raises(InputError) as caught:
            check_bag(making(**here), facts)
        assert said in caught.value.message
        assert "sammil extract" in caught.value.remedy


def test_a_model_keeps_what_its_bags_share() -> None:
    sam = {"proposer": "sam", "sam_mpp": None}
    bags = {
        "a": making(patch_mpp=0.25, sam=sam, patch={"patch_edge": "pad"}),
        "b": making(sam=sam, patch={"patch_edge": "drop"}),
        "c": making(patch_mpp=9.0),
    }
    found = trained_on(bags, ["b", "a"])
    assert found == TrainedOn(slides=("a", "b"), patch_mpp=(0.25, 0.5), made_with={"sam": sam, "patch": {}})
    assert trained_on({"a": making(patch_mpp=float("nan"))}, ["a"]).patch_mpp is None


def test_a_preparation_that_differs_by_the_input_side_is_said_once() -> None:
    bags = {
        slide: making(preparation=f"{side} px, bicubic", extract={"encoder_input_px": side})
        for slide, side in (("a", 224), ("b", 448))
    }
    with pytest.raises(InputError) as caught:
        check_alike(bags, regions=False)
    assert caught.value.message.endswith("not made alike: encoder_input_px 224 in 1 bags, 448 in 1 (b)")


def test_bags_of_one_training_are_made_alike() -> None:
    fine = {"a": making(sam={"proposer": "sam"}), "b": making(sam={"proposer": "sam"}), "c": making()}
    assert check_alike(fine, regions=True) == []
    other = {**fine, "d": making(sam={"proposer": "superpixels"}, patch={"patch_overlap": 0.5})}
    with pytest.raises(InputError, match=r"not made alike: proposer sam in 2 bags, superpixels in 1 \(d\)"):
        check_alike(other, regions=True)
    assert check_alike(other, regions=False) == []
    (remark,) = check_alike({**other, "a": making(patch={"patch_overlap": 0})}, regions=False)
    assert remark == "the bags do not choose patches alike: patch_overlap 0 in 1 bags, 0.5 in 1 (d)"
