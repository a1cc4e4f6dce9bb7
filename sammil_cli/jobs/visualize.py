"""visualize, one slide: its picture and its table of patches, by one trained model or by several together."""

from dataclasses import dataclass
from pathlib import Path

from sammil_cli.config import VisualizeSettings
from sammil_cli.storage.files import Record
from sammil_cli.storage.paths import BagPath, DrawingPath, ModelPath, PatchesPath, RegionsPath, SlidePath


@dataclass(frozen=True, kw_only=True)
class SlideFiles:
    """What a picture of a slide shows besides what the models say."""

    slide: SlidePath
    patches: PatchesPath
    regions: RegionsPath


@dataclass(frozen=True, kw_only=True)
class VisualizeJob:
    """`trained`: the models that judge, together. `seen`: whether any was trained or chosen on it; None = not known.

    `truth`: the slide's label, None without one. `files`: None where the slide is not here: then the patches' map is
    drawn. `lesions`: known ones, to be outlined.
    """

    bag: BagPath
    trained: tuple[ModelPath, ...]
    seen: bool | None
    truth: str | None
    files: SlideFiles | None
    lesions: DrawingPath | None
    settings: VisualizeSettings


def work(folder: Path, record: Record, job: VisualizeJob) -> list[str]:
    """Draws one slide into `folder`, and writes what each patch says: level-0 corner, attention, evidence by class.

    With `evidence_ome_tiff` the evidence comes as `<slide>.ome.tif`, too.

    Evidence and probability are of the positive class; of more than two classes, of the one that the slide is called.

    Raises:
        SlideError: `E_EDIT`, the file of lesions cannot be read; `E_BAG`, there is neither slide nor place of a patch;
            or what `features.bag_check` finds in the bag.
    """
    del record  # a picture carries its model in the heading
    from sammil_cli.jobs.slide_picture import draw_slide  # here: torch, which planning does without

    return draw_slide(folder, job)
