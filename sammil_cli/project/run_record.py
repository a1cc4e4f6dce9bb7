"""The run record: everything that a result depends on, in one file that `sammil reproduce` starts from.

`sammil train` writes it. No time stamps: the same run on the same machine gives the same bytes.
"""

import os
from collections import Counter
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sammil_cli import __version__, console
from sammil_cli.cohort.cohort import Cohort
from sammil_cli.config import ON_REQUEST, STAGES, Settings
from sammil_cli.errors import InputError
from sammil_cli.features.bag import EncoderFacts
from sammil_cli.project import environment
from sammil_cli.project.code_in_use import code_of_stage
from sammil_cli.project.environment import GitState
from sammil_cli.project.project import Project
from sammil_cli.storage.files import digest, sha256_file
from sammil_cli.storage.origin import read_record as read_provenance
from sammil_cli.storage.paths import BagPath, check_id
from sammil_cli.storage.summed import SUMMED, damaged, read_summed, write_summed
from sammil_cli.training.model_facts import WEIGHTS_FILE, ModelFacts


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Environment(_Part):
    """What computed: versions of Python, sammil and the libraries; processor, GPU, system."""

    libraries: dict[str, str]
    device: dict[str, str]


class EncoderEntry(_Part):
    """The encoder of the bags; an encoder without weights has no sha256."""

    name: str
    sha256: str | None


class StartEntry(_Part):
    """The published weights that training started from."""

    architecture: str
    sha256: str


class RegionsEntry(_Part):
    """Whose regions `slides` bags have; `proposer` is None where the regions are not here, or are others by now."""

    proposer: str | None
    weights_sha256: str | None
    slides: int


class SlideEntry(_Part):
    """One slide of the run. `made_by`: the stage that wrote its bag; `slide`: what identifies its file, if known."""

    slide_id: str
    label: str
    patient_id: str
    bag_sha256: str
    made_by: str | None
    slide: str | None


class DataEntry(_Part):
    """All that was learned from. `sha256` is of the label table's digest and all slides together."""

    labels_sha256: str
    splits_sha256: str
    sha256: str
    slides: list[SlideEntry]


class FoldEntry(_Part):
    """One trained fold. `epoch` counts from 0, as in model.json.

    `other_environment`: what trained it, where that was not this run: a fold may have been trained before, elsewhere.
    """

    name: str
    repeat: int
    fold: int
    seed: int
    epoch: int
    threshold: float | None
    weights_sha256: str
    other_environment: Environment | None


class RunRecord(_Part):
    """What `runs/record.json` holds; docs/formats.md describes it."""

    format: int = Field(alias="schema")
    kind: Literal["run"] = "run"
    tool: str
    git: GitState | None  # where the project stood
    image: str | None
    environment: Environment
    params: dict[str, Any]
    code: dict[str, str]
    encoder: EncoderEntry
    start: StartEntry | None = None  # random weights; earlier versions knew no others
    regions: list[RegionsEntry]
    seed: int
    positive_class: str | None = None  # of two classes; earlier versions do not say
    data: DataEntry
    folds: list[FoldEntry]


@dataclass(frozen=True, kw_only=True)
class RunStart:
    """What a run began with: commit, labels and code may be others by the time that it ends."""

    project: Project
    settings: Settings
    git: GitState | None
    environment: Environment
    code: Mapping[str, str]
    labels_sha256: str

    def write(
        self,
        cohort: Cohort,
        bag_sha256: Mapping[str, str],
        encoder: EncoderFacts,
        folds: Mapping[str, ModelFacts],
        start: StartEntry | None,
    ) -> RunRecord:
        """Writes `project.record` of a run whose folds and splits are written.

        Args:
            bag_sha256: of each member of the cohort.
            folds: what was trained, by the folder's name in `project.models`.
            start: the published weights that all of them started from; None = random ones.
        """
        project, settings = self.project, self.settings
        made = {slide: read_provenance(project.bags / f"{slide}.h5", ".h5") or {} for slide in bag_sha256}
        keys = {slide: record.get("key", {}) for slide, record in made.items()}
        slides = [
            SlideEntry(
                slide_id=member.slide_id,
                label=cohort.classes[member.label],
                patient_id=member.patient_id,
                bag_sha256=bag_sha256[member.slide_id],
                made_by=made[member.slide_id].get("stage"),
                slide=keys[member.slide_id].get("slide"),
            )
            for member in cohort.members
        ]
        record = RunRecord(
            schema=SUMMED,
            tool=f"sammil {__version__}",
            git=self.git,
            image=environment.image_name(),
            environment=self.environment,
            params={
                key: getattr(settings, key)
                for stage in (*STAGES.values(), *ON_REQUEST.values())
                for key in stage.model_fields
            },
            code=dict(self.code),
            encoder=EncoderEntry(name=encoder.name, sha256=encoder.weights_sha256),
            start=start,
            regions=_regions(project.regions, {slide: key.get("regions") for slide, key in keys.items()}),
            seed=settings.seed,
            positive_class=cohort.positive_class,
            data=DataEntry(
                labels_sha256=self.labels_sha256,
                splits_sha256=sha256_file(project.splits),
                sha256=digest([self.labels_sha256, *(slide.model_dump() for slide in slides)]),
                slides=slides,
            ),
            folds=[_fold(project.models, name, facts, self.environment) for name, facts in folds.items()],
        )
        write_summed(project.record, record.model_dump(by_alias=True))
        return record


def start_run(project: Project, settings: Settings, device: str) -> RunStart:
    """Looks at what a run is made of, when its labels have been read.

    Args:
        settings: all settings, also those of the stages before and after.
    """
    return RunStart(
        project=project,
        settings=settings,
        git=environment.git_state(Path.cwd()),
        environment=Environment(**environment.describe(device)),
        code=code_versions(project, settings, STAGES),
        labels_sha256=sha256_file(project.labels),
    )


def read_record(path: Path) -> RunRecord:
    """Reads what `RunStart.write` wrote.

    Raises:
        InputError: it is missing, damaged, or another schema's.
    """
    try:
        content = read_summed(path, _AGAIN)
    except FileNotFoundError:
        raise InputError(
            f"there is no run record {path}",
            remedy="run: sammil train (imported models have none: only what was trained here can be trained again)",
        ) from None
    if content.get("kind") != "run":
        raise InputError(f"{path} is no run record", remedy="give the record.json that sammil train wrote")
    if content.get("schema") not in _SCHEMAS:
        raise InputError(
            f"{path} has the schema {content.get('schema')!r}, this sammil reads {_SCHEMAS[0]} to {_SCHEMAS[-1]}",
            remedy=f"install the version that wrote it: {content.get('tool', 'unknown')}",
        )
    try:
        record = RunRecord(**content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise damaged(path, f"{where}: {first['msg'].lower()}", _AGAIN) from None
    for name in (*(slide.slide_id for slide in record.data.slides), *(fold.name for fold in record.folds)):
        check_id(name, path)
    return record


_SCHEMAS = (1, SUMMED)  # those of earlier versions have no sum
_AGAIN = "run: sammil train"


def hash_bags(paths: Mapping[str, BagPath], slides: Iterable[str]) -> dict[str, str]:
    """The sha256 of each slide's bag, in the order of `slides`."""
    wanted = list(slides)
    with console.counted(sha256_file, len(wanted), "hash bags") as hashed, ThreadPoolExecutor(os.cpu_count()) as pool:
        return dict(zip(wanted, pool.map(lambda slide: hashed(paths[slide]), wanted), strict=True))


def code_versions(project: Project, settings: Settings, stages: Iterable[str]) -> dict[str, str]:
    """The version of the code of each stage, with the choices in use; the demo draws slides, and has none."""
    return {stage: code_of_stage(stage, project, settings).version for stage in stages if stage != "demo"}


def _regions(folder: Path, wanted: Mapping[str, str | None]) -> list[RegionsEntry]:
    """Whose regions the bags have: of the files in `folder` that are still those that the bags were made from."""
    tally = Counter[tuple[str | None, str | None]]()
    for slide, sha256 in wanted.items():
        path = folder / f"{slide}.h5"
        same = sha256 is not None and path.is_file() and sha256_file(path) == sha256
        record = (read_provenance(path, ".h5") if same else None) or {}
        key = record.get("key", {})
        tally[(key.get("settings", {}).get("proposer"), key.get("weights"))] += 1
    return [
        RegionsEntry(proposer=proposer, weights_sha256=sha256, slides=slides)
        for (proposer, sha256), slides in tally.items()
    ]


def _fold(models: Path, name: str, facts: ModelFacts, here: Environment) -> FoldEntry:
    trained = Environment.model_validate(facts.provenance["environment"])
    return FoldEntry(
        name=name,
        repeat=facts.repeat,
        fold=facts.fold,
        seed=facts.seed,
        epoch=facts.epoch,
        threshold=facts.threshold,
        weights_sha256=sha256_file(models / name / WEIGHTS_FILE),
        other_environment=None if trained == here else trained,
    )
