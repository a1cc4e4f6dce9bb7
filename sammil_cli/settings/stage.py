"""One setting of params.yaml: a typed field with its text; and what the settings of all stages have in common."""

from typing import Any, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator


class StageSettings(BaseModel):
    """Base of all settings: unknown keys are refused, values are checked and never change."""

    # Built when first used: a command uses the settings of one stage, and its start should cost no others.
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, defer_build=True)

    @field_validator("*", mode="before")
    @classmethod
    def _no_truth_as_number(cls, value: Any, info: ValidationInfo) -> Any:
        """Pydantic takes true for 1; in a settings file it is a slip."""
        kind = cls.model_fields[info.field_name or ""].annotation
        if isinstance(value, bool) and bool not in (kind, *get_args(kind)):
            raise ValueError("true and false are no numbers or words")
        return value


def setting(default: Any, text: str, **limits: Any) -> Any:
    """A setting with its default, one line of text, and the limits of its value (`ge`, `lt`, …)."""
    return Field(default, description=text, **limits)


def strict_versions_setting() -> bool:
    """`strict_versions`, of every stage that keeps results."""
    text = "results that other versions of libraries computed are computed anew; false = they are kept"
    found: bool = setting(False, text)
    return found


def seed_setting() -> int:
    """`seed`, of every stage that draws at random."""
    found: int = setting(2021, "folds, weights, order, masks and dropout follow from it", ge=0)
    return found


def min_share_setting() -> float:
    """`membership_min_share`, of every stage that finds which patches lie in which region."""
    text = "a patch belongs to a region that covers more than this share of it; 0 = any overlap"
    found: float = setting(0.0, text, ge=0, lt=1)
    return found


class Tolerance(StageSettings):
    """What every per-slide stage knows; none of it changes how a result is computed."""

    fail_over: float = setting(0.0, "exit with 1 when a larger share of slides than this could not be done", ge=0, le=1)
    slide_minutes: float | None = setting(
        120.0, "a slide that takes longer is stopped and reported; null = no limit", gt=0
    )
    slide_memory_gib: float | None = setting(
        None, "a slide whose process grows larger is stopped and reported; null = no limit", gt=0
    )
    strict_versions: bool = strict_versions_setting()
