"""Which of the slides that tokens are judged on they were trained on."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Self

from sammil_cli.prompting.field_reader import Sample
from sammil_cli.regions.wsi_sam.tokens import TokenFacts

Seen = Literal["learned from", "chose the epoch", "no", "not known"]


@dataclass(frozen=True, kw_only=True)
class LearnedFrom:
    """Ids of slides and of their patients: those that were `learned` from, and those that `chose` the epoch.

    Not `known` of published tokens, which do not say.
    """

    known: bool
    learned: frozenset[str] = frozenset()
    chose: frozenset[str] = frozenset()

    @classmethod
    def of(cls, facts: TokenFacts | None) -> Self:
        """By the provenance that `wsi-sam train` gives its tokens."""
        key = None if facts is None else facts.provenance.get("key")
        patients = key.get("patients") if isinstance(key, Mapping) else None
        if not isinstance(patients, Mapping):
            return cls(known=False)
        groups: dict[bool, set[str]] = {True: set(), False: set()}
        for slide_id, (patient_id, held_out) in patients.items():
            groups[bool(held_out)] |= {str(slide_id), str(patient_id)}
        return cls(known=True, learned=frozenset(groups[False]), chose=frozenset(groups[True]))

    def saw(self, sample: Sample) -> Seen:
        """Whether the slide, or another one of its patient, was seen in training, and what for."""
        own = {sample.slide_id, sample.patient_id}
        if not self.known:
            return "not known"
        if own & self.learned:
            return "learned from"
        return "chose the epoch" if own & self.chose else "no"
