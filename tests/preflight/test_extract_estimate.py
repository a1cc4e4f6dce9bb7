"""sammil extract --estimate: what is counted and timed, and what follows from it."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from sammil_cli import choices
from sammil_cli.config import ExtractSettings
from sammil_cli.errors import InputError
from sammil_cli.features.own_patches import OwnPatches
from sammil_cli.jobs.extract import ExtractJob
from sammil_cli.preflight import extract_estimate
from sammil_cli.preflight.extract_calibrate import ExtractCosts, calibrate
from sammil_cli.project.project import Project, RunOptions

Sammil = Callable[..., Any]
TEXTURE = ExtractSettings(encoder="texture")
GB = 10**9


def costs(**given: Any) -> ExtractCosts:
    known: dict[str, Any] = {"reading": 0.01, "encoding": 0.08, "grouping": 0.01, "result_bytes": 4096.0}
    known |= {"cold_seconds": 3.0, "peak_bytes": GB, "gpu_bytes": 0, "gpu_free_bytes": 0}
    return ExtractCosts(**(known | given))


def estimate(
    monkeypatch: pytest.MonkeyPatch, measured: ExtractCosts, workers: int = 1, free: int = 100 * GB
) -> extract_estimate.Estimate:
    """Of the project's slides without bags, which would have 100, 200, … patches, with costs that are given."""

    def measure(todo: Sequence[ExtractJob], patches: Mapping[str, int], processes: int) -> ExtractCosts:
        assert all(job.patches.stem in patches for job in todo)
        return measured

    class Grid:
        def __init__(self, path: Path) -> None:
            self.xy = [(0, 0)] * 100 * (1 + int(path.stem[-1]))
            self.patch_px, self.patch_mpp = 128, 1.0 if path.stem == "slide_0" else 0.5

    monkeypatch.setattr(extract_estimate, "_measure", measure)
    monkeypatch.setattr(extract_estimate, "read_patches", Grid)
    monkeypatch.setattr(extract_estimate, "available_bytes", lambda: free)
    return extract_estimate.run(Project(bags=Path("elsewhere")), TEXTURE, RunOptions(workers=workers))


@pytest.fixture
def undone(done: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The finished project, of which no slide is encoded with these settings."""
    monkeypatch.setattr("sammil_cli.storage.store.ResultStore.has_files", lambda *arguments: False)
    return done


def test_time_is_that_of_all_processes_or_of_the_longest_slide(undone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = estimate(monkeypatch, costs())
    assert found.patches == {f"slide_{i}": 100 * (1 + i) for i in range(6)}
    assert found.seconds == pytest.approx(3 + 2100 * 0.1)
    assert found.result_bytes == 2100 * 4096
    assert list(found.shares or {}) == ["encoding", "reading and preparing", "grouping and writing"]
    assert estimate(monkeypatch, costs(), workers=3).seconds == pytest.approx(3 + 700 * 0.1)
    assert estimate(monkeypatch, costs(), workers=6).seconds == pytest.approx(3 + 600 * 0.1)  # the longest
    assert found.warnings == ()


def test_patches_that_do_not_suit_the_encoder_are_said_once_with_the_number_of_slides(
    undone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texture = choices.load(choices.ENCODERS, "texture")
    monkeypatch.setattr(texture, "PATCHES", OwnPatches(px=128, mpp=1.0), raising=False)
    (warning,) = estimate(monkeypatch, costs()).warnings
    assert warning == "encoder-mpp: texture is for 1 µm per pixel, these patches have 0.5 (5 slides)"


def test_a_gpu_encodes_while_patches_are_read() -> None:
    assert extract_estimate._seconds_per_patch(costs(), overlapping=False) == pytest.approx(0.1)
    assert extract_estimate._seconds_per_patch(costs(), overlapping=True) == pytest.approx(0.09)


def test_what_bounds_it_and_what_does_not_fit_are_said(
    undone: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(extract_estimate, "_disk_free", lambda project: 1_000_000)
    found = estimate(monkeypatch, costs(peak_bytes=4 * GB), workers=5, free=9 * GB)
    extract_estimate.report(found, TEXTURE)
    said = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "bound by encoding 80 %, reading and" in said
    assert "about 9 MB of bags; 1 MB are free" in said
    assert "warning: 5 processes of 4.0 GB do not fit into the 9.0 GB of memory that are free: --workers 2" in said
    assert "warning: the bags do not fit on the disk" in said


def test_an_estimate_does_nothing_and_knows_what_is_done(done: Path, sammil: Sammil) -> None:
    before = sorted(Path("artifacts").rglob("*"))
    assert "extract: nothing to do: 0 to do, 6 done already" in sammil("extract", "--estimate").out
    answer = sammil("extract", "--estimate", "--json", "-S", "feature_dtype=float16", "--workers", 1)
    assert answer.code == 0, answer
    assert sorted(Path("artifacts").rglob("*")) == before
    found = json.loads(answer.out)
    assert set(found["patches"]) == {f"slide_{i}" for i in range(6)}
    assert 0 < found["seconds"] < 120
    assert sum(found["shares"].values()) == pytest.approx(1)
    assert next(iter(found["shares"])) != "encoding"  # texture measures in the reading threads
    assert 5e7 < found["costs"]["peak_bytes"] < 2e9


def test_the_bag_s_size_is_that_of_a_bag(done: Path) -> None:
    patches = Path("artifacts/patches/slide_0.h5")
    files: dict[str, Any] = {"slide": Path("data/slides/slide_0.tif"), "patches": patches, "artefacts": None}
    settings = ExtractSettings(encoder="texture", batch_size=4)
    found = calibrate(
        [ExtractJob(**files, regions=Path("artifacts/regions/slide_0.h5"), settings=settings, device="cpu")]
    )
    number = len(extract_estimate.read_patches(patches).xy)
    assert number * found.result_bytes == pytest.approx(Path("artifacts/bags/slide_0.h5").stat().st_size, rel=0.3)
    assert min(found.reading, found.grouping) > 0
    assert found.gpu_bytes == 0


@pytest.mark.parametrize(
    ("project", "options", "message"),
    [
        (Project(), RunOptions(executor="dask", scheduler="x"), "measures on this machine"),
        (Project(ungrouped=Path("bags")), RunOptions(), "encodes none"),
    ],
)
def test_what_cannot_be_timed_is_refused(study: Path, project: Project, options: RunOptions, message: str) -> None:
    with pytest.raises(InputError, match=message):
        extract_estimate.run(project, TEXTURE, options)
