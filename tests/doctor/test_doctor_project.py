"""Doctor: Git, DVC, settings and weights of a project, each in order and out of order."""

import hashlib
import json
import os
import subprocess
from pathlib import Path

import pytest
import yaml
from hub_publisher import HUB, RIGHT, pinned, point_to, serving_hub
from weight_publisher import CONTENT

from sammil_cli.doctor import dvc, git, settings, weight_files
from sammil_cli.doctor.finding import Asked, Check, Finding
from sammil_cli.errors import MissingError
from sammil_cli.features.encoders import resnet50
from sammil_cli.project.init import run as init
from sammil_cli.regions.proposers import sam

ASKED = Asked(params=Path("params.yaml"))


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh project of the preset that needs no weights, without Git and DVC; nothing of the user's own counts."""
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.setenv("SAMMIL_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "weights").mkdir()
    folder = tmp_path / "study"
    init(folder, "demo", update=False, dvc=False)
    monkeypatch.chdir(folder)
    return folder


def look(check: Check, *assignments: str) -> dict[str, Finding]:
    asked = Asked(params=ASKED.params, assignments=assignments)
    return {finding.name: finding for finding in check(asked)}


def call_git(*words: str) -> str:
    author = ("-c", "user.name=Test", "-c", "user.email=test@localhost")
    return subprocess.run(["git", *author, *words], check=True, capture_output=True, text=True).stdout


# ---------------------------------------------------------------------------------------------- Git


def test_git_before_and_after_the_first_commit(project: Path) -> None:
    assert look(git.repository)["Git"].state == "note"  # no repository, and no DVC that needs one
    assert look(git.repository)["Git"].remedy == "git init && dvc init"
    (project / ".dvc").mkdir()
    assert look(git.repository)["Git"].state == "wrong"
    call_git("init", "--quiet")
    assert look(git.repository)["Git"].remedy == "git add . && git commit -m start"
    call_git("add", ".")
    call_git("commit", "--quiet", "-m", "start")
    (project / "params.yaml").write_text("seed: 4\n")
    finding = look(git.repository)["Git"]
    assert finding.state == "ok"
    assert finding.facts["revision"] == call_git("rev-parse", "HEAD").strip()
    assert finding.facts["changed"] == ["params.yaml"]
    assert finding.found.endswith("1 changed file(s)")


def test_a_repository_of_another_owner_is_wrong_with_the_line_that_trusts_it(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project.rename(project.with_name("my study")))
    call_git("init", "--quiet")
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")  # Git's own switch for its tests
    finding = look(git.repository)["Git"]
    assert finding.state == "wrong"
    assert finding.remedy == f"git config --global --add safe.directory '{project.with_name('my study')}'"


def test_slides_that_dvc_would_commit_are_told(project: Path) -> None:
    subprocess.run(["git", "init", "--quiet"], check=True, timeout=60)
    assert "slides" not in look(git.repository)  # sammil init ignores them
    Path(".gitignore").write_text("/runs/\n", encoding="utf-8")
    assert "slides" not in look(git.repository)  # without DVC nobody commits them
    Path(".dvc").mkdir()
    told = look(git.repository)["slides"]
    assert told.state == "wrong"
    assert told.remedy.startswith("echo '/data/slides/' >> .gitignore")
    Path("data/slides.dvc").touch()
    assert "slides" not in look(git.repository)


def test_a_slide_folder_that_copies_of_the_project_lose_is_noted(project: Path) -> None:
    call_git("init", "--quiet")
    Path(".dvc").mkdir()
    Path("data/slides").rename("archive")
    Path("data/slides").symlink_to("../archive")
    told = look(git.repository)["slides"]
    assert (told.state, "relative link" in told.found) == ("note", True)
    assert told.remedy == f"ln -sfn {project / 'archive'} data/slides"
    Path("data/slides").unlink()
    Path("data/slides").symlink_to(project / "archive")
    assert "slides" not in look(git.repository)


def test_a_git_without_an_author_is_noted(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    call_git("init", "--quiet")
    call_git("config", "user.useConfigOnly", "true")
    monkeypatch.setenv("EMAIL", "")
    finding = look(git.repository)["Git identity"]
    assert finding.state == "note"
    assert "git config --global user.email" in finding.remedy
    call_git("config", "user.name", "A")
    call_git("config", "user.email", "a@localhost")
    assert "Git identity" not in look(git.repository)


def test_without_git_it_is_wrong_only_where_dvc_is_used(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(project))
    assert look(git.repository)["Git"].state == "note"
    (project / ".dvc").mkdir()
    finding = look(git.repository)["Git"]
    assert (finding.state, finding.found) == ("wrong", "is not installed; DVC needs it")


# ---------------------------------------------------------------------------------------------- DVC


def test_dvc_before_and_after_it_is_set_up(project: Path) -> None:
    assert look(dvc.project)["DVC"].remedy == "git init && dvc init"
    (project / ".dvc").mkdir()
    found = look(dvc.project)
    assert found["DVC"].state == "ok"
    assert (found["DVC remote"].state, found["DVC remote"].found.split(":")[0]) == ("note", "none")


@pytest.mark.parametrize(
    ("config", "state", "words"),
    [
        ("['remote \"disk\"']\n    url = /mnt/x\n[core]\n    remote = disk\n", "ok", "disk"),
        ("['remote \"disk\"']\n    url = /mnt/x\n", "note", "dvc remote default disk"),
        ("url = nothing\n", "wrong", "mend"),
    ],
)
def test_the_remote_of_dvc(project: Path, config: str, state: str, words: str) -> None:
    (project / ".dvc").mkdir()
    (project / ".dvc" / "config").write_text(config)
    finding = next(finding for name, finding in look(dvc.project).items() if name != "DVC")
    assert finding.state == state
    assert words in finding.found + finding.remedy


def test_locks_of_dvc_are_told(project: Path) -> None:
    rwlock = project / ".dvc" / "tmp" / "rwlock"
    rwlock.parent.mkdir(parents=True)
    rwlock.write_text("{}")
    assert "DVC lock" not in look(dvc.project)
    ended = subprocess.Popen(["true"])
    ended.wait()
    readers = [{"pid": os.getpid(), "cmd": "dvc repro"}, {"pid": ended.pid, "cmd": "dvc pull"}]
    rwlock.write_text(json.dumps({"read": {"/x": readers}}))
    (finding,) = (finding for finding in dvc.project(ASKED) if finding.name == "DVC lock")
    assert finding.state == "note"
    assert f"dvc repro (process {os.getpid()}) is at work here" in finding.found
    rwlock.write_text("{")
    assert look(dvc.project)["DVC lock"].state == "wrong"


def test_the_pipeline_of_another_sammil_is_noted(project: Path) -> None:
    assert look(dvc.pipeline)["dvc.yaml"].state == "ok"
    pipeline = yaml.safe_load(Path("dvc.yaml").read_text())
    pipeline["stages"]["patch"]["cmd"] = "sammil patch --workers 2"
    del pipeline["stages"]["code"]  # as in projects of sammil 0.1
    Path("dvc.yaml").write_text(yaml.safe_dump(pipeline))
    finding = look(dvc.pipeline)["dvc.yaml"]
    assert (finding.state, finding.facts["stages"]) == ("note", ["code", "patch"])
    assert look(dvc.pipeline)["dvc.yaml"].remedy.startswith("sammil init . --update")
    init(Path(), "demo", update=True, dvc=False)  # what the remedy says
    assert [finding.state for finding in dvc.pipeline(ASKED)] == ["ok"]


@pytest.mark.parametrize("text", ["[", "stages: 3", "[]", "stages: {patch: 1}"])
def test_a_pipeline_that_cannot_be_read_is_wrong(project: Path, text: str) -> None:
    Path("dvc.yaml").write_text(text)
    assert look(dvc.pipeline)["dvc.yaml"].state == "wrong"
    Path("dvc.yaml").unlink()
    assert look(dvc.pipeline)["dvc.yaml"].state == "note"


# ---------------------------------------------------------------------------------------------- settings


def test_valid_settings_name_their_choices(project: Path) -> None:
    finding = look(settings.valid)["params.yaml"]
    assert finding.state == "ok"
    assert finding.facts["proposer"] == "superpixels"
    assert list(settings.device(ASKED)) == []  # superpixels need none


@pytest.mark.parametrize(
    ("assignment", "found", "remedy"),
    [
        ("mask_ratoi=0.5", "unknown key 'mask_ratoi'", "did you mean mask_ratio?"),
        ("mask_ratio=2", "mask_ratio: 2", "mask_ratio is:"),
        ("encoder=resnet", "unknown encoder 'resnet'", "resnet50"),
    ],
)
def test_the_first_thing_wrong_with_the_settings_is_told(
    project: Path, assignment: str, found: str, remedy: str
) -> None:
    finding = look(settings.valid, assignment)["params.yaml"]
    assert finding.state == "wrong"
    assert found in finding.found
    assert remedy in finding.remedy


def test_a_precision_that_the_device_lacks_is_wrong(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sammil_cli.runner.machine.choose_device", lambda _: "cpu")
    assert look(settings.device, "proposer=sam")["SAM"].state == "ok"
    finding = look(settings.device, "proposer=sam", "sam_precision=float16")["SAM"]
    assert finding.state == "wrong"
    assert "bfloat16" in finding.remedy


def test_without_a_project_settings_are_a_note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert look(settings.valid)["settings"].state == "note"
    assert list(settings.device(ASKED)) == []
    assert list(dvc.pipeline(ASKED)) == []
    (finding,) = settings.valid(Asked(params=Path("other.yaml")))  # somebody named it
    assert (finding.state, finding.found) == ("wrong", "other.yaml does not exist")


# ---------------------------------------------------------------------------------------------- weights


def test_weights_that_nothing_asks_for_are_one_note(project: Path) -> None:
    finding = look(weight_files.files)["not here"]
    assert finding.state == "note"
    assert finding.found.startswith("vit_h, vit_l, vit_b, ")
    assert finding.found.endswith("; nothing here asks for them")
    absent = finding.facts["absent"]
    assert isinstance(absent, list)
    assert {"vit_h", "vit_l", "vit_b", "resnet50"} <= set(absent)


def test_names_of_many_weights_that_nothing_asks_for_are_cut(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    many = {f"net{number}": pinned(word=f"net{number}") for number in range(9)}
    monkeypatch.setattr("sammil_cli.project.weights.published", lambda: many)
    finding = look(weight_files.files)["not here"]
    assert finding.found == "net0, net1, net2, net3, net4, net5 and 3 others; nothing here asks for them"


def gated_encoder(monkeypatch: pytest.MonkeyPatch) -> Finding:
    """What is said of a gated file that the settings need."""
    monkeypatch.setattr(resnet50, "WEIGHTS", pinned(word="resnet50"))
    return look(weight_files.files, "encoder=resnet50")["resnet50"]


def test_a_gated_encoder_is_asked_for_at_the_hub(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving_hub() as hub:
        point_to(hub.url, monkeypatch, RIGHT)
        finding = gated_encoder(monkeypatch)
        assert (finding.state, finding.facts["access"]) == ("wrong", "granted")
        assert finding.found.endswith("it is gated, and your token gives access")
        assert finding.remedy == "sammil weights fetch resnet50"
        monkeypatch.delenv("HF_TOKEN")
        finding = gated_encoder(monkeypatch)
        assert (finding.state, finding.facts["access"]) == ("wrong", "refused")
        assert "are gated, and no token is here" in finding.found
        assert finding.remedy.startswith(f"sign in and accept the conditions at {HUB.page}")
        assert finding.remedy.endswith("then sammil weights fetch resnet50")
        assert {method for method, _, _ in hub.asked} == {"HEAD"}
        (project.parent / "weights" / pinned().file_name).write_bytes(CONTENT)
        asked = len(hub.asked)
        assert gated_encoder(monkeypatch).state == "ok"  # it is here: nobody is asked
        assert len(hub.asked) == asked


def test_a_hub_that_is_silent_or_not_to_be_asked_is_no_fault(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    point_to("http://127.0.0.1:9", monkeypatch)
    finding = gated_encoder(monkeypatch)
    assert (finding.facts["access"], finding.remedy) == ("gated", "sammil weights fetch resnet50")
    with serving_hub() as hub:
        point_to(hub.url, monkeypatch)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        assert gated_encoder(monkeypatch).facts["access"] == "gated"
        assert hub.asked == []


def test_weights_that_the_settings_ask_for_and_are_absent_are_wrong(project: Path) -> None:
    found = look(weight_files.files, "proposer=sam", "sam_model=vit_b", "encoder=resnet50")
    assert [name for name, finding in found.items() if finding.state == "wrong"] == ["vit_b", "resnet50"]
    assert found["vit_b"].remedy == "sammil weights fetch vit_b"
    assert "sam_model: vit_b" in found["vit_b"].found


def test_weights_are_verified(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = project.parent / "weights" / sam.WEIGHTS["vit_b"].file_name
    path.write_bytes(b"cut")
    needs = ("proposer=sam", "sam_model=vit_b")
    damaged = look(weight_files.files, *needs)["vit_b"]
    assert damaged.state == "wrong"
    assert damaged.remedy == "sammil weights fetch vit_b"
    assert look(weight_files.files)["vit_b"].state == "note"  # nothing asks for it
    right = hashlib.sha256(b"cut").hexdigest()
    monkeypatch.setitem(vars(sam.WEIGHTS["vit_b"]), "sha256", right)
    finding = look(weight_files.files, *needs)["vit_b"]
    assert finding.state == "ok"
    assert finding.facts == {"path": str(path), "sha256": right, "needed": True}


def test_weights_that_cannot_be_read_are_told(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreadable(words: list[str], *, verify: bool) -> None:
        raise MissingError(f"{words[0]} cannot be read", remedy="see to its permissions")

    monkeypatch.setattr("sammil_cli.project.weights.look", unreadable)
    found = look(weight_files.files, "encoder=resnet50")
    assert (found["resnet50"].state, found["vit_h"].state) == ("wrong", "note")
    assert found["resnet50"].remedy == "see to its permissions"


def test_an_encoder_that_does_not_exist_is_said_of_the_settings_only(project: Path) -> None:
    assert list(look(weight_files.files, "encoder=resnet")) == []


def test_weights_of_the_users_own(project: Path) -> None:
    mine = project.parent / "mine.pth"
    needs = ("proposer=sam", f"sam_checkpoint={mine}", "encoder=torchvision", f"encoder_weights={mine}")
    found = look(weight_files.files, *needs)
    assert (found["sam_checkpoint"].state, found["encoder_weights"].state) == ("wrong", "wrong")
    mine.write_bytes(b"mine")
    found = look(weight_files.files, *needs, f"sam_checkpoint_sha256={hashlib.sha256(b'mine').hexdigest()}")
    assert (found["sam_checkpoint"].state, found["encoder_weights"].state) == ("ok", "ok")
    assert look(weight_files.files, "encoder=torchvision")["encoder_weights"].state == "wrong"
    found = look(weight_files.files, f"start_from={mine}")
    assert (found["start_from"].state, found["start_from"].found.partition(",")[0]) == ("ok", str(mine))
    mine.unlink()
    assert look(weight_files.files, f"start_from={mine}")["start_from"].remedy == "correct start_from"
    assert "start_from" not in look(weight_files.files)


def test_tokens_of_wsi_sam_are_looked_at_beside_the_sam_that_they_belong_to(project: Path) -> None:
    mine = project.parent / "mine.safetensors"
    needs = ("proposer=wsi-sam", "sam_model=vit_t", f"wsi_sam_tokens={mine}")
    found = look(weight_files.files, *needs)
    assert (found["vit_t"].state, found["wsi_sam_tokens"].state) == ("wrong", "wrong")
    assert "mine.safetensors does not exist" in found["wsi_sam_tokens"].found
    mine.write_bytes(b"mine")
    sha256 = hashlib.sha256(b"mine").hexdigest()
    known = look(weight_files.files, *needs, f"wsi_sam_tokens_sha256={sha256}")["wsi_sam_tokens"]
    assert (known.state, known.facts) == ("ok", {"path": str(mine), "sha256": sha256})
    assert look(weight_files.files, *needs, f"wsi_sam_tokens_sha256={'a' * 64}")["wsi_sam_tokens"].state == "wrong"
    own = look(weight_files.files, *needs, f"sam_checkpoint={mine}", f"sam_checkpoint_sha256={sha256}")
    assert (own["sam_checkpoint"].state, own["wsi_sam_tokens"].state) == ("ok", "ok")


def test_a_weight_folder_that_is_not_there_is_noted(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert look(weight_files.folders)["folders"].state == "ok"
    monkeypatch.setenv("SAMMIL_WEIGHTS", "/no/such/folder")
    finding = look(weight_files.folders)["folders"]
    assert finding.state == "note"
    assert "SAMMIL_WEIGHTS names /no/such/folder, which is not there" in finding.found
