"""The verdict on a soak: what was lost, what is stale, what was computed twice, and what the process lists say."""

import hashlib
import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from soak_commands import STAGES, Span
from soak_slides import FAULTS, Cohort
from soak_storm import OUTS, Excuse

from sammil_cli.errors import InputError
from sammil_cli.storage.files import read_csv


def results(project: Path) -> dict[str, str]:
    """The sha256 of each result file, by folder and name; process lists say how it came about, and are not meant."""
    return {
        f"{name}/{os.fsencode(path.name).decode('utf-8', 'backslashreplace')}": hashlib.sha256(
            path.read_bytes()
        ).hexdigest()
        for name in OUTS.values()
        for path in sorted((project / "artifacts" / name).glob("*"))
    }


def differences(have: Mapping[str, str], want: Mapping[str, str], cohort: Cohort) -> tuple[set[str], set[str]]:
    """The slides that lack a file, which are lost, and those with other bytes or too many files, which are stale."""
    lost = {_slide_of(name, cohort) for name in want.keys() - have.keys()}
    stale = {_slide_of(name, cohort) for name, digest in have.items() if want.get(name) != digest}
    return lost, stale


def _slide_of(name: str, cohort: Cohort) -> str:
    stem = name.partition("/")[2].partition(".")[0]
    return stem if stem in cohort.faults else name


def twice(lines: Sequence[dict[str, object]], excuses: Sequence[Excuse], spans: Sequence[Span]) -> dict[str, set[str]]:
    """The slides that were computed again without an excuse, and the stages.

    An excuse holds from the start of the command that computed first: it looks at all slides before it does one.
    A command that says that slides changed while it ran may compute them again itself: what the other operator writes
    anew, byte for byte the same, is a change, too. What Dask's workers end for a command that was killed reaches
    nobody, for as long as the scheduler does not know that it is gone.
    """
    ends = defaultdict[tuple[str, str, str], list[tuple[float, str]]](list)
    for line in lines:
        if line["event"] == "end":
            ends[str(line["slide"]), str(line["stage"]), str(line["key"])].append(
                (float(str(line["at"])), str(line.get("run", "")))
            )
    again = {span.run for span in spans if span.rounds and span.run != "dask"}
    by_slide = defaultdict[str, list[Excuse]](list)
    for excuse in excuses:
        by_slide[excuse.slide].append(excuse)
    found = defaultdict[str, set[str]](set)
    for (slide, stage, key), times in ends.items():
        for (first, run), (second, next_run) in zip(sorted(times), sorted(times)[1:], strict=False):
            if run == next_run and run in again:
                continue
            if run == "dask" and any(span.left(stage, first) for span in spans):
                continue
            start = min((span.started for span in spans if span.holds(stage, first)), default=first)
            if not any(
                excuse.stage in ("", stage) and excuse.key in ("", key) and start <= excuse.at <= second + 1
                for excuse in by_slide[slide]
            ):
                found[slide].add(stage)
    return found


def leftovers(project: Path) -> list[str]:
    """What killed runs have left in the store, after others have tidied it."""
    store = project / ".sammil/store"
    found = [path for pattern in (".*", "*/.*", "*/claims/*") for path in store.glob(pattern)]
    return [f"left over: {path.relative_to(project)}" for path in sorted(found)]


def listed(project: Path, cohort: Cohort) -> tuple[dict[str, str], list[str]]:
    """What the process lists say of each slide in the end, and what they should have said otherwise."""
    rows = defaultdict[str, dict[str, dict[str, str]]](dict)
    for stage in STAGES:
        try:
            for row in read_csv(
                project / f"artifacts/process_lists/{stage}.csv", ("slide_id", "status", "code", "remedy")
            ):
                rows[row["slide_id"]][stage] = row
        except InputError as error:
            return defaultdict(lambda: "no list"), [f"{stage}: {error.message}"]
    seen, troubles = dict[str, str](), list[str]()
    for slide, kind in cohort.faults.items():
        found = rows.get(slide) or next((row for name, row in rows.items() if name.startswith(f"{slide}-")), {})
        undone = [row for row in found.values() if row["status"] not in ("done", "reused")]
        if not found:
            seen[slide] = "not there"
        else:
            seen[slide] = undone[0]["code"] if undone else "done" if len(found) == len(STAGES) else "done in part"
        wanted = ("not there",) if kind == "removed" else (kind in FAULTS and FAULTS[kind].codes) or ("done",)
        if seen[slide] not in wanted:
            troubles.append(f"{slide}: listed as {seen[slide]}, not as {' or '.join(wanted)}")
        elif undone and not undone[0]["remedy"]:
            troubles.append(f"{slide}: {seen[slide]} without a remedy")
    return seen, troubles
