"""The Hugging Face hub: whether it gives a file to this user, and from which address; nothing is downloaded here.

huggingface_hub knows the user's login, HF_TOKEN, HF_ENDPOINT, HF_HUB_OFFLINE, and what the hub's refusals mean. It
takes half a second to load, so it is imported where the hub is asked.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from sammil_cli import __version__
from sammil_cli.errors import MissingError
from sammil_cli.storage.web_file import is_safe
from sammil_cli.storage.weights import MOST_BYTES, HubFile, WeightFile, carried_over

if TYPE_CHECKING:
    from huggingface_hub.errors import HfHubHTTPError

ANSWER_SECONDS = 20.0
_TOKENS_PAGE = "https://huggingface.co/settings/tokens"
_LOG_IN = "then hf auth login, or export HF_TOKEN=hf_…"
_LONGEST = 300  # characters of what the hub says
_BAD_TOKEN = ("invalid credentials", "invalid username or password", "invalid user token")  # the hub's own words


@dataclass(frozen=True, kw_only=True)
class Address:
    """Where the bytes of a file are. `headers` are for this address and for no other that it leads to.

    `size`: bytes of the whole file; None = the server has not said it yet.
    """

    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    size: int | None = None


class HubSilentError(MissingError):
    """The hub was not asked or did not answer, so nobody knows whether it would give the file."""


def locate(pinned: WeightFile, hub: HubFile, target: Path, *, patience: float = ANSWER_SECONDS) -> Address:
    """Asks the hub for a file, with the user's login or HF_TOKEN where there is one.

    Args:
        hub: where `pinned` is there. target: where it is to go, for whoever fetches it by hand.
        patience: seconds to wait for an answer.

    Raises:
        HubSilentError: no network, or HF_HUB_OFFLINE is set; then nothing is sent.
        MissingError: the file is gated and this user has no access, the token is wrong, there is no such file, or the
            hub has another one.
    """
    library = _library()
    by_hand = _by_hand(pinned, target)
    if library.constants.HF_HUB_OFFLINE:
        raise HubSilentError(
            f"HF_HUB_OFFLINE is set, so the hub is not asked for {pinned.file_name}",
            remedy=f"unset HF_HUB_OFFLINE where there is a network\n{by_hand}",
        )
    url = library.hf_hub_url(hub.repo, hub.file, revision=hub.revision)
    if not is_safe(url):
        raise HubSilentError(
            f"{library.constants.ENDPOINT} is no https address, so no token and no request is sent there",
            remedy="correct HF_ENDPOINT, or unset it for https://huggingface.co",
        )
    found, headers = _ask(library, pinned, url, by_hand, patience)
    if found.etag and re.fullmatch("[0-9a-f]{64}", found.etag) and found.etag != pinned.sha256:
        raise other_content(pinned, found.etag, "the hub has another file than the pinned one")
    if found.size is not None and found.size > MOST_BYTES:
        raise MissingError(f"the hub announces {found.size:,} bytes, more than any weights have", remedy="try again")
    if not is_safe(found.location, asked_by=url):
        raise MissingError(f"the hub leads to {found.location}, which is no https address", remedy=by_hand.lstrip())
    same = urlsplit(found.location).netloc == urlsplit(url).netloc
    kept = {key: value for key, value in headers.items() if same and key.lower() == "authorization"}
    return Address(url=found.location, headers=kept, size=found.size)


def _library() -> ModuleType:
    """huggingface_hub with its telemetry off: else each request names torch's version and the like."""
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    import huggingface_hub
    import huggingface_hub.constants

    huggingface_hub.constants.HF_HUB_DISABLE_TELEMETRY = True  # where timm had imported it before
    return huggingface_hub


def _ask(
    library: ModuleType, pinned: WeightFile, url: str, by_hand: str, patience: float
) -> tuple[Any, dict[str, str]]:
    """What the hub says of a file (etag, size, location), and the headers that it was asked with.

    Raises:
        MissingError: see `locate`.
    """
    from huggingface_hub.errors import HfHubHTTPError, HTTPError  # type: ignore[attr-defined]  # HTTPError: httpx's

    headers: dict[str, str] = {}
    try:
        headers = library.utils.build_hf_headers(library_name="sammil", library_version=__version__)
        if not re.fullmatch("(Bearer [!-~]+)?", headers.get("authorization", "")):
            raise _wrong_token(pinned, "it has characters that no token has")
        found = library.get_hf_file_metadata(url, token=False, headers=headers, timeout=patience)
    except HfHubHTTPError as error:
        raise _refusal(pinned, error, with_token="authorization" in headers, by_hand=by_hand) from None
    except (HTTPError, OSError) as error:
        raise HubSilentError(
            f"{urlsplit(url).netloc} cannot be reached for {pinned.file_name}: {error}",
            remedy=f"run it again where there is a network\n{by_hand}",
        ) from None
    finally:
        library.close_session()
    return found, headers


def _refusal(pinned: WeightFile, error: "HfHubHTTPError", *, with_token: bool, by_hand: str) -> MissingError:
    """The hub's answer in our words."""
    from huggingface_hub.errors import (
        EntryNotFoundError,
        GatedRepoError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    said, status = (error.server_message or "")[:_LONGEST], error.response.status_code
    denied = status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
    if denied and with_token and any(words in said.lower() for words in _BAD_TOKEN):
        return _wrong_token(pinned, "the hub does not know it; it may have expired")
    if isinstance(error, GatedRepoError) or (denied and pinned.gated):
        return _gated(pinned, said, with_token=with_token, by_hand=by_hand)
    if status == HTTPStatus.UNAUTHORIZED and with_token:
        return _wrong_token(pinned, said or "the hub does not accept it")
    if isinstance(error, RepositoryNotFoundError | RevisionNotFoundError | EntryNotFoundError):
        return MissingError(
            f"the hub has no {pinned.url}: its authors have moved, withdrawn or closed it",
            remedy=f"look at {pinned.page}\n{by_hand}",
        )
    if status == HTTPStatus.TOO_MANY_REQUESTS or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return HubSilentError(
            f"the hub cannot give {pinned.file_name} now: {status} {said}".rstrip(),
            remedy=f"wait a few minutes, then run it again\n{by_hand}",
        )
    return MissingError(
        f"the hub refuses {pinned.url}: {status} {said}".rstrip(), remedy=f"look at {pinned.page}\n{by_hand}"
    )


def _gated(pinned: WeightFile, said: str, *, with_token: bool, by_hand: str) -> MissingError:
    """One screen: what to click, how to log in, and how to do without."""
    said, page = said.lower(), pinned.page
    if not with_token:
        why, first = "no token is here", f"sign in and accept the conditions at {page}; {_LOG_IN}"
    elif "fine-grained" in said:
        why = "your token may not read gated repositories"
        first = f"let it read public gated repositories, or make one of the type Read, at {_TOKENS_PAGE}; {_LOG_IN}"
    elif "awaiting" in said or "pending" in said:
        why, first = "its authors have not answered your request yet", f"see how your request stands at {page}"
    else:
        why = "your account has no access"
        first = f"sign in at {page} with the account of your token, and accept the conditions"
    return MissingError(
        f"the weights of {pinned.word} are gated, and {why}\n"
        f"  licence  {pinned.terms}\n"
        f"  sha256   {pinned.sha256}\n"
        f"  source   {page}",
        remedy=f"{first}\n"
        "  access   is granted at once, or by its authors in days; that page says which\n"
        f"  token    of the type Read, from {_TOKENS_PAGE}\n"
        f"  then     sammil weights fetch {pinned.word}\n{by_hand}",
    )


def _wrong_token(pinned: WeightFile, why: str) -> MissingError:
    named = bool(os.environ.get("HF_TOKEN"))  # it counts before a login
    whose = "HF_TOKEN" if named else "the token of your login"
    how = "then export HF_TOKEN=hf_…, or unset HF_TOKEN and hf auth login" if named else "then hf auth login"
    without = "" if pinned.gated else f"\n  without  {pinned.word} is open: unset HF_TOKEN, hf auth logout"
    return MissingError(
        f"{whose} is no valid token of the Hugging Face hub: {why}",
        remedy=f"make one of the type Read at {_TOKENS_PAGE}; {how}\n"
        f"  then     sammil weights fetch {pinned.word}{without}",
    )


def other_content(pinned: WeightFile, sha256: str, what: str) -> MissingError:
    """The error of a publisher who has, or sends, another content than the pinned one."""
    key = pinned.own_instead
    own = f"; if you trust that file, fetch {pinned.url} by hand and set {key}: FILE in params.yaml" if key else ""
    return MissingError(f"{what}: sha256 {sha256}, expected {pinned.sha256}", remedy=f"try again{own}")


def _by_hand(pinned: WeightFile, target: Path) -> str:
    return f"  by hand: fetch {pinned.url}\n           as {target}\n{carried_over(pinned.word)}"
