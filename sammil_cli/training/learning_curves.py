"""Learning curves on disk while training goes on: one CSV per fold, a line per epoch, for people and `dvc plots`."""

from contextlib import AbstractContextManager
from pathlib import Path

from sammil_cli.errors import InputError
from sammil_cli.storage.files import read_csv_lines

_AGAIN = "run: sammil train, or dvc checkout"


class CurveFile(AbstractContextManager["CurveFile"]):
    """A CSV that grows by one line per epoch; each line is on disk when `add` returns.

    It is written in place, not atomically: its purpose is to be read while it grows.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._stream = path.open("w", encoding="utf-8")

    def __exit__(self, *_: object) -> None:
        self._stream.close()

    def add(self, epoch: int, figures: dict[str, float]) -> None:
        """Appends one epoch; the first call writes the header."""
        if self._stream.tell() == 0:
            self._stream.write(",".join(["epoch", *figures]) + "\n")
        self._stream.write(",".join([str(epoch), *(f"{value:.6g}" for value in figures.values())]) + "\n")
        self._stream.flush()


def epochs_done(path: Path) -> int:
    """How many epochs a curve file holds so far; 0 before the first."""
    try:
        return max(0, path.read_text(encoding="utf-8").count("\n") - 1)
    except FileNotFoundError:
        return 0


def read_curve(path: Path) -> list[dict[str, float]]:
    """The figures of each epoch, as `CurveFile.add` was given them.

    Raises:
        InputError: no such table, or a cell that is no number.
    """
    figures = []
    for line, row in read_csv_lines(path, ("epoch",)):
        try:
            figures.append({name: float(value) for name, value in row.items() if name != "epoch"})
        except ValueError as error:
            raise InputError(f"{path}, line {line} is no row of a learning curve: {error}", remedy=_AGAIN) from None
    return figures
