"""A run says how fast it was, and what its time went into."""

import re
import time
from collections import Counter

import pytest
from study_fixtures import call

from sammil_cli.runner import spent
from sammil_cli.runner.spent import Spent, Totals, done, spending, take


def test_what_is_counted_is_taken_once() -> None:
    take()
    with spending("reading"):
        time.sleep(0.02)
    with pytest.raises(ValueError, match="lost"), spending("reading"):  # what failed took its time, too
        raise ValueError("lost")
    done("patches", 3)
    done("patches", 4)
    found = take()
    assert found.seconds["reading"] >= 0.02
    assert found.done == {"patches": 7}
    assert take() == Spent()


def test_the_largest_share_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([100.0, 102.0, 110.0])
    monkeypatch.setattr(spent.time, "monotonic", lambda: next(clock))
    totals = Totals()
    assert totals.line() is None
    totals.add(Spent({"encoding": 2.0, "reading": 5.0}, Counter(patches=40)), 8.0)
    totals.add(Spent({"encoding": 1.0, "reading": 7.0}, Counter(patches=60)), 8.0)
    assert totals.line() == "10 patches a second; reading 75 % of the time, encoding 19 %, all else 6 %"


@pytest.mark.usefixtures("inline_training")
@pytest.mark.parametrize(("verb", "what"), [("sam", "pictures"), ("extract", "patches")])
def test_sam_and_extract_say_it(study: object, verb: str, what: str) -> None:
    for before in ("patch", "sam")[: 1 + (verb == "extract")]:
        assert call(before, "--workers", 1).code == 0
    said = call(verb, "--workers", 1)
    assert said.code == 0
    assert re.search(rf"^{verb}: \S+ {what} a second; .* % of the time, .* %$", said.out, re.MULTILINE)
    again = call(verb, "--workers", 1)
    assert "a second" not in again.out + again.err  # nothing was computed
