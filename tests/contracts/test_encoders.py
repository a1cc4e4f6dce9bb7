"""Our own encoders keep what every encoder keeps (`sammil_cli.testing.encoders`); what weights have to say."""

from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
import torch
from safetensors.torch import load_file

from sammil_cli import choices
from sammil_cli.storage.weights import HubFile
from sammil_cli.testing.encoders import EncoderContract
from sammil_cli.testing.weights import check_wanted_weights, with_random_weights

# Of the rows a small one; that every row builds is seen without weights, in tests/features/test_encoder_rows.py.
_ROW = "lunit_dino"
ENCODERS = [
    word
    for word in choices.names(choices.ENCODERS)
    if (word == _ROW or not choices.row_of(choices.module_name(choices.ENCODERS, word))) and word != "timm"
]
OWN_FILE = {"encoder_weights": None}


@pytest.fixture(scope="module", params=ENCODERS)  # so that all tests of one encoder follow each other
def word(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class TestOwnEncoders(EncoderContract):
    backbone = "squeezenet1_1"  # the smallest one


class TestTimm(EncoderContract):
    backbone = "test_vit"

    @pytest.fixture
    def word(self) -> str:
        return "timm"


def test_the_folder_holds_the_encoders_of_this_release() -> None:
    assert {"resnet50", "plip", "texture", "torchvision", "uni2_h"} <= set(choices.names(choices.ENCODERS))


def test_an_encoder_with_weights_and_without_random_ones_fails_with_what_to_add(tmp_path: Path) -> None:
    mine = ModuleType("mine")
    mine.wanted_weights = choices.load(choices.ENCODERS, "plip").wanted_weights
    with pytest.raises(pytest.fail.Exception, match=r"mine has wanted_weights: add random_weights\(settings\)"):
        with_random_weights(mine, OWN_FILE, tmp_path)


def test_random_weights_are_the_same_each_time_and_may_be_shared(tmp_path: Path) -> None:
    mine = ModuleType("mine")
    mine.wanted_weights = choices.load(choices.ENCODERS, "plip").wanted_weights
    one = torch.nn.Linear(2, 3, bias=False).weight.detach()
    mine.random_weights = lambda settings: {"a": one, "b": one.T, "drawn": torch.randn(4)}
    found = [load_file(with_random_weights(mine, OWN_FILE, tmp_path)["encoder_weights"])["drawn"] for _ in range(2)]
    assert torch.equal(*found)


@pytest.mark.parametrize(
    "wrong",
    [
        *({"sha256": "0" * 63}, {"sha256": "Z" * 64}, {"url": "ftp://a"}, {"page": ""}, {"licence": ""}),
        *({"gated": True, "hub": None}, {"hub": HubFile(repo="a/b", revision="main", file="c")}),
    ],
)
def test_a_published_file_that_is_not_pinned_fails(wrong: dict[str, object]) -> None:
    plip, mine = choices.load(choices.ENCODERS, "plip"), ModuleType("mine")
    mine.wanted_weights, mine.WEIGHTS = plip.wanted_weights, plip.WEIGHTS
    check_wanted_weights(mine, OWN_FILE)
    mine.WEIGHTS = {"plip": plip.WEIGHTS, "other": replace(plip.WEIGHTS, **wrong)}
    with pytest.raises(AssertionError):
        check_wanted_weights(mine, OWN_FILE)


def test_a_published_file_that_is_wanted_and_not_named_or_named_and_not_wanted_fails() -> None:
    plip = choices.load(choices.ENCODERS, "plip")
    unnamed, unwanted = ModuleType("unnamed"), ModuleType("unwanted")
    unnamed.wanted_weights, unwanted.WEIGHTS = plip.wanted_weights, plip.WEIGHTS
    for module in (unnamed, unwanted):
        with pytest.raises(AssertionError):
            check_wanted_weights(module, OWN_FILE)
