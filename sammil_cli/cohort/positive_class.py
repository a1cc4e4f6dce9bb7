"""Which of two classes is the positive one: as it is set, or by default, which may not be meant."""

import difflib
import re
import unicodedata
from collections.abc import Iterator, Sequence

from sammil_cli.cohort.class_order import NUMBER
from sammil_cli.cohort.finding import Finding, refuse_first

_WORDS = re.compile(r"[^\W\d_]+|\d+")
_PLAIN = re.compile(r"[^\W\d_][\w+.-]*( [\w+.-]+)*")  # text for YAML, without quotes
_OTHER_WORDS = ("true", "false", "yes", "no", "on", "off", "null")  # but these are no text for YAML
_MINUS = "-−–"
_NOT = ("non", "not", "no", "without")
_ENDS = ("negative", "neg", "wildtype", "wt")  # as of HPVneg and IDHwt
_NEGATIVE = {
    "normal",
    "negative",
    "neg",
    "benign",
    "wildtype",
    "wt",
    "control",
    "ctrl",
    "healthy",
    "no",
    "none",
    "never",
}
_NEGATIVE |= {"absent", "absence", "false", "low", "stable", "mss", "pmmr", "unaffected", "uninvolved"}


def with_positive_last(classes: Sequence[str], positive_class: str | None, file: str) -> tuple[str, ...]:
    """The classes with the positive one last.

    Args:
        classes: in the order in which they are to be shown.
        positive_class: the setting; None = the last one.
        file: the table of the labels, for messages.

    Raises:
        InputError: `positive_class` is none of them, or there are more than two.
    """
    refuse_first(list(_misfits(classes, positive_class, file)))
    others = [name for name in classes if name != positive_class]
    return (*others, *(name for name in classes if name == positive_class))


def positive_findings(classes: Sequence[str], positive_class: str | None, file: str) -> Iterator[Finding]:
    """What is wrong with the setting, or a question where nothing is set and the positive class sounds negative."""
    yield from _misfits(classes, positive_class, file)
    if positive_class is not None or len(classes) != 2:
        return
    other, positive = classes
    if sounds_negative(positive, other):
        yield Finding(
            file=file,
            kind="positive-class",
            severity="warning",
            column="label",
            text=positive,
            message=f"positive is {positive!r}: is that meant?",
            fix=f"set positive_class: {_as_setting(other)} (or {_as_setting(positive)}, if it is meant)",
        )


def _misfits(classes: Sequence[str], positive_class: str | None, file: str) -> Iterator[Finding]:
    if positive_class is None or len(classes) < 2:  # fewer are refused as such
        return
    if positive_class not in classes:
        near = difflib.get_close_matches(positive_class.casefold(), [name.casefold() for name in classes], 1)
        meant = [name for name in classes if near and name.casefold() == near[0]] or classes
        message = f"positive_class {positive_class!r} is none of the classes {', '.join(map(repr, classes))}"
        fix = (
            f"set positive_class: {' or '.join(map(_as_setting, meant))}"
            if len(classes) == 2
            else "set positive_class: null"
        )
    elif len(classes) > 2:
        message = f"positive_class {positive_class!r} is set, and there are {len(classes)} classes"
        fix = "set positive_class: null (each class is then judged against the rest), or label two classes"
    else:
        return
    yield Finding(file=file, kind="positive-class", column="label", text=positive_class, message=message, fix=fix)


def _as_setting(name: str) -> str:
    """As it is to be typed into params.yaml: in quotes where YAML would take it for something else."""
    if _PLAIN.fullmatch(name) and name.casefold() not in _OTHER_WORDS:
        return name
    return "'" + name.replace("'", "''") + "'"


def sounds_negative(name: str, other: str) -> bool:
    """Whether a class sounds like the negative one beside the other: its words, a minus at its end, a lower number."""
    mine, theirs = _plain(name), _plain(other)
    if NUMBER.fullmatch(mine) and NUMBER.fullmatch(theirs):
        return float(mine) < float(theirs)
    if mine.endswith("-") or mine in ("0", "n"):
        return not theirs.endswith("-")
    words = _words(mine)
    if words[:1] and words[0] in _NOT and len(words) > 1:
        return not _is_negative(words[1:])  # "not normal" is the other way round
    joined, rest = "".join(words), "".join(_words(theirs))
    if rest and joined in {start + rest for start in (*_NOT, "un")}:
        return not _is_negative(_words(theirs))  # "unstable" beside "stable"
    return _is_negative(words)


def _plain(text: str) -> str:
    folded = unicodedata.normalize("NFKC", text).casefold().strip()
    return folded[:-1] + "-" if len(folded) > 1 and folded[-1] in _MINUS else folded


def _words(text: str) -> list[str]:
    return _WORDS.findall(text.replace("wild type", "wildtype").replace("wild-type", "wildtype"))


def _is_negative(words: Sequence[str]) -> bool:
    return any(word in _NEGATIVE or word.endswith(_ENDS) for word in words)
