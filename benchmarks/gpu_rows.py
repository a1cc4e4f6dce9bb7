"""A row of the table of `gpu.py`, and what a check is asked."""

import json
from dataclasses import asdict, dataclass
from typing import Self

import torch


@dataclass(frozen=True, kw_only=True)
class Asked:
    """The device to check; `quick`: tiny sizes."""

    device: str
    quick: bool

    def wait(self) -> None:
        """Until the device has done what it was given."""
        if self.device != "cpu":
            torch.cuda.synchronize(self.device)


@dataclass(frozen=True, kw_only=True)
class Row:
    """What was measured, its limit in words, and whether it is within."""

    what: str
    measured: str
    limit: str = ""
    good: bool = True

    @classmethod
    def of(cls, what: str, measured: str, *, good: bool = True) -> Self:
        """A figure without a limit, or a yes or no."""
        return cls(what=what, measured=measured, good=good)

    @classmethod
    def below(cls, what: str, value: float, limit: float) -> Self:
        """A relative difference, or a share."""
        return cls(what=what, measured=f"{value:.1e}", limit=f"at most {limit:g}", good=value <= limit)

    def as_json(self) -> str:
        """One line."""
        return json.dumps(asdict(self))
