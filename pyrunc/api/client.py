"""The API's client: blocking, over whatever `dial` gives: a unix socket, TLS (api.secure), or the routes in
our process.

    client = Client(dial_unix("/run/pyrunc-engine/pyruncd.sock"))
    client.call("GET", "/containers/json", query={"all": True})           the answer's JSON
    with client.stream("GET", "/containers/web/logs", query=...) as got:  got.pieces(), got.objects()
    with client.upgrade("POST", "/containers/web/attach", query=...) as raw:   raw.socket, raw.early

Where no daemon runs, `pyrunc.api.local.open_local(...)` gives a `dial` with an engine behind it; it is a
module of its own, for an engine is dear to import, as TLS is, and even `socket` (7 ms): its part in C is used
here. What an answer says is wrong is raised as the PyruncError
that the daemon had met, by the table of `status`.
"""

from __future__ import annotations

from _socket import AF_UNIX, SHUT_WR, SOCK_STREAM

from pyrunc import jsonio
from pyrunc.api import http1
from pyrunc.api.status import error_of
from pyrunc.api.wire import Wire
from pyrunc.errors import INTERNAL, INVALID, PyruncError, describe_errno

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from socket import socket as Socket
    from typing import Any, Self, TypeAlias

    from pyrunc.api.wire import Body

    Dial: TypeAlias = Callable[[], Socket]
    Query: TypeAlias = Mapping[str, Any]
else:
    from _socket import socket as Socket

VERSION = "1.51"
_PLAIN = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-~")
_ERROR_LIMIT_BYTES = 1 << 20


def dial_unix(path: str) -> Dial:
    def dial() -> Socket:
        connection = Socket(AF_UNIX, SOCK_STREAM)
        try:
            connection.connect(path)
        except OSError as error:
            connection.close()
            raise cannot_connect(f"unix://{path}", error) from error
        return connection

    return dial


def cannot_connect(address: str, error: OSError) -> PyruncError:
    why = describe_errno(error.errno) if error.errno else str(error)
    return PyruncError(
        INTERNAL,
        "Cannot connect to the daemon",
        address,
        why,
        hint="is pyruncd running, and may you talk to it?",
    )


class Answer:
    """An answer's body, read as it comes. A context: leaving it closes the connection."""

    def __init__(self, wire: Wire, head: http1.Response, body: Body) -> None:
        self._wire, self.head, self._body = wire, head, body

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._wire.close()

    def fileno(self) -> int:
        return self._wire.socket.fileno()

    def pieces(self) -> Iterator[bytes]:
        return self._body.pieces()

    def read(self, size: int = -1) -> bytes:
        return self._body.read(size)

    def objects(self) -> Iterator[dict[str, Any]]:
        """JSON objects, one a line: progress, events, statistics."""
        rest = b""
        for piece in self._body.pieces():
            *lines, rest = (rest + piece).split(b"\n")
            yield from (jsonio.loads(line, "answer") for line in lines if line.strip())
        if rest.strip():
            yield jsonio.loads(rest, "answer")


class Upgraded:
    """The connection after a 101: `early` came with its head. `is_multiplexed`: in frames, of stdout and
    stderr; else one raw stream, a terminal's."""

    def __init__(self, wire: Wire, head: http1.Response) -> None:
        self.socket, self.early = wire.socket, wire.buffered
        self.is_multiplexed = head.header("content-type").endswith("multiplexed-stream")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.socket.close()

    def end_input(self) -> None:
        self.socket.shutdown(SHUT_WR)


class Client:
    """One call at a time: threads have one each. `call` keeps its connection for the next."""

    def __init__(self, dial: Dial, version: str = VERSION) -> None:
        self._dial, self._version = dial, version
        self._kept: Wire | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        if self._kept is not None:
            self._kept.close()
            self._kept = None

    def call(
        self,
        method: str,
        path: str,
        *,
        query: Query | None = None,
        body: object = None,
        headers: Query | None = None,
    ) -> Any:
        """`body`: sent as JSON. Returns the answer's JSON; None if it has none. Raises the daemon's
        PyruncError (of kind NOT_MODIFIED where there was nothing to do)."""
        wire, self._kept = self._connection(), None
        try:
            head, answer = self._ask(wire, method, path, query, body, headers)
            data = answer.read()
        except BaseException:
            wire.close()
            raise
        if head.header("connection").lower() == "close" or not head.minor:
            wire.close()
        else:
            self._kept = wire
        _require_success(head, data)
        if not data.strip():
            return None
        is_json = head.header("content-type").startswith("application/json")
        return jsonio.loads(data, "answer") if is_json else data.decode("utf-8", "replace")

    def stream(
        self,
        method: str,
        path: str,
        *,
        query: Query | None = None,
        body: object = None,
        data: Iterable[bytes] | None = None,
        headers: Query | None = None,
    ) -> Answer:
        """`data`: a body in pieces, sent as they come, before the answer is read."""
        wire = Wire(self._dial())
        try:
            head, answer = self._ask(wire, method, path, query, body, headers, data)
            if head.status >= 300:
                _require_success(head, answer.read_limited(_ERROR_LIMIT_BYTES))
        except BaseException:
            wire.close()
            raise
        return Answer(wire, head, answer)

    def upgrade(self, method: str, path: str, *, query: Query | None = None, body: object = None) -> Upgraded:
        wire = Wire(self._dial())
        try:
            wanted = {"Connection": "Upgrade", "Upgrade": "tcp"}
            head, answer = self._ask(wire, method, path, query, body, wanted)
            if head.status != 101:
                _require_success(head, answer.read_limited(_ERROR_LIMIT_BYTES))
                raise PyruncError(INTERNAL, "the daemon does not give its streams away", path)
        except BaseException:
            wire.close()
            raise
        return Upgraded(wire, head)

    def _connection(self) -> Wire:
        if self._kept is not None and not self._kept.has_hung_up():
            return self._kept
        self.close()
        return Wire(self._dial())

    def _ask(
        self,
        wire: Wire,
        method: str,
        path: str,
        query: Query | None,
        body: object,
        headers: Query | None,
        data: Iterable[bytes] | None = None,
    ) -> tuple[http1.Response, Body]:
        fields = [("Host", "pyruncd"), *(headers or {}).items()]
        document = b""
        if data is not None:
            fields.append(("Transfer-Encoding", "chunked"))
        elif body is not None:
            document = jsonio.dumps(body).encode()
            fields += [("Content-Type", "application/json"), ("Content-Length", str(len(document)))]
        elif method != "GET":
            fields.append(("Content-Length", "0"))
        target = f"/v{self._version}{quote(path)}{_encode_query(query)}"
        wire.send(http1.encode_request(method, target, fields) + document)
        for piece in data or ():
            wire.send_chunk(piece)
        if data is not None:
            wire.send(http1.LAST_CHUNK)
        return self._read_answer(wire, method)

    def _read_answer(self, wire: Wire, method: str) -> tuple[http1.Response, Body]:
        while True:
            raw = wire.read_head()
            if raw is None:
                raise PyruncError(INTERNAL, "the daemon closed the connection without an answer")
            head = http1.parse_response(raw)
            if head.status >= 200 or head.status == 101:
                return head, wire.body(http1.framing_of_response(head, method))


def _require_success(head: http1.Response, data: bytes) -> None:
    if 200 <= head.status < 300:
        return
    message = data.decode("utf-8", "replace").strip()
    if head.header("content-type").startswith("application/json"):
        document = jsonio.loads(data, "answer") if data.strip() else {}
        if type(document) is dict:
            message = str(document.get("message") or document.get("cause") or message)
    raise error_of(head.status, message or f"{head.status} {head.reason}")


def _encode_query(query: Query | None) -> str:
    """True is 1, False and None are left out, a list is said once for each, a dict is JSON."""
    pairs: list[tuple[str, str]] = []
    for name, value in (query or {}).items():
        if type(value) is dict:
            pairs.append((name, jsonio.dumps(value)))
        elif type(value) in (list, tuple):
            pairs += [(name, str(one)) for one in value]
        elif value is True:
            pairs.append((name, "1"))
        elif value is not None and value is not False:
            pairs.append((name, str(value)))
    return "?" + "&".join(f"{quote(name, '')}={quote(value, '')}" for name, value in pairs) if pairs else ""


def quote(text: str, also: str = "/") -> str:
    """RFC 3986 section 2.1. `also`: what else is left as it is. urllib.parse would cost 9 ms."""
    data = text.encode(errors="surrogateescape")
    if _PLAIN.issuperset(data):
        return text
    kept = _PLAIN.union(also.encode())
    return "".join(chr(byte) if byte in kept else f"%{byte:02X}" for byte in data)


def parse_address(text: str) -> tuple[str, str, int]:
    """`unix:///path` -> ("unix", path, 0), `tcp://host:port` -> ("tcp", host, port), as DOCKER_HOST has them.

    Raises PyruncError INVALID."""
    scheme, found, rest = text.partition("://")
    if found and scheme == "unix" and rest.startswith("/"):
        return scheme, rest, 0
    host, colon, port = rest.rstrip("/").rpartition(":")
    if scheme == "tcp" and colon and host and port.isdigit() and int(port) < 1 << 16:
        return scheme, host.strip("[]"), int(port)
    raise PyruncError(INVALID, "invalid address", text, hint="unix:///path or tcp://host:port")
