"""Every path of sammil that a GPU takes, checked and timed on the one that is here, in at most eight minutes.

    python benchmarks/gpu.py                       # the first GPU
    python benchmarks/gpu.py --device cuda:1 --minutes 5
    python benchmarks/gpu.py --device cpu --quick  # tries the script itself, without a GPU

Prints one table. Each check runs in a process of its own and has its rows printed as they are found, so that one
that fails, or for which no time is left, costs its own rows only. Ends with 1 where a row is beyond its limit.
Weights are random: neither time nor parity depends on them.
"""

import argparse
import json
import platform
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from gpu_checks import CHECKS

FAILED, STOPPED = "failed", "no time left"
WIDTHS = (12, 52, 26, 14)


def main() -> None:
    """Runs the checks in turn, those that matter most first."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--minutes", type=float, default=8.0, help="in all")
    parser.add_argument("--only", default=",".join(CHECKS), help="some of: " + ", ".join(CHECKS))
    parser.add_argument("--quick", action="store_true", help="tiny sizes: a try, no measurement")
    asked = parser.parse_args()
    if asked.device != "cpu" and not torch.cuda.is_available():
        raise SystemExit("no GPU that torch can use: sammil doctor says why; --device cpu --quick tries the script")
    print(f"{machine(asked.device)}\n")
    print(line("check", "what", "measured", "limit"))
    end, failed = time.monotonic() + 60 * asked.minutes, []
    for name in asked.only.split(","):
        for row in run(name, asked.device, asked.quick, end):
            print(line(name, row["what"], row["measured"], row["limit"]) + ("" if row["good"] else "  <- FAILED"))
            failed += [] if row["good"] else [f"{name}: {row['what']}"]
    print("\n" + (f"{len(failed)} beyond their limits: {'; '.join(failed)}" if failed else "all within their limits"))
    raise SystemExit(bool(failed))


def machine(device: str) -> str:
    """What the figures are of."""
    versions = f"torch {torch.__version__}, Python {platform.python_version()}"
    if device == "cpu":
        return f"the CPU, {torch.get_num_threads()} threads; {versions}"
    facts = torch.cuda.get_device_properties(device)
    return f"{facts.name}, {facts.total_memory / 2**30:.0f} GiB, CUDA {torch.version.cuda}; {versions}"


def line(*cells: str) -> str:
    """A row of the table."""
    return "  ".join(cell.ljust(width) for cell, width in zip(cells, WIDTHS, strict=True)).rstrip()


def run(name: str, device: str, quick: bool, end: float) -> Iterator[dict[str, str]]:
    """The rows of a check, which is stopped at `end` (monotonic seconds)."""
    words = [sys.executable, str(Path(__file__).with_name("gpu_checks.py")), name, "--device", device]
    left = end - time.monotonic()
    if left < 1:
        yield {"what": "", "measured": STOPPED, "limit": "", "good": "yes"}
        return
    with subprocess.Popen([*words, *(["--quick"] if quick else [])], stdout=subprocess.PIPE, text=True) as child:
        watch = threading.Timer(left, child.kill)
        watch.start()
        try:
            yield from (json.loads(text) for text in child.stdout or ())
        finally:
            stopped = not watch.is_alive()
            watch.cancel()
    if stopped:
        yield {"what": "the rest", "measured": STOPPED, "limit": "", "good": "yes"}
    elif child.returncode:
        yield {"what": f"ended with exit code {child.returncode}", "measured": FAILED, "limit": "", "good": ""}


if __name__ == "__main__":
    main()
