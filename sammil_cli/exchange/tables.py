"""Tables of an older run -> ours: labels, splits, predictions. Read before any slide, written after the last."""

from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from sammil_cli import console
from sammil_cli.cohort.cohort import Cohort, Member, patients_of, read_labels
from sammil_cli.cohort.given_folds import without_shared_patients
from sammil_cli.errors import InputError
from sammil_cli.exchange.class_numbers import with_class_names
from sammil_cli.exchange.split_patients import plain, slides_of_patients
from sammil_cli.legacy.inventory import Inventory, Kind, take_inventory, zipped_tables
from sammil_cli.legacy.mat_bags import read_mat_bags
from sammil_cli.legacy.tables import Result, Split, read_results, read_splits
from sammil_cli.project.project import Project
from sammil_cli.storage.files import write_csv
from sammil_cli.training.fold import Fold, write_folds

PREDICTIONS = Path("runs/legacy_predictions.csv")
_SHOWN = 3


@dataclass(frozen=True, kw_only=True)
class OldTables:
    """What is to be written; None or empty = nothing."""

    labels: Cohort | None
    splits: list[Split]
    results: list[tuple[int, Result]]  # with the number of the split
    classes: tuple[str, ...] | None
    remarks: tuple[str, ...]

    @property
    def empty(self) -> bool:
        """Whether there is nothing to write."""
        return self.labels is None and not self.splits and not self.results


def read_tables(
    found: Inventory,
    project: Project,
    slides: set[str] | None,
    labels: Path | None,
    splits: Path | None,
    classes: str | None,
) -> OldTables:
    """Reads the tables that lie in an old run, or those that are named; what is ours already is kept.

    Args:
        slides: ids that are converted, None = no slides are.
        labels: a label table to take, though there is a data/labels.csv or several were found.
        splits: a folder or file of splits to take.
        classes: names of the classes of the results, separated by commas, in the order of their numbers.

    Raises:
        InputError: a table is wrong; the message names the place.
    """
    remarks: list[str] = []
    names = tuple(part.strip() for part in classes.split(",")) if classes else None
    if names and (len(set(names)) < len(names) or not all(names)):
        raise InputError(f"--classes {classes!r} names a class twice, or none", remedy="give different names")
    cohort = _labels(found, project, slides, labels, remarks)
    members = cohort.members if cohort else _own_members(project)
    patient_of = {member.slide_id: member.patient_id for member in members}
    chosen = _splits(found, project, slides, splits, patient_of, remarks)
    results = []
    for path in found.of(Kind.RESULTS):
        number = "".join(part for part in path.stem.split("_") if part.isdigit())
        results += [(int(number or 0), result) for result in read_results(path)]
    widths = {len(result.probability) for _, result in results}
    if len(widths) > 1 or (names and widths and widths != {len(names)}):
        raise InputError(
            f"the results in {found.root} are of {' and '.join(map(str, sorted(widths)))} classes",
            remedy="give as many names with --classes, or the folder of one run",
        )
    return OldTables(labels=cohort, splits=chosen, results=results, classes=names, remarks=tuple(remarks))


def _labels(
    found: Inventory, project: Project, slides: set[str] | None, given: Path | None, remarks: list[str]
) -> Cohort | None:
    tables = found.of(Kind.LABELS)
    if given is not None:
        _refuse_zip(given, "--labels")
        return _read(given, slides)
    if not tables and (bags := found.of(Kind.MAT_BAGS)):
        if not is_labelled(project):
            return _of_mat(bags[0])
        remarks.append(f"{project.labels} is kept as it is; move it away to take the labels of {bags[0].parent.name}")
        return None
    if not tables:
        for path in [] if is_labelled(project) else found.of(Kind.ZIPPED):
            remarks.append(f"{path.name} is a zip archive of tables; to take labels from it: {_unpacked(path)}")
        return None
    names = ", ".join(path.name for path in tables[:_SHOWN]) + (" …" if len(tables) > _SHOWN else "")
    if is_labelled(project):
        remarks.append(f"{project.labels} is kept as it is; labels found: {names} (to take one: --labels FILE)")
        return None
    if len(tables) > 1:
        remarks.append(f"{len(tables)} label tables found, none was taken: {names} (name one: --labels {tables[0]})")
        return None
    try:
        cohort = _read(tables[0], slides)
    except InputError as error:  # nobody asked for this table
        remarks.append(f"labels were found and passed over: {error.message}")
        return None
    if slides and not {member.slide_id for member in cohort.members} & slides:
        remarks.append(f"{tables[0].name} labels none of these slides and was passed over (to take it: --labels FILE)")
        return None
    return cohort


def _read(path: Path, slides: set[str] | None) -> Cohort:
    return _without_suffixes(with_class_names(read_labels(path, None, slides), path), slides or set())


def _without_suffixes(cohort: Cohort, slides: set[str]) -> Cohort:
    """The cohort with its ids as the slides have them, where the table has kept the suffix of the slides' files."""
    ends = {one.slide_id.removeprefix(plain(one.slide_id, slides)) for one in cohort.members} - {""}
    if not ends:
        return cohort
    members = []
    for one in cohort.members:
        name = next((one.slide_id.removesuffix(end) for end in ends if one.slide_id.endswith(end)), one.slide_id)
        alone = one.patient_id == one.slide_id
        members.append(replace(one, slide_id=name, patient_id=name if alone else one.patient_id))
    same = len({one.slide_id for one in members}) < len(members)
    return cohort if same else replace(cohort, members=tuple(members))


def _of_mat(path: Path) -> Cohort:
    """The labels of a classical data set, each bag a patient of its own."""
    label_of = read_mat_bags(path).labels
    classes = ("negative", "positive")
    members = tuple(
        Member(slide_id=name, label=classes.index(label), patient_id=name) for name, label in label_of.items()
    )
    return Cohort(classes=classes, members=members, patients=patients_of(members))


def _splits(
    found: Inventory,
    project: Project,
    slides: set[str] | None,
    given: Path | None,
    patient_of: dict[str, str],
    remarks: list[str],
) -> list[Split]:
    if given is not None:
        _refuse_zip(given, "--splits")
        paths = take_inventory(given).of(Kind.SPLITS)
        if not paths:
            raise InputError(f"{given} holds no splits of CLAM", remedy="give the folder of splits_0.csv, …")
        return slides_of_patients(read_splits(paths), slides or set(), patient_of, remarks)
    folders = list(found.folders(Kind.SPLITS))
    if not folders:
        return []
    if project.splits.exists():
        remarks.append(f"{project.splits} is kept as it is; splits found in {folders[0]} (to take them: --splits DIR)")
        return []
    if len(folders) > 1:
        remarks.append(f"splits lie in {len(folders)} folders, none was taken (name one: --splits {folders[0]})")
        return []
    chosen = slides_of_patients(read_splits(found.of(Kind.SPLITS)), slides or set(), patient_of, remarks)
    named = {plain(slide, slides or set()) for split in chosen for ids in split.parts.values() for slide in ids}
    if slides and not named & slides:
        remarks.append(
            f"the splits in {folders[0]} name none of these slides and were passed over (--splits DIR takes them)"
        )
        return []
    return chosen


def write_tables(tables: OldTables, project: Project, slides: set[str]) -> None:
    """Writes what was read, and says what does not fit the slides.

    Args:
        slides: ids with a bag or a grid.
    """
    for note in tables.remarks:
        console.say(note)
    members = tables.labels.members if tables.labels else _own_members(project)
    patient = {member.slide_id: member.patient_id for member in members}
    write_labels(tables, project, slides)
    if tables.splits:
        folds = [
            Fold(
                repeat=0,
                fold=number,
                **{name: tuple(plain(s, slides) for s in ids) for name, ids in split.parts.items()},
            )
            for number, split in enumerate(tables.splits)
        ]
        named = sorted({slide for fold in folds for slide in (*fold.train, *fold.val, *fold.test)})
        label = {member.slide_id: member.label for member in members} if tables.labels else {}
        cohort = Cohort(
            classes=tables.labels.classes if tables.labels and label.keys() >= set(named) else (),
            members=tuple(Member(slide_id=s, label=label.get(s, 0), patient_id=patient.get(s, s)) for s in named),
            patients=(),
        )
        write_folds(project.splits, folds, cohort)
        doubts = _doubts(folds, set(named), patient, slides)
        console.say(f"splits: {len(folds)}, of {len(named)} slides in all → {project.splits}{doubts}")
    if tables.results:
        _write_results(tables, patient)


def write_labels(tables: OldTables, project: Project, slides: set[str]) -> None:
    """Writes data/labels.csv, if there are labels to write, with the splits in columns; arguments as `write_tables`."""
    if tables.labels is None:
        return
    members, classes = tables.labels.members, tables.labels.classes
    given, columns = _given(tables.splits, members, slides)
    sites = ["site"] if any(m.site for m in members) else []
    header = ("slide_id", "label", "patient_id", *sites, *columns)
    nowhere = [""] * len(columns)
    rows = [
        (
            *(m.slide_id, classes[m.label], m.patient_id),
            *([m.site or ""] if sites else []),
            *(part or "" for part in given.get(m.slide_id, nowhere)),
        )
        for m in members
    ]
    write_csv(project.labels, header, rows)
    console.say(f"labels: {len(rows)} slides → {project.labels}" + (" with their folds" if columns else ""))


def _refuse_zip(path: Path, option: str) -> None:
    if path.is_file() and (names := zipped_tables(path)):
        raise InputError(
            f"{path} is a zip archive that holds {', '.join(names[:_SHOWN])}", remedy=_unpacked(path, option)
        )


def _unpacked(path: Path, option: str = "--labels") -> str:
    table = path.stem if path.stem.endswith(".csv") else f"{path.stem}.csv"
    return f"unzip -p {path} > {table}, then {option} {table}"


def is_labelled(project: Project) -> bool:
    """Whether the project has labels of its own; the header alone, which `sammil init` writes, has none."""
    try:
        with project.labels.open(encoding="utf-8", errors="replace") as stream:
            return any(line.strip() for line in islice(stream, 1, None))
    except FileNotFoundError:
        return False


def _own_members(project: Project) -> tuple[Member, ...]:
    try:
        return read_labels(project.labels).members if is_labelled(project) else ()
    except InputError:  # the user's own labels are none of this command's business
        return ()


def _given(
    splits: list[Split], members: tuple[Member, ...], slides: set[str]
) -> tuple[dict[str, list[str | None]], list[str]]:
    """Slide -> its part in each split, and the columns that hold them: `split`, or `fold_0`, `fold_1`, … of several
    splits and of one that leaves slides out.

    Each patient is kept in one part of a split: slides are left out of train and val where their patient is tested, and
    of train where it validates.
    """
    patient = {member.slide_id: member.patient_id for member in members}
    parts: dict[str, list[str | None]] = {slide: [None] * len(splits) for slide in patient}
    for number, split in enumerate(splits):
        for role, named in split.parts.items():
            for slide in (plain(one, slides) for one in named):
                if slide in parts:
                    parts[slide][number] = role
    if any(taken := without_shared_patients(parts, patient.__getitem__)):
        console.say(
            f"{sum(taken)} slides were left out of the train or val part of a split that has their patient elsewhere "
            f"({min(taken)} to {max(taken)} in each of {len(splits)} splits)"
        )
    if len(splits) == 1 and all(given[0] for given in parts.values()):
        return parts, ["split"]
    return parts, [f"fold_{number}" for number in range(len(splits))]


def _doubts(folds: list[Fold], named: set[str], patient: dict[str, str], slides: set[str]) -> str:
    """What a reader of these splits should know."""
    text = ""
    if lacking := named - slides if slides else set():
        text += f"; {len(lacking)} of these slides are not here, such as {min(lacking)}"
    shared = 0
    for fold in folds:
        learned = {patient.get(slide, slide) for slide in (*fold.train, *fold.val)}
        shared += len(learned & {patient.get(slide, slide) for slide in fold.test})
    if shared:
        text += f"; in {shared} case(s) a patient of the test part is in train or val, too: results are too good"
    return text + "; sammil train replaces them, by the folds that data/labels.csv gives or by its own"


def _write_results(tables: OldTables, patient: dict[str, str]) -> None:
    count = len(tables.results[0][1].probability)
    classes = tables.classes or tuple(f"class_{number}" for number in range(count))
    header = ("slide_id", "patient_id", "repeat", "fold", "role", "label", "predicted")
    rows = [
        (
            result.slide_id,
            patient.get(result.slide_id, result.slide_id),
            0,
            fold,
            "test",
            classes[result.label],
            classes[int(result.probability.argmax())],
            *(f"{p:.6f}" for p in result.probability),
            "paper",
        )
        for fold, result in tables.results
    ]
    write_csv(PREDICTIONS, (*header, *(f"probability_{name}" for name in classes), "protocol"), rows)
    right = sum(result.label == result.probability.argmax() for _, result in tables.results)
    console.say(f"predictions: {len(rows)} of the old run, {right} right → {PREDICTIONS}")
