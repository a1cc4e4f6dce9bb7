"""Which of the user's tables and slides have changed since the models were trained, for sammil status."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from sammil_cli.cohort.cohort import read_labels
from sammil_cli.errors import InputError
from sammil_cli.project.project import Project
from sammil_cli.project.run_record import RunRecord, SlideEntry, read_record
from sammil_cli.runner.inputs import slide_input
from sammil_cli.slides.files import find_slides
from sammil_cli.storage.files import sha256_file
from sammil_cli.storage.paths import SlidePath

_NAMED = 3


def since_training(project: Project) -> list[str]:
    """A line for each change, with the file; nothing before the first training. The bags themselves are not read."""
    if not project.record.is_file():
        return []
    try:
        record = read_record(project.record)
    except InputError as error:
        return [f"{error.code}: {error.message} (fix: {error.remedy})".removeprefix(": ")]
    return [*_labels(project, record), *_start(record), *_slides(project, record.data.slides)]


def _labels(project: Project, record: RunRecord) -> Iterator[str]:
    path = project.labels
    if not path.is_file():
        yield f"{path} is gone since the models were trained"
        return
    if sha256_file(path) == record.data.labels_sha256:
        return
    slides = record.data.slides
    try:
        now = read_labels(path, None, {slide.slide_id for slide in slides}, others=True)
    except InputError as error:
        yield f"{path} changed since the models were trained, and cannot be read: {error.message}"
        return
    said = {member.slide_id: (now.classes[member.label], member.patient_id) for member in now.members}
    gone = [slide.slide_id for slide in slides if slide.slide_id not in said]
    other = [
        f"{slide.slide_id} {said[slide.slide_id][0]!r}, was {slide.label!r}"
        if said[slide.slide_id][0] != slide.label
        else f"{slide.slide_id} patient {said[slide.slide_id][1]!r}, was {slide.patient_id!r}"
        for slide in slides
        if slide.slide_id in said and said[slide.slide_id] != (slide.label, slide.patient_id)
    ]
    added = len(said.keys() - {slide.slide_id for slide in slides})
    what = [f"{len(other)} slide(s) have another label or patient ({_named(other)})"] if other else []
    what += [f"{len(gone)} slide(s) are not in it any more ({_named(gone)})"] if gone else []
    what += [f"{added} slide(s) were added"] if added else []
    yield f"{path} changed since the models were trained: {', '.join(what) or 'the labels are the same'}"


def _start(record: RunRecord) -> Iterator[str]:
    """The file of published weights; that settings name another one by now is seen by DVC."""
    if record.start is not None:
        path = Path(str(record.params["start_from"]))
        if not path.is_file():
            yield f"{path} is gone since the models were trained"
        elif sha256_file(path) != record.start.sha256:
            yield f"{path} changed since the models were trained: sammil train starts from it anew"


def _slides(project: Project, slides: Sequence[SlideEntry]) -> Iterator[str]:
    try:
        paths = find_slides(project.slides).paths
    except InputError:  # status says it
        return
    known = {slide.slide_id: slide.slide for slide in slides if slide.slide is not None}
    for what, names in (
        ("are gone", [slide for slide in known if slide not in paths]),
        ("changed", [str(paths[slide]) for slide in known if slide in paths and not _is(paths[slide], known[slide])]),
    ):
        if names:
            yield f"{len(names)} slide(s) of the training {what} since: {_named(names)}"


def _is(path: SlidePath, identity: str | None) -> bool:
    return slide_input(path).digest == identity  # what the stages' plans have read already is not read again


def _named(names: Sequence[str]) -> str:
    return ", ".join(names[:_NAMED]) + (", …" if len(names) > _NAMED else "")
