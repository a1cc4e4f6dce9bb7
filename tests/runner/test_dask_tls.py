"""A Dask cluster with TLS, on the loopback interface, with certificates made here as docs/cluster.md says."""

import gc
import shutil
import socket
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import dask
import distributed
import pytest
from dask_processes import dask_cluster

from sammil_cli.errors import MissingError
from sammil_cli.project.project import RunOptions
from sammil_cli.runner.executor import Call, Limits, open_executor
from sammil_cli.runner.executors import _connection
from sammil_cli.runner.executors._jobqueue import job_options

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the program openssl")
ROLES = ("scheduler", "worker", "client")


def certificate(folder: Path, name: str) -> tuple[Path, Path]:
    """A certificate that is its own authority, and its key."""
    folder.mkdir(exist_ok=True)
    found = folder / f"{name}.pem", folder / f"{name}.key"
    words = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={name}"]
    subprocess.run(["openssl", *words, "-out", found[0], "-keyout", found[1]], check=True, capture_output=True)
    return found


def settings(authority: Path, cert: Path, key: Path) -> dict[str, str]:
    """Dask's configuration: who has a certificate of this authority may talk, nobody else, and never without TLS."""
    tls = {f"{role}.{what}": str(path) for role in ROLES for what, path in (("cert", cert), ("key", key))}
    found = {f"distributed.comm.tls.{name}": value for name, value in {"ca-file": str(authority), **tls}.items()}
    return {**found, "distributed.comm.require-encryption": "true"}


def variables(found: Mapping[str, str]) -> dict[str, str]:
    return {f"DASK_{name}".upper().replace(".", "__").replace("-", "_"): value for name, value in found.items()}


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    cert, key = certificate(tmp_path_factory.mktemp("tls"), "ours")
    return settings(cert, cert, key)


@pytest.fixture(scope="module")
def address(ours: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("cluster")
    with dask_cluster(folder, workers=1, protocol="tls", settings=variables(ours)) as cluster:
        assert cluster.address.startswith("tls://")
        yield cluster.address


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(_connection, "CONNECT_SECONDS", 2.0)


def parents(address: str) -> list[int]:
    options = RunOptions(executor="dask", scheduler=address)
    calls = (Call(slide_id=slide, function=("executor_work", "parent"), arguments=(slide,)) for slide in ("a", "b"))
    with open_executor(options, Limits(seconds=60)) as executor:
        return [answer.value for answer in executor.answers(calls)]


def test_slides_are_done_over_tls(address: str, ours: dict[str, str]) -> None:
    with dask.config.set(ours):
        first, second = parents(address)
    assert first == second


# Where the refusal comes late, tornado leaves its socket to the collector, which closes it.
@pytest.mark.filterwarnings("ignore:unclosed <ssl.SSLSocket:ResourceWarning")
@pytest.mark.parametrize("kind", ["tcp", "no-settings", "no-certificate", "no-file", "strangers"])
def test_what_does_not_go_together_is_refused_with_the_way_out(
    kind: str, address: str, ours: dict[str, str], tmp_path: Path
) -> None:
    found: dict[str, str | None] = {**ours}
    message = "no Dask scheduler answers at"
    if kind == "tcp":
        address, found = address.replace("tls", "tcp"), {}
    elif kind == "no-settings":
        found, message = {}, r"Dask's configuration has no distributed\.comm\.tls\.ca-file"
    elif kind == "no-certificate":
        found["distributed.comm.tls.client.cert"] = None
        message = r"Dask's configuration has no distributed\.comm\.tls\.client\.cert"
    elif kind == "no-file":
        found["distributed.comm.tls.client.key"] = str(tmp_path / "gone.key")
        message = r"gone\.key \(distributed\.comm\.tls\.client\.key .* does not exist"
    else:
        cert, key = certificate(tmp_path, "strangers")
        found = {**settings(cert, cert, key)}
    with dask.config.set(found), pytest.raises(MissingError, match=message) as refused:
        parents(address)
    assert "docs/cluster.md, TLS" in refused.value.remedy
    if kind == "no-certificate":
        assert "DASK_DISTRIBUTED__COMM__TLS__CLIENT__CERT" in refused.value.remedy


def test_a_scheduler_without_tls_is_not_talked_to_where_dask_is_told_to_insist_on_it(
    tmp_path: Path, ours: dict[str, str]
) -> None:
    with dask.config.set({**ours, "distributed.comm.require-encryption": True}):
        with pytest.raises(MissingError, match="encryption required"):
            parents("tcp://127.0.0.1:1")
        options = job_options("slurm", gpu=False)
    assert options["protocol"] == "tls://"
    assert options["security"].tls_worker_cert == ours["distributed.comm.tls.worker.cert"]
    assert "security" not in job_options("slurm", gpu=False)


def test_a_client_that_failed_is_gone_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Collected later, in the middle of another one's start, it waited for that one for ever."""
    monkeypatch.setattr(_connection, "CONNECT_SECONDS", 0.2)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # nobody listens there
        gc.collect()
        gc.disable()
        try:
            before = clients()
            with pytest.raises(MissingError, match="no Dask scheduler answers"):
                _connection.connect(f"tcp://127.0.0.1:{taken.getsockname()[1]}")
            assert clients() == before
        finally:
            gc.enable()


def clients() -> int:
    """How many there are, the failed ones, too."""
    return sum(type(found) is distributed.Client for found in gc.get_objects())
