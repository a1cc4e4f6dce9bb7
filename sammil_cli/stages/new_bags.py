"""From raw slides to bags that are made as those that trained models learned from: segment, patch, sam, extract."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path

from sammil_cli import choices, console
from sammil_cli.backends.backend import INSTALL, is_installed
from sammil_cli.bundles.models import Models
from sammil_cli.config import ExtractSettings, SamSettings, Settings, load_settings
from sammil_cli.errors import InputError, MissingError
from sammil_cli.project.process_list import Row, summarise
from sammil_cli.project.project import Project, RunOptions, check_only
from sammil_cli.runner.how_to_run import Workers, how_a_choice_runs, how_to_run
from sammil_cli.stages.by_name import run_stage
from sammil_cli.stages.given_slides import GivenSlides, link
from sammil_cli.storage.weights import WantedWeights

_BACKENDS = ("sam_backend", "encode_backend")
STAGES = ("segment", "patch", "sam", "extract")


def settings_for(models: Models, params: Path | None) -> Settings:
    """How bags for these models are made: as the file says, where one is given, else as the models' own bags were.

    Where the backend of their training is not installed, torch takes its place: it computes the same but for rounding.

    Raises:
        InputError: there is no file, and the models do not know either.
    """
    if params is not None:
        return load_settings(params)
    if models.settings is None:
        raise InputError(
            f"{models.source} does not say how its bags were made, so no bag can be made for it",
            remedy="give the settings of its training: --params params.yaml; or bags that were made with them: "
            "--bags DIR",
        )
    lacking = [key for key in _BACKENDS if not is_installed(getattr(models.settings, key))]
    for key in lacking:
        word = getattr(models.settings, key)
        console.note(f"{key}: torch, as {word} of the training is not installed ({INSTALL}); the same but for rounding")
    return models.settings.model_copy(update=dict.fromkeys(lacking, "torch"))


def how_bags_are_made(
    settings: Settings,
    device: str,
    workers: int | Workers | None = None,
    only: Collection[str] | None = None,
    *,
    download: bool = False,
) -> dict[str, RunOptions]:
    """How each of the four stages runs that make bags with these settings.

    Raises:
        InputError, MissingError: see `how_a_choice_runs`; among them that weights are not here.
    """
    proposer = choices.load(choices.PROPOSERS, settings.proposer)
    encoder = choices.load(choices.ENCODERS, settings.encoder)
    own, encoding = settings.stage(SamSettings), settings.stage(ExtractSettings)
    return {
        "segment": how_to_run("cpu", workers, only),
        "patch": how_to_run("cpu", workers, only),
        "sam": how_a_choice_runs(proposer, own, device, workers, only, download=download),
        "extract": how_a_choice_runs(encoder, encoding, device, workers, only, download=download),
    }


def check_weights(models: Models, settings: Settings) -> None:
    """Refuses weights of the proposer or encoder that are not those behind the bags that the models learned from.

    Raises:
        MissingError: they are others, or not here.
    """
    facts = models.folds[0].facts
    made_with = facts.trained_on.made_with if facts.trained_on else {}
    regions = made_with.get("sam", {}).get("weights")
    for kind, word, then in (
        (choices.PROPOSERS, settings.proposer, regions),
        (choices.ENCODERS, settings.encoder, facts.encoder.weights_sha256),
    ):
        module = choices.load(kind, word)
        if then is None or not hasattr(module, "wanted_weights"):
            continue
        wanted: WantedWeights = module.wanted_weights(settings.model_dump())
        # A published file is verified when it is read; gigabytes are not read twice.
        now = wanted.sha256 if wanted.to_fetch and not wanted.beside else wanted.identify()
        if now != then:
            raise MissingError(
                f"the weights of {word} are others than those that the models' bags were made with: sha256 {now}, "
                f"then {then}",
                remedy=f"give the settings with the right file as {wanted.key}: --params params.yaml",
            )


def project_in(out: Path, given: GivenSlides) -> Project:
    """A project whose places all lie in `out`, but for the user's table of slides."""
    work = out / "work"
    return Project(
        slides=work / "slides",
        slides_table=given.table or work / "slides.csv",
        labels=work / "labels.csv",
        lesions=work / "lesions",
        edits=work / "edits",
        rois=work / "rois",
        annotations=work / "annotations",
        tissue=work / "tissue",
        patches=work / "patches",
        regions=work / "regions",
        bags=work / "bags",
        process_lists=out / "process_lists",
        pictures=out / "slides",
        evidence=out / "evidence",
    )


def make_bags(
    project: Project, given: GivenSlides, settings: Settings, options: Mapping[str, RunOptions]
) -> dict[str, Row]:
    """Makes the bag of every slide that is given; what is made already is not made again.

    Args:
        options: how each of the four stages runs; `only` restricts all of them.

    Returns:
        By slide id: the row of the first stage that did not do the slide, or one with the remarks of all stages.
    """
    rows = {row.slide_id: row for row in (*given.refused, *link(given, project.slides))}
    only = options[STAGES[0]].only
    check_only(only, {*given.paths, *rows}, "the slides that are given")
    left = frozenset(given.paths if only is None else only).difference(rows)
    for stage in STAGES:
        if not left:
            break
        how = replace(options[stage], only=None if only is None else left)
        with console.hushed():  # quality tables are for cohorts; the rows carry the flags of each slide
            found = [_advised(row, given) for row in run_stage(stage, project, settings, how)]
        for row in found:
            before = rows.get(row.slide_id, row)
            rows[row.slide_id] = replace(row, remarks=tuple(dict.fromkeys((*before.remarks, *row.remarks))))
        summarise(stage, found, getattr(project, _OUT[stage]), project.process_lists / f"{stage}.csv")
        left = frozenset(row.slide_id for row in found if row.done)
    return rows


_OUT = {"segment": "tissue", "patch": "patches", "sam": "regions", "extract": "bags"}


def _advised(row: Row, given: GivenSlides) -> Row:
    """A row whose remedy fits slides that belong to no project."""
    if row.code != "E_MPP":
        return row
    where = f"give {given.table} a column mpp, and there" if given.table else "give a table (slide_id,path,mpp) with"
    return replace(row, remedy=f"{where} the µm per pixel of level 0 of {row.slide_id}")
