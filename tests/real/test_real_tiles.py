"""Real tiles go in, and the patches of a real slide out and in again."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from inline_executor import open_inline

from sammil_cli.features.bag import read_bag
from sammil_cli.runner import per_slide
from sammil_cli.stages import patch_images
from sammil_cli.storage.paths import BagPath

Sammil = Callable[..., Any]
SETTINGS = ("-S", "encoder=texture", "--params", "params.yaml", "--workers", 1)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text("patch_px: 256\npatch_mpp: 1.0\nproposer: superpixels\n", encoding="utf-8")
    for module in (per_slide, patch_images):
        monkeypatch.setattr(module, "open_executor", open_inline)


def test_tiles_whose_names_say_no_places_give_a_bag_without(sammil: Sammil, real_data: Path) -> None:
    found = sorted((real_data / "tiles/lc25000_lung/lung_n").glob("*.jpeg"))[:12]
    Path("t/normal").mkdir(parents=True)
    for path in found:
        shutil.copy(path, "t/normal")
    answer = sammil("tiles", "t", *SETTINGS)
    assert (answer.code, "no places: names such as 'lungn" in answer.out) == (0, True), answer
    bag = read_bag(BagPath(Path("artifacts/bags/normal.h5")))
    assert (len(bag.features), bag.encoder.patch_px, bool((bag.xy == -1).all())) == (12, 224, True)


def test_patches_of_a_real_slide_come_back_as_the_same_bag(sammil: Sammil, real_data: Path) -> None:
    Path("data/slides").mkdir(parents=True)
    Path("data/slides/a.svs").symlink_to(real_data / "slides/CMU-1-Small-Region.svs")
    for command in (("segment",), ("patch", "--images", "all"), ("sam",), ("extract",)):
        answer = sammil(*command, *SETTINGS)
        assert answer.code == 0, answer
    # Twelve patches of 2 x 256 px of level 0 may keep that step by chance, so it is said.
    side = read_bag(BagPath(Path("artifacts/bags/a.h5"))).encoder.patch_px_level0
    given = ("-S", "tiles_mpp=1.0", "-S", f"tiles_px_level0={side}")
    assert sammil("tiles", "artifacts/patch_images", "--out", "tiled", *given, *SETTINGS).code == 0
    ours, tiled = (read_bag(BagPath(Path(f"{folder}/a.h5"))) for folder in ("artifacts/bags", "tiled"))
    np.testing.assert_array_equal(tiled.xy, ours.xy)
    np.testing.assert_array_equal(tiled.features, ours.features)
    assert tiled.encoder == ours.encoder
