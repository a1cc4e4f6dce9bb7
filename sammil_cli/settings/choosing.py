"""The settings that say where and for what a trained model's threshold is chosen."""

from typing import Literal

from pydantic import ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from sammil_cli.settings.stage import StageSettings
from sammil_cli.settings.stage import setting as _field
from sammil_cli.training.decision import Decision, Rule, trouble


class ChoosingSettings(StageSettings):
    """What is chosen after training, and on which part."""

    protocol: Literal["honest", "paper"] = _field(
        "honest", "honest | paper (epoch and threshold chosen on the test fold: to understand published numbers only)"
    )
    decision: Rule = _field(
        "youden", "what the threshold is chosen for: youden | sensitivity | specificity | cost | fixed (two classes)"
    )
    decision_target: float | None = _field(
        None,
        "null with youden | the least sensitivity or specificity on validation | cost: how many false alarms a missed "
        "positive is worth | fixed: the calibrated probability",
        validate_default=True,
    )

    @field_validator("decision_target")
    @classmethod
    def _fits_its_rule(cls, value: float | None, info: ValidationInfo) -> float | None:
        if {"protocol", "decision"} <= info.data.keys():  # else these are wrong, which is said
            found = trouble(Decision(rule=info.data["decision"], target=value, protocol=info.data["protocol"]))
            if found:
                raise PydanticCustomError("decision", "{what}", {"what": found[0], "remedy": found[1]})
        return value

    @property
    def decided_by(self) -> Decision:
        """The rule with its target."""
        return Decision(rule=self.decision, target=self.decision_target, protocol=self.protocol)
