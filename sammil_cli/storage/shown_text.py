"""Text as people see it: what nobody sees, or what a terminal obeys, is written out; a long name is shortened."""

import json
import unicodedata
from collections.abc import Callable

_UNSEEN = ("Cc", "Cf", "Cs", "Zl", "Zp")  # control, format (right-to-left marks, zero width), lone halves, line ends
_LONGEST_VALUE = 60


def shown(text: str, *, kept: str = "") -> str:
    r"""Text with each character that has no picture of its own as an escape: `\x1b`, `\u202e`, `\n`.

    Args:
        kept: characters that stay as they are, such as line breaks.
    """
    return _written_out(text, kept, lambda one: one.encode("unicode_escape", "surrogatepass").decode("ascii"))


def shortened(text: str, most: int) -> str:
    """Text in at most `most` characters: of a longer one its beginning and its end, which tell names apart."""
    if len(text) <= most:
        return text
    start = most // 2
    return f"{text[:start]}…{text[len(text) - (most - start - 1) :]}"


def shown_value(value: object) -> str:
    """A setting's value in a message: of a word or number what was typed, shortened; of anything else what it is."""
    if isinstance(value, dict):
        return f"a table of {len(value)}"
    if isinstance(value, list | tuple | set):
        return f"a list of {len(value)}"
    return shown(shortened(repr(value), _LONGEST_VALUE))


def json_text(value: object, *, indent: int | None = None) -> str:
    """JSON as people may read it: letters of all alphabets as they are, what nobody sees as JSON's own escapes.

    Raises:
        ValueError: NaN or infinite numbers.
    """
    text = json.dumps(value, indent=indent, allow_nan=False, ensure_ascii=False)
    return _written_out(text, "\n", lambda one: json.dumps(one)[1:-1])  # the only line breaks are between its parts


def _written_out(text: str, kept: str, escape: Callable[[str], str]) -> str:
    unseen = [one for one in set(text) if one not in kept and unicodedata.category(one) in _UNSEEN]
    return text.translate({ord(one): escape(one) for one in unseen}) if unseen else text
