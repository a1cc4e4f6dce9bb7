"""A warning that every row of a benchmark would give is shown once."""

import logging
from collections.abc import Iterator

import pytest

from sammil_cli import console


class Kept(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(record.getMessage())


@pytest.fixture
def handler() -> Iterator[Kept]:
    kept = Kept()
    logging.getLogger().addHandler(kept)
    yield kept
    logging.getLogger().removeHandler(kept)


def test_the_same_message_is_shown_once_within_the_block_and_again_after_it(handler: Kept) -> None:
    log = logging.getLogger("sammil_cli.stages.train")
    with console.each_warning_once():
        for number in (1, 1, 2):
            log.warning("%d slides have no bag", number)
    log.warning("%d slides have no bag", 1)
    assert handler.said == ["1 slides have no bag", "2 slides have no bag", "1 slides have no bag"]
