"""Each command parses and calls one stage; what the stage answers becomes the exit code."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sammil_cli.config import STAGES, Settings
from sammil_cli.errors import InputError, MissingError, SammilError
from sammil_cli.exchange import convert_legacy
from sammil_cli.jobs.convert_legacy import Request
from sammil_cli.project.process_list import Row
from sammil_cli.project.project import Project, RunOptions
from sammil_cli.runner.executor import Limits
from sammil_cli.stages import evaluate, extract, patch, sam, segment, train, visualize

Sammil = Callable[..., Any]

PER_SLIDE = {"segment": segment, "patch": patch, "sam": sam, "extract": extract, "visualize": visualize}
per_slide_verb = pytest.mark.parametrize("verb", list(PER_SLIDE))

GOOD = Row(slide_id="a", status="done", seconds=1.5)
REUSED = Row(slide_id="b", status="reused")
BAD = Row(slide_id="c", status="set-aside", code="E_MPP", message="no mpp", remedy="add to data/slides.csv: c,0.5")


@pytest.fixture(autouse=True)
def _weights(project: Path) -> None:
    """Those of the default settings seem to be here: the stages that would read them are stood in for."""
    for name in ("sam_vit_h_4b8939.pth", "resnet50-0676ba61.pth"):
        (project.parent / "weights" / name).touch()


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[tuple[Any, ...]]]:
    """Replaces a stage's `run` by one that answers, or raises, what it is given; returns the calls."""

    def replace(verb: str, answer: object) -> list[tuple[Any, ...]]:
        calls: list[tuple[Any, ...]] = []

        def run(*arguments: Any, **options: Any) -> object:
            calls.append((*arguments, *options.values()))
            if isinstance(answer, BaseException):
                raise answer
            return answer

        monkeypatch.setattr(PER_SLIDE[verb], "run", run)
        return calls

    return replace


@per_slide_verb
def test_a_command_calls_its_stage_with_the_defaults_of_the_project(
    sammil: Sammil, project: Path, stub: Any, verb: str
) -> None:
    calls = stub(verb, [GOOD])
    assert sammil(verb, "--workers", 2, *(["--device", "cpu"] if verb in ("sam", "extract") else [])).code == 0
    by = [None] if verb == "visualize" else []
    assert calls == [(Project(), STAGES[verb](), RunOptions(device="cpu", workers=2), *by)]


def test_segment_passes_its_options_on(sammil: Sammil, project: Path, stub: Any) -> None:
    calls = stub("segment", [GOOD])
    sammil(
        "segment",
        *("--slides", "in", "--slides-table", "mpp.csv", "--out", "masks", "--only", "b, a", "--workers", 3),
        *("--fail-over", "5%", "-S", "tissue_mpp=4", "--set", "segmenter=otsu"),
    )
    (called, settings, options) = calls[0]
    assert called == Project(slides=Path("in"), slides_table=Path("mpp.csv"), tissue=Path("masks"))
    assert (settings.tissue_mpp, settings.segmenter, settings.fail_over) == (4.0, "otsu", 0.05)
    assert options == RunOptions(device="cpu", workers=3, only=frozenset({"a", "b"}))


def test_extract_passes_its_options_on(sammil: Sammil, project: Path, stub: Any) -> None:
    calls = stub("extract", [GOOD])
    sammil(
        "extract",
        *("--slides", "s", "--patches", "p", "--regions", "r", "--out", "b", "--device", "cpu", "--download"),
        *("--workers", 1),
    )
    (called, _, options) = calls[0]
    assert called == Project(slides=Path("s"), patches=Path("p"), regions=Path("r"), bags=Path("b"))
    assert options == RunOptions(device="cpu", workers=1, download=True)


def test_visualize_passes_its_options_on(sammil: Sammil, project: Path, stub: Any) -> None:
    calls = stub("visualize", [GOOD])
    sammil(
        "visualize",
        *("--slides", "s", "--bags", "b", "--models", "m", "--splits", "f.csv", "--lesions", "l", "--out", "o"),
        *("-S", "top_patches=2", "--by", "all"),
    )
    (called, settings, _, by) = calls[0]
    assert by == "all"
    assert called == Project(
        slides=Path("s"), bags=Path("b"), models=Path("m"), splits=Path("f.csv"), lesions=Path("l"), pictures=Path("o")
    )
    assert settings.top_patches == 2


def test_visualize_looks_for_patches_and_regions_where_extract_was_told_to(
    sammil: Sammil, project: Path, stub: Any
) -> None:
    calls = stub("visualize", [GOOD])
    assert sammil("visualize", "--patches", "p", "--regions", "r").code == 0
    assert (calls[0][0].patches, calls[0][0].regions) == (Path("p"), Path("r"))


def test_an_option_goes_before_an_assignment_before_the_file_before_the_default(
    sammil: Sammil, project: Path, stub: Any
) -> None:
    calls = stub("segment", [GOOD])
    file = project / "other.yaml"
    file.write_text("fail_over: 0.5\ntissue_mpp: 5\n", encoding="utf-8")
    sammil("segment", "--params", file)
    sammil("segment", "--params", file, "-S", "fail_over=0.25")
    sammil("segment", "--params", file, "-S", "fail_over=0.25", "--fail-over", "0.125")
    sammil("segment")
    assert [settings.fail_over for _, settings, _ in calls] == [0.5, 0.25, 0.125, 0.0]
    assert [settings.tissue_mpp for _, settings, _ in calls] == [5, 5, 5, 8]


# ---------------------------------------------------------------------------------------------- exit codes


@per_slide_verb
def test_slides_that_were_not_done_give_exit_code_1_with_reason_and_fix(
    sammil: Sammil, project: Path, stub: Any, verb: str
) -> None:
    stub(verb, [GOOD, REUSED, BAD])
    answer = sammil(verb)
    assert answer.code == 1
    text = " ".join(answer.out.split())
    for part in ("E_MPP", "no mpp", "add to data/slides.csv: c,0.5", "1 done, 1 reused, 1 set-aside"):
        assert part in text
    assert f"artifacts/process_lists/{verb}.csv" in text


def test_a_run_without_trouble_gives_exit_code_0_and_one_line(sammil: Sammil, project: Path, stub: Any) -> None:
    stub("patch", [GOOD, REUSED])
    answer = sammil("patch")
    assert (answer.code, answer.out.strip(), answer.err) == (0, "patch: 1 done, 1 reused → artifacts/patches", "")


@pytest.mark.parametrize(
    ("share", "code"), [("0", 1), ("0.33", 1), ("33%", 1), ("34%", 0), ("0.34", 0), ("100%", 0), ("1", 0)]
)
def test_a_share_of_failures_can_be_tolerated(sammil: Sammil, project: Path, stub: Any, share: str, code: int) -> None:
    stub("segment", [GOOD, REUSED, BAD])
    assert sammil("segment", "--fail-over", share).code == code


@pytest.mark.parametrize("share", ["many", "5 percent", "-1", "101%", "5", "nan", ""])
def test_a_share_that_is_none_is_refused(sammil: Sammil, project: Path, stub: Any, share: str) -> None:
    calls = stub("segment", [GOOD])
    answer = sammil("segment", f"--fail-over={share}")
    assert answer.code == 2
    assert f"--fail-over {share!r} is no share" in answer.err
    assert "5% or 0.05" in answer.err
    assert calls == []


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InputError("the table is wrong", remedy="mend it"), 2),
        (MissingError("weights are missing", remedy="mend it"), 3),
        (SammilError("the loss is not finite", remedy="mend it"), 2),
    ],
)
def test_an_expected_error_is_two_lines_and_an_exit_code(
    sammil: Sammil, project: Path, stub: Any, error: SammilError, code: int
) -> None:
    stub("sam", error)
    answer = sammil("sam", "--device", "cpu")
    assert (answer.code, answer.out) == (code, "")
    assert answer.err == f"error: {error.message}\n  fix: mend it\n"


def test_a_bug_shows_its_traceback(sammil: Sammil, project: Path, stub: Any) -> None:
    stub("patch", ZeroDivisionError("a bug"))
    with pytest.raises(ZeroDivisionError):
        sammil("patch")


@per_slide_verb
def test_an_interruption_says_that_finished_work_is_kept(sammil: Sammil, project: Path, stub: Any, verb: str) -> None:
    stub(verb, KeyboardInterrupt())
    answer = sammil(verb)
    assert answer.code == 130
    assert "interrupted; everything that was finished is kept" in answer.err


# ---------------------------------------------------------------------------------------------- JSON


@per_slide_verb
def test_json_holds_the_process_list_and_nothing_else(sammil: Sammil, project: Path, stub: Any, verb: str) -> None:
    stub(verb, [GOOD, BAD])
    answer = sammil(verb, "--json")
    assert answer.code == 1
    found = json.loads(answer.out)
    assert found["stage"] == verb
    assert [(row["slide_id"], row["status"], row["code"]) for row in found["slides"]] == [
        ("a", "done", ""),
        ("c", "set-aside", "E_MPP"),
    ]
    assert found["slides"][1]["remedy"] == BAD.remedy


def test_json_of_train_and_evaluate_is_nothing_but_json(
    sammil: Sammil, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls, whole = [], []

    def run(*arguments: Any, **more: Any) -> Any:
        calls.append(arguments)
        whole.append(more)
        return [] if len(calls) == 1 else {"model": "abmil", "auc": {"mean": 0.5}}

    monkeypatch.setattr(train, "run", run)
    monkeypatch.setattr(evaluate, "run", run)
    assert json.loads(sammil("train", "--json", "--out", "else", "--bags", "b", "--device", "cpu").out) == []
    assert json.loads(sammil("evaluate", "--json", "--runs", "else", "--out", "o", "--device", "cpu").out) == {
        "model": "abmil",
        "auc": {"mean": 0.5},
    }
    trained, judged = calls[0][0], calls[1][0]
    assert (trained.bags, trained.models, trained.splits) == (Path("b"), Path("else/models"), Path("else/splits.csv"))
    assert (trained.models, trained.splits) == (judged.models, judged.splits)
    assert (judged.metrics, judged.page, judged.curves) == (
        Path("o/metrics.json"),
        Path("o/index.html"),
        Path("o/curves"),
    )
    assert judged.predictions == Path("else/predictions.csv")
    assert trained.record == Path("else/record.json")
    assert whole == [{"whole": Settings(seed=3)}, {"changed_labels": False}]  # the first for the record


# ---------------------------------------------------------------------------------------------- --only


def test_only_takes_what_was_not_done_from_a_process_list(sammil: Sammil, project: Path, stub: Any) -> None:
    listing = project / "segment.csv"
    listing.write_text(
        "slide_id,status,code,message,remedy,seconds\na,done,,,,1\nb,failed,E_BUG,x,y,1\nc,reused,,,,0\n"
        "d,set-aside,E_MPP,x,y,0\n",
        encoding="utf-8",
    )
    calls = stub("segment", [GOOD])
    assert sammil("segment", "--only", listing).code == 0
    assert calls[0][2].only == {"b", "d"}


def test_only_takes_every_slide_of_a_plain_table(sammil: Sammil, project: Path, stub: Any) -> None:
    (project / "some.csv").write_text("slide_id\nb\nd\n", encoding="utf-8")
    calls = stub("segment", [GOOD])
    sammil("segment", "--only", "some.csv")
    assert calls[0][2].only == {"b", "d"}


def test_a_process_list_with_nothing_left_to_do_is_refused(sammil: Sammil, project: Path, stub: Any) -> None:
    (project / "all.csv").write_text("slide_id,status\na,done\n", encoding="utf-8")
    calls = stub("segment", [GOOD])
    answer = sammil("segment", "--only", "all.csv")
    assert answer.code == 2
    assert "names no slide that is left to do" in answer.err
    assert calls == []


@pytest.mark.parametrize(("text", "message"), [("nowhere.csv", "does not exist"), ("bad.csv", "lacks the column")])
def test_a_list_that_cannot_be_read_is_refused(
    sammil: Sammil, project: Path, stub: Any, text: str, message: str
) -> None:
    (project / "bad.csv").write_text("slide,status\na,failed\n", encoding="utf-8")
    stub("segment", [GOOD])
    answer = sammil("segment", "--only", text)
    assert answer.code == 2
    assert message in answer.err


def test_convert_legacy_passes_its_options_on(sammil: Sammil, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[Any, ...]] = []

    def run(*arguments: Any) -> tuple[list[Row], Path]:
        calls.append(arguments)
        return [GOOD], Path("new")

    monkeypatch.setattr(convert_legacy, "run", run)
    answer = sammil(
        "convert-legacy",
        *("old", "--features", "f", "--no-segments", "--patch-px-level0", 512, "--out", "new", "--workers", 1),
        *("-S", "membership_min_share=0.5", "--json"),
    )
    assert answer.code == 0
    assert json.loads(answer.out)["stage"] == "convert-legacy"
    limits = Limits(seconds=7200.0)
    request = Request(features=Path("f"), with_segments=False, patch_px_level0=512, min_share=0.5, limits=limits)
    assert calls == [(Path("old"), request, Project(), RunOptions(workers=1), Path("new"))]
