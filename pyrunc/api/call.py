"""What a route is given, and what it may answer. Plain values: no socket is seen from a route but `peer`."""

from __future__ import annotations

import base64
import binascii
from urllib.parse import parse_qs, unquote

from pyrunc import jsonio
from pyrunc.api.bodies import require_shape
from pyrunc.errors import INVALID, PyruncError
from pyrunc.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any, TypeAlias

    from pyrunc.api.bodies import Shape
    from pyrunc.api.http1 import Headers, Request
    from pyrunc.api.wire import Body

DOCUMENT_LIMIT_BYTES = 8 << 20
_NO = ("", "0", "no", "false", "none")

RAW_STREAM = "application/vnd.docker.raw-stream"
MULTIPLEXED_STREAM = "application/vnd.docker.multiplexed-stream"
FRAMES_HAVE_A_TYPE = (1, 42)  # before, both were the raw one


class Json(Record):
    value: Any
    status: int = 200
    headers: Headers = ()


class Empty(Record):
    status: int = 204
    headers: Headers = ()


class Text(Record):
    text: str
    status: int = 200
    headers: Headers = ()


def _nothing() -> None:
    pass


class Stream(Record):
    """Chunks, as they come. The head goes out before the first is asked for: a client of `wait` waits for it
    before it starts the container. An error in between cuts the connection, for it is too late to say
    more. `done` is called at the end, also of a client who was gone before the first."""

    pieces: Iterable[bytes]
    done: Callable[[], None] = _nothing
    content_type: str = "application/json"
    status: int = 200
    headers: Headers = ()


class Upgrade(Record):
    """The connection becomes the container's streams: `begin` gets a descriptor of it, of which it takes a
    copy if it is to stay open; `done` is called after that, or if it does not come to it, and perhaps
    twice."""

    begin: Callable[[int], None]
    done: Callable[[], None] = _nothing
    content_type: str = RAW_STREAM


Reply: TypeAlias = "Json | Empty | Text | Stream | Upgrade"


class Call:
    """A request on its route. `names`: the variable parts of its path; `peer`: a descriptor that tells when
    the client is gone (-1: never)."""

    def __init__(
        self,
        request: Request,
        names: dict[str, str],
        query: str,
        version: tuple[int, int],
        body: Body,
        peer: int,
    ) -> None:
        self.request, self.names, self.version, self.body, self.peer = request, names, version, body, peer
        try:
            self.query: dict[str, list[str]] = parse_qs(
                query, keep_blank_values=True, max_num_fields=1000, errors="strict"
            )
        except ValueError as error:
            raise PyruncError(INVALID, "bad query", "", str(error)) from None

    def text(self, name: str, default: str = "") -> str:
        return self.query.get(name, (default,))[-1]

    def texts(self, name: str) -> list[str]:
        return self.query.get(name, [])

    def is_set(self, name: str, default: bool = False) -> bool:
        """As the API reads a switch: anything but no, 0, false, none and nothing is yes."""
        if name not in self.query:
            return default
        return self.text(name).strip().lower() not in _NO

    def number(self, name: str, default: int | None = None) -> int | None:
        text = self.text(name)
        if not text:
            return default
        try:
            return int(text)
        except ValueError:
            raise PyruncError(INVALID, f"invalid number for {name}", text) from None

    def document(self, shape: Shape | None = None) -> dict[str, Any]:
        """The body, a JSON object (of this `shape`, see bodies); an empty one if there is none. Raises
        PyruncError INVALID."""
        data = self.body.read_limited(DOCUMENT_LIMIT_BYTES)
        if not data.strip():
            return {}
        kind = self.request.header("content-type").partition(";")[0].strip().lower()
        if kind not in ("application/json", ""):
            raise PyruncError(
                INVALID, f"unsupported Content-Type header ({kind}): must be 'application/json'"
            )
        value = jsonio.loads(data, "body")
        if value is None:
            return {}
        if type(value) is not dict:
            raise PyruncError(INVALID, "the body is no JSON object")
        if shape is not None:
            require_shape(value, shape)
        return value

    def query_document(self, name: str) -> Any:
        """JSON in a query parameter; None if there is none."""
        text = self.text(name)
        return jsonio.loads(text.encode(), name) if text else None

    def filters(self, known: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
        """In both of the shapes that clients send: {"status": {"exited": true}} and {"status": ["exited"]}.

        Raises PyruncError INVALID for one that is not `known`."""
        given = self.query_document("filters") or {}
        if type(given) is not dict:
            raise PyruncError(INVALID, "invalid filter", "", "is not an object")
        found = {}
        for name, values in given.items():
            if name not in known:
                raise PyruncError(INVALID, f"invalid filter '{name}'")
            if type(values) is dict:
                values = [value for value, wanted in values.items() if wanted]
            if type(values) is not list or not all(type(value) is str for value in values):
                raise PyruncError(INVALID, f"invalid filter '{name}'", "", "is not a list of strings")
            found[name] = tuple(values)
        return found

    def header_document(self, name: str) -> dict[str, Any]:
        """A JSON object in base64, url-safe or not, as X-Registry-Auth has it. None there: an empty one."""
        text = self.request.header(name)
        if not text:
            return {}
        try:
            data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        except binascii.Error as error:
            raise PyruncError(INVALID, f"invalid {name} header", "", str(error)) from None
        value = jsonio.loads(data, name)
        return value if type(value) is dict else {}

    def stream_type(self, is_terminal: bool) -> str:
        return RAW_STREAM if is_terminal or self.version < FRAMES_HAVE_A_TYPE else MULTIPLEXED_STREAM


def frame(stream: int, data: bytes) -> bytes:
    """Docker's header of eight bytes (stream 1: stdout, 2: stderr), and the data."""
    return bytes((stream, 0, 0, 0)) + len(data).to_bytes(4, "big") + data


def unquoted(text: str) -> str:
    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError:
        raise PyruncError(INVALID, "the path is not UTF-8") from None
