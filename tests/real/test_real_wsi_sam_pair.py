"""The example pair of WSI-SAM's authors: HR is the middle half of LR, in pixels and to SAM's encoder."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.nn.functional import avg_pool2d

from sammil_cli.regions.sam_engine.image_encoder import prepare
from sammil_cli.regions.sam_models.build import EARLY_WIDTH, build_sam
from sammil_cli.regions.sam_models.embed import Embedder
from sammil_cli.regions.wsi_sam.field import to_low
from sammil_cli.regions.wsi_sam.model import WsiSam
from sammil_cli.regions.wsi_sam.prompts import Prompts
from sammil_cli.slides.pixels import RGB


@pytest.fixture(scope="module")
def pair(real_data: Path) -> tuple[RGB, RGB]:
    """HR and LR, each (1024, 1024, 3)."""
    folder = real_data / "images" / "WSI-SAM"
    if not folder.is_dir():
        pytest.skip(f"{folder} is missing")
    high, low = (cv2.imread(str(folder / f"{name}.png")) for name in ("high", "low"))
    assert high is not None
    assert low is not None
    return np.asarray(high[..., ::-1], np.uint8), np.asarray(low[..., ::-1], np.uint8)


def test_low_shows_high_where_the_geometry_says(pair: tuple[RGB, RGB]) -> None:
    high, low = (cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32) for picture in pair)
    side = high.shape[0]
    left, top, right, bottom = to_low(np.array([[0, 0], [side, side]]), side).ravel().astype(int).tolist()
    shrunk = cv2.resize(high, (right - left, bottom - top), interpolation=cv2.INTER_AREA)
    alike = cv2.matchTemplate(low, shrunk, cv2.TM_CCOEFF_NORMED)
    _, most, _, place = cv2.minMaxLoc(alike)
    assert place == (left, top)
    assert most > 0.95
    for off in (0.48, 0.52):  # of LR's side: no other scale comes near
        other = cv2.resize(high, (round(off * side),) * 2, interpolation=cv2.INTER_AREA)
        assert cv2.minMaxLoc(cv2.matchTemplate(low, other, cv2.TM_CCOEFF_NORMED))[1] < 0.8


def test_the_encoder_sees_the_same_place_in_both(pair: tuple[RGB, RGB]) -> None:
    """Rows and columns, and which of them comes first: by MobileSAM's early feature, with random weights."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        sam = build_sam("vit_t")
        model = WsiSam(sam, EARLY_WIDTH["vit_t"]).eval()
    embed = Embedder(sam)
    seen_high, seen_low = (embed.see(prepare(picture, sam)) for picture in pair)
    fine = avg_pool2d(seen_high.early, 2)[0].numpy()
    coarse = seen_low.early[0].numpy()
    cells = fine.shape[-1]
    found = {
        (top, left): alike(fine, coarse[:, top : top + cells, left : left + cells])
        for top in range(cells + 1)
        for left in range(cells + 1)
    }
    best = max(found, key=lambda place: found[place])
    assert best == (cells // 2, cells // 2)
    assert found[best] > 0.6
    assert alike(fine.transpose(0, 2, 1), coarse[:, best[0] : best[0] + cells, best[1] : best[1] + cells]) < 0.4
    answer = model.predict(seen_high, seen_low, Prompts(boxes=torch.tensor([[200.0, 240, 600, 520]])))
    assert answer.logits.shape == (1, 256, 256)
    assert answer.logits.isfinite().all()


def alike(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """The mean over channels (c, h, w) of their correlation."""
    a, b = (part.reshape(len(part), -1) - part.reshape(len(part), -1).mean(1, keepdims=True) for part in (one, other))
    return float(((a * b).sum(1) / np.sqrt((a**2).sum(1) * (b**2).sum(1))).mean())
