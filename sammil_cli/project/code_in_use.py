"""The code that results depend on, with the choices that are in use: for a slide's key, and in files for DVC.

A slide's result depends on its job (`sammil_cli.jobs`) and what that imports; a stage's outs, all together, on the
stage's module (`sammil_cli.stages`), too, which says what is done with which slide. Choices count where they are used:
a segmenter, proposer, encoder or model that the settings name, and the formats that may read the slides.
"""

from collections.abc import Collection
from pathlib import Path

from sammil_cli import choices
from sammil_cli.backends.backend import modules_of
from sammil_cli.choices import Kind, module_name
from sammil_cli.config import STAGES, Settings
from sammil_cli.errors import InputError
from sammil_cli.project.experiment_copy import bring_slides
from sammil_cli.project.leftovers import tidy
from sammil_cli.project.project import Project
from sammil_cli.slides.files import find_slides, formats_of
from sammil_cli.slides.table import read_slides_table
from sammil_cli.storage.code import Code, code_of
from sammil_cli.storage.files import write_text
from sammil_cli.tissue.spec import second_method

# The kinds of choices that a stage's results depend on.
KINDS: dict[str, tuple[Kind, ...]] = {
    "segment": (choices.SEGMENTERS, choices.FORMATS),
    "patch": (),
    "sam": (choices.PROPOSERS, choices.FORMATS),
    "extract": (choices.ENCODERS, choices.FORMATS),
    "train": (choices.MODELS,),
    "evaluate": (choices.MODELS,),
    "visualize": (choices.MODELS, choices.FORMATS),
    "explain": (choices.MODELS,),
    "convert-legacy": (choices.FORMATS,),
    "bag-regions": (choices.PROPOSERS, choices.FORMATS),  # sam, on bags
    "tiles": (choices.ENCODERS,),
    "patch-images": (choices.FORMATS,),  # of patch, where it is asked for them
    "regroup": (),  # extract, on bags
    "wsi-sam-train": (choices.FORMATS,),
}
# The settings that name what runs a network.
_BACKENDS = {"sam": "sam_backend", "extract": "encode_backend", "tiles": "encode_backend"}
_OWN_ROOM = {  # of a stage that is not in `stages`
    "convert-legacy": "sammil_cli.exchange.convert_legacy",
    "wsi-sam-train": "sammil_cli.prompting.train",
}


def code_of_slide(stage: str, slide: Path | None = None, word: str | None = None, backend: str = "torch") -> Code:
    """The code of one slide's (or fold's) result.

    Args:
        slide: its file, where the stage reads it. word: what was chosen of the stage's first kind.
        backend: what runs its network.
    """
    modules = [f"sammil_cli.jobs.{stage.replace('-', '_')}", *(_chosen(KINDS[stage][0], word) if word else ())]
    return code_of(*modules, *modules_of(backend), *(formats_of(slide) if slide else ()))


def code_of_stage(stage: str, project: Project, settings: Settings) -> Code:
    """The code of all outs of a stage, of a project as it is now."""
    modules = [_OWN_ROOM.get(stage, f"sammil_cli.stages.{stage}")]
    for kind in KINDS[stage]:
        if kind is choices.FORMATS:
            modules += sorted({module for path in _slides(project) for module in formats_of(path)})
        elif kind.setting:
            modules += _chosen(kind, getattr(settings, kind.setting))
    if stage in _BACKENDS:
        modules += modules_of(getattr(settings, _BACKENDS[stage]))
    if stage == "segment":
        entries = read_slides_table(project.slides_table, ("segmenter",)).values()
        words = {entry.overrides["segmenter"] for entry in entries if entry.overrides}
        modules += [module for word in sorted(words) for module in _chosen(choices.SEGMENTERS, word)]
    return code_of(*dict.fromkeys(modules))


def write_code_files(project: Project, settings: Settings, also: Collection[str] = ()) -> list[Path]:
    """Writes a file for each stage, `artifacts/code/<stage>.txt`, that changes when its outs may: for DVC.

    One line for each module, with the digest of what it means; with `strict_versions`, for each library, too. Which
    formats may read the slides is seen by looking at them, so in DVC's copy of a project they are brought first.

    Args:
        also: stages that the project has asked for.

    Raises:
        InputError: a choice does not exist, or slides.csv cannot be read.
    """
    bring_slides(project.slides)
    tidy(project)
    written = []
    for stage in [*(stage for stage in STAGES if stage in KINDS), *also]:
        code = code_of_stage(stage, project, settings)
        lines = [f"{digest}  {module}" for module, digest in code.files.items()]
        if settings.strict_versions:
            lines += [f"{number}  {library}" for library, number in code.libraries.items()]
        written.append(project.code / f"{stage}.txt")
        write_text(written[-1], "".join(f"{line}\n" for line in lines))
    return written


def _chosen(kind: Kind, word: str) -> list[str]:
    """The modules of a choice; a segmenter's mask is compared with a second one's."""
    words = [word, second_method(word)] if kind is choices.SEGMENTERS else [word]
    return [module_name(kind, one) for one in words]


def _slides(project: Project) -> list[Path]:
    try:
        return list(find_slides(project.slides).paths.values())
    except InputError:  # none are here: features may have come without
        return []
