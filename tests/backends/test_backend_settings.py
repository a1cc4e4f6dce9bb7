"""encode_backend and sam_backend in commands: where they run, what is refused, what a result says of them."""

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from sammil_cli import choices
from sammil_cli.backends import backend
from sammil_cli.config import ExtractSettings, SamSettings, Settings
from sammil_cli.doctor import settings as doctor
from sammil_cli.doctor.finding import Asked
from sammil_cli.errors import InputError, MissingError
from sammil_cli.features.making import EXTRACT
from sammil_cli.jobs.extract import build_encoder
from sammil_cli.project.code_in_use import code_of_slide
from sammil_cli.regions.proposers import sam
from sammil_cli.runner import machine
from sammil_cli.runner.how_to_run import how_a_choice_runs, where_it_can
from sammil_cli.stages import new_bags

Sammil = Callable[..., Any]
ENCODER = ("-S", "encoder=torchvision", "-S", "encoder_backbone=resnet18")
INSTALL = "pip install 'sammil-cli[openvino]'"
OURS = "sammil_cli.backends.openvino_network"
installed = pytest.mark.skipif(find_spec("openvino") is None, reason="the extra openvino is not installed")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with settings, as working directory."""
    (tmp_path / "params.yaml").write_text("seed: 3\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "params.yaml"


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine on which OpenVINO is not installed."""
    monkeypatch.setattr(backend, "find_spec", lambda name: None)


@pytest.fixture
def with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend, "find_spec", lambda name: object())


@pytest.fixture
def a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_may_have_gpu", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)


def test_what_is_not_installed_is_missed_with_the_command_that_installs_it(
    sammil: Sammil, project: Path, without: None
) -> None:
    for words in (
        ("extract", *ENCODER, "-S", "encode_backend=openvino"),
        ("sam", "-S", "proposer=sam", "-S", "sam_checkpoint=mine.pth", "-S", "sam_backend=openvino"),
    ):
        answer = sammil(*words)
        assert answer.code == 3, answer.err
        assert "OpenVINO is not installed" in answer.err
        assert f"fix: {INSTALL}; or set " in answer.err


def test_a_gpu_is_refused_and_the_processor_is_taken(sammil: Sammil, project: Path, with_it: None, a_gpu: None) -> None:
    answer = sammil("extract", *ENCODER, "-S", "encode_backend=openvino", "--device", "cuda")
    assert answer.code == 2
    assert "encode_backend openvino computes on the CPU only, and --device is cuda" in answer.err
    assert "fix: set encode_backend: torch, or run with --device cpu" in answer.err
    encoder = choices.load(choices.ENCODERS, "torchvision")
    how = how_a_choice_runs(encoder, ExtractSettings(encode_backend="openvino"), "auto", 1)
    assert (how.device, how.place) == ("cpu", "on the CPU, by OpenVINO")
    assert how_a_choice_runs(encoder, ExtractSettings(), "auto", 1).device == "cuda"


def test_among_others_on_a_gpu_it_runs_where_it_can(a_gpu: None) -> None:
    for word in ("sam", "superpixels"):
        proposer = choices.load(choices.PROPOSERS, word)
        assert where_it_can(proposer, SamSettings(sam_backend="openvino"), "cuda") == "cpu"
    assert where_it_can(choices.load(choices.PROPOSERS, "sam"), SamSettings(), "cuda") == "cuda"


def test_sam_is_refused_what_does_not_go_together(with_it: None) -> None:
    settings = SamSettings(sam_backend="openvino").model_dump()
    with pytest.raises(InputError, match="sam_backend openvino computes on the CPU only, and --device is cuda:1"):
        sam.check(settings, "cuda:1")
    with pytest.raises(InputError, match="sam_compile is for torch, and sam_backend is openvino") as refused:
        sam.check(settings | {"sam_compile": True}, "cpu")
    assert refused.value.remedy == "set sam_compile: false"


def test_an_encoder_without_a_network_knows_no_backend() -> None:
    with pytest.raises(InputError, match="encoder texture runs no network of torch that openvino could run") as refused:
        build_encoder(ExtractSettings(encoder="texture", encode_backend="openvino"), "cpu")
    assert refused.value.remedy == "set encode_backend: torch"


@installed
def test_a_result_depends_on_the_backend_where_it_is_used() -> None:
    plain, other = (code_of_slide("extract", None, "resnet50", word) for word in ("torch", "openvino"))
    assert set(other.files) - set(plain.files) >= {OURS, "sammil_cli.backends.openvino_library"}
    assert "openvino" not in plain.libraries
    assert other.libraries["openvino"] != "absent"
    assert "encode_backend" in EXTRACT
    assert "sam_backend" in set(sam.SETTINGS) - set(sam.LOCAL)


class Trained:
    """A trained model's settings."""

    settings = Settings(sam_backend="openvino", encode_backend="openvino")


def test_models_of_a_machine_with_it_judge_slides_on_one_without(
    without: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    models: Any = Trained()
    found = new_bags.settings_for(models, None)
    assert (found.sam_backend, found.encode_backend) == ("torch", "torch")
    assert f"encode_backend: torch, as openvino of the training is not installed ({INSTALL})" in capsys.readouterr().err
    monkeypatch.setattr(backend, "find_spec", lambda name: object())
    assert new_bags.settings_for(models, None) == Trained.settings


def test_the_doctor_misses_it(project: Path, without: None) -> None:
    given = ("encode_backend=openvino", "proposer=sam", "sam_backend=openvino")
    found = {finding.name: finding for finding in doctor.device(Asked(params=project, assignments=given))}
    assert {name: finding.state for name, finding in found.items()} == {"encoder": "wrong", "SAM": "wrong"}
    assert all(INSTALL in finding.remedy for finding in found.values())


def test_a_missing_library_has_the_exit_code_of_missing_things(without: None) -> None:
    module: ModuleType = choices.load(choices.ENCODERS, "torchvision")
    with pytest.raises(MissingError, match="encode_backend openvino: OpenVINO is not installed"):
        how_a_choice_runs(module, ExtractSettings(encode_backend="openvino"), "cpu", 1)
