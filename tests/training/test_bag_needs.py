"""What a model wants of bags beside their features: places, and enough instances."""

import logging

import pytest

from sammil_cli.errors import InputError
from sammil_cli.features.bag import EncoderFacts
from sammil_cli.features.making import Making
from sammil_cli.mil.contract import MILModel
from sammil_cli.training.bag_needs import GIVE_PLACES, check_bags_of
from sammil_cli.training.bag_survey import Seen
from sammil_cli.training.trained_model import model_class


class Neighbours(MILModel):
    needs_places = True


class Eight(MILModel):
    least_instances = 8


class Anything(MILModel):
    pass


def seen(patches: int = 20, *, placed: bool = True) -> Seen:
    encoder = EncoderFacts(name="texture", weights_sha256=None, dim=3, patch_px=64, patch_mpp=0.5, patch_px_level0=128)
    return Seen(making=Making(encoder=encoder, made_with={}), patches=patches, regions=0, placed=placed)


def test_bags_without_places_are_refused_to_a_model_that_looks_at_neighbours() -> None:
    bags = {"a": seen(), "b": seen(placed=False), "c": seen(placed=False)}
    with pytest.raises(InputError) as caught:
        check_bags_of(Neighbours, "graph", bags)
    assert caught.value.message == (
        "graph looks at neighbours, and of 2 of 3 bags (b, c) it is not known where its patches lie on their grid"
    )
    assert caught.value.remedy == GIVE_PLACES
    assert "--patch-px-level0" in GIVE_PLACES
    check_bags_of(Neighbours, "graph", {"a": seen()})
    check_bags_of(Anything, "any", bags)


def test_of_many_bags_the_first_ones_are_named() -> None:
    with pytest.raises(InputError, match=r"of 7 of 7 bags \(s0, s1, s2, s3, s4, …\) it is not known"):
        check_bags_of(Neighbours, "graph", {f"s{n}": seen(placed=False) for n in range(7)})


def test_small_bags_are_remarked_and_taken(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        check_bags_of(Eight, "eight", {"a": seen(7), "b": seen(8), "c": seen(1)})
    (said,) = caplog.messages
    assert said.startswith("2 of 3 bags (a, c) have fewer than 8 patches, which eight looks at")


@pytest.mark.parametrize("model", [Neighbours, Eight, Anything])
def test_bags_that_a_model_can_use_are_passed_over_in_silence(
    model: type[MILModel], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        check_bags_of(model, "some", {"a": seen(8), "b": seen(900)})
    assert caplog.messages == []


def test_of_our_models_srmil_looks_at_neighbours() -> None:
    assert model_class("srmil").needs_places
    assert not model_class("abmil").needs_places
