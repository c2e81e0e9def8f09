"""Requests to the API server over kept connections: one answer, or a watch's stream of lines."""

from __future__ import annotations

import contextlib
import json
import logging
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, Protocol
from urllib.parse import unquote, urlencode, urlsplit

import urllib3

from ktpy import __version__
from ktpy.cluster.endpoint import Endpoint
from ktpy.errors import Unreachable

log = logging.getLogger(__name__)

WATCH_SECONDS = 45
SILENCE_SECONDS = 15.0
JSON_PATCH = "application/json-patch+json"


@dataclass(frozen=True)
class Answer:
    """STATUS, the JSON BODY, and DATE: the server's clock in seconds since 1970 (None where it gave none)."""

    status: int
    body: Any
    date: float | None


class Lines(Protocol):
    """A watch: JSON values as they come; `cancel`, from any thread, ends the iteration."""

    def __iter__(self) -> Iterator[Any]: ...

    def cancel(self) -> None: ...


class Api(Protocol):
    """What the gateway needs of an API server; the tests' in-memory one has the same verbs."""

    def call(
        self, method: str, path: str, query: Mapping[str, str], body: Any = None, *, content: str = "application/json"
    ) -> Answer: ...

    def lines(self, path: str, query: Mapping[str, str]) -> contextlib.AbstractContextManager[Lines]: ...

    def ask_pod(self, namespace: str, pod: str, port: int, method: str, path: str, body: str) -> tuple[int, str]: ...


class _HttpLines:
    def __init__(self, response: urllib3.BaseHTTPResponse) -> None:
        self._response = response
        self._cancelled = False

    def __iter__(self) -> Iterator[Any]:
        rest = b""
        try:
            for chunk in self._response.stream(65536, decode_content=True):
                *lines, rest = (rest + chunk).split(b"\n")
                yield from (json.loads(line) for line in lines if line)
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            if not self._cancelled:
                raise Unreachable(f"The watch broke: {error}.") from error

    def cancel(self) -> None:
        self._cancelled = True
        with contextlib.suppress(OSError, RuntimeError, ValueError):
            self._response.shutdown()


class HttpApi:
    """The real API server at ENDPOINT. TIMEOUT: seconds for one answer.

    Errors: Unreachable when there is no answer. Resources: connections are pooled and end with the process.
    """

    def __init__(self, endpoint: Endpoint, *, timeout: float) -> None:
        self._endpoint = endpoint
        self._timeout = timeout
        scheme = "https" if endpoint.tls else "http"
        host = f"[{endpoint.host}]" if ":" in endpoint.host else endpoint.host
        self._root = f"{scheme}://{host}:{endpoint.port}{endpoint.path}"
        pool: dict[str, Any] = {"num_pools": 2, "maxsize": 16, "retries": False}
        if endpoint.tls:
            pool |= {"ssl_context": endpoint.tls}
            if endpoint.server_name:
                pool |= {"server_hostname": endpoint.server_name}
        self._pool = _through(endpoint.proxy, pool) if endpoint.proxy else urllib3.PoolManager(**pool)

    def call(
        self, method: str, path: str, query: Mapping[str, str], body: Any = None, *, content: str = "application/json"
    ) -> Answer:
        started = time.monotonic()
        response = self._ask(method, path, query, body, content, urllib3.Timeout(total=self._timeout))
        log.debug(
            "%s %s %s → %d, %.0f ms", method, path, dict(query), response.status, (time.monotonic() - started) * 1e3
        )
        try:
            parsed = json.loads(response.data or b"null")
        except ValueError:
            parsed = response.data.decode(errors="replace")
        return Answer(response.status, parsed, _date(response.headers))

    @contextlib.contextmanager
    def lines(self, path: str, query: Mapping[str, str]) -> Iterator[Lines]:
        # The server ends a watch by itself; a connection that died silently must not look like quiet for ever.
        silence = float(query.get("timeoutSeconds", WATCH_SECONDS)) + SILENCE_SECONDS
        query = {"timeoutSeconds": str(WATCH_SECONDS), **query}
        timeout = urllib3.Timeout(connect=self._timeout, read=silence)
        response = self._ask("GET", path, {**query, "watch": "true"}, None, "", timeout, stream=True)
        try:
            if response.status != 200:
                raise Unreachable(
                    f"The API server refused a watch on {path}: {response.status} {response.data[:300]!r}."
                )
            yield _HttpLines(response)
        finally:
            response.close()

    def ask_pod(self, namespace: str, pod: str, port: int, method: str, path: str, body: str) -> tuple[int, str]:
        from ktpy.cluster.podhttp import ask  # its WebSocket takes long to import, and few commands speak to pods

        started = time.monotonic()
        status, text = ask(self._endpoint, namespace, pod, port, method, path, body, timeout=self._timeout)
        log.debug("%s %s of pod/%s → %d, %.0f ms", method, path, pod, status, (time.monotonic() - started) * 1e3)
        return status, text

    def _ask(
        self, method: str, path: str, query: Mapping[str, str], body: Any, content: str,
        timeout: urllib3.Timeout, *, stream: bool = False,
    ) -> urllib3.BaseHTTPResponse:  # fmt: skip
        headers = {"Accept": "application/json", "User-Agent": f"ktpy/{__version__}", **self._endpoint.headers()}
        if body is not None:
            headers["Content-Type"] = content
        try:
            return self._pool.request(
                method,
                self._root + path + (f"?{urlencode(query)}" if query else ""),
                body=None if body is None else json.dumps(body).encode(),
                headers=headers,
                timeout=timeout,
                preload_content=not stream,
                redirect=False,
            )
        except (urllib3.exceptions.HTTPError, OSError) as error:
            # After a change of network all kept connections are as dead as this one, and each would cost a timeout.
            self._pool.clear()
            raise Unreachable(f"The API server {self._root} does not answer: {_plain(error)}.") from error


def _through(proxy: str, pool: dict[str, Any]) -> urllib3.PoolManager:
    """A pool behind PROXY; urllib3 does not take its credentials from the URL."""
    auth = urlsplit(proxy)
    login = f"{unquote(auth.username)}:{unquote(auth.password or '')}" if auth.username else None
    headers = urllib3.make_headers(proxy_basic_auth=login) if login else None
    return urllib3.ProxyManager(proxy, proxy_headers=headers, **pool)


def _plain(error: BaseException) -> str:
    """The innermost reason; urllib3's outer ones name objects by their addresses."""
    while error.__cause__ or error.__context__:
        error = error.__cause__ or error.__context__ or error
    return f"{error}" or type(error).__name__


def _date(headers: Mapping[str, str]) -> float | None:
    text = headers.get("Date")
    return parsedate_to_datetime(text).timestamp() if text else None
