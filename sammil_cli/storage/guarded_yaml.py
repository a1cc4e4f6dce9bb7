"""YAML that may come from anybody: plain tables, lists and words of limited size; nothing in it stands for more."""

from collections.abc import Hashable
from pathlib import Path

import yaml

from sammil_cli.errors import InputError
from sammil_cli.storage.guarded_json import Parsed
from sammil_cli.storage.regular_file import check_regular
from sammil_cli.storage.shown_text import shortened

MOST_BYTES = 1 << 20
MOST_NODES = 20_000  # keys and values; a dvc.lock has some hundreds
DEEPEST = 16
_LONGEST_NUMBER = 64  # letters; 1:1:1:… is a number to YAML, to the base of 60
_SHOWN = 200  # letters of what the parser says, which quotes the file


class _RefusedError(yaml.YAMLError):
    """YAML that is well-formed and not read."""


class _GuardedLoader(yaml.SafeLoader):
    """Refuses anchors, aliases and tags, by which few bytes become much, and what is deep or long, as it comes."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = self._nodes = 0

    def compose_node(self, parent: yaml.Node | None, index: Hashable) -> yaml.Node | None:
        event: yaml.Event = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            raise _RefusedError(f"anchors and aliases (& and *) are not read{_place(event)}: write the value out")
        if getattr(event, "tag", None) is not None:
            raise _RefusedError(f"tags (!) are not read{_place(event)}")
        self._nodes += 1
        self._depth += 1
        if self._depth > DEEPEST or self._nodes > MOST_NODES:
            limit = f"{DEEPEST} levels" if self._depth > DEEPEST else f"{MOST_NODES} entries"
            raise _RefusedError(f"it has more than {limit}{_place(event)}")
        node: yaml.Node | None = super().compose_node(parent, index)  # type: ignore[arg-type]
        self._depth -= 1
        return node

    def construct_scalar(self, node: yaml.ScalarNode | yaml.MappingNode) -> str:
        if node.tag.endswith((":int", ":float")) and len(node.value) > _LONGEST_NUMBER:
            raise _RefusedError(f"a number has more than {_LONGEST_NUMBER} letters{_place(node)}")
        return super().construct_scalar(node)


def read_yaml(path: Path) -> Parsed:
    """A file's content; see `parse_yaml`. Of a larger file nothing more than the limit is read.

    Raises:
        InputError: it is a pipe or device, too large, or no YAML within the limits.
        OSError: it is not there, or cannot be read.
    """
    check_regular(path)
    with path.open("rb") as stream:
        content = stream.read(MOST_BYTES + 1)
    return parse_yaml(content, path)


def parse_yaml(content: str | bytes, what: object) -> Parsed:
    """The value of a text: words, numbers, lists and tables.

    Args:
        content: text, or bytes in UTF-8 with or without a byte order mark.
        what: the file or option, for messages.

    Raises:
        InputError: no YAML, anchors, aliases or tags, or more bytes, entries or levels than the limits of this module.
    """
    try:
        if len(content) > MOST_BYTES:
            raise _RefusedError(f"it is larger than {MOST_BYTES >> 20} MiB")
        loader = _GuardedLoader(content if isinstance(content, str) else content.decode("utf-8-sig"))
        try:
            return loader.get_single_data()
        finally:
            loader.dispose()
    # ValueError: of Python, on dates that are none, numbers too long for int(), bytes that are no UTF-8.
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        reason = shortened(" ".join(str(error).split()), _SHOWN)
        raise InputError(f"{what} is no YAML: {reason}", remedy="mend that line") from None


def _place(part: object) -> str:
    mark = getattr(part, "start_mark", None)
    return "" if mark is None else f", line {mark.line + 1}"
