"""Where the time of a run goes: counted in the processes that do slides, said when the run ends."""

import contextlib
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

REST = "all else"


@dataclass(frozen=True)
class Spent:
    """Of one slide: seconds by what they went into, and how many patches, say, were done in them."""

    seconds: dict[str, float] = field(default_factory=dict)
    done: Counter[str] = field(default_factory=Counter)


_now = Spent()


@contextlib.contextmanager
def spending(on: str) -> Iterator[None]:
    """Counts the time of a block for the slide that this process does; blocks lie side by side, in one thread."""
    start = time.perf_counter()
    try:
        yield
    finally:
        _now.seconds[on] = _now.seconds.get(on, 0.0) + time.perf_counter() - start


def done(what: str, number: int) -> None:
    """Counts patches, say, that were done for the slide that this process does."""
    _now.done[what] += number


def take() -> Spent:
    """What was counted since the last call."""
    taken = Spent(_now.seconds.copy(), _now.done.copy())
    _now.seconds.clear()
    _now.done.clear()
    return taken


class Totals:
    """Of all slides of a run: `add` what each has spent as it ends, then `line` says it."""

    def __init__(self) -> None:
        self._start = self._end = time.monotonic()
        self._seconds: dict[str, float] = {}
        self._done, self._all = Counter[str](), 0.0

    def add(self, spent: Spent, seconds: float) -> None:
        """Adds a slide that took `seconds`."""
        for on, part in spent.seconds.items():
            self._seconds[on] = self._seconds.get(on, 0.0) + part
        self._done += spent.done
        self._all += seconds
        self._end = time.monotonic()

    def line(self) -> str | None:
        """`41 patches a second; encoding 71 % of the time, reading 22 %, all else 7 %`; None where nothing was counted.

        The rate is that of the run, of all its processes together; the shares are of the time of these processes.
        """
        if not self._done or not self._all:
            return None
        took = max(self._end - self._start, 1e-9)
        rates = ", ".join(f"{number / took:.3g} {what} a second" for what, number in self._done.items())
        shares = {**self._seconds, REST: max(0.0, self._all - sum(self._seconds.values()))}
        ranked = sorted(shares.items(), key=lambda share: -share[1])
        said = [f"{what} {100 * seconds / self._all:.0f} %" for what, seconds in ranked]
        return f"{rates}; {said[0]} of the time, {', '.join(said[1:])}"
