"""Real slides from pixels to bags, by the journey's script in Python."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent / "journeys" / "from_python.py"
SAID = {  # a line begins so
    "CMU-1-Small-Region.svs": r"CMU-1-Small-Region; 0\.499 µm; \(\d+, 74\); \(\d+, 74\)$",
    "kidney-48-5.tif": r"kidney-48-5; E_MPP; the file does not say its resolution \(mpp\); add to data/slides\.csv",
    "broken.svs": r"broken; E_OPEN; .*; copy or download the file itself$",
}


def test_real_slides_become_bags_or_say_why_not(slides: Path, tmp_path: Path) -> None:
    for name in SAID:
        if not (slides / name).is_file():
            pytest.skip(f"{slides / name} is missing")
        (tmp_path / name).symlink_to((slides / name).resolve())
    done = subprocess.run([sys.executable, SCRIPT, tmp_path], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert len(lines) == len(SAID)
    assert [pattern for pattern in SAID.values() if not any(re.match(pattern, line) for line in lines)] == []
