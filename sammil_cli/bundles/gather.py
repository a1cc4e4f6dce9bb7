"""What is known of trained models when they are bundled: from their own facts, the run's record, the evaluation."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from sammil_cli.bundles.facts import (
    UNKNOWN,
    BagsEntry,
    ClassEntry,
    CohortEntry,
    DecisionEntry,
    DetailsEntry,
    MemberEntry,
    RunEntry,
    WeightsEntry,
)
from sammil_cli.features.making import WEIGHTS, shared
from sammil_cli.project.run_record import RunRecord
from sammil_cli.project.weights import published
from sammil_cli.training.model_facts import ModelFacts
from sammil_cli.training.thresholds import mean_threshold

if TYPE_CHECKING:
    from sammil_cli.bundles.ensemble import TrainedFold  # loads torch


def cohort_of(record: RunRecord, classes: Sequence[str]) -> CohortEntry:
    """The cohort of a run, in numbers."""
    slides = record.data.slides
    return CohortEntry(
        slides=len(slides),
        patients=len({slide.patient_id for slide in slides}),
        classes=[
            ClassEntry(
                name=name,
                slides=sum(slide.label == name for slide in slides),
                patients=len({slide.patient_id for slide in slides if slide.label == name}),
            )
            for name in classes
        ],
    )


def member_of(name: str, fold: "TrainedFold") -> MemberEntry:
    """What a bundle says of one of its models."""
    facts = fold.facts
    return MemberEntry(
        name=name,
        model=facts.model,
        repeat=facts.repeat,
        fold=facts.fold,
        seed=facts.seed,
        epoch=facts.epoch,
        threshold=facts.calibrated_threshold,
        temperature=facts.temperature,
        val_auc=facts.val_auc,
        chosen_on=chosen_on(facts),
        saw=None if fold.seen is None else len(fold.seen),
        patient_thresholds=None if fold.patient_thresholds is None else dict(fold.patient_thresholds),
    )


def chosen_on(facts: ModelFacts) -> str:
    """What epoch, threshold and temperature of a model were chosen on: a word of `ModelFacts.chosen_on`, or unknown."""
    if facts.chosen_on is None and facts.trained_on is not None:  # of an earlier version
        return "test" if facts.protocol == "paper" else "validation"
    return facts.chosen_on or UNKNOWN


def decision_of(folds: "Sequence[TrainedFold]") -> DecisionEntry:
    """From which probability on the models together call a slide positive, and how that was chosen."""
    threshold = mean_threshold([fold.facts.calibrated_threshold for fold in folds])
    if threshold is None:
        chosen = "none: the class with the largest probability"
    else:
        chosen = "; or ".join(dict.fromkeys(_chosen(fold.facts) for fold in folds))
        chosen = chosen if len(folds) == 1 else f"mean of {len(folds)} calibrated thresholds, each {chosen}"
    rules = {(fold.facts.decision, fold.facts.decision_target) for fold in folds if fold.facts.trained_on}
    rule, target = rules.pop() if len(rules) == 1 else (None, None)
    return DecisionEntry(threshold=threshold, chosen=chosen, rule=rule, target=target)


def _chosen(facts: ModelFacts) -> str:
    """How the threshold of a model was chosen, in words that follow "each"."""
    where, said = chosen_on(facts), facts.decided_by.said
    if where == UNKNOWN:
        return f"chosen in a way that is {UNKNOWN}"
    if facts.decision == "fixed":
        return said
    if where == "nothing":
        return "not chosen: there was no validation part"
    return f"the mean of the folds' calibrated thresholds, each for {said}" if where == "folds" else f"for {said}"


def bags_of(folds: "Sequence[TrainedFold]") -> BagsEntry:
    """How the bags of the training were made."""
    encoder = folds[0].facts.encoder
    on = [fold.facts.trained_on for fold in folds if fold.facts.trained_on]
    mpps = [one.patch_mpp for one in on if one.patch_mpp]
    known = mpps and len(mpps) == len(folds)
    made_with = shared(one.made_with for one in on)
    return BagsEntry(
        encoder=encoder.name,
        encoder_sha256=encoder.weights_sha256,
        dim=encoder.dim,
        patch_px=encoder.patch_px,
        patch_mpp=[min(low for low, _ in mpps), max(high for _, high in mpps)] if known else None,
        group_features=folds[0].facts.spec.group_features,
        made_with={stage: dict(settings) for stage, settings in made_with.items()},
        encoder_details=DetailsEntry(**{name: getattr(encoder, name) for name in DetailsEntry.model_fields}),
    )


def weights_of(facts: Sequence[ModelFacts]) -> list[WeightsEntry]:
    """The weight files behind the bags of trained models, with their licences where the files are published."""
    encoder = facts[0].encoder
    regions = shared(one.trained_on.made_with for one in facts if one.trained_on).get("sam", {})
    known = {one.sha256: one for one in published().values()}

    def entry(used_for: Literal["encoder", "regions"], name: object, sha256: object) -> list[WeightsEntry]:
        if sha256 is None:
            return []
        one = known.get(str(sha256))
        return [
            WeightsEntry(
                used_for=used_for,
                name=str(name),
                sha256=str(sha256),
                licence=one.licence if one else UNKNOWN,
                word=one.word if one else None,
                commercial=one.commercial if one else None,
            )
        ]

    return entry("encoder", encoder.name, encoder.weights_sha256) + entry(
        "regions", regions.get("proposer"), regions.get(WEIGHTS)
    )


def trained_by(record: RunRecord) -> RunEntry:
    """What trained a run."""
    return RunEntry(
        tool=record.tool,
        git=record.git,
        image=record.image,
        libraries=record.environment.libraries,
        device=record.environment.device,
    )
