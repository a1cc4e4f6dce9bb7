"""A project folder: where everything lies, and how a run is asked for."""

import csv
from dataclasses import dataclass, field, replace
from pathlib import Path

from sammil_cli.errors import InputError
from sammil_cli.storage.files import read_csv
from sammil_cli.storage.nearest_ids import did_you_mean


@dataclass(frozen=True, kw_only=True)
class Project:
    """The paths of a project; the defaults are those of dvc.yaml, each has an option on the command line.

    `ungrouped`: bags that were made elsewhere (`--features`); where it is named, `sam` finds regions for them, and
    `extract` groups their patches by these, in place of encoding patches of slides.
    """

    slides: Path = Path("data/slides")
    slides_table: Path = Path("data/slides.csv")
    features: Path = Path("data/features")
    tiles: Path = Path("data/tiles")
    labels: Path = Path("data/labels.csv")
    lesions: Path = Path("data/lesions")
    edits: Path = Path("data/edits")
    rois: Path = Path("data/rois")
    annotations: Path = Path("data/annotations")
    tissue: Path = Path("artifacts/tissue")
    patches: Path = Path("artifacts/patches")
    patch_images: Path = Path("artifacts/patch_images")
    regions: Path = Path("artifacts/regions")
    bags: Path = Path("artifacts/bags")
    ungrouped: Path | None = None
    fields: Path = Path("artifacts/wsi_sam")
    code: Path = Path("artifacts/code")
    process_lists: Path = Path("artifacts/process_lists")
    models: Path = Path("runs/models")
    splits: Path = Path("runs/splits.csv")
    learning_curves: Path = Path("runs/learning_curves")
    record: Path = Path("runs/record.json")
    wsi_sam: Path = Path("runs/wsi_sam")
    predictions: Path = Path("runs/predictions.csv")
    new_predictions: Path = Path("runs/new_predictions")
    metrics: Path = Path("report/metrics.json")
    curves: Path = Path("report/curves")
    page: Path = Path("report/index.html")
    pictures: Path = Path("report/slides")
    evidence: Path = Path("report/evidence")
    prompted: Path = Path("report/prompted")

    @classmethod
    def at(cls, folder: Path) -> "Project":
        """The project in a folder."""
        return cls(**{name: folder / path for name, path in vars(cls()).items() if path})

    def run_in(self, folder: str | Path) -> "Project":
        """The same bags and labels with a run of its own: what train and evaluate write lies in `folder`."""
        run, report = Path(folder), Path(folder) / "report"
        return replace(
            self,
            models=run / "models",
            splits=run / "splits.csv",
            learning_curves=run / "learning_curves",
            record=run / "record.json",
            predictions=run / "predictions.csv",
            metrics=report / "metrics.json",
            curves=report / "curves",
            page=report / "index.html",
            pictures=report / "slides",
            evidence=report / "evidence",
        )

    @property
    def patient_predictions(self) -> Path:
        """Beside those of the slides: `runs/predictions_patients.csv`."""
        return self.predictions.with_name(f"{self.predictions.stem}_patients.csv")


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """How to run: on which device, with how many processes, on which slides (None = all), where.

    `executor` is a file of `runner/executors/`; `scheduler` (an address) and `cluster` (a kind) are for dask. `place`
    says where a proposer or encoder runs, and why there; it is printed when the work begins. `store`: where finished
    results are kept and looked for (None = where those of the project in the working directory are).
    """

    device: str = "cpu"
    workers: int = 1
    only: frozenset[str] | None = None
    download: bool = False
    executor: str = "local"
    scheduler: str | None = None
    cluster: str | None = None
    place: str = field(default="", compare=False)
    store: Path | None = None


def read_only(text: str | None) -> frozenset[str] | None:
    """`--only`: slide ids separated by commas, or a CSV file with a column slide_id, such as a process list.

    An id that holds a comma stands in double quotes.

    From a process list only the slides that could not be done are taken.
    """
    if not text:
        return None
    path = Path(text)
    if path.suffix != ".csv":
        parts = next(csv.reader([text], skipinitialspace=True))
        return frozenset(part.strip() for part in parts if part.strip())
    rows = read_csv(path, ("slide_id",))
    chosen = [row["slide_id"] for row in rows if row.get("status", "failed") in ("failed", "set-aside")]
    if not chosen:
        raise InputError(f"{path} names no slide that is left to do", remedy="give slide ids, separated by commas")
    return frozenset(chosen)


def check_only(only: frozenset[str] | None, known: set[str], where: str) -> None:
    """Refuses ids that are not there.

    Raises:
        InputError: with the first unknown id.
    """
    if unknown := sorted((only or frozenset()) - known):
        hint = did_you_mean(unknown[0], known)
        raise InputError(f"--only names the slide {unknown[0]!r}, which is not in {where}", remedy=hint)
