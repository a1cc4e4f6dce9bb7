"""1000 tiny slides, everything that can go wrong, two commands at once, random kills: is anything lost, stale or twice?

    python benchmarks/soak.py [--slides N] [--seconds S] [--seed K]

1. *Storm*: two operators run segment, patch, sam and extract on one project, again and again, one of them on a Dask
   cluster at times, while slides, our own files, commands, workers and the disk suffer (`soak_storm.py`).
2. *Calm*: all stages once; once more after all out files were deleted, so that the store has to show what it has; and
   a third time, when nothing is left to do.
3. *Expectation*, at the same time: the same commands in an empty project with the slides, tables and drawings as they
   are now.

After each pass of the calm, *lost* is a slide that the expectation has a result of, and the project has not; *stale* a
result whose bytes differ, or that should not be there. *Twice* is a computation that came to its end twice with the
same key, without anything having been done to the slide, its stored result or the process that was at it. Ends with 1
when there are any, when a fault is not listed with its code and remedy, or when a traceback was printed.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from soak_commands import STAGES, Commands, Dask
from soak_slides import FAULTS, PLAIN, Cohort, draw_cohort
from soak_storm import OUTS, Storm, computations
from soak_verdict import differences, leftovers, listed, results, twice

_INSIDE = "SOAK_SMALL_DISK"  # set where the folder is a disk of its own, which may be filled
_SAY_SECONDS = 15.0
_HALF = max(1, (os.cpu_count() or 1) // 2)  # workers of each of two commands


def main() -> int:
    """The soak; see above."""
    options = _options()
    if options.folder is None:
        with tempfile.TemporaryDirectory(prefix="sammil-soak-") as folder:
            return _on_small_disk(Path(folder), [*sys.argv[1:], "--folder", folder], options.slides)
    return Soak(options).run()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--slides", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=None, help="of the storm [default: 0.5 for each slide]")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--passes", type=int, default=3, help="of the calm [default: 3]")
    parser.add_argument("--without", default="", help="faults to leave out, separated by commas")
    parser.add_argument("--no-dask", action="store_true", help="no Dask cluster")
    parser.add_argument("--keep", type=Path, help="copy logs and outputs here at the end")
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.seconds is None:
        options.seconds = 0.5 * options.slides
    return options


def _on_small_disk(folder: Path, words: Sequence[str], slides: int) -> int:
    """Starts this script again, with a small disk at `folder`/disk where the system lets us mount one."""
    disk = folder / "disk"
    disk.mkdir()
    mount = f'mount -t tmpfs -o size={64 + slides}m none "$0"'
    for unshare in (["unshare", "--mount"], ["unshare", "--map-root-user", "--mount"]):
        probe = [*unshare, "sh", "-c", mount, str(disk)]
        if shutil.which("unshare") and subprocess.run(probe, capture_output=True).returncode == 0:
            start = [*unshare, "sh", "-c", f'{mount} && exec "$@"', str(disk), sys.executable, __file__, *words]
            return subprocess.run(start, env={**os.environ, _INSIDE: "1"}).returncode
    return subprocess.run([sys.executable, __file__, *words]).returncode


class Soak:
    """One soak in one folder."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options, self._start, self._said = options, time.monotonic(), 0.0
        self._calm_seconds = 0.04 * options.slides + 3  # of one stage, a guess, for the time left
        folder: Path = options.folder
        self._output = folder / "output"
        self._output.mkdir()
        self._disk = folder / "disk"
        self._found: list[dict[str, str]] = []  # after each pass of the calm
        limit = 240 + 0.6 * options.slides  # for one command, several times what it takes
        self._commands = Commands(self._disk / "project", folder / "computations.jsonl", self._output, limit)
        self._fresh = Commands(self._disk / "fresh", folder / "fresh.jsonl", folder / "output-fresh", limit)
        self._fresh.output.mkdir()

    def run(self) -> int:
        """All of it; prints the table and returns the exit code."""
        options, commands = self._options, self._commands
        left_out = [name for name in options.without.split(",") if name]
        self._say(f"drawing {options.slides} slides", 0.0)
        cohort = draw_cohort(commands.project, options.slides, left_out)
        dask = None if options.no_dask else Dask(commands)
        storm = Storm(cohort, commands, options.seed, _INSIDE in os.environ, dask)
        with commands.watched():
            try:
                if dask is not None:
                    dask.start()
                storm.rage(options.seconds, lambda text, share: self._say(text, share * options.seconds))
            finally:
                if dask is not None:
                    dask.stop()
            fresh = self._fresh.project
            shutil.copytree(commands.project / "data", fresh / "data", copy_function=os.link)
            shutil.copy(commands.project / "params.yaml", fresh)
            with ThreadPoolExecutor(1) as pool:
                expecting = pool.submit(self._expect)
                self._calm()
                self._say("expectation", self._whole - self._calm_seconds)
                expecting.result()
        if options.keep:
            shutil.copytree(options.folder, options.keep, dirs_exist_ok=True)
        return self._judge(cohort, storm)

    def _calm(self) -> None:
        for number in range(self._options.passes):
            if number == 1:
                for name in OUTS.values():
                    for path in (self._commands.project / "artifacts" / name).glob("*"):
                        path.unlink()
            for index, stage in enumerate(STAGES):
                passed = self._options.seconds + self._calm_seconds * (len(STAGES) * number + index)
                self._say(f"calm: {stage}, pass {number + 1} of {self._options.passes}", passed)
                self._commands.run(stage, _HALF)
            self._found.append(results(self._commands.project))

    def _expect(self) -> None:
        for stage in STAGES:
            self._fresh.run(stage, _HALF)

    def _judge(self, cohort: Cohort, storm: Storm) -> int:
        expected = results(self._fresh.project)
        lost, stale = set[str](), set[str]()
        for found in self._found:
            missing, other = differences(found, expected, cohort)
            lost, stale = lost | missing, stale | other
        lines = computations(self._commands.log)
        again = twice(lines, storm.excuses, self._commands.spans)
        seen, unlisted = listed(self._commands.project, cohort)
        rows = []
        for kind in [PLAIN, *FAULTS]:
            if slides := cohort.of(kind):
                codes = Counter(seen[slide] for slide in slides)
                counts = [sum(slide in found for slide in slides) for found in (lost, stale, again)]
                words = FAULTS[kind].words if kind in FAULTS else "nothing is wrong"
                rows.append((words, len(slides), ", ".join(f"{c} {n}" for c, n in codes.most_common()), *counts))
        _print_table(rows)
        commands = self._commands
        exits = ", ".join(f"{code}: {count}" for code, count in sorted(commands.exits.items()))
        print(f"happened: {', '.join(f'{count} {kind}' for kind, count in sorted(storm.done.items()))}")
        if not storm.small_disk:
            print("full disk: skipped, no small disk can be mounted here")
        killed = commands.exits[-9]
        print(f"commands: {sum(commands.exits.values())}, {killed} killed and started again (exit codes: {exits})")
        print(f"computations: {sum(line['event'] == 'end' for line in lines)} to their end, for {len(expected)} files")
        seconds, memory = time.monotonic() - self._start, commands.peak_bytes / 2**20
        print(f"{seconds:.0f} s, peak memory {memory:.0f} MiB, seed {storm.seed}")
        troubles = [*commands.troubles, *self._fresh.troubles, *unlisted, *leftovers(self._commands.project)]
        troubles += [f"lost: {slide}" for slide in sorted(lost)] + [f"stale: {slide}" for slide in sorted(stale)]
        troubles += [f"twice: {slide} {' '.join(sorted(stages))}" for slide, stages in sorted(again.items())]
        for trouble in troubles[:40]:
            print(f"  {trouble}")
        print(f"{len(lost)} lost, {len(stale)} stale, {len(again)} twice; {len(troubles)} trouble(s)")
        return int(bool(troubles))

    @property
    def _whole(self) -> float:
        return float(self._options.seconds + self._calm_seconds * (len(STAGES) * self._options.passes + 1))

    def _say(self, text: str, done: float) -> None:
        """A line now and then; `done`: of the seconds that were planned, for the time left at the pace so far."""
        passed = time.monotonic() - self._start
        if passed - self._said >= _SAY_SECONDS or not self._said:
            self._said = passed
            left = f", about {passed * (self._whole - done) / done / 60:.0f} min left" if done > 0 else ""
            print(f"[{passed:4.0f} s{left}] {text}", file=sys.stderr, flush=True)


def _print_table(rows: Sequence[tuple[object, ...]]) -> None:
    heads = ("what is wrong", "slides", "in the end", "lost", "stale", "twice")
    cells = [tuple(map(str, row)) for row in (heads, *rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(heads))]
    for number, row in enumerate(cells):
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
        if not number:
            print("  ".join("-" * width for width in widths))


if __name__ == "__main__":
    sys.exit(main())
