"""Weights that others published: which of their parameters are which of a model's. Each model's file lists its own."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

Size = int | str  # a number, or DIM, CLASSES or another name of a number that a file chooses
DIM, CLASSES = "d", "C"
EACH = "{c}"  # in a name: one parameter for each class, counted from 0


@dataclass(frozen=True)
class Entry:
    """One tensor: its published name, ours, its shape. A name with `EACH` stands for one tensor per class."""

    published: str
    ours: str
    shape: tuple[Size, ...]

    def of_class(self, number: int) -> "Entry":
        """This entry for one class."""
        return Entry(self.published.replace(EACH, str(number)), self.ours.replace(EACH, str(number)), self.shape)


def linear(published: str, ours: str, rows: Size, columns: Size, *, bias: bool = True) -> tuple[Entry, ...]:
    """A linear layer: weight (rows, columns), and bias (rows,) where it has one."""
    weight = Entry(f"{published}.weight", f"{ours}.weight", (rows, columns))
    return (weight, Entry(f"{published}.bias", f"{ours}.bias", (rows,))) if bias else (weight,)


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """A published model that one of ours can be.

    `group_features`: whether the bags it was published with hold group features.
    `options`: what ours must be built with. `untold_options`: those that no weights tell of.
    `classes`: how many the file is of where no tensor says it; None = the size `CLASSES`.
    `unused`: starts of names that files may hold besides, and that no prediction needs.
    `older`: starts of names in older files -> of the names today.
    `judging`: starts of names of tensors that belong to the classes of the file, where no shape says so.
    """

    title: str
    model: str
    group_features: bool
    entries: tuple[Entry, ...]
    options: Mapping[str, object] = field(default_factory=dict, hash=False)
    untold_options: tuple[str, ...] = ()
    classes: int | None = None
    unused: tuple[str, ...] = ()
    older: Mapping[str, str] = field(default_factory=dict, hash=False)
    judging: tuple[str, ...] = ()

    def known(self, names: Iterable[str]) -> dict[str, str]:
        """This architecture's names of today -> those in a file, without those that no prediction needs."""
        found = {}
        for name in names:
            start = next((one for one in self.older if name.startswith(one)), "")
            if not name.startswith(self.unused or ("\0",)):
                found[self.older.get(start, "") + name.removeprefix(start)] = name
        return found

    def parameters(self, classes: int) -> tuple[Entry, ...]:
        """Every parameter of a model with this number of classes."""
        found: list[Entry] = []
        for entry in self.entries:
            found += [entry.of_class(c) for c in range(classes)] if EACH in entry.published else [entry]
        return tuple(found)

    @property
    def lasting(self) -> tuple[Entry, ...]:
        """The parameters that are the same whatever the classes are: what another training can start from."""
        return tuple(
            entry
            for entry in self.entries
            if CLASSES not in entry.shape
            and EACH not in entry.published
            and not entry.published.startswith(self.judging or ("\0",))
        )

    def names(self, classes: int) -> dict[str, str]:
        """Published name -> our name."""
        return {entry.published: entry.ours for entry in self.parameters(classes)}
