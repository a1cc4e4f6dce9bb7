"""What a bundle says of itself: `bundle.json`, all that is needed to use its models and to judge whether to."""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sammil_cli.bundles.archive import AGAIN, FACTS_MEMBER
from sammil_cli.project.environment import GitState
from sammil_cli.storage.summed import damaged

RESEARCH_USE = "research use only, not for diagnosis"
UNKNOWN = "not known"


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class MemberEntry(_Part):
    """One trained model. `epoch` counts from 0, as in model.json.

    `threshold`: for calibrated probabilities. `chosen_on`: what epoch, threshold and temperature were chosen on.
    `saw`: how many slides it learned from or was chosen on; their ids are in its model.json. None = nobody knows.
    `patient_thresholds`: for patients, by patient_rule, calibrated; None as `TrainedFold.patient_thresholds`, and of
    bundles of an earlier version.
    """

    name: str
    model: str
    repeat: int
    fold: int
    seed: int
    epoch: int
    threshold: float | None
    temperature: float
    val_auc: float | None
    chosen_on: str
    saw: int | None
    patient_thresholds: dict[str, float] | None = None


class DecisionEntry(_Part):
    """From which probability on a slide is positive: the mean of the members' thresholds, calibrated.

    `threshold` None = the largest class wins. `rule`, `target`: the settings `decision` and `decision_target`.
    """

    threshold: float | None
    chosen: str
    rule: str | None
    target: float | None


class ClassEntry(_Part):
    """Slides and patients of one class; a patient with slides of several classes counts in each."""

    name: str
    slides: int
    patients: int


class CohortEntry(_Part):
    """What was learned from, in numbers; no name of a patient."""

    slides: int
    patients: int
    classes: list[ClassEntry]


class DetailsEntry(_Part):
    """How the encoder made features: `features.encoder_details.EncoderDetails`; earlier versions do not say."""

    revision: str | None = None
    precision: str | None = None
    pooling: str | None = None
    preparation: str | None = None
    mpp: float | None = None


class BagsEntry(_Part):
    """How the bags were made that the models learned from.

    `patch_mpp`: the least and the largest, µm per pixel; None = not known. `made_with`: settings by stage, as far as
    all bags share them.
    """

    encoder: str
    encoder_sha256: str | None
    dim: int
    patch_px: int
    patch_mpp: list[float] | None
    group_features: bool
    made_with: dict[str, dict[str, object]]
    encoder_details: DetailsEntry = DetailsEntry()


class WeightsEntry(_Part):
    """A weight file that the bags need; the licence is known of published ones.

    `word`: what `sammil weights` calls it, of a published one. `commercial`: whether the licence allows commercial use;
    None = not stated. Earlier versions say neither.
    """

    used_for: Literal["encoder", "regions"]
    name: str
    sha256: str
    licence: str
    word: str | None = None
    commercial: bool | None = None


class RunEntry(_Part):
    """What trained: the versions, the machine, and where the project stood in Git."""

    tool: str
    git: GitState | None
    image: str | None
    libraries: dict[str, str]
    device: dict[str, str]


class Estimate(_Part):
    """A metric: mean and sd over the folds, and of all test slides together with its interval."""

    mean: float | None = None
    sd: float | None = None
    pooled: float | None = None
    low: float | None = None
    high: float | None = None


class Performance(_Part):
    """What `sammil evaluate` found of the folds, each on its test part.

    `of`: what these figures are of, in words. `interval`: the level. `stamp`: what each figure carries; None = nothing.
    """

    of: str
    folds: int
    slides: int
    patients: int
    interval: float
    stamp: str | None
    notice: str | None
    auc: Estimate | None
    sensitivity: Estimate | None
    specificity: Estimate | None
    f1: Estimate | None


class ConformalEntry(_Part):
    """When to abstain: `report.conformal.ConformalScores`, by class."""

    coverage: float
    scores: dict[str, list[float]]


class BundleFacts(_Part):
    """What `bundle.json` holds, but for the list of its files; docs/bundles.md describes it.

    `settings`: all of the run's; None where nothing says them. `no_performance`: why `performance` is None.
    `conformal`: None where nobody asked for abstention.
    """

    format: int = Field(alias="schema")
    kind: Literal["bundle"] = "bundle"
    intended_use: str
    classes: list[str]
    positive_class: str | None
    decision: DecisionEntry
    members: list[MemberEntry]
    performance: Performance | None
    no_performance: str | None
    cohort: CohortEntry | None
    bags: BagsEntry
    weights: list[WeightsEntry]
    trained: RunEntry | None
    settings: dict[str, object] | None
    conformal: ConformalEntry | None = None


def parse_facts(path: Path, content: Mapping[str, object]) -> BundleFacts:
    """The facts of the bundle at `path`.

    Raises:
        InputError: `E_DAMAGED`, something is missing, of another type, or unknown.
    """
    try:
        return BundleFacts.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise damaged(path, f"{FACTS_MEMBER}: {where}: {first['msg'].lower()}", AGAIN) from None
