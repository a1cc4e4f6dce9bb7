"""An executor that computes in the calling process: starting others takes longer than what a test computes."""

import contextlib
from collections.abc import Iterator

from sammil_cli.errors import SammilError, as_slide_error
from sammil_cli.project.project import RunOptions
from sammil_cli.runner import per_slide
from sammil_cli.runner.executor import Answer, Call, Limits


class Inline:
    """Computes in this process."""

    def answers(self, calls: Iterator[Call]) -> Iterator[Answer]:
        for call in calls:
            try:
                value = getattr(per_slide, call.function[1])(*call.arguments)
            except SammilError as error:
                yield Answer(slide_id=call.slide_id, error=as_slide_error(error))
            else:
                yield Answer(slide_id=call.slide_id, value=value)


@contextlib.contextmanager
def open_inline(options: RunOptions, limits: Limits) -> Iterator[Inline]:
    yield Inline()
