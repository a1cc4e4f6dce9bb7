"""Slips on the command line in the words of all other errors: what is wrong, and what was probably meant."""

import re
from collections.abc import Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING

from typer.core import TyperGroup

from sammil_cli.errors import InputError

if TYPE_CHECKING:
    from typer._click.core import Command, Context, Parameter  # Click, as Typer carries it

_SETTINGS = "assignments"  # the parameter of `-S`
_NO_COMMAND = re.compile(r"No such command '(.*?)'")
_NO_ARGUMENT = re.compile(r"unexpected extra argument(?:\(s\)|s)? \((.*)\)")
_NO_VALUE = re.compile(r"Option '(.*)' requires an argument")
_TYPE_WORDS = (  # what pydantic says of a value, and what people say
    (re.compile(r"Input should be a valid integer.*", re.DOTALL), "needs a whole number"),
    (re.compile(r"Input should be a valid number.*", re.DOTALL), "needs a number"),
    (re.compile(r"Input should be greater than or equal to "), "must be at least "),
    (re.compile(r"Input should be less than or equal to "), "must be at most "),
    (re.compile(r"Input should be "), "must be "),
    (re.compile(r"Value error, "), ""),
)


class PlainGroup(TyperGroup):
    """A group of commands whose usage errors, and those of its commands, are `InputError`s with the nearest word."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: "Context | None" = None, **extra: object
    ) -> "Context":
        """Reads what is typed, as Click does."""
        with _PlainErrors():
            return super().make_context(info_name, args, parent, **extra)

    def invoke(self, ctx: "Context") -> object:
        """Runs the command, as Click does; what is typed behind its name is read here."""
        with _PlainErrors():
            return super().invoke(ctx)


class _PlainErrors:
    """Turns usage errors into `InputError`s, but those that are the help of a group without a command."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        name, say = type(error).__name__, getattr(error, "format_message", None)
        if error is None or say is None or name == "NoArgsIsHelpError":
            return
        ctx: Context | None = getattr(error, "ctx", None)
        if ctx is None:  # an option at the end of the line that lacks its value
            said = _NO_VALUE.sub(r"\1 needs a value", str(say()).rstrip("."))
            raise InputError(said, remedy="sammil COMMAND --help says what it takes") from None
        message, remedy = _in_words(error, name, ctx)
        raise InputError(message, remedy=remedy or f"{ctx.command_path} --help says how it is used") from None


def _in_words(error: object, name: str, ctx: "Context") -> tuple[str, str]:
    """What is wrong, and the fix; the latter empty where only the help has it."""
    path, message, param = ctx.command_path, str(getattr(error, "message", "")), getattr(error, "param", None)
    if name == "NoSuchOption":
        option = str(getattr(error, "option_name", ""))
        return f"{path} has no option {option}", _option_meant(ctx, option)
    if found := _NO_COMMAND.search(message):
        return f"{path} has no command {found[1]!r}", _command_meant(ctx, found[1])
    if found := _NO_ARGUMENT.search(message):
        return f"{path} does not take: {found[1]}", ""
    if param is not None and name == "MissingParameter":
        return f"{path} needs {_named(param)}", ""
    for pattern, words in _TYPE_WORDS:
        message = pattern.sub(words, message)
    said = message.rstrip(".")
    return f"{path}: {f'{_named(param)}: ' if param is not None else ''}{said}", _choice_meant(said)


def _named(param: "Parameter") -> str:
    """An option by its longest form, an argument by its metavar."""
    if param.param_type_name == "option":
        return str(max(param.opts, key=len))
    return str(getattr(param, "metavar", None) or str(param.name).upper()).strip("{}[]")


def _option_meant(ctx: "Context", option: str) -> str:
    """The option, or the setting, that is most like an unknown one."""
    word = option.lstrip("-").replace("-", "_")
    parameters = ctx.command.get_params(ctx)
    takes_settings = any(param.name == _SETTINGS for param in parameters)
    keys = _setting_names() if takes_settings else ()
    if word in keys:
        return f"{word} is a setting: {ctx.command_path} -S {word}=VALUE, or a line of params.yaml"
    options = [name for param in parameters for name in (*param.opts, *param.secondary_opts) if name.startswith("--")]
    if near := get_close_matches(option, options, 1):
        return f"did you mean {near[0]}?"
    if near := get_close_matches(word, keys, 1):
        return f"did you mean the setting {near[0]}? {ctx.command_path} -S {near[0]}=VALUE"
    return f"{ctx.command_path} --help lists its options"


def _setting_names() -> Sequence[str]:
    from sammil_cli.config import Settings

    return tuple(Settings.model_fields)


def _command_meant(ctx: "Context", word: str) -> str:
    """The command that is most like an unknown one, here, or in a group."""
    found = dict(_commands(ctx.command, ctx.command_path))
    found |= dict(_commands(ctx.find_root().command, str(ctx.find_root().command_path)))
    by_last = {line.rpartition(" ")[2]: line for line in reversed(found)}
    near = get_close_matches(word, by_last, 2)
    meant = " or ".join(by_last[one] for one in near)
    return f"did you mean {meant}?" if meant else f"{ctx.command_path} --help lists its commands"


def _commands(command: "Command", path: str) -> list[tuple[str, None]]:
    """Every command of a group and of the groups in it, as it is typed."""
    below = getattr(command, "commands", {})
    own = [(f"{path} {name}", None) for name in below]
    return own + [one for name, inner in below.items() for one in _commands(inner, f"{path} {name}")]


def _choice_meant(said: str) -> str:
    """Of `'meen' is not one of 'mean', 'max'`: the nearest of these."""
    found = re.fullmatch(r"'(.*)' is not one of (.*)", said)
    near = get_close_matches(found[1], re.findall(r"'(.*?)'", found[2]), 1) if found else []
    return f"did you mean {near[0]}?" if near else ""
