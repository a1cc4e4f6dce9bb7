"""Weights of the Hugging Face hub: asked for by the user's token, fetched once, and each refusal in its own words."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hub_publisher import CONTENT, FILE, HUB, REPO, REVISION, RIGHT, SHA256, Hub, pinned, point_to, serving_hub

from sammil_cli.errors import MissingError
from sammil_cli.storage.hub import HubSilentError, locate
from sammil_cli.storage.weight_download import download
from sammil_cli.storage.weights import MOST_BYTES, HubFile, find_weights

RESOLVE = f"/{REPO}/resolve/{REVISION}/{FILE}"
NAME = "uni_x-01234567.bin"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub whose only user is logged in by the right token."""
    with serving_hub() as facts:
        point_to(facts.url, monkeypatch, RIGHT)
        yield facts


def refused() -> MissingError:
    with pytest.raises(MissingError) as caught:
        download(pinned())
    assert caught.value.exit_code == 3
    return caught.value


def left(folder: Path) -> dict[str, int]:
    return {str(path.relative_to(folder)): path.stat().st_size for path in folder.rglob("*") if path.is_file()}


# ---------------------------------------------------------------------------------------------- it comes


def test_a_gated_file_comes_with_the_token_which_no_other_host_sees(weights: Path, hub: Hub) -> None:
    told: list[tuple[int, int]] = []
    path = download(pinned(), lambda done, total: told.append((done, total)))
    assert (path.name, path.read_bytes() == CONTENT) == (NAME, True)
    assert [(method, place) for method, place, _ in hub.asked] == [("HEAD", RESOLVE), ("GET", "/signed?key=1")]
    assert hub.asked[0][2]["authorization"] == f"Bearer {RIGHT}"
    assert "authorization" not in hub.asked[1][2]
    assert told[-1] == (len(CONTENT), len(CONTENT))
    assert left(weights) == {NAME: len(CONTENT)}  # no second copy
    assert find_weights(pinned()) == path


def test_a_file_on_the_hub_itself_is_fetched_with_the_token(weights: Path, hub: Hub) -> None:
    hub.elsewhere = False
    hub.etag = "a" * 40  # a small file has Git's sum
    assert download(pinned()).read_bytes() == CONTENT
    assert [headers.get("authorization") for _, _, headers in hub.asked] == [f"Bearer {RIGHT}"] * 2


def test_an_open_file_needs_no_token(weights: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_TOKEN")
    hub.gated = False
    assert download(pinned(gated=False)).read_bytes() == CONTENT
    assert all("authorization" not in headers for _, _, headers in hub.asked)


def test_what_is_here_is_not_asked_for(weights: Path, hub: Hub) -> None:
    (weights / NAME).write_bytes(CONTENT)
    assert download(pinned()) == weights / NAME
    assert hub.asked == []


@pytest.mark.parametrize("says_size", [True, False])
def test_a_cut_download_is_kept_and_goes_on(weights: Path, hub: Hub, says_size: bool) -> None:
    hub.cut_after, hub.says_size = 2_000_000, says_size
    error = refused()
    assert "the connection was closed after 2000000 of 5120000 bytes" in error.message
    assert "run it again to go on from 2000000 bytes" in error.remedy
    assert left(weights) == {f"{NAME}.part": 2_000_000}
    hub.cut_after = None
    assert download(pinned()).read_bytes() == CONTENT
    assert hub.ranges() == [None, "bytes=2000000-"]


# ---------------------------------------------------------------------------------------------- it does not come


def test_without_a_token_one_screen_says_what_to_click(
    weights: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_TOKEN")
    error = refused()
    assert error.message.startswith("the weights of uni_x are gated, and no token is here")
    assert "CC-BY-NC-ND-4.0; commercial use: no" in error.message
    ways = (HUB.page, "hf auth login", "export HF_TOKEN=", "sammil weights fetch uni_x", HUB.url, str(weights / NAME))
    for part in (*ways, "fetch --from weights.tar"):
        assert part in error.remedy
    screen = [*error.message.splitlines(), *error.remedy.splitlines()]
    assert len(screen) < 20
    assert left(weights) == {}


@pytest.mark.parametrize(
    ("refuses", "said"),
    [
        (None, "are gated, and your account has no access"),  # the token's account has not asked for it
        (
            (403, "GatedRepo", "Your request to access model Lab/uni-x is awaiting a review"),
            "not answered your request",
        ),
        (
            (403, "", "Please enable access to public gated repositories in your fine-grained token"),
            "may not read gated",
        ),
    ],
)
def test_a_token_without_access_is_not_called_wrong(
    weights: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch, refuses: tuple[int, str, str] | None, said: str
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_other")
    hub.refuses = refuses
    error = refused()
    assert said in error.message
    assert HUB.page in error.remedy


@pytest.mark.parametrize(
    ("token", "why"),
    [("hf_expired", "the hub does not know it"), ("hf_ä", "it has characters that no"), ("hf_\x01 b", "it has")],
)
def test_a_wrong_token_is_said(weights: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch, token: str, why: str) -> None:
    monkeypatch.setenv("HF_TOKEN", token)
    error = refused()
    assert f"HF_TOKEN is no valid token of the Hugging Face hub: {why}" in error.message
    assert token not in error.message + error.remedy  # it is a secret, or nearly one
    assert "hf auth login" in error.remedy
    hub.gated = False
    with pytest.raises(MissingError, match="no valid token") as caught:
        download(pinned(gated=False))
    assert "uni_x is open: unset HF_TOKEN" in caught.value.remedy


@pytest.mark.parametrize("code", ["RepoNotFound", "RevisionNotFound", "EntryNotFound"])
def test_what_is_not_on_the_hub_any_more_is_said(weights: Path, hub: Hub, code: str) -> None:
    hub.refuses = (404, code, "")
    error = refused()
    assert error.message == f"the hub has no {HUB.url}: its authors have moved, withdrawn or closed it"
    assert f"look at {HUB.page}" in error.remedy


@pytest.mark.parametrize("status", [429, 503])
def test_a_hub_that_is_busy_is_no_refusal(weights: Path, hub: Hub, status: int) -> None:
    hub.refuses = (status, "", "")
    with pytest.raises(HubSilentError, match=f"cannot give {NAME} now: {status}"):
        download(pinned())


def test_without_a_network_every_other_way_is_said(weights: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    point_to("http://127.0.0.1:9", monkeypatch)
    error = refused()
    assert f"127.0.0.1:9 cannot be reached for {NAME}" in error.message
    assert "where there is a network" in error.remedy
    assert "fetch --from weights.tar" in error.remedy


def test_offline_nothing_is_sent(weights: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    error = refused()
    assert error.message == f"HF_HUB_OFFLINE is set, so the hub is not asked for {NAME}"
    assert "unset HF_HUB_OFFLINE" in error.remedy
    assert hub.asked == []


def test_a_hub_without_https_gets_no_token(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    point_to("http://mirror.example.org", monkeypatch, RIGHT)
    monkeypatch.setattr("huggingface_hub.get_hf_file_metadata", lambda *_, **__: pytest.fail("it was asked"))
    error = refused()
    assert "http://mirror.example.org is no https address" in error.message
    assert "HF_ENDPOINT" in error.remedy


# ---------------------------------------------------------------------------------------------- it is another one


def test_another_file_is_refused_before_it_is_fetched(weights: Path, hub: Hub) -> None:
    hub.etag = "b" * 64
    error = refused()
    assert f"sha256 {'b' * 64}, expected {SHA256}" in error.message
    assert "set encoder_weights: FILE in params.yaml" in error.remedy
    assert hub.ranges() == []


def test_another_file_that_calls_itself_the_pinned_one_is_deleted(weights: Path, hub: Hub) -> None:
    hub.content, hub.etag = b"<html>please log in</html>", SHA256
    error = refused()
    assert "is not the published file: sha256 " in error.message
    assert f"expected {SHA256}" in error.message
    assert "encoder_weights: FILE" in error.remedy
    assert left(weights) == {}


def test_no_more_is_taken_than_the_hub_has_announced(weights: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import HfFileMetadata

    def claim(size: int) -> None:
        found = HfFileMetadata(
            commit_hash=REVISION, etag=SHA256, location=hub.files_url + "/signed?key=1", size=size, xet_file_data=None
        )
        monkeypatch.setattr("huggingface_hub.get_hf_file_metadata", lambda *_, **__: found)

    claim(4_000_000)
    assert "announces 5,120,000 bytes, the file has at most 4,000,000" in refused().message
    claim(10 * MOST_BYTES)
    assert "more than any weights have" in refused().message


def test_a_hub_does_not_lead_into_this_machine(weights: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import HfFileMetadata

    point_to("https://hub.example.org", monkeypatch)
    found = HfFileMetadata(commit_hash="", etag=SHA256, location=hub.files_url, size=1, xet_file_data=None)
    monkeypatch.setattr("huggingface_hub.get_hf_file_metadata", lambda *_, **__: found)
    with pytest.raises(MissingError, match="which is no https address"):
        locate(pinned(), HUB, weights / NAME)
    assert hub.asked == []


def test_the_address_of_a_hub_file_is_what_a_browser_opens() -> None:
    assert (
        HubFile(repo="a/b", revision="0" * 40, file="c.bin").url
        == f"https://huggingface.co/a/b/resolve/{'0' * 40}/c.bin"
    )


# ---------------------------------------------------------------------------------------------- as users have it

_FETCH = """
import json, sys
sys.path.insert(0, {tests!r})
tried = []
def trap(event, given):
    host = given[1][0] if event == "socket.connect" else given[0] if event == "socket.getaddrinfo" else "127.0.0.1"
    if host != "127.0.0.1":
        tried.append(str(given))
        raise PermissionError(event)
sys.addaudithook(trap)
from sammil_cli.errors import MissingError
from sammil_cli.storage.weight_download import download
assert "huggingface_hub" not in sys.modules
from hub_publisher import pinned
try:
    said = str(download(pinned()))
except MissingError as error:
    said = error.message
print(json.dumps([said, tried]))
"""


def in_a_process(home: Path, **variables: str) -> str:
    """What a new process says that fetches; nothing leaves this machine."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("HF_") and "proxy" not in key.lower()}
    given = kept | {"HF_HOME": str(home)} | variables
    code = _FETCH.format(tests=str(Path(__file__).resolve().parents[1]))
    answer = subprocess.run(
        [sys.executable, "-c", code], env=given, capture_output=True, text=True, check=True, timeout=60
    )
    said, tried = json.loads(answer.stdout)
    assert tried == []
    return str(said)


def test_a_login_the_endpoint_and_offline_count_and_nothing_is_reported(
    weights: Path, hub: Hub, tmp_path: Path
) -> None:
    home = tmp_path / "hf"
    home.mkdir()
    (home / "token").write_text(RIGHT)  # as hf auth login leaves it
    said = in_a_process(home, HF_ENDPOINT=hub.url, HF_HUB_OFFLINE="1")
    assert said.startswith("HF_HUB_OFFLINE is set")
    assert hub.asked == []
    assert in_a_process(home, HF_ENDPOINT=hub.url) == str(weights / NAME)
    assert hub.asked[0][2]["authorization"] == f"Bearer {RIGHT}"
    agent = hub.asked[0][2]["user-agent"]
    assert agent.startswith("sammil/")
    assert "torch" not in agent
    assert len(hub.asked) == 2
    assert left(home) == {"token": len(RIGHT)}  # nothing is kept in its cache
