"""What the shell completes after the tab key, asked for as bash and zsh do."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sammil_cli import choices
from sammil_cli.config import Settings

Sammil = Callable[..., Any]
Complete = Callable[[str], list[str]]
# Completes a setting and says which heavy modules were loaded for it.
HEAVY = """
import sys
from sammil_cli.cli.app import main
sys.argv = ["sammil"]
try:
    main()
except SystemExit:
    print({name for name in ("torch", "numpy", "cv2", "rich", "sammil_cli.config") if name in sys.modules})
"""


@pytest.fixture
def project(project: Path) -> Path:
    """With slides, made and to be made, labels and a trained fold."""
    for name in (
        "data/slides/a_3.svs",
        "data/slides/notes.txt",
        "artifacts/tissue/a_1.geojson",
        "artifacts/bags/a_2.h5",
    ):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()
    Path("data/labels.csv").write_text("slide_id,label,site\na_4,x,p\nodd name,x,p\n", encoding="utf-8")
    Path("runs/models/repeat_0_fold_1").mkdir(parents=True)
    return project


@pytest.fixture
def bash(sammil: Sammil, monkeypatch: pytest.MonkeyPatch) -> Complete:
    """What bash is answered; it breaks words at `=`, and knows that `|` is no part of the line."""

    def complete(line: str) -> list[str]:
        words = line.replace("=", " = ").split(" ") if not line.endswith("=") else [*line[:-1].split(" "), "="]
        monkeypatch.setenv("_SAMMIL_COMPLETE", "complete_bash")
        monkeypatch.setenv("COMP_WORDS", "\n".join(words))
        monkeypatch.setenv("COMP_CWORD", str(len(words) - 1))
        answer = sammil()
        assert (answer.code, answer.err) == (0, "")
        return list(answer.out.split())

    return complete


def test_commands_and_options_are_completed(bash: Complete, project: Path) -> None:
    assert bash("sammil trai") == ["train"]
    assert bash("sammil figure les") == ["lesion-size"]
    assert bash("sammil train --wor") == ["--workers"]


def test_settings_are_completed_up_to_their_equals_sign(bash: Complete, project: Path) -> None:
    assert set(bash("sammil train -S ")) == {f"{key}=" for key in Settings.model_fields}
    assert bash("sammil train -S mask_r") == ["mask_ratio=", "mask_ratio_function="]


def test_a_single_setting_comes_with_its_values(bash: Complete, project: Path) -> None:
    assert bash("sammil train -S mask_s") == [
        f"mask_strategy={word}" for word in ("none", "random", "non-group", "sam-guided")
    ]
    assert bash("sammil train -S sigmoid_s") == ["sigmoid_slope=0.0005", "sigmoid_slope="]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("sammil train -S model=", choices.names(choices.MODELS)),
        ("sammil train -S model=clam", ["clam-mb", "clam-sb"]),
        ("sammil train -S folds=3 -S model=clam", ["clam-mb", "clam-sb"]),
        ("sammil extract -S encoder=uni", ["uni", "uni2_h"]),
        ("sammil sam -S proposer=super", ["superpixels"]),
        ("sammil segment -S segmenter=", choices.names(choices.SEGMENTERS)),
        ("sammil train -S decision=s", ["sensitivity", "specificity"]),
        ("sammil train -S group_feature_flag=", ["true", "false"]),
        ("sammil train -S nonsense=", []),
    ],
)
def test_values_of_a_setting_are_completed(bash: Complete, project: Path, line: str, words: list[str]) -> None:
    assert bash(line) == words


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("sammil why a_", ["a_1", "a_2", "a_3", "a_4"]),
        ("sammil segment --only a_1,a_", ["a_1,a_2", "a_1,a_3", "a_1,a_4"]),
        ("sammil figure regions a_1 a_2", ["a_2"]),
        ("sammil segment --executor ", ["dask", "local"]),
        ("sammil extract --cluster s", ["sge", "slurm"]),
        ("sammil init --preset cam", ["camelyon16"]),
        ("sammil init new --encoder virchow", ["virchow", "virchow2"]),
        ("sammil init new --regions f", ["features"]),
        ("sammil bundle . --fold ", ["repeat_0_fold_1"]),
        ("sammil benchmark --models abmil,cl", ["abmil,clam-mb", "abmil,clam-sb"]),
        ("sammil ablate --tables 2,reg", ["2,regions"]),
        ("sammil ablate --tables p", ["protocol"]),
        ("sammil ablate --controls p", ["placebo"]),
        ("sammil export --to c", ["clam"]),
        ("sammil weights fetch vit_", ["vit_h", "vit_l", "vit_b", "vit_t"]),
        ("sammil predict --patient-rule m", ["mean", "max"]),
        ("sammil train --device c", ["cpu", "cuda"]),
        ("sammil evaluate --on data/labels.csv --by s", ["slide_id", "site"]),
        ("sammil figure sweep mask_rat", ["mask_ratio", "mask_ratio_function"]),
        ("sammil train --zzz --wor", ["--workers"]),  # what is wrong is said when the line is run
    ],
)
def test_options_and_arguments_are_completed(bash: Complete, project: Path, line: str, words: list[str]) -> None:
    assert bash(line) == words


def test_zsh_gets_the_whole_word_with_what_is_said_of_it(
    sammil: Sammil, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("_SAMMIL_COMPLETE", "complete_zsh")
    monkeypatch.setenv("_TYPER_COMPLETE_ARGS", "sammil train -S model=clam")
    assert '"model=clam-mb"\n"model=clam-sb"' in sammil().out
    monkeypatch.setenv("_TYPER_COMPLETE_ARGS", "sammil train -S mask_r")
    assert '"mask_ratio=":"target share of masked instances (eq. 8)"' in sammil().out


def test_the_plugins_of_a_project_are_completed_and_a_broken_one_completes_nothing(
    bash: Complete, project: Path
) -> None:
    Path("plugins").mkdir()
    Path("plugins/my_model.py").write_text("class Model: ...\n", encoding="utf-8")
    assert bash("sammil train -S model=my") == ["my-model"]
    Path("plugins/my_model.py").write_text("class (", encoding="utf-8")
    assert bash("sammil train -S model=my") == []


def test_nothing_heavy_is_loaded(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_SAMMIL_COMPLETE", "complete_bash")
    for line in ("sammil\ntrain\n-S\nmodel\n=\n", "sammil\nwhy\n"):
        monkeypatch.setenv("COMP_WORDS", line)
        monkeypatch.setenv("COMP_CWORD", str(line.count("\n")))
        answer = subprocess.run([sys.executable, "-c", HEAVY], capture_output=True, text=True, check=True, timeout=60)
        assert answer.stdout.splitlines()[-1] == "set()"
        assert len(answer.stdout.splitlines()) > 3
