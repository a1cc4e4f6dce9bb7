"""WSI-SAM against numbers computed once by its published code, in float64 (../shared/data/golden/README.md)."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from sammil_cli.regions.sam_models.build import build_mobile_sam
from sammil_cli.regions.sam_models.embed import Seen
from sammil_cli.regions.wsi_sam.model import Asked, WsiSam
from sammil_cli.regions.wsi_sam.tokens import fit, read_tokens

TOLERANCE = 1e-9
EARLY = 160  # of MobileSAM


@pytest.fixture(scope="module")
def golden(golden_file: Callable[[str], dict[str, Any]]) -> dict[str, Any]:
    (found,) = (entry for name, entry in golden_file("srmil_wsisam.json").items() if name.startswith("wsi_sam"))
    entry: dict[str, Any] = found
    return entry


def published_state(model: WsiSam, keys: list[str]) -> dict[str, Tensor]:
    """The README's rule: tensor j of the published keys in order is drawn from seed 1000 + j, rounded to float32."""
    shapes = {
        **{name: value.shape for name, value in model.sam.mask_decoder.named_parameters()},
        **{name: value.shape for name, value in model.high.named_parameters()},
    }
    state = {}
    for number, key in enumerate(keys):
        drawn = np.random.RandomState(1000 + number).standard_normal(shapes[key].numel()).reshape(shapes[key])
        scale = drawn[0].size ** -0.5 if drawn.ndim > 1 else 0.1
        around_one = drawn.ndim == 1 and key.endswith(".weight") and "norm" in key.split(".")[-2]
        state[key] = torch.from_numpy(drawn * scale + around_one).float()
    return state


@pytest.fixture(scope="module")
def model(golden: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> WsiSam:
    """MobileSAM's decoder and both branches with the same numbers, by way of the published files."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = WsiSam(build_mobile_sam(), EARLY)
    state = published_state(made, golden["keys_sorted"])
    folder = tmp_path_factory.mktemp("published")
    for name in ("net_high.pth", "net_low.pth"):
        torch.save({"model": state, "optimizer": {}, "epoch": 19}, folder / name)
    own = made.sam.mask_decoder.state_dict()
    made.sam.mask_decoder.load_state_dict({name: state[name] for name in own})
    fit(made, read_tokens(folder), "")
    return made.double()


def drawn(seed: int, *shape: int) -> Tensor:
    return torch.from_numpy(np.random.RandomState(seed).standard_normal(shape))


def inputs(seed: int) -> tuple[Seen, Asked]:
    """What the golden file says of its inputs."""
    early = drawn(seed + 3, 1, 64, 64, EARLY).permute(0, 3, 1, 2)
    place = drawn(5, 1, 256, 64, 64)
    asked = Asked(sparse=drawn(seed + 1, 1, 2, 256), dense=0.1 * drawn(seed + 2, 1, 256, 64, 64), place=place)
    return Seen(drawn(seed, 1, 256, 64, 64), early), asked


def test_all_published_keys_are_ours(golden: dict[str, Any]) -> None:
    model = WsiSam(build_mobile_sam(), EARLY)
    frozen, added = model.sam.mask_decoder.state_dict(), model.high.state_dict()
    assert len(golden["keys_sorted"]) == 145
    assert sorted([*frozen, *added]) == golden["keys_sorted"]


def test_tokens_masks_and_the_answer_are_those_of_the_published_code(golden: dict[str, Any], model: WsiSam) -> None:
    (high, asked), (low, asked_low) = inputs(20), inputs(30)
    rows, columns = np.array(golden["pixels"]).T
    with torch.inference_mode():
        tokens = [
            model._token(*each)[0, :3].tolist()
            for each in (
                (model.high, model._run(model.high, high, asked)),
                (model.low, model._run(model.low, low, asked_low)),
            )
        ]
        ours, _ = model.draw(high, low, asked, asked_low)
        logits = model.answer(high, low, asked, asked_low).logits[0]
    assert tokens[0] == pytest.approx(golden["token_hr_first3"], abs=TOLERANCE)
    assert tokens[1] == pytest.approx(golden["token_lr_first3"], abs=TOLERANCE)
    assert (logits - ours[0, 0])[rows, columns].tolist() == pytest.approx(golden["sam_mask_hr"], abs=TOLERANCE)
    assert logits[rows, columns].tolist() == pytest.approx(golden["final_lowres_logit"], abs=TOLERANCE)
