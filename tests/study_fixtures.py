"""The command line as a function, and a project of tiny slides that earlier stages have worked on."""

import contextlib
import io
import logging
import shutil
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from checked_cohort import fill
from inline_executor import open_inline
from slide_maker import write_tiny_cohort

from sammil_cli import console
from sammil_cli.cli.app import main
from sammil_cli.runner import per_slide

# The demo preset, made small: slides have 1 µm per pixel; texture and superpixels need no weights.
SMALL = {
    "patch_px": 128,
    "patch_mpp": 1.0,
    "tissue_min_area_um2": 5000.0,
    "sam_canvas_px": 320,
    "superpixel_area_px": 2500,
    "folds": 3,
    "epochs": 4,
    "patience": 4,
    "learning_rate": 0.001,
    "heatmap_mpp": 8.0,
    "top_patches": 2,
}


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a command said, and its exit code."""

    code: int
    out: str
    err: str


def call(*words: object) -> Answer:
    """Calls `sammil` with words, in this process, through its entry point."""
    out, err = io.StringIO(), io.StringIO()
    root = logging.getLogger()
    handlers, level, argv, quiet = root.handlers[:], root.level, sys.argv, console._state["quiet"]
    sys.argv = ["sammil", *map(str, words)]
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), pytest.raises(SystemExit) as ended:
            main()
    finally:
        sys.argv, root.handlers[:], root.level, console._state["quiet"] = argv, handlers, level, quiet
    return Answer(code=int(ended.value.code or 0), out=out.getvalue(), err=err.getvalue())


@pytest.fixture(scope="session")
def sammil() -> Callable[..., Answer]:
    return call


@contextlib.contextmanager
def inside(folder: Path) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield


@pytest.fixture(scope="session")
def started(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with six tiny slides, tissue found on all of them."""
    folder = tmp_path_factory.mktemp("started") / "study"
    assert call("init", folder, "--preset", "demo", "--no-dvc").code == 0
    write_tiny_cohort(folder / "data")
    set_params(folder, **SMALL)
    with inside(folder), slides_inline():
        answer = call("segment", "--workers", 1)
        assert answer.code == 0, answer
    return folder


@pytest.fixture
def study(started: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of `started`, as working directory."""
    folder = tmp_path / "study"
    shutil.copytree(started, folder)
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture(scope="session")
def finished(started: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Answer]]:
    """A copy of `started` after all stages, and what each command said."""
    folder = tmp_path_factory.mktemp("finished") / "study"
    shutil.copytree(started, folder)
    with inside(folder), training_inline():
        verbs = ("segment", "patch", "sam", "extract", "train", "evaluate", "visualize")
        answers = {verb: call(verb, *([] if verb == "evaluate" else ["--workers", 1])) for verb in verbs}
    return folder, answers


@pytest.fixture
def done(finished: tuple[Path, dict[str, Answer]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the finished project, as working directory."""
    folder = tmp_path / "done"
    shutil.copytree(finished[0], folder)
    monkeypatch.chdir(folder)
    return folder


class InlinePool:
    """Stands in for a pool of processes: does the work at once, in this one."""

    def schedule(self, work: Callable[..., object], args: list[object]) -> Future[object]:
        future: Future[object] = Future()
        future.set_result(work(*args))
        return future


@contextlib.contextmanager
def slides_inline() -> Iterator[None]:
    """Works on slides in this process: starting others takes longer than their work. tests/runner is of these."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(per_slide, "open_executor", open_inline)
        yield


@contextlib.contextmanager
def folds_inline() -> Iterator[None]:
    """Trains folds in this process: importing torch in others takes longer than the training."""
    from sammil_cli.stages import train  # takes a second: torch comes with it

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train, "process_pool", lambda workers, gpu: contextlib.nullcontext(InlinePool()))
        yield


@contextlib.contextmanager
def training_inline() -> Iterator[None]:
    """Trains folds and works on slides in this process."""
    with folds_inline(), slides_inline():
        yield


@pytest.fixture
def inline_slides(monkeypatch: pytest.MonkeyPatch) -> None:
    """As `slides_inline`; by `monkeypatch`, as `inline_training`."""
    monkeypatch.setattr(per_slide, "open_executor", open_inline)


@pytest.fixture
def inline_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """As `training_inline`; by `monkeypatch`, so that what a test patches beside it is undone in the right order."""
    from sammil_cli.stages import train

    monkeypatch.setattr(train, "process_pool", lambda workers, gpu: contextlib.nullcontext(InlinePool()))
    monkeypatch.setattr(per_slide, "open_executor", open_inline)


@pytest.fixture
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Curves of a report are made and not drawn: it takes longer than all else, and tests of numbers look at none."""
    from sammil_cli.report import figures

    monkeypatch.setattr(figures, "to_png", lambda figure: b"png")


def set_params(folder: Path, **values: object) -> None:
    path = folder / "params.yaml"
    settings = yaml.safe_load(path.read_text(encoding="utf-8"))
    path.write_text(yaml.safe_dump({**settings, **values}), encoding="utf-8")


@pytest.fixture
def cohort(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Six slides and good labels, in the working directory."""
    monkeypatch.chdir(tmp_path)
    fill()
    return tmp_path
