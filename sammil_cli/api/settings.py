"""Settings in Python: the keys of params.yaml, checked as there."""

from pathlib import Path

from sammil_cli.config import Settings, check, load_settings
from sammil_cli.project.presets import preset


def settings(start: str = "default", /, **changes: object) -> Settings:
    """The settings of a preset, with some changed.

    Args:
        start: `default`, `camelyon16`, `tcga-nsclc` or `demo`.
        changes: keys of params.yaml, such as `patch_px=256`.

    Raises:
        InputError: no such preset, an unknown key, a wrong type or a value out of range.
    """
    return check({**preset(start), **changes}, "settings")


def read_settings(params: str | Path = "params.yaml", /, **changes: object) -> Settings:
    """The settings of a params.yaml, with some changed.

    Raises:
        InputError: no such file, or as `settings`.
    """
    return check({**load_settings(Path(params)).model_dump(), **changes}, str(params))
