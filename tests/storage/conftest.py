from pathlib import Path

import pytest


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that SAMMIL_WEIGHTS names, empty; the cache is elsewhere and not there."""
    folder = tmp_path / "weights"
    folder.mkdir()
    monkeypatch.setenv("SAMMIL_WEIGHTS", str(folder))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return folder
