"""The sums of what `sammil evaluate` wrote: `report/curves/sums.json`, in a folder that DVC keeps as one.

metrics.json and the predictions are read again by `sammil reproduce`, and by other programs, so they hold no sum. The
sums are put into place before the files that they are of: where a kill came in between, they do not match.
"""

from pathlib import Path

from sammil_cli.project.project import Project
from sammil_cli.storage.files import sha256_file
from sammil_cli.storage.summed import check_sha256, damaged, read_summed, write_summed

_FILE = "sums.json"
_METRICS, _PREDICTIONS = "metrics_sha256", "predictions_sha256"
_PATIENTS = "patient_predictions_sha256"  # not in results of earlier versions
_AGAIN = "run: sammil evaluate"


def sums_of(project: Project) -> Path:
    """Where the sums lie."""
    return project.curves / _FILE


def write_result_sums(path: Path, metrics: Path, predictions: Path, patients: Path | None = None) -> None:
    """Writes the sums of metrics and predictions, which may still have temporary names.

    Args:
        patients: the predictions of patients; None = there are only those of slides.
    """
    files = {_METRICS: metrics, _PREDICTIONS: predictions} | ({_PATIENTS: patients} if patients else {})
    write_summed(path, {name: sha256_file(file) for name, file in files.items()})


def read_result_sums(project: Project) -> dict[Path, str]:
    """The sha256 of metrics and predictions; empty without the file of sums, as in results of earlier versions.

    Raises:
        InputError: `E_DAMAGED`, the sums themselves are not as they were written.
    """
    path = sums_of(project)
    try:
        sums = read_summed(path, _AGAIN)
    except FileNotFoundError:
        return {}
    found = {}
    for file, name in ((project.metrics, _METRICS), (project.predictions, _PREDICTIONS)):
        if name not in sums:
            raise damaged(path, f"{name} is missing", _AGAIN)
        found[file] = str(sums[name])
    if _PATIENTS in sums:
        found[project.patient_predictions] = str(sums[_PATIENTS])
    return found


def check_results(project: Project) -> None:
    """Refuses metrics and predictions that are not as they were written.

    Raises:
        InputError: `E_DAMAGED`, one of them is missing or another one.
    """
    for file, sha256 in read_result_sums(project).items():
        check_sha256(file, sha256, sums_of(project), _AGAIN)
