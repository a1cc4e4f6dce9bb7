"""DVC: there, set up, its pipeline that of the installed sammil, nobody else at work."""

import configparser
import os
import shutil
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from sammil_cli.doctor.causes import in_container, install, one_line
from sammil_cli.doctor.finding import Asked, Finding, note, ok, wrong
from sammil_cli.doctor.git import GROUP
from sammil_cli.errors import InputError
from sammil_cli.project.in_hand import in_hand_of
from sammil_cli.project.pipeline import has_wsi_sam, render_dvc
from sammil_cli.project.site_cache import is_private, site_cache, stranger_in
from sammil_cli.storage.claims import host_id, is_dead
from sammil_cli.storage.guarded_json import read_json
from sammil_cli.storage.guarded_yaml import parse_yaml, read_yaml
from sammil_cli.storage.store import dvc_configs

_PIPELINE = "dvc.yaml"
_OWN_CACHE = (
    'mkdir -p -m 700 "$HOME/.cache/dvc-site" && dvc config --global core.site_cache_dir "$HOME/.cache/dvc-site"'
)


def project(asked: Asked) -> Iterator[Finding]:
    """DVC, its project, its remote and its locks."""
    try:
        number = version("dvc")
    except PackageNotFoundError:
        yield wrong(GROUP, "DVC", "is not installed", install("dvc"))
        return
    beside_python = Path(sys.executable).parent
    program = shutil.which("dvc") or shutil.which("dvc", os.F_OK, str(beside_python))
    where = f"{number}, {program}" if program else number
    if program is None:
        remedy = f'export PATH="{beside_python}:$PATH"'
        yield note(GROUP, "DVC", f"{number} is installed, but the command dvc is not found", remedy, version=number)
    if not asked.in_project:
        if program:
            yield ok(GROUP, "DVC", where, version=number, path=program)
        return
    here = Path.cwd()
    root = next((folder for folder in (here, *here.parents) if (folder / ".dvc").is_dir()), None)
    if root is None:
        remedy = "git init && dvc init"
        yield note(GROUP, "DVC", f"{where}; not set up here: sammil works, dvc repro does not", remedy, version=number)
        return
    if program:
        yield ok(GROUP, "DVC", where, version=number, path=program, root=str(root))
    yield _remote(root / ".dvc")
    yield from _locks(root / ".dvc" / "tmp")


def _remote(dvc: Path) -> Finding:
    """Where results can be pushed to."""
    config = configparser.ConfigParser(interpolation=None, strict=False)
    try:
        config.read(dvc_configs(dvc), encoding="utf-8")
    except (configparser.Error, UnicodeDecodeError) as error:
        return wrong(GROUP, "DVC settings", f"cannot be read: {one_line(error)}", f"mend {dvc / 'config'}")
    remotes = [name.strip("'").removeprefix("remote").strip(' "') for name in config.sections() if "remote " in name]
    if not remotes:
        remedy = "dvc remote add --default NAME FOLDER-OR-URL && dvc push"
        return note(GROUP, "DVC remote", "none: results lie on this disk only, and nobody else can pull them", remedy)
    default = config.get("core", "remote", fallback=None)
    if default is None:
        found = f"{', '.join(remotes)}; none is the default"
        return note(GROUP, "DVC remote", found, f"dvc remote default {remotes[0]}")
    return ok(GROUP, "DVC remote", ", ".join(remotes), default=default)


def cache_of_pickles(asked: Asked) -> Iterator[Finding]:
    """Whether others can write where DVC reads pickles: it makes that folder open to everybody, in /var/tmp."""
    here = Path.cwd()
    root = next((folder for folder in (here, *here.parents) if (folder / ".dvc").is_dir()), None)
    if not asked.in_project or root is None:
        return
    folder = site_cache(root / ".dvc")
    if is_private(folder):
        yield ok(GROUP, "DVC site cache", f"{folder}, yours alone", path=str(folder))
    elif in_container() and (stranger := stranger_in(folder)):
        yield wrong(GROUP, "DVC site cache", f"{stranger}: dvc does not start", f"rm -r {folder}", path=str(folder))
    else:
        found = f"{folder}: others on this machine may write there, and DVC runs what it holds"
        yield note(GROUP, "DVC site cache", found, _OWN_CACHE, path=str(folder))


def _locks(folder: Path) -> Iterator[Finding]:
    """Who is at work in the project by DVC's own notes."""
    path = folder / "rwlock"
    try:
        held = read_json(path)
        holders = [*held.get("write", {}).values(), *(one for some in held.get("read", {}).values() for one in some)]
        pids = {int(one["pid"]): str(one["cmd"]) for one in holders}
    except OSError:
        return
    except (InputError, ValueError, KeyError, TypeError, AttributeError):
        yield wrong(GROUP, "DVC lock", f"{path} is damaged; DVC refuses to work", f"rm {path}")
        return
    for pid, command in pids.items():
        if not is_dead(f"{host_id()}-{pid}"):  # what others left, DVC itself clears away
            found = f"{command} (process {pid}) is at work here; other dvc commands wait or refuse"
            yield note(GROUP, "DVC lock", found)


def pipeline(asked: Asked) -> Iterator[Finding]:
    """Whether dvc.yaml is that of the installed sammil."""
    if not asked.in_project or not Path(_PIPELINE).exists():
        if asked.in_project:
            yield note(GROUP, _PIPELINE, "is not here; sammil works, dvc repro does not", "sammil init . --update")
        return
    try:
        stages = _table(Path(_PIPELINE))["stages"]
        demo = any(str(dep).startswith("sammil_cli/") for entry in stages.values() for dep in entry.get("deps", ()))
        in_hand = in_hand_of(Path(_PIPELINE))
        text = render_dvc(demo=demo, wsi_sam=has_wsi_sam(stages), in_hand=in_hand)
        wanted = parse_yaml(text, _PIPELINE)["stages"]
        other = [name for name in wanted if stages.get(name) != wanted[name]]
    except (OSError, InputError, KeyError, TypeError, AttributeError) as error:
        yield wrong(GROUP, _PIPELINE, f"cannot be read: {one_line(error)}", "sammil init . --update")
        return
    remedy = "make project-files" if demo else "sammil init . --update && git diff    # then: dvc repro"
    if other:
        found = f"differs from the installed sammil's in {', '.join(other)}: yours, or an older version's"
        yield note(GROUP, _PIPELINE, found, remedy, stages=other)
    else:
        yield ok(GROUP, _PIPELINE, f"{len(wanted)} stages, those of the installed sammil")


def _table(path: Path) -> dict[str, Any]:
    loaded = read_yaml(path)
    if not isinstance(loaded, dict):
        raise TypeError(f"{path} is no table")
    return loaded
