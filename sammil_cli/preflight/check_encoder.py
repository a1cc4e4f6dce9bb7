"""Whether the patches of the settings suit their encoder: what can be seen before any slide is opened."""

from collections.abc import Iterator

from sammil_cli import choices
from sammil_cli.cohort.finding import Finding
from sammil_cli.config import ExtractSettings, Settings
from sammil_cli.errors import InputError
from sammil_cli.features.own_patches import OwnPatches
from sammil_cli.jobs.encoder_settings import check_pooling, patches_remark


def check_encoder(settings: Settings) -> Iterator[Finding]:
    """A pooling that the encoder does not have; patches at another resolution than it was trained at.

    With `patch_mpp: null` the resolution is that of each slide: `extract` then remarks it.
    """
    own: OwnPatches | None = getattr(choices.load(choices.ENCODERS, settings.encoder), "PATCHES", None)
    encoding = settings.stage(ExtractSettings)
    try:
        check_pooling(encoding)
        if own is None or settings.patch_mpp is None:
            return
        remark = patches_remark(encoding, px=settings.patch_px, mpp=settings.patch_mpp)
    except InputError as error:
        yield Finding(file="params.yaml", kind="settings", message=error.message, fix=error.remedy)
        return
    kind, _, message = remark.partition(": ")
    if message:
        fix = f"set patch_px: {own.px} and patch_mpp: {own.mpp:g}; or leave it so, if you mean it"
        yield Finding(file="params.yaml", kind=kind, severity="warning", message=message, fix=fix)
