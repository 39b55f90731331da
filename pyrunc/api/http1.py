"""HTTP/1.1 without I/O: bytes to heads and bodies, and back (RFC 9112). Daemon and client share it.

Every byte is a stranger's. What two readers could understand in two ways is refused, not guessed at: a body
with two lengths, blanks before a colon, folded lines, bare line feeds, chunk sizes with signs or underscores.
http.client would cost the client 27 ms, and keeps its socket to itself after an upgrade.
"""

from __future__ import annotations

from pyrunc.errors import INVALID, PyruncError
from pyrunc.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import TypeAlias

    Headers: TypeAlias = tuple[tuple[str, str], ...]

HEAD_LIMIT_BYTES = 64 << 10  # a push's credentials for many registries travel in a header
HEADER_LIMIT = 128
_CHUNK_LINE_LIMIT_BYTES = 256  # a size, and extensions which nobody sends
_CHUNK_LIMIT_BYTES = 1 << 40

NO_BODY, CHUNKED, UNTIL_CLOSE = 0, -1, -2  # framings; any other number is a length in bytes
END_OF_HEAD = b"\r\n\r\n"
LAST_CHUNK = b"0\r\n\r\n"

_TOKEN = frozenset(b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
_DIGITS = frozenset("0123456789")
_HEX = frozenset(b"0123456789abcdefABCDEF")
_REASONS = {
    101: "UPGRADED", 200: "OK", 201: "Created", 204: "No Content", 304: "Not Modified", 400: "Bad Request",
    401: "Unauthorized", 403: "Forbidden", 404: "Not Found", 405: "Method Not Allowed", 406: "Not Acceptable",
    409: "Conflict", 500: "Internal Server Error", 501: "Not Implemented", 503: "Service Unavailable",
}  # fmt: skip


class Request(Record):
    """`target` as it came: path and query, still with percent signs. Header names are in lower case."""

    method: str
    target: str
    headers: Headers = ()
    minor: int = 1

    def header(self, name: str) -> str:
        """Its first value; nothing if there is none."""
        return _header(self.headers, name)

    @property
    def wants_upgrade(self) -> bool:
        """To bytes of another protocol in both directions (attach, exec)."""
        words = (word.strip() for word in self.header("connection").lower().split(","))
        return "upgrade" in words and bool(self.header("upgrade"))

    @property
    def keeps_alive(self) -> bool:
        connection = self.header("connection").lower()
        return "close" not in connection if self.minor else "keep-alive" in connection


class Response(Record):
    status: int
    reason: str = ""
    headers: Headers = ()
    minor: int = 1

    def header(self, name: str) -> str:
        return _header(self.headers, name)


def _header(headers: Headers, name: str) -> str:
    for known, value in headers:
        if known == name:
            return value
    return ""


def _refuse(what: str) -> PyruncError:
    return PyruncError(INVALID, "bad HTTP message", "", what)


def parse_request(head: bytes) -> Request:
    """`head`: up to and without the empty line. Raises PyruncError INVALID."""
    first, headers = _parse_head(head)
    parts = first.split(b" ")
    if len(parts) != 3 or not parts[0] or not _TOKEN.issuperset(parts[0]):
        raise _refuse("the first line is no request")
    method, target, version = parts
    if not target.startswith(b"/") or any(byte <= 32 or byte >= 127 for byte in target):
        raise _refuse("the target is not a path")
    return Request(
        method=method.decode(), target=target.decode(), headers=headers, minor=_parse_version(version)
    )


def parse_response(head: bytes) -> Response:
    """Raises PyruncError INVALID."""
    first, headers = _parse_head(head)
    version, _, rest = first.partition(b" ")
    code, _, reason = rest.partition(b" ")
    if len(code) != 3 or not code.isdigit():
        raise _refuse("the first line is no response")
    return Response(
        status=int(code), reason=reason.decode("latin-1"), headers=headers, minor=_parse_version(version)
    )


def _parse_version(version: bytes) -> int:
    if version not in (b"HTTP/1.1", b"HTTP/1.0"):
        raise _refuse("neither HTTP/1.1 nor HTTP/1.0")
    return version[-1] - ord("0")


def _parse_head(head: bytes) -> tuple[bytes, Headers]:
    lines = head.split(b"\r\n")
    if len(lines) > HEADER_LIMIT:
        raise _refuse("too many headers")
    return lines[0], tuple(map(_parse_header, lines[1:]))


def _parse_header(line: bytes) -> tuple[str, str]:
    name, colon, value = line.partition(b":")
    if not colon or not name or not _TOKEN.issuperset(name):
        raise _refuse("a line is no header")
    value = value.strip(b" \t")
    if any((byte < 32 and byte != 9) or byte == 127 for byte in value):
        raise _refuse("a header has control characters")
    return name.decode().lower(), value.decode("latin-1")


def framing_of_request(request: Request) -> int:
    """NO_BODY, CHUNKED or a length. Raises PyruncError INVALID (RFC 9112 section 6.3)."""
    declared = _framing(request.headers)
    return NO_BODY if declared is None else declared


def framing_of_response(response: Response, method: str) -> int:
    """NO_BODY, CHUNKED, UNTIL_CLOSE or a length. Raises PyruncError INVALID."""
    if method == "HEAD" or response.status in (204, 304) or response.status < 200:
        return NO_BODY
    declared = _framing(response.headers)
    return UNTIL_CLOSE if declared is None else declared


def _framing(headers: Headers) -> int | None:
    lengths = {value for name, value in headers if name == "content-length"}
    codings = [value.lower() for name, value in headers if name == "transfer-encoding"]
    if codings:
        if codings != ["chunked"] or lengths:
            raise _refuse("the length of the body is not clear")
        return CHUNKED
    if not lengths:
        return None
    text = lengths.pop()
    if lengths or not text or len(text) > 15 or not _DIGITS.issuperset(text):
        raise _refuse("the length of the body is not clear")
    return int(text)


class Decoder:
    """A body as it arrives: `decode` gives what is of the body, `is_done` tells that it has ended, `rest` has
    what came behind it."""

    __slots__ = ("_buffer", "_framing", "_in_trailer", "_left", "is_done", "rest")

    def __init__(self, framing: int) -> None:
        self._framing = framing
        self._left = max(framing, 0)  # of the body, or of the chunk with its line end
        self._buffer = bytearray()
        self._in_trailer = False  # the last chunk has come, and not yet the empty line behind it
        self.is_done = framing == NO_BODY
        self.rest = b""

    def decode(self, data: bytes) -> bytes:
        """Raises PyruncError INVALID for broken chunks."""
        if self.is_done:
            self.rest += data
            return b""
        if self._framing == UNTIL_CLOSE:
            return data
        if self._framing != CHUNKED:
            taken = data[: self._left]
            self._left -= len(taken)
            if not self._left:
                self._finish(data[len(taken) :])
            return taken
        self._buffer += data
        return b"".join(self._chunks())

    def end(self) -> None:
        """The peer has closed. Raises PyruncError INVALID if that is too early."""
        if self._framing == UNTIL_CLOSE:
            self.is_done = True
        if not self.is_done:
            raise _refuse("it ends in the middle of its body")

    def _finish(self, rest: bytes) -> None:
        self.is_done = True
        self.rest = rest

    def _chunks(self) -> Iterable[bytes]:
        """`_left` is 0 where a line with a size comes, else what is left of a chunk and its CR LF."""
        buffer = self._buffer
        while buffer and not self._in_trailer:
            if not self._left:
                size = self._take_size()
                if size is None:
                    return
                self._in_trailer = size == 0
                self._left = size + 2 if size else 0
            elif self._left > 2:
                piece = bytes(buffer[: self._left - 2])
                del buffer[: len(piece)]
                self._left -= len(piece)
                yield piece
            elif len(buffer) >= self._left:
                if buffer[:2] != b"\r\n":
                    raise _refuse("a chunk is longer than it says")
                del buffer[:2]
                self._left = 0
            else:
                return
        if self._in_trailer:
            self._take_trailer()

    def _take_size(self) -> int | None:
        line, found, _ = self._buffer.partition(b"\r\n")
        if not found:
            if len(self._buffer) > _CHUNK_LINE_LIMIT_BYTES:
                raise _refuse("a chunk has no size")
            return None
        del self._buffer[: len(line) + 2]
        digits = bytes(line.partition(b";")[0]).rstrip(b" \t")
        if not digits or len(digits) > 16 or not _HEX.issuperset(digits):
            raise _refuse("a chunk has no size")
        size = int(digits, 16)
        if size > _CHUNK_LIMIT_BYTES:
            raise _refuse("a chunk is too large")
        return size

    def _take_trailer(self) -> None:
        """Fields after the last chunk are read over."""
        while True:
            line, found, rest = bytes(self._buffer).partition(b"\r\n")
            if not found:
                if len(self._buffer) > HEAD_LIMIT_BYTES:
                    raise _refuse("too much after the last chunk")
                return
            del self._buffer[: len(line) + 2]
            if not line:
                self._buffer.clear()
                self._finish(rest)
                return


def encode_request(method: str, target: str, headers: Iterable[tuple[str, str]] = ()) -> bytes:
    return _encode(f"{method} {target} HTTP/1.1", headers)


def encode_response(status: int, headers: Iterable[tuple[str, str]] = ()) -> bytes:
    return _encode(f"HTTP/1.1 {status} {_REASONS.get(status, 'Status')}", headers)


def _encode(first: str, headers: Iterable[tuple[str, str]]) -> bytes:
    """Raises PyruncError INVALID where a value would begin a line of its own."""
    lines = [first, *(f"{name}: {value}" for name, value in headers)]
    if any("\r" in line or "\n" in line for line in lines):
        raise _refuse("a header has a line break")
    return "\r\n".join((*lines, "", "")).encode("latin-1", "replace")


def encode_chunk(data: bytes) -> bytes:
    """Nothing for nothing: an empty chunk would be the last."""
    return b"%x\r\n%b\r\n" % (len(data), data) if data else b""
