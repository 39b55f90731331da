"""HTTP/1.1 to registries: connections that are kept, redirects that leak nothing, proxies, and retries.

A thread per transfer over the standard library's client, which lets go of the GIL while it waits, hashes and
copies. A response that was not read to its end closes its connection.
"""

from __future__ import annotations

import http.client
import os
import random
import socket
import ssl
import threading
import time
import urllib.parse
import urllib.request

from pyrunc.errors import INTERNAL, INVALID, PyruncError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    _T = TypeVar("_T")
    Headers = dict[str, str]

_TIMEOUT_SECONDS = 60.0
_REDIRECTS = (301, 302, 303, 307, 308)
_MOST_REDIRECTS = 5
_MAXIMUM_ERROR = 64 << 10
_RETRIED = (408, 429, 500, 502, 503, 504)
_ATTEMPTS = 6
_FIRST_DELAY, _LONGEST_DELAY = 0.25, 8.0
_LONGEST_ASKED = 60.0  # what Retry-After may ask of us

TRANSIENT = (ConnectionError, TimeoutError, http.client.HTTPException, ssl.SSLError, OSError)
USER_AGENT = "pyrunc"


class Response:
    """`status`, `headers` by lower-case name, `url` where it came from in the end."""

    def __init__(self, client: Client, key: str, connection: http.client.HTTPConnection, url: str) -> None:
        self._client, self._key, self._connection = client, key, connection
        self._raw = connection.getresponse()
        self.status, self.url = self._raw.status, url
        self.headers = {name.lower(): value for name, value in self._raw.getheaders()}

    def __enter__(self) -> Response:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def readinto(self, memory: memoryview) -> int:
        return self._raw.readinto(memory)

    def read(self, maximum: int) -> bytes:
        """All of it. Raises INVALID where it is longer."""
        data = self._raw.read(maximum + 1)
        if len(data) > maximum:
            raise PyruncError(INVALID, "answer is too long", self.url, f"more than {maximum} bytes")
        return data

    def close(self) -> None:
        if self._raw.isclosed() and not self._raw.will_close:
            self._client.keep(self._key, self._connection)
        else:
            self._connection.close()


class Client:
    """Connections to any host, with or without verification, for all threads of an operation."""

    def __init__(self, *, verify: bool = True, certificates: str = "") -> None:
        self._lock = threading.Lock()
        self._idle: dict[str, list[http.client.HTTPConnection]] = {}
        self._verify, self._certificates = verify, certificates
        self._tls: ssl.SSLContext | None = None

    def close(self) -> None:
        with self._lock:
            idle, self._idle = self._idle, {}
        for connections in idle.values():
            for connection in connections:
                connection.close()

    def keep(self, key: str, connection: http.client.HTTPConnection) -> None:
        with self._lock:
            self._idle.setdefault(key, []).append(connection)

    def request(self, method: str, url: str, headers: Headers, body: bytes | None = None) -> Response:
        """One exchange, redirects followed for what only reads. Raises one of TRANSIENT; INVALID for a
        redirect that must not be followed."""
        for _ in range(_MOST_REDIRECTS + 1):
            response = self._once(method, url, headers, body)
            location = response.headers.get("location")
            if response.status not in _REDIRECTS or not location or method not in ("GET", "HEAD"):
                return response
            response.read(_MAXIMUM_ERROR)
            response.close()
            target = urllib.parse.urljoin(url, location)
            headers = _for_redirect(url, target, headers)
            url = target
        raise PyruncError(INVALID, "too many redirects", url)

    def _once(self, method: str, url: str, headers: Headers, body: bytes | None) -> Response:
        parts = urllib.parse.urlsplit(url)
        key = f"{parts.scheme}://{parts.netloc}"
        with self._lock:
            idle = self._idle.get(key)
            connection = idle.pop() if idle else None
        target = f"{parts.path or '/'}{f'?{parts.query}' if parts.query else ''}"
        headers = {"User-Agent": USER_AGENT, **headers}
        if connection is not None:
            try:
                connection.request(method, target, body, headers)
                return Response(self, key, connection, url)
            except (ConnectionError, http.client.RemoteDisconnected):
                connection.close()
                if method not in ("GET", "HEAD"):
                    raise  # what has arrived of it is for the caller to find out
            # it was closed while it was idle: a new one, then
        connection, absolute = self._connect(parts)
        try:
            connection.request(method, key + target if absolute else target, body, headers)
            return Response(self, key, connection, url)
        except BaseException:
            connection.close()
            raise

    def _connect(self, parts: urllib.parse.SplitResult) -> tuple[http.client.HTTPConnection, bool]:
        """A connection, and whether its requests need whole addresses, as those to a proxy do."""
        host = parts.hostname or ""
        proxy = _proxy_for(parts.scheme, parts.netloc)
        if parts.scheme == "http":
            if proxy is None:
                return http.client.HTTPConnection(host, parts.port or 80, timeout=_TIMEOUT_SECONDS), False
            return http.client.HTTPConnection(proxy[0], proxy[1], timeout=_TIMEOUT_SECONDS), True
        context = self._context()
        if proxy is None:
            made = http.client.HTTPSConnection(
                host, parts.port or 443, timeout=_TIMEOUT_SECONDS, context=context
            )
            return made, False
        through = http.client.HTTPSConnection(proxy[0], proxy[1], timeout=_TIMEOUT_SECONDS, context=context)
        through.set_tunnel(host, parts.port or 443)
        return through, False

    def _context(self) -> ssl.SSLContext:
        with self._lock:
            if self._tls is None:
                self._tls = _make_context(self._certificates, verify=self._verify)
            return self._tls


def _make_context(certificates: str, *, verify: bool) -> ssl.SSLContext:
    """`certificates`: a directory as docker's certs.d/HOST: *.crt are authorities, *.cert and *.key ours."""
    context = ssl.create_default_context()
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if certificates and os.path.isdir(certificates):
        for name in sorted(os.listdir(certificates)):
            path = f"{certificates}/{name}"
            try:
                if name.endswith(".crt"):
                    context.load_verify_locations(path)
                elif name.endswith(".cert"):
                    context.load_cert_chain(path, path.removesuffix(".cert") + ".key")
            except (OSError, ssl.SSLError) as error:
                raise PyruncError(INVALID, "invalid certificate", path, str(error)) from error
    return context


def _proxy_for(scheme: str, netloc: str) -> tuple[str, int] | None:
    """From the environment: HTTP_PROXY, HTTPS_PROXY, NO_PROXY. Never for loopback."""
    host = urllib.parse.urlsplit(f"//{netloc}").hostname or ""
    if host in ("localhost", "::1") or host.startswith("127."):
        return None
    proxy = urllib.request.getproxies_environment().get(scheme)
    if not proxy or urllib.request.proxy_bypass(netloc):
        return None
    parts = urllib.parse.urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    return (parts.hostname or "", parts.port or 3128)


def _for_redirect(old: str, new: str, headers: Headers) -> Headers:
    """Credentials are for the host that they were given for; from https nothing leads back to http."""
    before, after = urllib.parse.urlsplit(old), urllib.parse.urlsplit(new)
    if after.scheme not in ("http", "https") or not after.hostname:
        raise PyruncError(INVALID, "invalid redirect", old, f"to {new[:200]}")
    if (before.scheme, after.scheme) == ("https", "http"):
        raise PyruncError(INVALID, "invalid redirect", old, "it leads from https to http")
    if (before.scheme, before.netloc) == (after.scheme, after.netloc):
        return headers
    return {name: value for name, value in headers.items() if name.lower() != "authorization"}


class Busy(Exception):
    """An answer that says: not now. `delay` in seconds, as it asked for, or 0."""

    def __init__(self, response: Response) -> None:
        super().__init__(f"{response.url}: status {response.status}")
        asked = response.headers.get("retry-after", "")
        self.delay = min(float(asked), _LONGEST_ASKED) if asked.isdigit() else 0.0


def require_not_busy(response: Response) -> Response:
    """Raises Busy for what should be tried again."""
    if response.status in _RETRIED:
        busy = Busy(response)
        response.close()
        raise busy
    return response


def retried(
    what: str,
    where: str,
    action: Callable[[], _T],
    gains: Callable[[], int] | None = None,
    attempts: int = _ATTEMPTS,
) -> _T:
    """`action`, tried again with growing delays. `gains`: how far it has come; an attempt that came further
    counts as the first. Raises INTERNAL with what the last attempt failed of."""
    attempt, before = 0, gains() if gains else 0
    while True:
        try:
            return action()
        except (Busy, *TRANSIENT) as error:
            if gains and gains() > before:
                attempt, before = 0, gains()
            attempt += 1
            if attempt >= attempts or _is_final(error):
                raise PyruncError(INTERNAL, what, where, str(error) or type(error).__name__) from error
            delay = min(_FIRST_DELAY * 2 ** (attempt - 1), _LONGEST_DELAY) * (0.75 + random.random() / 2)
            time.sleep(max(delay, error.delay if isinstance(error, Busy) else 0.0))


def _is_final(error: Exception) -> bool:
    """There is no such host, nobody listens, they don't speak TLS, or aren't who they say: that stays so."""
    if isinstance(error, socket.gaierror):
        return error.errno == socket.EAI_NONAME
    if isinstance(error, ssl.SSLError):
        return not isinstance(error, (ssl.SSLEOFError, ssl.SSLZeroReturnError))
    return isinstance(error, ConnectionRefusedError)


def read_error(response: Response) -> str:
    """What a registry says of a failure, as far as it can be shown."""
    data = response.read(_MAXIMUM_ERROR)
    return f"status {response.status}: {data[:300].decode('utf-8', 'replace').strip()}"
