"""Dockerfile, compose.yaml and the image check agree with the package; what a container refuses is told."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from sammil_cli import __version__

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")


def argument(name: str) -> str:
    (found,) = re.findall(rf"^ARG {name}=(\S+)$", DOCKERFILE, re.MULTILINE)
    return str(found)


def test_hadolint_finds_nothing() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    said = subprocess.run([hadolint, ROOT / "Dockerfile"], capture_output=True, text=True, check=False, timeout=60)
    assert (said.returncode, said.stdout) == (0, "")


@pytest.mark.parametrize(("prefix", "word"), [("SAM", "vit_h"), ("ENCODER", "resnet50")])
def test_the_pinned_weights_of_the_image_are_those_of_the_package(prefix: str, word: str) -> None:
    from sammil_cli.project.weights import published

    pinned = published()[word]
    assert (argument(f"{prefix}_URL"), argument(f"{prefix}_SHA256")) == (pinned.url, pinned.sha256)
    assert argument(f"{prefix}_URL").rsplit("/", 1)[1] == pinned.file_name  # the name that sammil looks for


def test_the_base_is_pinned_by_its_digest() -> None:
    assert re.fullmatch(r"nvidia/cuda:13\.\S+-base-ubuntu24\.04@sha256:[0-9a-f]{64}", argument("BASE_IMAGE"))


def test_what_is_said_of_torch_is_what_the_lock_brings() -> None:
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    (torch,) = re.findall(r"^torch==(\S+)", lock, re.MULTILINE)
    (toolkit,) = re.findall(r"^cuda-toolkit==(\d+\.\d+)", lock, re.MULTILINE)
    assert f"torch {torch}'s wheels bring CUDA {toolkit}" in DOCKERFILE
    assert f"torch {torch}" in (ROOT / "docs/containers.md").read_text(encoding="utf-8")


def test_the_version_of_the_image_is_that_of_the_package() -> None:
    assert argument("VERSION") == __version__


def test_neither_lock_names_a_host_and_each_package_has_hashes() -> None:
    for name in ("requirements.lock", "requirements-dev.lock"):
        text = (ROOT / name).read_text(encoding="utf-8")
        assert "://" not in text
        packages = re.findall(r"^[a-z0-9._-]+==.*?(?=^[a-z0-9._-]+==|\Z)", text, re.MULTILINE | re.DOTALL)
        assert len(packages) == text.count("==") - text.count(" == ") - text.count("python_full_version==")
        assert len(packages) > 15
        assert all("--hash=sha256:" in package for package in packages)


def test_compose_says_user_weights_and_shared_memory() -> None:
    services = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))["services"]
    for service in services.values():
        assert service["user"] == "${SAMMIL_USER:-1000:1000}"
        assert [mount.rsplit(":", 1)[1] for mount in service["volumes"]] == ["/project", "/weights"]
        assert service["shm_size"]
    assert "deploy" not in services["sammil"]  # works without a GPU
    assert services["gpu"]["deploy"]["resources"]["reservations"]["devices"][0]["driver"] == "nvidia"
    assert re.search(rf"^FROM \S+ AS {services['sammil']['build']['target'].split(':-')[1][:-1]}$", DOCKERFILE, re.M)


def test_whoever_starts_it_the_image_has_a_name_for_him_and_keeps_its_caches_in_the_project() -> None:
    (block,) = re.findall(r"^ENV (PATH=.*?[^\\])\n[A-Z]", DOCKERFILE, re.MULTILINE | re.DOTALL)
    given = dict(word.split("=", 1) for word in block.replace("\\\n", " ").split())
    assert given["USER"]
    assert given["LOGNAME"]
    for name in ("XDG_CACHE_HOME", "MPLCONFIGDIR", "TORCHINDUCTOR_CACHE_DIR", "DVC_SITE_CACHE_DIR"):
        assert given[name].startswith("/project/.sammil/")  # kept from run to run, and ignored by Git
    assert "safe.directory /project" in DOCKERFILE
    assert DOCKERFILE.index("USER 1000:1000") < DOCKERFILE.index("ENTRYPOINT")


def test_the_image_check_runs_again_when_what_it_depends_on_has_changed() -> None:
    listed = subprocess.run([ROOT / ".ci/image-files"], capture_output=True, text=True, check=True, timeout=60).stdout
    checked = (ROOT / ".ci/image-checked").read_text(encoding="utf-8")
    assert listed.split() == [line.split()[1] for line in checked.splitlines()]
    assert {"Dockerfile", "requirements.lock", "sammil_cli/cli/app.py"} <= set(listed.split())
    assert all((ROOT / name).is_file() for name in listed.split())
