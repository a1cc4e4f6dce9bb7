"""Files of every kind, changed at random from a fixed seed: refused with a remedy, or read as what they are.

`make fuzz` runs more of the same (`fuzz.py`).
"""

from collections.abc import Iterator

import pytest
from file_kinds import KINDS, Kind
from fuzz import cases
from limited_reader import LimitedReader

SEED = 16
CASES = 25  # of a kind: some 0.3 s
FEWER = {"slide": 12, "OME-TIFF": 12, "params": 12}  # those that take longest


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LimitedReader]:
    with LimitedReader(tmp_path_factory.mktemp("fuzz")) as reader:
        yield reader


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_a_changed_file_is_refused_or_read_as_what_it_is(kind: Kind, reader: LimitedReader) -> None:
    found = list(cases(reader, kind, SEED, FEWER.get(kind.name, CASES)))
    assert [str(case) for case in found if case.is_finding] == []
    assert any(case.answer.end != "equal" for case in found), "no change was seen"


@pytest.mark.stress
def test_the_same_seed_gives_the_same_cases(reader: LimitedReader) -> None:
    for name in ("bag", "drawing.xml"):
        first, again = ([str(case) for case in cases(reader, KINDS[name], SEED, 3)] for _ in range(2))
        assert first == again
        assert first != [str(case) for case in cases(reader, KINDS[name], SEED + 1, 3)]
