"""Text as people see it: what nobody sees, or what a terminal obeys, is written out; a long name is shortened."""

import json
import re
import unicodedata

_UNSEEN = ("Cc", "Cf", "Cs", "Zl", "Zp")  # control, format (right-to-left marks, zero width), lone halves, line ends
_PLAIN = re.compile(r"[ -~]*")


def shown(text: str, *, kept: str = "") -> str:
    r"""Text with each character that has no picture of its own as an escape: `\x1b`, `\u202e`, `\n`.

    Args:
        kept: characters that stay as they are, such as line breaks.
    """
    if _PLAIN.fullmatch(text):
        return text
    return "".join(
        character if character in kept or unicodedata.category(character) not in _UNSEEN else _escape(character)
        for character in text
    )


def shortened(text: str, most: int) -> str:
    """Text in at most `most` characters: of a longer one its beginning and its end, which tell names apart."""
    if len(text) <= most:
        return text
    start = most // 2
    return f"{text[:start]}…{text[len(text) - (most - start - 1) :]}"


def json_text(value: object, *, indent: int | None = None) -> str:
    """JSON as people may read it: letters of all alphabets as they are, what nobody sees as JSON's own escapes.

    Raises:
        ValueError: NaN or infinite numbers.
    """
    text = json.dumps(value, indent=indent, allow_nan=False, ensure_ascii=False)
    return "".join(
        character
        if character == "\n" or unicodedata.category(character) not in _UNSEEN
        else json.dumps(character)[1:-1]
        for character in text
    )


def _escape(character: str) -> str:
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")
