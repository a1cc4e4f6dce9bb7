"""The files that make up one slide: most are one file; MIRAX, DICOM and Hamamatsu VMS are many."""

from pathlib import Path

from sammil_cli.slides.dicom import series_of

_LISTS = (".vms", ".vmu")  # text files whose values name the files that belong to them
_LONGEST_LIST = 1 << 20


def other_files(path: Path) -> list[Path]:
    """The files besides `path` that hold the slide, in order of their names."""
    suffix = path.suffix.lower()
    if suffix == ".mrxs":
        folder = path.with_suffix("")
        return sorted(file for file in folder.rglob("*") if file.is_file()) if folder.is_dir() else []
    if suffix == ".dcm":
        return sorted({file for files in series_of(path.parent) if path in files for file in files} - {path})
    if suffix in _LISTS:
        try:
            with path.open("rb") as stream:
                lines = stream.read(_LONGEST_LIST).decode("utf-8", "replace").splitlines()
        except OSError:  # told when the slide is opened
            return []
        named = {line.partition("=")[2].strip() for line in lines}
        return sorted(path.parent / name for name in named if _is_plain(name) and (path.parent / name).is_file())
    return []


def _is_plain(name: str) -> bool:
    return bool(name) and Path(name).name == name
