"""Slips on the command line: each is refused in two lines, with what was probably meant."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Sammil = Callable[..., Any]

SLIPS = [
    ("init new --enocder uni", "sammil init has no option --enocder", "did you mean --encoder?"),
    ("train --wokers 3", "sammil train has no option --wokers", "did you mean --workers?"),
    (
        "train --epochs 3",
        "sammil train has no option --epochs",
        "epochs is a setting: sammil train -S epochs=VALUE, or a line of params.yaml",
    ),
    (
        "train --enocder x",
        "sammil train has no option --enocder",
        "did you mean the setting encoder? sammil train -S encoder=VALUE",
    ),
    ("why --epochs a", "sammil why has no option --epochs", "epochs is a setting: sammil why -S epochs=VALUE"),
    ("reproduce --zzzz 3", "sammil reproduce has no option --zzzz", "sammil reproduce --help lists its options"),
    ("trian", "sammil has no command 'trian'", "did you mean sammil train"),
    ("lesion-sise", "sammil has no command 'lesion-sise'", "did you mean sammil figure lesion-size?"),
    ("figure regoins", "sammil figure has no command 'regoins'", "did you mean sammil figure regions?"),
    ("xyz", "sammil has no command 'xyz'", "sammil --help lists its commands"),
    ("train --workers x", "sammil train: --workers: needs a whole number", "sammil train --help says how it is used"),
    ("train --workers 0", "sammil train: --workers: must be at least 1", "sammil train --help says how it is used"),
    ("reproduce --from bag", "sammil reproduce: --from: 'bag' is not one of 'bags', 'slides'", "did you mean bags?"),
    ("train --device", "--device needs a value", "sammil COMMAND --help says what it takes"),
    ("train here", "sammil train does not take: here", "sammil train --help says how it is used"),
    ("why", "sammil why needs SLIDE", "sammil why --help says how it is used"),
    ("bundle show", "sammil bundle show needs FILE", "sammil bundle show --help says how it is used"),
    ("bundle . --foldd x", "sammil bundle make has no option --foldd", "did you mean --fold?"),
    ("init new --preset camelyon", "unknown preset 'camelyon'", "did you mean camelyon16?"),
    ("figure sweep mask_ration", "there is no setting 'mask_ration'", "did you mean mask_ratio?"),
    ("ablate --proposers sam", "--proposers is about the table regions", "ask for that table, too: --tables regions"),
]


@pytest.mark.parametrize(("typed", "message", "fix"), SLIPS, ids=[slip[0] for slip in SLIPS])
def test_a_slip_is_refused_with_what_was_meant(
    sammil: Sammil, project: Path, typed: str, message: str, fix: str
) -> None:
    answer = sammil(*typed.split())
    assert (answer.code, answer.out) == (2, "")
    first, second = answer.err.splitlines()
    assert first == f"error: {message}"
    assert second.startswith(f"  fix: {fix}")


def test_a_group_without_a_command_shows_its_help(sammil: Sammil, project: Path) -> None:
    answer = sammil("figure")
    assert answer.code == 2
    assert "lesion-size" in answer.err
    assert "error" not in answer.err
