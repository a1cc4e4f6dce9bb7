"""sammil init --from-features, --from-tiles: a project of what is in hand, or features that come into a project."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sammil_cli import choices, console
from sammil_cli.config import ConvertSettings, load_settings
from sammil_cli.errors import InputError
from sammil_cli.exchange.convert_legacy import slides_of, together
from sammil_cli.exchange.convert_plans import Held, held_in, refuse_twice
from sammil_cli.exchange.tables import OldTables, is_labelled, read_tables, write_labels
from sammil_cli.jobs.convert_legacy import Request
from sammil_cli.legacy.inventory import Inventory, Kind
from sammil_cli.patches.tile_folders import find_tiles
from sammil_cli.project import init
from sammil_cli.project.in_hand import FEATURES, TILES, InHand, features_in, in_hand_of, names_in
from sammil_cli.project.presets import preset
from sammil_cli.project.project import Project
from sammil_cli.regions.propose import PIXELS, seen_by
from sammil_cli.stages.tiles import named
from sammil_cli.storage.files import check_name, write_text

_WITHOUT_REGIONS = "abmil"  # what is trained where nothing says which patches belong together


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What the user asks for: folders of features, or of `tiles`; a label table, splits, a proposer of regions.

    `encoder`: of tiles; None = the preset's.
    """

    sources: Sequence[Path]
    tiles: bool = False
    labels: Path | None = None
    splits: Path | None = None
    regions: str | None = None
    encoder: str | None = None


@dataclass(frozen=True, kw_only=True)
class _Look:
    """What was seen of the sources.

    `slides`: ids. `places`: whether all say where patches are, `some_places`: whether any does. `grouped`: whether they
    have regions of their own. `said`: lines for the user.
    """

    found: Inventory
    slides: frozenset[str]
    places: bool
    some_places: bool
    grouped: bool
    said: Sequence[str]


def run(folder: Path, preset_name: str, asked: Asked, *, update: bool, dvc: bool) -> None:
    """Links the folders into data/features or data/tiles, and writes a project that trains on them; labels come along.

    Everything is looked at before anything is written. With `update` the folders come into a project that is there:
    into one of features beside the others, into one of slides beside these.

    Raises:
        InputError: there is nothing to convert or encode in a folder, a slide lies in two of them, the labels are
            wrong, names of tiles can be read in two ways, or as `init.check_new`.
    """
    init.check_new(folder, preset_name, update=update)
    if update:
        _bring(folder, asked)
        return
    sources = _absolute(asked.sources)
    place = folder / (TILES if asked.tiles else FEATURES)
    links = _links(sources, names_in(place))
    look = _look_at_tiles(sources) if asked.tiles else _look(sources, with_segments=asked.regions is None)
    project = _project_in(folder)
    tables = _tables(look, asked, project)
    in_hand = InHand(
        folders=tuple(sorted(links)),
        tiles=asked.tiles,
        regions=asked.regions is not None,
        pixels=asked.regions is not None and seen_by(choices.load(choices.PROPOSERS, asked.regions)) == PIXELS,
        places=look.some_places,
    )
    changed = _settings(look, asked, preset_name)
    _link(place, links)
    stages = init.run_of_features(folder, preset_name, in_hand, changed, dvc=dvc)
    _tell(look, tables, project, place, links)
    _say_next(folder, preset_name, stages, changed, in_hand, dvc=dvc, labelled=is_labelled(project))


def _bring(folder: Path, asked: Asked) -> None:
    """Brings features into a project that is there; as `run` with `update`."""
    if asked.tiles:
        raise InputError(
            f"{folder} is a project already, and tiles come into new ones",
            remedy=f"into one of tiles: ln -s {asked.sources[0]} {folder / TILES}; sammil init {folder} --update",
        )
    if asked.regions is not None:
        raise InputError(
            f"{folder} is a project already, and regions are asked for", remedy="start a new one with --regions"
        )
    params = folder / "params.yaml"
    sources, there = _absolute(asked.sources), in_hand_of(folder / "dvc.yaml")
    links, kept = _links(sources, features_in(folder)), features_in(folder)
    project, own = _project_in(folder), load_settings(params).stage(ConvertSettings)
    segments = not own.features_without_segments and not (there and there.regions)
    look = _look([*(project.features / name for name in kept), *sources], with_segments=segments)
    tables = _tables(look, asked, project)
    in_hand = there or InHand(folders=(), beside=slides_of(project) is not None)
    places = look.some_places or in_hand.beside
    in_hand = replace(in_hand, folders=tuple(sorted({*in_hand.folders, *links})), places=places)
    _link(project.features, links)
    init.ignore(folder)
    init.renew(folder, in_hand, add=True)
    lacks = {"coords": not look.places, "segments": bool(there and there.regions)}
    for name in (f"features_without_{what}" for what, lacking in lacks.items() if lacking):
        if not getattr(own, name):
            text = params.read_text(encoding="utf-8")
            write_text(params, re.sub(rf"(?m)^{name}: *[^ #\n]+", f"{name}: true", text))
            console.say(f"{params}: {name}: true, since some of these features have none")
    _tell(look, tables, project, project.features, links)


def _absolute(sources: Sequence[Path]) -> list[Path]:
    return [source.resolve() if ".." in source.parts else source.absolute() for source in sources]


def _project_in(folder: Path) -> Project:
    here = Project()
    paths = {name: folder / getattr(here, name) for name in ("features", "slides", "labels", "splits")}
    return Project(**paths)


def _links(sources: Sequence[Path], taken: Sequence[str]) -> dict[str, Path]:
    """A name for each folder: its own, with its parent's before it where another one has that name.

    Raises:
        InputError: a folder is given twice, or its name cannot be used.
    """
    if twice := [source for source in sources if sources.count(source) > 1]:
        raise InputError(f"{twice[0]} is given twice", remedy="name each folder once")
    links: dict[str, Path] = {}
    for source in sources:
        alone = [one.name for one in sources].count(source.name) == 1 and source.name not in taken
        name = source.name if alone else f"{source.parent.name}_{source.name}"
        if not name.strip("_.") or name in links or name in taken:
            raise InputError(
                f"{source} and another folder would both be called {name} in the project",
                remedy="rename one of them, or give the folder that holds both",
            )
        check_name(name, source)
        links[name] = source
    return links


def _look(sources: Sequence[Path], *, with_segments: bool) -> _Look:
    """Looks into all sources.

    Raises:
        InputError: a source holds nothing to convert, or several things that could be meant; a slide lies in two.
    """
    request = Request(with_segments=with_segments)
    found, places, slides, said = [], [], [], []
    for source in sources:
        inventory, held = held_in(source, request)
        if held is None:
            raise InputError(
                f"there are no features in {source}; it holds\n{inventory.listing()}",
                remedy="give a folder with features of CLAM, TRIDENT, STAMP, DTFD or SAM-MIL, or .npy or .csv files",
            )
        places.append(held.has_places)
        where, lines = _slides(replace(held, request=replace(request, with_coords=places[-1])))
        found.append(inventory)
        slides.append(where)
        said += lines
    refuse_twice(slides)
    held_all = together(found)
    return _Look(
        found=held_all,
        slides=frozenset().union(*slides),
        places=all(places),
        some_places=any(places),
        grouped=bool(held_all.of(Kind.SEGMENTS, Kind.SAM_INFO)),
        said=said,
    )


def _look_at_tiles(sources: Sequence[Path]) -> _Look:
    """Looks at the names of tiles in all sources.

    Raises:
        InputError: a source holds no tiles, a slide lies in two, or names can be read in two ways.
    """
    found = [find_tiles(source) for source in sources]
    each = list(zip(sources, found, strict=True))
    refuse_twice({**one.folders, **dict.fromkeys(one.refused, source)} for source, one in each)
    naming = named(found, None)
    said = [f"{source}: {one.inventory()}" for source, one in each]
    said += [f"{slide}: {error.code} {error.message}" for one in found for slide, error in one.refused.items()]
    placed = naming.form is not None
    return _Look(
        found=Inventory(Path(), {}),
        slides=frozenset(slide for one in found for slide in one.ids),
        places=placed,
        some_places=placed,
        grouped=False,
        said=[*said, naming.said],
    )


def _slides(held: Held) -> tuple[dict[str, Path], list[str]]:
    """Where the slides lie, and lines that say what was found; see `Held.slides`.

    Raises:
        InputError: as there; where it is for want of segments alone, the fix is one of `sammil init`.
    """
    try:
        return held.slides()
    except InputError as error:
        if not held.request.with_segments:
            raise
        replace(held, request=replace(held.request, with_segments=False)).slides()  # else that is the trouble
        fix = "put the run's folder segments/ beside its features, or have regions found anew: --regions features"
        raise InputError(error.message, remedy=fix) from None


def _tables(look: _Look, asked: Asked, project: Project) -> OldTables:
    """The labels, with their folds where splits are given or found.

    Raises:
        InputError: a table is wrong; or splits are given, and no labels that could hold them.
    """
    tables = read_tables(look.found, project, set(look.slides), asked.labels, asked.splits, None)
    if tables.labels is not None:
        named = {member.slide_id for member in tables.labels.members}
        if not named & look.slides:
            raise InputError(
                f"the labels name none of the {len(look.slides)} slides, such as {min(look.slides)}; they name "
                f"{min(named, default='nothing')}",
                remedy="slide_id is the name of the slide's folder of tiles"
                if asked.tiles
                else "slide_id is the feature file's name without its suffix",
            )
    elif asked.splits is not None:
        raise InputError(
            "splits are kept in the columns of data/labels.csv, and there are no labels to put them beside",
            remedy="give both: --labels FILE --splits FOLDER",
        )
    return tables


def _settings(look: _Look, asked: Asked, preset_name: str) -> dict[str, object]:
    """What params.yaml says otherwise than the preset."""
    changed: dict[str, object] = {}
    if asked.tiles and asked.regions is not None and not look.places:
        raise InputError(
            f"regions need to know where tiles lie; {look.said[-1]}", remedy="leave --regions out, and train abmil"
        )
    if asked.encoder is not None:
        choices.check(choices.ENCODERS, asked.encoder)
        changed["encoder"] = asked.encoder
    if not look.places and not asked.tiles:
        changed["features_without_coords"] = True
    if asked.regions is not None:
        choices.check(choices.PROPOSERS, asked.regions)
        changed |= {"proposer": asked.regions} | ({} if asked.tiles else {"features_without_segments": True})
    elif not look.grouped and preset(preset_name).get("model", "sam-mil") == "sam-mil":
        changed["model"] = _WITHOUT_REGIONS
    return changed


def _link(place: Path, links: Mapping[str, Path]) -> None:
    place.mkdir(parents=True, exist_ok=True)
    for name, source in links.items():
        (place / name).symlink_to(source)


def _tell(look: _Look, tables: OldTables, project: Project, place: Path, links: Mapping[str, Path]) -> None:
    """Writes the labels, and says what is there."""
    for line in look.said:
        console.say(line)
    for name, source in links.items():
        console.say(f"{place / name} → {source}")
    for note in tables.remarks:
        console.say(note)
    write_labels(tables, project, set(look.slides))


def _say_next(
    folder: Path,
    preset_name: str,
    stages: Sequence[str],
    changed: Mapping[str, object],
    in_hand: InHand,
    *,
    dvc: bool,
    labelled: bool,
) -> None:
    if changed.get("model") == _WITHOUT_REGIONS:
        console.say(
            f"model: {_WITHOUT_REGIONS}, since these {in_hand.kind} have no regions; for sam-mil: --regions features"
        )
    if not in_hand.places:
        console.say("no coordinates: there will be no pictures, all else works")
    steps = [] if labelled else [f"fill {folder / 'data/labels.csv'}: {init.LABELS.strip()}"]
    if in_hand.pixels:
        steps.append(f"link the slides, which {changed['proposer']} reads: ln -s /archive/slides {folder}/data/slides")
    if in_hand.tiles:
        steps.append(f"say in {folder / 'params.yaml'} what a pixel of the tiles is: tiles_mpp, µm")
    steps += [f"cd {folder} && sammil check", "dvc repro" if dvc else "sammil " + ", ".join(stages)]
    console.say(f"{folder} is ready, preset {preset_name}. Next:")
    console.say(*(f"  {number}. {step}" for number, step in enumerate(steps, 1)))
