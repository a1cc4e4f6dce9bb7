"""Everything that can go wrong, each with a stable code and the fix. docs/errors.md lists the codes."""

from typing import ClassVar


class SammilError(Exception):
    """Base of all expected errors: the command line prints them without a traceback.

    Args:
        message: what is wrong and where.
        remedy: the exact thing to do about it.
    """

    exit_code: ClassVar[int] = 2

    def __init__(self, message: str, *, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy


class InputError(SammilError):
    """The user's input is wrong: a setting, a table, a path."""

    exit_code = 2


class MissingError(SammilError):
    """Something that the work needs is not there: weights, a library, a device."""

    exit_code = 3


class SlideError(SammilError):
    """One slide cannot be done; the others go on.

    Args:
        code: stable code such as `E_MPP`, for scripts and for docs/errors.md.
        message: what is wrong with the slide.
        remedy: what to do about it.
        set_aside: True when the slide itself is at fault and a new attempt without a fix is pointless;
            False when the computation failed.
    """

    exit_code = 1

    def __init__(self, code: str, message: str, *, remedy: str, set_aside: bool = True) -> None:
        super().__init__(message, remedy=remedy)
        self.code = code
        self.set_aside = set_aside

    def __reduce__(self) -> tuple[object, ...]:
        # Exceptions travel from worker processes; keyword arguments would be lost by the default.
        return _slide_error, (self.code, self.message, self.remedy, self.set_aside)


def _slide_error(code: str, message: str, remedy: str, set_aside: bool) -> SlideError:
    return SlideError(code, message, remedy=remedy, set_aside=set_aside)
