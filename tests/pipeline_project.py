"""A user's project under Git and DVC, worked on through the real commands in processes of their own."""

import csv
import hashlib
import json
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import yaml

SETTINGS = {
    "patch_px": 128,
    "patch_mpp": 1.0,
    "tissue_min_area_um2": 5000.0,
    "sam_canvas_px": 320,
    "superpixel_area_px": 2500,
}
OUTS = {"segment": "tissue", "patch": "patches", "sam": "regions", "extract": "bags"}
# One thread each: tests measure nothing, and machines that run them are small.
_ENVIRONMENT = {
    **os.environ,
    "DVC_GLOBAL_CONFIG_DIR": "/no-such-folder",  # whoever runs these tests may have a cache directory of their own
    "DVC_SYSTEM_CONFIG_DIR": "/no-such-folder",
    "DVC_NO_ANALYTICS": "true",
    "OMP_NUM_THREADS": "1",
    "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
}


@dataclass(frozen=True)
class StudyFolder:
    """The folder of a project; its slides lie beside it, behind a link that Git keeps."""

    root: Path

    @property
    def slides(self) -> Path:
        return self.root.parent / "cohort" / "slides"

    def start(self, *words: object) -> "subprocess.Popen[str]":
        """Starts a command in the project, in a process group of its own."""
        return subprocess.Popen(
            [str(word) for word in words],
            cwd=self.root,
            env=_ENVIRONMENT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def call(self, *words: object) -> str:
        """What a command says, which must end well."""
        process = self.start(*words)
        said, _ = process.communicate(timeout=200)
        assert process.returncode == 0, said
        return said

    def commit(self) -> None:
        self.call("git", "add", "--all")
        self.call("git", "commit", "--quiet", "--allow-empty", "--message", "state")

    def change(self, **settings: object) -> None:
        path = self.root / "params.yaml"
        path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **settings}))

    def tally(self, stage: str) -> dict[str, int]:
        """Status -> number of slides, by the last process list of a stage."""
        with (self.root / f"artifacts/process_lists/{stage}.csv").open(newline="") as stream:
            return dict(Counter(row["status"] for row in csv.DictReader(stream)))

    def slides_of(self, stage: str) -> set[str]:
        return {path.stem for path in (self.root / "artifacts" / OUTS[stage]).iterdir()}

    def content(self, *stages: str) -> dict[str, str]:
        """Path -> sha256 of all files of stages."""
        return {
            path.relative_to(self.root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
            for stage in stages or OUTS
            for path in (self.root / "artifacts" / OUTS[stage]).rglob("*")
        }

    def check_cache(self) -> int:
        """Compares each file of DVC's cache with the check sum that is its name; returns how many there are."""
        files = [path for path in (self.root / ".dvc/cache/files/md5").rglob("*") if path.is_file()]
        for path in files:
            name = (path.parent.name + path.name).removesuffix(".dir")
            assert hashlib.md5(path.read_bytes()).hexdigest() == name, path
        return len(files)


Make = Callable[[], StudyFolder]


def counts(said: str) -> dict[str, str]:
    """Stage -> what the last run of it counted, such as `1 done, 3 reused`; stages that DVC did not run are missing."""
    return dict(re.findall(r"^(\w+): ((?:\d+ (?:done|reused|set-aside|failed)(?:, )?)+) →", said, re.MULTILINE))


def rows(process: "subprocess.Popen[str]") -> dict[str, str]:
    """Slide -> status, as a command with --json said."""
    said, _ = process.communicate(timeout=200)
    assert process.returncode == 0, said
    return {row["slide_id"]: row["status"] for row in json.loads(said.splitlines()[-1])["slides"]}
