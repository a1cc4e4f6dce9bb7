"""Ids that are nearly the same: what a person takes for one slide and a computer for two."""

import difflib
import re
import unicodedata
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from functools import partial

_UUID = re.compile(r"[._-][0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$", re.IGNORECASE)
_TOKENS = re.compile(r"\d+|[^\W\d_]+")
_ALIKE = 0.8  # difflib's ratio from which on a name is taken for a misspelt one
_MOST_COMPARED = 100  # ids, letter by letter; more without a number to tell them apart would take minutes
_AFTER = frozenset("-_. ")  # what follows the id of a patient in that of a slide
_SHORTEST_START = 6  # a shorter id is no telling start of another
# Letters of other alphabets that look like Latin ones, and dashes like the hyphen.
_LOOKS_LIKE = str.maketrans("АВЕКМНОРСТХаеорсухΑΒΕΗΙΚΜΝΟΡΤΧο‐‑‒–—−", "ABEKMHOPCTXaeopcyxABEHIKMNOPTXo------")


@dataclass(frozen=True)
class Near:
    """An id that is nearly another one, and what the difference is."""

    slide_id: str
    difference: str


def visible(text: str) -> str:
    """Without characters that nobody sees, such as a zero-width space."""
    return "".join(c for c in text if unicodedata.category(c) not in ("Cf", "Cc"))


def _unicode(text: str) -> str:
    return unicodedata.normalize("NFKC", visible(text)).translate(_LOOKS_LIKE)


def _spaces(text: str) -> str:
    return "".join(text.split())


def _tokens(text: str) -> tuple[str, ...]:
    """Runs of letters and of digits: what stands between them does not count."""
    return tuple(_TOKENS.findall(text))


def _padding(text: str) -> str:
    return re.sub(r"\d+", lambda number: number[0].lstrip("0") or "0", text)


def _digits_typed(text: str) -> str:
    """O and l beside a digit as the digits they stand for."""
    zeros = re.sub(r"(?<=\d)[oO]|(?<![^\W\d_])[oO](?=\d)", "0", text)
    return re.sub(r"(?<=\d)[lI]|(?<![^\W\d_])[lI](?=\d)", "1", zeros)


def _suffixless(suffixes: Collection[str], text: str) -> str:
    stripped = text.strip()
    for suffix in sorted(suffixes, key=len, reverse=True):
        if stripped.lower().endswith(suffix) and len(stripped) > len(suffix):
            return stripped[: -len(suffix)]
    return text


def look_alike(text: str) -> str:
    """Equal for texts that differ only in case, spaces, or letters that look the same."""
    return _spaces(_unicode(text)).casefold()


class NearIds:
    """Finds, for an id that is not there, the one that was meant.

    Args:
        ids: those that are there.
        suffixes: of files, such as `.svs`, that may have been kept in an id.
    """

    def __init__(self, ids: Iterable[str], suffixes: Collection[str]) -> None:
        suffixless = partial(_suffixless, suffixes)
        self._differences: list[tuple[str, Callable[[str], object]]] = [
            ("spaces", _spaces),
            ("the file's suffix", suffixless),
            ("capital letters", str.casefold),
            ("letters that look alike", _unicode),
            ("leading zeros", _padding),
            ("the UUID at its end", lambda text: _UUID.sub("", text)),
            ("a letter O or l for 0 or 1", _digits_typed),
            ("separators", _tokens),
        ]
        self._suffixless = suffixless
        self._by_key: dict[object, list[str]] = {}
        self._by_digits: dict[tuple[str, ...], list[str]] = {}
        self._ids = sorted(ids)
        self._known = set(self._ids)
        for name in self._ids:
            self._by_key.setdefault(self._key(name), []).append(name)
            self._by_digits.setdefault(self._digits(name), []).append(name)

    def _key(self, text: str) -> object:
        plain = _UUID.sub("", self._suffixless(_unicode(text)).strip())
        return _tokens(_padding(_digits_typed(plain).casefold()))

    def _digits(self, text: str) -> tuple[str, ...]:
        return tuple(re.findall(r"\d+", text))

    def find(self, text: str) -> Near | None:
        """The one id that was meant by `text`; None if no id is meant, or more than one."""
        if len(alike := [name for name in self._by_key.get(self._key(text), []) if name != text]) == 1:
            return Near(alike[0], self._difference(text, alike[0]))
        if len(longer := self.beginning_with(text)) == 1:
            return Near(longer[0], "what follows")
        if shorter := self._beginning_of(text):
            return Near(shorter, "what follows")
        # Numbers tell slides apart: only letters may be misspelt.
        same_numbers = self._by_digits.get(self._digits(text), [])
        if len(same_numbers) > _MOST_COMPARED:
            return None
        spelt = difflib.get_close_matches(text, same_numbers, 2, _ALIKE)
        return Near(spelt[0], "a letter or two") if len(spelt) == 1 and spelt[0] != text else None

    def _difference(self, one: str, other: str) -> str:
        for name, reduce in self._differences:
            if reduce(one) == reduce(other):
                return name
        return "the way it is written"

    def beginning_with(self, text: str) -> list[str]:
        """Longer ids that begin with `text` and go on with a separator, as TCGA's slides with their patient."""
        if len(text) < _SHORTEST_START:
            return []
        return [name for name in self._ids if name.startswith(text) and name[len(text) : len(text) + 1] in _AFTER]

    def _beginning_of(self, text: str) -> str | None:
        """The longest id that `text` begins with and goes on from with a separator."""
        ends = [place for place, letter in enumerate(text) if letter in _AFTER and place >= _SHORTEST_START]
        return next((text[:end] for end in reversed(ends) if text[:end] in self._known), None)
