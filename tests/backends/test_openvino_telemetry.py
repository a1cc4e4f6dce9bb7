"""OpenVINO reports to nobody, whatever the home folder says: neither in our process nor out of one that it starts."""

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(find_spec("openvino") is None, reason="the extra openvino is not installed")

# Any attempt to reach the network, or to start a process that could, is written down, and fails.
_TRAP = """
import sys
tried = []
def trap(event, given):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.sendto", "socket.sendmsg", "os.fork", "os.posix_spawn",
                 "subprocess.Popen"):
        tried.append((event, given))
        raise PermissionError(event)
"""
_CONVERT = """
import numpy as np, torch
from sammil_cli.features.torch_encoder import TorchEncoder
sys.addaudithook(trap)
encoder = TorchEncoder(torch.nn.Conv2d(3, 8, 3), name="small", dim=8, input_px=32, device="cpu", sha256="")
encoder.run_by("openvino")
assert encoder.encode(np.ones((2, 3, 32, 32), np.float32)).shape == (2, 8)
import openvino, openvino.tools.ovc
users = {name for name, module in sys.modules.items() if name.startswith("openvino.") and hasattr(module, "tm")}
assert {"openvino.tools.ovc.convert_impl", "openvino.tools.ovc.telemetry_utils"} <= users, users
assert {sys.modules[name].tm.__name__ for name in users} == {"openvino.tools.ovc.telemetry_stub"}
assert [name for name in sys.modules if name.startswith("openvino_telemetry.")] == []
assert tried == [], tried
"""
# Somebody who has refused it in no file, and imports it in the ordinary way.
_PLAIN = """
import openvino
"""
_LATE = """
import openvino
from sammil_cli.backends.openvino_library import load_openvino
load_openvino()
from openvino.tools.ovc.telemetry_utils import init_ovc_telemetry
assert type(init_ovc_telemetry()).__module__ == "openvino.tools.ovc.telemetry_stub"
"""


@contextmanager
def listening() -> Iterator[tuple[int, list[bytes]]]:
    """A proxy that lets nobody through: its port, and what it was asked for."""
    asked: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def listen() -> None:
            while True:
                try:
                    caller, _ = server.accept()
                except OSError:
                    return
                with caller:
                    caller.settimeout(5)
                    asked.append(caller.recv(200))

        thread = threading.Thread(target=listen, daemon=True)
        thread.start()
        yield server.getsockname()[1], asked
        server.shutdown(socket.SHUT_RDWR)
        thread.join()


def run(script: str, home: Path) -> list[bytes]:
    """Runs a script in a process with an empty home folder; what it, or what it starts, asks the network for."""
    home.mkdir()
    with listening() as (port, asked):
        proxy = f"http://127.0.0.1:{port}"
        given = {key: value for key, value in os.environ.items() if key.upper() not in ("CI", "TF_BUILD", "NO_PROXY")}
        given |= {"HOME": str(home), "XDG_CACHE_HOME": str(home / "cache")}
        given |= dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy"), proxy)
        ended = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", script],
            env=given,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    assert ended.returncode == 0, ended.stderr
    return asked


def test_nothing_is_sent_when_a_network_is_converted_and_run(tmp_path: Path) -> None:
    assert run(_TRAP + _CONVERT, tmp_path / "home") == []
    assert [path.name for path in (tmp_path / "home").iterdir()] == ["cache"]  # no file of consent either


def test_it_would_report_if_it_were_imported_in_the_ordinary_way(tmp_path: Path) -> None:
    asked = run(_PLAIN, tmp_path / "home")
    assert any(b"google-analytics" in line for line in asked)  # so the trap would have seen it


def test_who_has_imported_it_before_reports_no_conversion(tmp_path: Path) -> None:
    run(_LATE, tmp_path / "home")
