"""Settings of features in hand, which `sammil init --from-features` starts a project with."""

from sammil_cli.settings.stage import Tolerance, min_share_setting
from sammil_cli.settings.stage import setting as _field


class ConvertSettings(Tolerance):
    """Features in hand."""

    features_without_coords: bool = _field(
        False, "whether features whose patches have no coordinates are taken, which costs their heatmaps"
    )
    features_without_segments: bool = _field(
        False, "whether a SAM-MIL run is taken without its segments, which costs its regions"
    )
    features_patch_px_level0: int | None = _field(
        None, "patch side in level-0 pixels; null = what the files say", ge=1, le=1 << 20
    )
    features_encoder: str | None = _field(
        None, "the encoder's name; of several in a file, the one to take; null = what the files say"
    )
    membership_min_share: float = min_share_setting()
