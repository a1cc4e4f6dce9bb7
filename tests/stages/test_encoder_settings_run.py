"""What an encoder says of itself, through the command: side and pooling, in key and bag; patches that do not suit."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from study_fixtures import slides_inline

from sammil_cli.features.making import Making, read_making
from sammil_cli.storage.paths import BagPath

Sammil = Callable[..., Any]
SLIDE = "slide_2"
TOKENS = '''
"""The mean colour; and with `cls-mean` its spread, too."""

import numpy as np
from sammil_cli.features.encoder_details import EncoderDetails
from sammil_cli.features.own_patches import OwnPatches

INPUT_PX = 64
POOLINGS = ("cls", "cls-mean")
PATCHES = OwnPatches(px=128, mpp=0.5)


class Tokens:
    weights_sha256 = None

    def __init__(self, input_px, pooling):
        self.name, self.dim = ("tokens", 3) if pooling == "cls" else (f"tokens:{pooling}", 6)
        prepared = f"{input_px} px, not at all; RGB 0 0 0, sd 1 1 1"
        self.details = EncoderDetails(revision="r1", pooling=pooling, preparation=prepared, mpp=0.5)

    def prepare(self, patch):
        shares = patch.reshape(-1, 3) / 255
        return np.concatenate([shares.mean(0), shares.std(0)])[: self.dim].astype(np.float32)

    def encode(self, batch):
        return batch.copy()


def build(*, weights, device, backbone, input_px, pooling="cls"):
    return Tokens(input_px, pooling)
'''


@pytest.fixture
def extract(done: Path, sammil: Sammil) -> Callable[..., str]:
    """Encodes one slide with `tokens` and these settings; its slides are cut at 1 µm per pixel."""
    (done / "plugins").mkdir()
    (done / "plugins/tokens.py").write_text(TOKENS, encoding="utf-8")

    def extracted(*assignments: str) -> str:
        settings = [word for one in ("encoder=tokens", *assignments) for word in ("-S", one)]
        with slides_inline():
            answer = sammil("extract", "--only", SLIDE, "--workers", 1, *settings)
        return answer.out + answer.err

    return extracted


def bag(done: Path) -> Making:
    return read_making(BagPath(done / f"artifacts/bags/{SLIDE}.h5"))


def test_auto_and_what_it_comes_to_make_one_result(done: Path, extract: Callable[..., str]) -> None:
    assert "extract: 1 done" in extract()
    assert bag(done).made_with["extract"]["encoder_input_px"] == 64
    for same in ("encoder_input_px=64", "encoder_pooling=cls"):
        assert "extract: 1 reused" in extract(same), same
    assert "extract: 1 done" in extract("encoder_input_px=32")
    assert bag(done).encoder.preparation == "32 px, not at all; RGB 0 0 0, sd 1 1 1"


def test_another_pooling_is_another_bag_of_another_name(
    done: Path, extract: Callable[..., str], sammil: Sammil
) -> None:
    assert "extract: 1 done" in extract("encoder_pooling=cls-mean")
    found = bag(done).encoder
    assert (found.name, found.dim, found.pooling, found.revision) == ("tokens:cls-mean", 6, "cls-mean", "r1")
    other = ("-S", "encoder=tokens", "-S", "encoder_pooling=cls")
    assert "encoder_pooling: cls-mean → auto" in sammil("why", SLIDE, *other).out
    mixed = sammil("train", "--workers", 1)
    assert mixed.code == 2
    assert "the bags come from different encoders" in mixed.err


def test_a_pooling_that_it_does_not_have_is_refused_with_those_that_it_has(extract: Callable[..., str]) -> None:
    answer = extract("encoder_pooling=mean")
    assert "encoder tokens has no pooling mean" in answer
    assert "set encoder_pooling: auto or cls or cls-mean" in answer
    assert "set encoder_pooling: auto\n" in extract("encoder=texture", "encoder_pooling=cls")


def test_patches_at_another_mpp_are_remarked_before_and_after(
    done: Path, extract: Callable[..., str], sammil: Sammil
) -> None:
    remark = "encoder-mpp: tokens is for 0.5 µm per pixel, these patches have 1"
    assert remark in extract()
    assert remark in (done / "artifacts/process_lists/extract.csv").read_text(encoding="utf-8")
    checked = sammil("check", "-S", "encoder=tokens")
    assert "tokens is for 0.5 µm per pixel, these patches have 1" in checked.out
    assert "set patch_px: 128 and patch_mpp: 0.5" in checked.out
    assert "encoder-mpp" not in sammil("check", "-S", "encoder=tokens", "-S", "patch_mpp=0.5").out
    assert "encoder-mpp" not in sammil("check").out  # texture takes any
    refused = sammil("check", "-S", "encoder=h0_mini", "-S", "encoder_pooling=mean")
    assert "encoder h0_mini has no pooling mean" in refused.out
