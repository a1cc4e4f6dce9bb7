"""What sammil status and sammil why found: as a table, in words, and for programs."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from sammil_cli import console
from sammil_cli.errors import InputError
from sammil_cli.features.bag import read_encoder
from sammil_cli.features.detail_words import detail_words
from sammil_cli.preflight.key_changes import Change, listed_settings
from sammil_cli.preflight.status import (
    FOLLOWS,
    STATES,
    STORED,
    TO_DO,
    UP_TO_DATE,
    SlideStatus,
    StageStatus,
    TrainingStatus,
)
from sammil_cli.storage.paths import BagPath
from sammil_cli.storage.shown_text import shown

_WOULD_BE = {STORED: "brought back from the result store", TO_DO: "computed"}
_MOST_REASONS = 6
_MOST_FILES = 10


def report(stages: Sequence[StageStatus]) -> None:
    """Prints a table, one line for each stage."""
    used = [state for state in STATES if any(slide.state == state for stage in stages for slide in stage.slides)]
    rows = []
    for stage in stages:
        tally = Counter(slide.state for slide in stage.slides)
        reasons = Counter(
            change.short for slide in stage.slides for change in slide.changes if slide.state != UP_TO_DATE
        )
        why = [_short(stage.training)] if stage.training else [stage.not_made] if stage.not_made else []
        why += [f"{count} × {short}" for short, count in reasons.most_common(_MOST_REASONS)]
        libraries = Counter(slide.libraries for slide in stage.slides if slide.libraries)
        why += [f"{count} × computed with {other}" for other, count in libraries.items()]
        if len(reasons) > _MOST_REASONS:
            why.append(f"… and {len(reasons) - _MOST_REASONS} other reasons")
        if stage.problem is not None:
            why.append("not known, see below")
        rows.append((stage.stage, *(tally[state] for state in used), why))
    console.print_table("What the next run would do", ("stage", *used, "why"), rows)
    for stage in stages:
        if stage.problem is not None:
            console.say(*f"{stage.stage}: {stage.problem.message}\n    fix: {stage.problem.remedy}".split("\n"))
    for line in changed_files(stages):
        console.say(line)
    states = {*used, *(stage.training.state for stage in stages if stage.training)}
    if states <= {UP_TO_DATE} and not any(stage.problem for stage in stages):
        console.say("nothing to do")


def _short(training: TrainingStatus) -> str:
    """A training in a line: its state, why, and what lies there."""
    why = ", ".join(change.short for change in training.changes)
    state = "" if training.state == FOLLOWS and why.startswith(FOLLOWS) else training.state  # `follows extract` says it
    said = ": ".join(part for part in (state, why) if part)
    return f"{training.what} {said}" + (f"; {training.there}" if training.there else "")


def changed_files(stages: Sequence[StageStatus]) -> list[str]:
    """A line for each kind of change among the user's files, with the first of the files."""
    files: dict[str, dict[str, None]] = {}
    for change in (change for stage in stages for change in _all_changes(stage)):
        if change.file is not None:
            files.setdefault(change.short, {})[str(change.file)] = None
    return [f"{short}: {_first_of(list(names))}" for short, names in files.items()]


def _all_changes(stage: StageStatus) -> list[Change]:
    own = stage.training.changes if stage.training else ()
    return [*(change for slide in stage.slides for change in slide.changes), *own]


def _first_of(names: Sequence[str]) -> str:
    more = len(names) - _MOST_FILES
    return ", ".join(names[:_MOST_FILES]) + (f" and {more} more" if more > 0 else "")


def explain(slide_id: str, stages: Sequence[StageStatus], bags: Path) -> None:
    """Says in words what each stage would do with one slide, and why; `bags`: the folder of its bag."""
    console.say(slide_id)
    width = max(len(stage.stage) for stage in stages)
    for stage in stages:
        slide = next((slide for slide in stage.slides if slide.slide_id == slide_id), None)
        encoded = stage.stage == "extract" and slide is not None and slide.state == UP_TO_DATE
        by = _encoder(BagPath(bags / f"{slide_id}.h5")) if encoded else []
        lines = [*_lines(stage, slide), *by, *(_of_training(stage.training, slide_id) if stage.training else ())]
        for number, line in enumerate(lines):
            console.say(f"  {'' if number else stage.stage:<{width}}  {line}")


def _lines(stage: StageStatus, slide: SlideStatus | None) -> list[str]:
    problem = stage.problem
    told = [] if problem is None else f"not known: {problem.message}\nfix: {problem.remedy}".split("\n")
    if slide is None:
        return told or [text for text in (stage.not_made or stage.passed_over,) if text]
    reasons = [line for change in slide.changes for line in change.long.split("\n")]
    if slide.state == UP_TO_DATE:
        said = ["up to date"]
        said += [f"made with {listed_settings(stage.stage, slide.settings)}"] if slide.settings else []
        said += [f"remark: {remark}" for remark in slide.remarks]
    elif slide.state in _WOULD_BE:
        said = [f"would be {_WOULD_BE[slide.state]}:", *(f"  {line}" for line in reasons)]
    else:
        said = reasons
    said += [f"computed with {slide.libraries}; strict_versions: true would redo it"] if slide.libraries else []
    return [*said, *told]


def _encoder(path: BagPath) -> list[str]:
    """What a bag says of its encoder; nothing where it says nothing besides its name, or cannot be read."""
    try:
        encoder = read_encoder(path)
    except InputError:
        return []
    words = detail_words(encoder)
    return [f"encoder {shown(encoder.name)}: {shown(words)}"] if words else []


def _of_training(training: TrainingStatus, slide_id: str) -> list[str]:
    part = training.parts.get(slide_id)
    reasons = [f"  {line}" for change in training.changes for line in change.long.split("\n")]
    facts = [text for text in (part, training.there) if text]
    return [*facts, f"{training.what}: {training.state}", *reasons]


def as_records(stages: Sequence[StageStatus]) -> list[dict[str, object]]:
    """The same for programs."""
    return [
        {
            "stage": stage.stage,
            "problem": None if stage.problem is None else stage.problem.message,
            "not_made": stage.not_made,
            "slides": [
                {
                    "slide_id": slide.slide_id,
                    "state": slide.state,
                    "reasons": [change.short for change in slide.changes],
                    "details": [change.long for change in slide.changes],
                    "files": [str(change.file) for change in slide.changes if change.file is not None],
                    "remarks": list(slide.remarks),
                    "libraries": slide.libraries,
                }
                for slide in stage.slides
            ],
        }
        | ({"training": _training_record(stage.training)} if stage.training else {})
        for stage in stages
    ]


def _training_record(training: TrainingStatus) -> dict[str, object]:
    return {
        "state": training.state,
        "reasons": [change.short for change in training.changes],
        "details": [change.long for change in training.changes],
        "files": [str(change.file) for change in training.changes if change.file is not None],
        "there": training.there,
        "resumes_after": training.resumes_after,
        "parts": dict(training.parts),
    }
