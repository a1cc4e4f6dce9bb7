"""The process that makes the checks, apart from the one that reports: a broken library may kill it.

Its argument says as JSON what to look at, and which checks to make. What it tells are lines on stdout that begin with
`MARK`; whatever else appears there are words of libraries.
"""

import faulthandler
import json
import sys
from dataclasses import asdict
from pathlib import Path

MARK = "\x1e"  # the record separator: no library prints it


def main() -> None:
    """Makes the checks; one that raises ends the process."""
    faulthandler.enable()  # says on stderr where a crash was
    from sammil_cli.stages.doctor.checks import load
    from sammil_cli.stages.doctor.finding import Asked

    words = json.loads(sys.argv[1])
    asked = Asked(params=Path(words["params"]), assignments=tuple(words["assignments"]))
    for name in words["checks"]:
        for finding in load(name)(asked):
            tell({"found": asdict(finding)})
        tell({"done": name})


def tell(record: dict[str, object]) -> None:
    """One record for the process that reports."""
    sys.stdout.write(MARK + json.dumps(record, default=str) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
