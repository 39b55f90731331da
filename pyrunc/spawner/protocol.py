"""The messages between a client and the spawner: one JSON document each, over a SOCK_SEQPACKET socket.

    client                                                                                      spawner
      | -- {"verb": "create", "streams": ["stdin", ...], ...arguments}  + a descriptor for each --> |
      | <- {"pid": 4711}                                                + its pidfd, exit pipe ---- |
      |                                     or                                                      |
      | <- {"error": {"kind": ..., "what": ..., "where": ..., "why": ..., "hint": ...}} ------------ |
                          the exit pipe: four bytes, the wait status, or nothing: the spawner is dead

`create` and `exec` answer so; `state` with {"state": ...}; the others with {}.

Of a connection one request is answered before the next is read. Who wants several in flight has several
connections: `connect` comes with the spawner's end of a new one, as the stream `connection`. The end of a
connection undoes what is in flight for it; the end of the first ends the spawner.
"""

from __future__ import annotations

from pyrunc import jsonio
from pyrunc.errors import INTERNAL, INVALID, PyruncError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

STATUS_BYTES = 4
# To be taken from the client's directory
PATHS = ("bundle", "directory", "state_root", "pid_file", "console_socket", "process_file")
_ERROR_FIELDS = ("kind", "what", "where", "why", "hint")


def encode(document: dict[str, Any]) -> bytes:
    return jsonio.dumps(document).encode("utf-8", "surrogatepass")


def decode(message: bytes) -> dict[str, Any]:
    """Raises PyruncError INVALID."""
    document = jsonio.loads(message, "message")
    if type(document) is not dict:
        raise PyruncError(INVALID, "invalid message", "/", "is not an object")
    return document


def take(document: dict[str, Any], kinds: dict[str, str], needed: tuple[str, ...]) -> dict[str, Any]:
    """The arguments of a request, each of its kind; lists become tuples. Raises PyruncError INVALID."""
    given = {name: value for name, value in document.items() if name not in ("verb", "streams")}
    for name in needed:
        if name not in given:
            raise PyruncError(INVALID, "invalid message", f"/{name}", "is required")
    return {name: _checked(name, value, kinds.get(name)) for name, value in given.items()}


def _checked(name: str, value: Any, kind: str | None) -> Any:
    if kind is None:
        raise PyruncError(INVALID, "invalid message", f"/{name}", "is not known")
    if kind.endswith("s"):
        if type(value) is list and all(type(item) is _KINDS[kind] for item in value):
            return tuple(value)
    elif type(value) is _KINDS[kind]:
        return value
    raise PyruncError(INVALID, "invalid message", f"/{name}", f"is not a {kind}")


_KINDS = {"string": str, "list of strings": str, "list of integers": int, "boolean": bool}


def encode_error(error: PyruncError) -> bytes:
    return encode({"error": {name: getattr(error, name) for name in _ERROR_FIELDS}})


def decode_answer(message: bytes) -> dict[str, Any]:
    """Raises the PyruncError that the spawner met."""
    if not message:
        raise PyruncError(INTERNAL, "the spawner is gone")
    document = decode(message)
    error = document.get("error")
    if error is not None:
        raise PyruncError(*(error[name] for name in _ERROR_FIELDS))
    return document


def encode_status(status: int) -> bytes:
    return status.to_bytes(STATUS_BYTES, "little")


def decode_status(data: bytes) -> int | None:
    """As waitpid(2) has it; None if there is none."""
    return int.from_bytes(data, "little") if len(data) == STATUS_BYTES else None
