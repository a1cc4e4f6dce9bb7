"""Published weights of SAM and the encoders."""

from pathlib import Path

from sammil_cli.api.settings import read_settings
from sammil_cli.api.voice import voice
from sammil_cli.config import Settings
from sammil_cli.project import weights


def fetch_weights(*words: str, settings: Settings | None = None) -> dict[str, Path]:
    """`sammil weights fetch`: downloads published weights that are not here, and verifies all.

    Args:
        words: such as `vit_h`, `resnet50`; none = those that the settings need.
        settings: None = those of params.yaml.

    Returns:
        the files by word; a file that is here already stays where it is.

    Raises:
        InputError: there is no such word. MissingError: the publisher cannot be reached, does not give the file to you,
            or sends another one.
    """
    with voice():
        wanted = weights.pick(words or list(weights.needed(settings or read_settings())))
        return {held.word: held.path for held in weights.fetch_all(wanted) if held.path is not None}
