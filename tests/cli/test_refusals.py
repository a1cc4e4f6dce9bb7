"""What is wrong before any slide is touched: one message, one fix, one exit code."""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

Sammil = Callable[..., Any]

VERBS = ["segment", "patch", "sam", "extract", "train", "evaluate", "visualize", "demo"]
CALL = "import sys; sys.argv = ['sammil', *sys.argv[1:]]; from sammil_cli.cli.app import main; main()"
# Calls every verb with a wrong setting and says with which code it ended, and whether torch was imported for it.
WRONG_SETTING = f"""
import sys
from sammil_cli.cli.app import main
for verb in {VERBS}:
    sys.argv = ["sammil", verb, "-S", "folts=3"]
    try:
        main()
    except SystemExit as end:
        print(verb, end.code, "torch" in sys.modules)
"""


def process(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


@pytest.mark.parametrize("verb", VERBS)
def test_an_unknown_key_is_refused_with_the_nearest_one(sammil: Sammil, project: Path, verb: str) -> None:
    answer = sammil(verb, "-S", "folts=3")
    assert (answer.code, answer.out) == (2, "")
    assert answer.err == "error: params.yaml: unknown key 'folts'\n  fix: did you mean folds?\n"


def test_a_wrong_setting_is_refused_before_torch_is_imported(project: Path) -> None:
    answer = process(WRONG_SETTING)
    assert answer.stdout.splitlines() == [f"{verb} 2 False" for verb in VERBS]


@pytest.mark.alone
def test_a_wrong_setting_is_refused_within_half_a_second(project: Path) -> None:
    seconds = []
    for _ in range(25):  # the best of them: more tries where a busy machine needs them, never more time
        start = time.perf_counter()
        answer = process(CALL, "segment", "-S", "tissue_mpp=coarse")
        seconds.append(time.perf_counter() - start)
        assert answer.returncode == 2
        assert answer.stderr.startswith("error: params.yaml: tissue_mpp: 'coarse'")
        assert "Traceback" not in answer.stderr
        if min(seconds) < 0.5:
            break
    assert min(seconds) < 0.5, seconds


@pytest.mark.parametrize("verb", VERBS)
def test_a_missing_params_yaml_is_refused(
    sammil: Sammil, project: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, verb: str
) -> None:
    monkeypatch.chdir(tmp_path)
    answer = sammil(verb)
    assert answer.code == 2
    assert "params.yaml does not exist" in answer.err
    assert "sammil init" in answer.err
    assert not (tmp_path / "artifacts").exists()


def test_an_unknown_option_is_a_usage_error(sammil: Sammil, project: Path) -> None:
    answer = sammil("segment", "--colour", "red")
    assert answer.code == 2
    assert "--colour" in answer.err


def test_an_unknown_verb_is_a_usage_error(sammil: Sammil, project: Path) -> None:
    answer = sammil("segmnt")
    assert answer.code == 2
    assert "segmnt" in answer.err


@pytest.mark.parametrize("workers", ["0", "-1", "many"])
def test_workers_are_a_positive_number(sammil: Sammil, project: Path, workers: str) -> None:
    answer = sammil("segment", "--workers", workers)
    assert answer.code == 2
    assert "--workers" in answer.err


@pytest.mark.parametrize("device", ["gpu", "cuda:", "cuda:x", "CUDA", "mps:0", "cuda0"])
def test_an_unknown_device_is_refused(sammil: Sammil, project: Path, device: str) -> None:
    answer = sammil("extract", "--device", device)
    assert answer.code == 2
    assert f"--device {device!r} is unknown" in answer.err
    assert "auto, cpu, cuda, cuda:1 or mps" in answer.err


@pytest.mark.parametrize("device", ["cuda:97", "cuda"])
def test_a_device_that_is_not_there_is_missing(
    sammil: Sammil, project: Path, monkeypatch: pytest.MonkeyPatch, device: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    answer = sammil("train", "--device", device)
    assert answer.code == 3
    assert f"--device {device}: torch sees 0 GPU(s)" in answer.err
    assert "--device cpu" in answer.err


def test_a_missing_slide_folder_is_refused(sammil: Sammil, project: Path) -> None:
    answer = sammil("segment", "--slides", "scans")
    assert answer.code == 2
    assert "slide folder scans does not exist" in answer.err
    assert "--slides DIR" in answer.err


def test_a_slide_folder_without_slides_is_refused(sammil: Sammil, project: Path) -> None:
    (project / "scans").mkdir()
    (project / "scans" / "remarks.txt").write_text("no slide")
    answer = sammil("segment", "--slides", "scans")
    assert answer.code == 2
    assert "no slides in scans" in answer.err


def test_only_with_an_unknown_slide_is_refused(sammil: Sammil, project: Path) -> None:
    (project / "scans").mkdir()
    (project / "scans" / "a.tif").write_bytes(b"")
    answer = sammil("segment", "--slides", "scans", "--only", "a,c,b")
    assert answer.code == 2
    assert "--only names the slide 'b', which is not in scans" in answer.err
    assert not (project / "artifacts").exists()


@pytest.mark.parametrize(
    ("verb", "words", "needed"),
    [
        ("patch", [], "sammil segment"),
        ("sam", ["-S", "proposer=superpixels", "--device", "cpu"], "sammil segment"),
        ("extract", ["-S", "encoder=texture", "--device", "cpu"], "sammil patch"),
        ("train", ["--device", "cpu"], "sammil extract"),
    ],
)
def test_a_stage_without_its_input_names_the_stage_before(
    sammil: Sammil, project: Path, verb: str, words: list[str], needed: str
) -> None:
    answer = sammil(verb, *words)
    assert answer.code == 2
    assert f"fix: run: {needed}" in answer.err


@pytest.mark.parametrize("verb", ["evaluate", "visualize"])
def test_judging_without_a_trained_model_names_train(sammil: Sammil, project: Path, verb: str) -> None:
    answer = sammil(verb)
    assert answer.code == 2
    assert "runs/splits.csv does not exist" in answer.err
    assert "sammil train" in answer.err


@pytest.mark.parametrize(
    ("verb", "words", "file"),
    [
        ("sam", ["-S", "proposer=sam"], "sam_vit_h_4b8939.pth"),
        ("sam", ["-S", "sam_model=vit_b"], "sam_vit_b_01ec64.pth"),
        ("extract", ["-S", "encoder=resnet50"], "resnet50-0676ba61.pth"),
    ],
)
def test_missing_weights_are_named_with_every_way_to_get_them(
    sammil: Sammil, project: Path, tmp_path: Path, verb: str, words: list[str], file: str
) -> None:
    answer = sammil(verb, *words, "--device", "cpu")
    assert answer.code == 3
    assert f"the weights {file} are not here" in answer.err
    assert str(tmp_path / "weights" / file) in answer.err
    assert str(tmp_path / "cache") in answer.err
    for part in ("--download", "https://", "licence", "SAMMIL_WEIGHTS"):
        assert part in answer.err
    assert not (project / "artifacts").exists()


def test_weights_that_are_not_the_published_ones_are_refused(sammil: Sammil, project: Path, tmp_path: Path) -> None:
    (tmp_path / "weights" / "sam_vit_h_4b8939.pth").write_bytes(b"something else")
    answer = sammil("sam", "--device", "cpu")
    assert answer.code == 3
    assert "is not the published file: sha256" in answer.err


@pytest.mark.parametrize("verb", ["segment", "patch", "sam", "extract", "visualize"])
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--executor", "slurm"), "unknown executor 'slurm'\n  fix: one of: dask, local\n"),
        (("--executor", "dask"), "--executor dask needs one of --scheduler and --cluster\n"),
        (
            ("--executor", "dask", "--cluster", "slrum"),
            "--cluster 'slrum' is unknown\n  fix: did you mean slurm? one of: htcondor, ",
        ),
    ],
)
def test_an_unknown_executor_is_refused_before_anything_is_looked_for(
    sammil: Sammil, project: Path, verb: str, words: tuple[str, ...], message: str
) -> None:
    answer = sammil(verb, *words)  # there is nothing here to work on, nor weights
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.startswith(f"error: {message}")


@pytest.mark.parametrize(
    ("verb", "setting", "message"),
    [
        ("segment", "segmenter=otzu", "unknown segmenter 'otzu'"),
        ("sam", "proposer=superpixel", "unknown proposer 'superpixel'"),
        ("extract", "encoder=resnet", "unknown encoder 'resnet'"),
    ],
)
def test_an_unknown_choice_is_refused_with_the_known_ones(
    sammil: Sammil, project: Path, verb: str, setting: str, message: str
) -> None:
    (project / "data" / "slides").mkdir(parents=True)
    (project / "data" / "slides" / "a.tif").write_bytes(b"")
    answer = sammil(verb, "-S", setting)
    assert answer.code == 2
    assert message in answer.err
    assert "did you mean" in answer.err
    assert "one of: " in answer.err


def test_a_wrong_choice_is_refused_by_every_command_before_anything_is_looked_at(sammil: Sammil, project: Path) -> None:
    for verb in ("segment", "extract", "train", "evaluate", "ablate"):  # whatever else is wrong: nothing is there
        answer = (
            sammil(verb, "-S", "model=abmill", "--device", "cpu")
            if verb == "train"
            else sammil(verb, "-S", "model=abmill")
        )
        assert answer.code == 2
        assert answer.err.startswith("error: params.yaml: model: unknown model 'abmill'")
        assert "did you mean abmil?" in answer.err
    for verb in ("train", "ablate"):
        answer = sammil(verb, "-S", "model_options={gate: 1}", "--device", "cpu")
        assert answer.err.startswith("error: model_options.gate of sam-mil")
