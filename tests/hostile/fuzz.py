"""Good files changed at random, read in a process with limits: `python tests/hostile/fuzz.py --seconds 600 --seed 7`.

A table says what became of the cases of each kind. What should not be (see `limited_reader.is_sound`) is kept in a
folder, one case each, with its seed; `--replay KIND SEED` makes a case again and prints what its reader says.
"""

import argparse
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[place]) for place in (0, 1, 2)]

# ruff: noqa: E402, T201 - a script, which finds its modules itself
from file_kinds import KINDS, Kind
from limited_reader import Answer, LimitedReader, is_sound

FOUND = Path(".sammil/fuzz")
HEADS = (
    "kind",
    "cases",
    "refused",
    "equal",
    "different",
    "made anew",
    "no remedy",
    "bug",
    "hung",
    "crashed",
    "findings",
)


@dataclass(frozen=True)
class Case:
    """One changed file and the worst that a reader of its kind said."""

    kind: Kind
    seed: str
    answer: Answer

    @property
    def is_finding(self) -> bool:
        """Whether it should not be so."""
        return not is_sound(self.kind, self.answer)

    def __str__(self) -> str:
        answer = self.answer
        said = f"{answer.end} {answer.code}: {answer.message}".rstrip(": ")
        return f"{self.kind.name} {self.seed} ({answer.was}): {said}"


def cases(reader: LimitedReader, kind: Kind, seed: int, count: int | None = None) -> Iterator[Case]:
    """Changed files of one kind, the same ones for the same seed; without `count` no end."""
    number = 0
    while count is None or number < count:
        name = f"{seed}.{number}"
        yield Case(kind, name, reader.fuzz(kind, f"{kind.name} {name}"))
        number += 1


def main() -> int:
    """The long run. Exit code 1 with findings."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=600.0, help="for all kinds together")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", default=",".join(KINDS), help="separated by commas")
    parser.add_argument("--found", type=Path, default=FOUND, help="folder for the cases that should not be")
    parser.add_argument("--replay", nargs=2, metavar=("KIND", "SEED"))
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, LimitedReader(Path(folder)) as reader:
        if asked.replay:
            kind = KINDS[asked.replay[0]]
            case = Case(kind, asked.replay[1], reader.fuzz(kind, " ".join(asked.replay)))
            print(case, _kept(case, reader, asked.found), sep="\n")
            return int(case.is_finding)
        return _long_run(reader, asked)


def _long_run(reader: LimitedReader, asked: argparse.Namespace) -> int:
    kinds = [KINDS[name] for name in asked.kinds.split(",")]
    rows, found, codes = [], 0, Counter[str]()
    next(cases(reader, kinds[0], asked.seed))  # starts the process, which takes seconds
    for kind in kinds:
        ends, end = Counter[str](), time.monotonic() + asked.seconds / len(kinds)
        findings = dict[str, Case]()
        for case in cases(reader, kind, asked.seed):
            answer = case.answer
            ends[answer.end] += 1
            codes[answer.code] += answer.end == "refused"
            if case.is_finding:
                what = " ".join([answer.end, answer.code, *answer.message.splitlines()[-2:]])
                ends["findings"] += 1
                if what not in findings:  # one case of each sort
                    findings[what] = case
                    print(case, _kept(case, reader, asked.found), sep="\n", flush=True)
            if time.monotonic() > end:
                break
        found += len(findings)
        rows.append([kind.name, ends.total() - ends["findings"], *(ends[head] for head in HEADS[2:])])
    totals = [sum(column) for column in zip(*(row[1:] for row in rows), strict=True)]
    for row in (HEADS, *rows, ["all", *totals]):
        print(f"{row[0]:<18}", *(f"{cell:>10}" for cell in row[1:]))
    print("refused by code:", ", ".join(f"{code} {count}" for code, count in codes.most_common() if count))
    print(f"seed {asked.seed}; {found} sort(s) of findings" + (f" in {asked.found}" if found else ""))
    return int(found > 0)


def _kept(case: Case, reader: LimitedReader, folder: Path) -> Path:
    """Copies the file of a case that was read last, with what was said of it beside."""
    name = f"{case.kind.name.replace(' ', '-')}-{case.seed}"
    path = folder / name / Path(case.kind.file).name
    path.parent.mkdir(parents=True, exist_ok=True)
    if (source := reader.file_of(case.kind)).is_file():
        path.write_bytes(source.read_bytes())
    path.with_name("said.txt").write_text(f"{case}\n", encoding="utf-8", errors="backslashreplace")
    return path


if __name__ == "__main__":
    sys.exit(main())
