"""Models open wherever they lie: one fold, a folder of folds, what train wrote, a project."""

from pathlib import Path

import pytest

from sammil_cli.bundles.models import open_models
from sammil_cli.errors import InputError


def test_a_run_a_project_and_one_fold_open_alike(done: Path) -> None:
    runs = done / "runs"
    whole = open_models(done, "cpu")
    assert [folder.name for folder in whole.folders] == [
        path.name for path in sorted((runs / "models").glob("repeat*"))
    ]
    assert len(whole.folds) == len(whole.folders) > 1
    for source in (runs, runs / "models"):
        assert open_models(source, "cpu").folders == [runs / "models" / folder.name for folder in whole.folders]
    assert [folder.name for folder in open_models(runs / "models" / whole.folders[0].name, "cpu").folders] == [
        whole.folders[0].name
    ]


def test_the_settings_come_from_the_run_record(done: Path) -> None:
    settings = open_models(done, "cpu").settings
    assert settings is not None
    assert settings.encoder == "texture"
    (done / "runs/record.json").unlink()
    assert open_models(done, "cpu").settings is None


def test_a_folder_without_models_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no trained model"):
        open_models(tmp_path, "cpu")
