"""Fixtures for all tests: tiny slides that OpenSlide opens, a tiny SAM, and the shared real files."""

import gc
import hashlib
import os
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from slide_maker import draw_asymmetric, write_pyramid

from sammil_cli import console

pytest_plugins = ["study_fixtures"]
pytest.register_assert_rewrite("sammil_cli.testing")

REPOSITORY = Path(__file__).resolve().parents[1]

# Property tests: `ci` finds the same examples in every run and takes seconds; `make fuzz` asks for `long`.
settings.register_profile("ci", derandomize=True, deadline=None, database=None, print_blob=True)
settings.register_profile("long", deadline=None, database=None, print_blob=True, max_examples=2000)
settings.load_profile(os.environ.get("SAMMIL_HYPOTHESIS", "ci"))


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "stress: sizes and storms of half a minute each; make stress, not make test")


def pytest_collection_finish() -> None:
    """What is loaded by now stays: the collector of garbage need not look at it again and again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True, scope="session")
def _no_lines_of_progress() -> Iterator[None]:
    """What a command says must not depend on how busy the machine is: no line of progress after ten seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(console, "_FIRST_LINE", 1e6)
        yield


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    """In models as small as those of the tests, more threads only wait for each other; `sammil train` uses one, too."""
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)


@pytest.fixture(autouse=True)
def _talks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever ran before, with `--json` or not, what is printed is for people until a test says otherwise."""
    monkeypatch.setitem(console._state, "quiet", False)


@pytest.fixture(autouse=True)
def _leaves_nothing_here() -> Iterator[None]:
    """What a test writes lies in folders of its own, never in the one that tests are started in."""
    before = {path.name for path in REPOSITORY.iterdir()}
    yield
    left = {path.name for path in REPOSITORY.iterdir()} - before
    assert [name for name in left if not name.startswith(".")] == []  # those of tools are ignored by Git


@pytest.fixture
def asymmetric_slide(tmp_path: Path) -> Path:
    """640 x 448 px at 2 µm per pixel, levels 1, 2, 4; see `slide_maker.draw_asymmetric`."""
    return write_pyramid(tmp_path / "slides" / "asymmetric.tif", draw_asymmetric(), mpp=2.0)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real files, see its CATALOG.md; tests are skipped where it is not."""
    folder = Path(os.environ.get("SAMMIL_TEST_DATA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real files in {folder}: set SAMMIL_TEST_DATA")
    return folder


def _build_tiny_sam(checkpoint: str | None = None) -> Any:
    """The official classes at reduced depth."""
    from segment_anything.build_sam import _build_sam

    return _build_sam(
        encoder_embed_dim=32,
        encoder_depth=2,
        encoder_num_heads=2,
        encoder_global_attn_indexes=[1],
        checkpoint=checkpoint,
    )


@pytest.fixture(scope="session")
def tiny_sam_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights, the same in each session."""
    import torch

    path = tmp_path_factory.mktemp("weights") / "tiny_sam.pth"
    with torch.random.fork_rng():
        torch.manual_seed(0)
        torch.save(_build_tiny_sam().state_dict(), path)
    return path


@pytest.fixture
def tiny_sam(tiny_sam_checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Makes `vit_b` a tiny SAM; gives the settings that load it and drop none of its masks."""
    from segment_anything import sam_model_registry

    from sammil_cli.config import SamSettings

    monkeypatch.setitem(sam_model_registry, "vit_b", partial(_build_tiny_sam))
    settings = SamSettings(
        proposer="sam",
        sam_model="vit_b",
        sam_checkpoint=str(tiny_sam_checkpoint),
        sam_checkpoint_sha256=hashlib.sha256(tiny_sam_checkpoint.read_bytes()).hexdigest(),
        sam_points_per_side=4,
        sam_pred_iou_thresh=0,
        sam_stability_thresh=0,
        sam_crop_layers=0,
    )
    return settings.model_dump()


@pytest.fixture
def tiny_wsi_sam(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Makes `vit_b` a SAM for pictures of 64 px; gives the settings of WSI-SAM on it, with random tokens."""
    import sam_of_64_px
    import torch
    from segment_anything import sam_model_registry

    from sammil_cli.config import SamSettings
    from sammil_cli.regions.sam_models.build import EARLY_WIDTH, load_sam
    from sammil_cli.regions.wsi_sam.model import WsiSam
    from sammil_cli.regions.wsi_sam.tokens import TokenFacts, write_tokens

    monkeypatch.setitem(sam_model_registry, "vit_b", sam_of_64_px.build)
    monkeypatch.setitem(EARLY_WIDTH, "vit_b", 16)
    sam, tokens = tmp_path / "sam.pth", tmp_path / "tokens.safetensors"
    torch.save(sam_of_64_px.weights(), sam)
    sha256 = hashlib.sha256(sam.read_bytes()).hexdigest()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = WsiSam(load_sam(sam, "vit_b"), 16)
    write_tokens(tokens, model, TokenFacts(sam_model="vit_b", sam_sha256=sha256, mpp=1.0, side_px=64, provenance={}))
    settings = SamSettings(
        proposer="wsi-sam",
        sam_model="vit_b",
        sam_checkpoint=str(sam),
        sam_checkpoint_sha256=sha256,
        wsi_sam_tokens=str(tokens),
        sam_points_per_side=2,
        sam_pred_iou_thresh=0,
        sam_stability_thresh=0,
        sam_crop_layers=0,
    )
    return settings.model_dump()
