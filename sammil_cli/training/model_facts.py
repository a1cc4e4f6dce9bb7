"""What is known of a trained fold, as JSON beside its weights. Nothing here loads torch, which takes seconds."""

import dataclasses
import functools
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter, ValidationError

from sammil_cli.cohort.class_order import positive_of
from sammil_cli.errors import InputError
from sammil_cli.features.bag import EncoderFacts, MadeWith
from sammil_cli.mil.model_spec import ModelSpec
from sammil_cli.storage.files import Record
from sammil_cli.storage.paths import ModelPath
from sammil_cli.storage.summed import SCHEMA, damaged, read_summed, write_summed
from sammil_cli.training.calibration import apply_to_threshold, before_calibration
from sammil_cli.training.decision import Decision, Rule, trouble
from sammil_cli.training.operating_point import OperatingPoint, operating_point
from sammil_cli.training.thresholds import SELECTED_ON_TEST, Labels, Probabilities, fold_threshold
from sammil_cli.training.usual_bags import UsualBags, of_record

WEIGHTS_FILE, FACTS_FILE = "model.safetensors", "model.json"
EPOCHS_FILE = "epochs.safetensors"  # paper protocol only: probabilities (E, s, C) of the test slides, each epoch
_SUM_OF = {WEIGHTS_FILE: "weights_sha256", EPOCHS_FILE: "epochs_sha256"}  # by file, in the facts
TRAIN_AGAIN = "run: sammil train"
_DERIVED = (
    "positive_class",
    "calibrated_threshold",
    "operating_point",
)  # in the file for people and other programs; not read


@dataclass(frozen=True, kw_only=True)
class TrainedOn:
    """The bags that a model learned from or was chosen on.

    `slides`: their ids. `patch_mpp`: the least and the largest of them, None = not known. `made_with`: what all of them
    share, see `features.making`.
    """

    slides: tuple[str, ...]
    patch_mpp: tuple[float, float] | None
    made_with: MadeWith


@dataclass(frozen=True, kw_only=True)
class ValidationPart:
    """What the model says of the slides that chose its epoch: all that another `decision` needs.

    `labels`: v classes. `probabilities`: v times C, not calibrated. In the order of the fold's validation part.
    """

    labels: tuple[int, ...]
    probabilities: tuple[tuple[float, ...], ...]

    @classmethod
    def of(cls, labels: Labels, probabilities: Probabilities) -> "ValidationPart":
        """Of arrays (v,) and (v, C)."""
        return cls(labels=tuple(labels.tolist()), probabilities=tuple(map(tuple, probabilities.tolist())))

    @property
    def arrays(self) -> tuple[Labels, Probabilities]:
        """(v,) and (v, C)."""
        return np.array(self.labels, np.int64), np.array(self.probabilities, np.float64)


@dataclass(frozen=True, kw_only=True)
class ModelFacts:
    """What goes with the weights.

    `classes`: of two, the positive one last.
    `threshold`: a slide is positive from this uncalibrated probability on; None = the largest class wins.
    `decision`, `decision_target`: what it was chosen for (`training.decision`), from `validation`, which is None of
    imported weights, and of models that were trained before it was kept.
    `temperature`: logits are divided by it for calibrated probabilities; chosen where the threshold is.
    `protocol`: `honest`, or `paper` when epoch, threshold and temperature were chosen on the test fold.
    `usual`: what the bags of `trained_on` have in common; None where they are fewer than five, and as of `trained_on`.
    `trained_on`: None of imported weights, and of models that were trained before it was kept.
    `chosen_on`: what epoch, threshold and temperature were chosen on: `validation`, `test` (`protocol: paper`),
    `nothing` (a model of all slides) or `folds` (of these it took them over); None as of `trained_on`.
    """

    model: str
    model_options: dict[str, Any]
    spec: ModelSpec
    classes: tuple[str, ...]
    threshold: float | None
    temperature: float
    protocol: str
    encoder: EncoderFacts
    repeat: int
    fold: int
    seed: int
    epoch: int
    val_auc: float | None
    provenance: Record
    trained_on: TrainedOn | None = None
    chosen_on: str | None = None
    decision: Rule = "youden"
    decision_target: float | None = None
    validation: ValidationPart | None = None
    usual: UsualBags | None = None

    @property
    def decided_by(self) -> Decision:
        """What the threshold was chosen for."""
        return Decision(rule=self.decision, target=self.decision_target, protocol=self.protocol)

    @property
    def operating_point(self) -> OperatingPoint | None:
        """What the threshold achieves on the validation part; None where that is not known, or of more classes."""
        if self.validation is None or self.threshold is None:
            return None
        labels, probabilities = self.validation.arrays
        return operating_point(labels, probabilities[:, 1], self.threshold)

    @property
    def positive_class(self) -> str | None:
        """The positive class of two; None with more."""
        return positive_of(self.classes)

    @property
    def calibrated_threshold(self) -> float | None:
        """The threshold for calibrated probabilities, which are the ones that are shown; it decides the same slides."""
        return None if self.threshold is None else apply_to_threshold(self.threshold, self.temperature)

    @property
    def stamp(self) -> str | None:
        """What every number of a model that was chosen on the test fold carries; None of an honest one."""
        return SELECTED_ON_TEST if self.protocol == "paper" else None


def decide_anew(folder: ModelPath, decision: Decision) -> ModelFacts:
    """Gives a trained model the threshold of another decision, from what it says of its validation part.

    Nothing is trained, and the weights are not read. Facts that have this decision already stay as they are.

    Raises:
        InputError: as `read_facts`; or the model does not keep what it says of its validation part.
    """
    facts = read_facts(folder)
    if facts.decided_by == decision:
        return facts
    if decision.rule == "fixed" and decision.target is not None and len(facts.classes) == 2:
        threshold: float | None = before_calibration(decision.target, facts.temperature)
    elif facts.validation is None:
        raise InputError(f"{folder} does not hold what another decision needs", remedy=TRAIN_AGAIN)
    else:
        threshold = fold_threshold(*facts.validation.arrays, decision)
    return with_facts(
        folder, threshold=threshold, decision=decision.rule, decision_target=decision.target, protocol=decision.protocol
    )


def with_facts(folder: ModelPath, **changes: object) -> ModelFacts:
    """Gives a trained model other facts; its weights stay, and are not read. `InputError` as `read_facts`."""
    facts, sums = read_facts_and_sums(folder / FACTS_FILE)
    facts = dataclasses.replace(facts, **changes)  # type: ignore[arg-type]
    write_facts(folder, facts, sums)
    return facts


def write_facts(folder: ModelPath, facts: ModelFacts, sums: Mapping[str, str]) -> None:
    """Writes model.json; `sums`: sha256 of the files that belong to it, by name."""
    point = facts.operating_point
    derived = {name: getattr(facts, name) for name in _DERIVED}
    derived["operating_point"] = None if point is None else dataclasses.asdict(point)
    record = dataclasses.asdict(facts) | derived
    if math.isnan(facts.encoder.patch_mpp):  # converted bags of unknown scale; JSON has no NaN
        record["encoder"]["patch_mpp"] = None
    write_summed(folder / FACTS_FILE, {**record, **{_SUM_OF[name]: sha256 for name, sha256 in sums.items()}})


def read_facts(folder: ModelPath) -> ModelFacts:
    """What goes with the weights of a trained fold, without the weights. `InputError` if it is missing."""
    return read_facts_and_sums(folder / FACTS_FILE)[0]


def named_files(folder: ModelPath) -> list[Path]:
    """The files whose sha256 the facts name, whether they are there or not. `InputError` as `read_facts`."""
    return [folder / name for name in read_facts_and_sums(folder / FACTS_FILE)[1]]


@functools.cache
def _spec_type() -> TypeAdapter[ModelSpec]:
    return TypeAdapter(ModelSpec)


def _validation(part: Mapping[str, object], classes: int) -> ValidationPart:
    """The validation part of a file. `ValueError`: it is not of v slides and C classes."""
    labels, probabilities = np.array(part["labels"], np.int64), np.array(part["probabilities"], np.float64)
    if probabilities.shape != (len(labels), classes) or not set(labels.tolist()) <= set(range(classes)):
        raise ValueError("validation: labels and probabilities do not fit each other")
    return ValidationPart.of(labels, probabilities)


def read_facts_and_sums(path: Path) -> tuple[ModelFacts, dict[str, str]]:
    """The facts, and the sha256 of the files that belong to them, by name."""
    try:
        record = read_summed(path, TRAIN_AGAIN)
        record.pop(SCHEMA, None)
        sums = {name: str(record.pop(key)) for name, key in _SUM_OF.items() if key in record}
        if WEIGHTS_FILE not in sums:
            raise KeyError(_SUM_OF[WEIGHTS_FILE])
        record = {name: value for name, value in record.items() if name not in _DERIVED}
        _spec_type().validate_json(json.dumps(record["spec"]), strict=True)  # the types; unknown names come next
        record["spec"] = ModelSpec(**record["spec"])
        if min(record["spec"].dim, record["spec"].classes) < 1:
            raise ValueError("spec: a size below 1")
        if record["encoder"]["patch_mpp"] is None:
            record["encoder"]["patch_mpp"] = math.nan
        record["encoder"] = EncoderFacts(**record["encoder"])
        if (on := record.get("trained_on")) is not None:
            low_high = None if on["patch_mpp"] is None else tuple(on["patch_mpp"])
            record["trained_on"] = TrainedOn(slides=tuple(on["slides"]), patch_mpp=low_high, made_with=on["made_with"])
        record["classes"] = tuple(record["classes"])
        if (part := record.get("validation")) is not None:
            record["validation"] = _validation(part, len(record["classes"]))
        if (usual := record.get("usual")) is not None:
            record["usual"] = of_record(usual, record["encoder"].dim)
        if found := trouble(Decision(rule=record.get("decision", "youden"), target=record.get("decision_target"))):
            raise ValueError(found[0])
        return ModelFacts(**record), sums
    except FileNotFoundError:
        raise InputError(f"there is no trained model in {path.parent}", remedy=TRAIN_AGAIN) from None
    except ValidationError as error:
        first = error.errors()[0]
        raise damaged(
            path, f"{'.'.join(['spec', *map(str, first['loc'])])}: {first['msg'].lower()}", TRAIN_AGAIN
        ) from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise damaged(path, str(error), TRAIN_AGAIN) from None
