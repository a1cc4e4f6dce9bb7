"""One file from a web server that is not trusted: https only, no more bytes than it has, no crawl."""

import http.client
import io
import re
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPMessage, HTTPResponse
from typing import IO, TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

SILENCE_SECONDS = 60.0
# Slower than this for a minute is no download: 2.5 GB would take three days.
SLOWEST_BYTES_PER_SECOND, PATIENCE_SECONDS = 10_000, 60.0
_BLOCK = 1 << 20
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


class WebError(Exception):
    """The file, or the rest of it, did not come. `final`: there is no point in going on with what has come."""

    def __init__(self, reason: object, *, final: bool = False) -> None:
        super().__init__(str(reason))
        self.final = final


@dataclass(frozen=True, kw_only=True)
class Body:
    """What the server sends: where it begins in the file, the file's size in bytes (None = not said), its content."""

    start: int
    total: int | None
    blocks: Iterator[bytes]


def is_safe(url: str, *, asked_by: str | None = None) -> bool:
    """Whether an address may be opened: https, or http to this very machine, unless https `asked_by` leads there."""
    try:
        parts, host = urlsplit(url), urlsplit(url).hostname
    except ValueError:
        return False
    local = host in _LOOPBACK and (asked_by is None or urlsplit(asked_by).scheme == "http")
    return bool(host) and (parts.scheme == "https" or (parts.scheme == "http" and local))


@contextmanager
def opened(url: str, *, start: int, most: int, headers: Mapping[str, str] | None = None) -> Iterator[Body]:
    """Asks for a file, from byte `start` on.

    Args:
        most: bytes that the whole file may have.
        headers: sent to this address only: not to another one that it leads to.

    Yields:
        From `start`, or from 0 where the server sends the whole file; no blocks where it says that nothing is left.
        Reading its blocks raises `WebError`, too.

    Raises:
        WebError: an unsafe address, no answer, or one that does not fit.
    """
    if not is_safe(url):
        raise WebError(f"{url} is no https address", final=True)
    request = urllib.request.Request(url, headers={"Range": f"bytes={start}-"} if start else {})  # noqa: S310
    for name, value in (headers or {}).items():
        request.add_unredirected_header(name, value)
    try:
        answer = _OPENER.open(request, timeout=SILENCE_SECONDS)
    except urllib.error.HTTPError as error:
        error.close()
        if start and error.code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            yield Body(start=start, total=start, blocks=iter(()))
            return
        raise WebError(error) from None
    except (OSError, http.client.HTTPException, ValueError) as error:  # ValueError: an address that is none
        raise WebError(getattr(error, "reason", error)) from None
    with answer:
        yield _body(answer, start, most)


def _body(answer: HTTPResponse, start: int, most: int) -> Body:
    """The answer, once its headers fit the request.

    Raises:
        WebError: they do not.
    """
    part = re.fullmatch(r"bytes (\d{1,18})-\d{1,18}/(\d{1,18}|\*)", answer.headers.get("Content-Range", ""))
    if answer.status == HTTPStatus.PARTIAL_CONTENT:
        if part is None or int(part[1]) != start:
            raise WebError("the server sends another part of the file than it was asked for", final=True)
    else:
        start = 0
    length = answer.headers.get("Content-Length", "")
    total = start + int(length) if re.fullmatch(r"\d{1,18}", length) else None
    if total is not None and total > most:
        raise WebError(f"the server announces {total:,} bytes, the file has at most {most:,}", final=True)
    return Body(start=start, total=total, blocks=_blocks(answer, start, total, most))


def _blocks(answer: HTTPResponse, done: int, total: int | None, most: int) -> Iterator[bytes]:
    try:
        while block := answer.read1(_BLOCK):
            done += len(block)
            if done > most:
                raise WebError(f"the server sends more than the {most:,} bytes that the file has at most", final=True)
            yield block
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise WebError(error) from None
    if total is not None and done < total:  # a connection that is closed early ends like a whole answer
        raise WebError(f"the connection was closed after {done} of {total} bytes")


class _Paced(io.RawIOBase):
    """What comes from a socket, headers as well; gives up on a server that keeps the reader waiting by trickling."""

    def __init__(self, raw: io.RawIOBase) -> None:
        self._raw, self._waited, self._came = raw, 0.0, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int | None:
        start = time.monotonic()
        count = self._raw.readinto(buffer)
        self._waited += time.monotonic() - start  # what the disk takes is not the server's
        self._came += count or 0
        if self._waited >= PATIENCE_SECONDS:
            if self._came < SLOWEST_BYTES_PER_SECOND * self._waited:
                speed = self._came / self._waited / 1e3
                raise TimeoutError(f"the server is too slow: {speed:.1f} kB/s over {self._waited:.0f} s")
            self._waited, self._came = 0.0, 0
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()


class _PacedResponse(HTTPResponse):
    def __init__(
        self, sock: socket.socket, debuglevel: int = 0, method: str | None = None, url: str | None = None
    ) -> None:
        super().__init__(sock, debuglevel, method, url)
        self.fp = io.BufferedReader(_Paced(self.fp.detach()))


class _Connection(http.client.HTTPConnection):
    response_class = _PacedResponse


class _SafeConnection(http.client.HTTPSConnection):
    response_class = _PacedResponse


class _Http(urllib.request.HTTPHandler):
    def http_open(self, request: urllib.request.Request) -> HTTPResponse:
        return self.do_open(_Connection, request)


class _Https(urllib.request.HTTPSHandler):
    def https_open(self, request: urllib.request.Request) -> HTTPResponse:
        return self.do_open(_SafeConnection, request)


class _Redirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> urllib.request.Request | None:
        if not is_safe(newurl, asked_by=req.full_url):
            raise ValueError(f"it leads to {newurl}, which is no https address")
        return super().redirect_request(req, fp, code, msg, headers, newurl)

    def http_error_302(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage
    ) -> HTTPResponse | None:
        fp.close()  # the body of a redirect, which may have no end, would be read into memory
        answer: HTTPResponse | None = super().http_error_302(req, fp, code, msg, headers)
        return answer

    http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302


_OPENER = urllib.request.build_opener(_Http, _Https, _Redirects)
