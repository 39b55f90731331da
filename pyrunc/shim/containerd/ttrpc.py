"""ttrpc, containerd's small cousin of gRPC: frames and what is in them. No I/O.

    +----------------+----------------+------+-------+---------------
    | length, 4      | stream, 4      | type | flags | length bytes
    +----------------+----------------+------+-------+---------------
      big-endian       odd, the client's number of the call; the answer has the same

A request names a service and one of its methods; an answer has a status, which fails unless it is 0, or a
payload. Every call here is one of each (protocol: containerd/ttrpc, PROTOCOL.md).
"""

from __future__ import annotations

from pyrunc.protowire import BYTES, INT, TEXT, Malformed, decode, encode, table
from pyrunc.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

REQUEST, RESPONSE = 1, 2
HEADER_BYTES = 10
LONGEST_BYTES = 4 << 20

# Of gRPC's codes those that containerd tells apart (its package errdefs)
OK, UNKNOWN, INVALID_ARGUMENT, NOT_FOUND, ALREADY_EXISTS = 0, 2, 3, 5, 6
PERMISSION_DENIED, RESOURCE_EXHAUSTED, FAILED_PRECONDITION, UNIMPLEMENTED = 7, 8, 9, 12

_REQUEST = table(
    service=(1, TEXT),
    method=(2, TEXT),
    payload=(3, BYTES),
    timeout_nanoseconds=(4, INT),
    metadata=(5, table(key=(1, TEXT), value=(2, TEXT)), True),
)
_RESPONSE = table(status=(1, table(code=(1, INT), message=(2, TEXT))), payload=(2, BYTES))


class Failure(Exception):
    """An answer that isn't what was asked for: one of the codes above, and a sentence."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message


class Frame(Record):
    """`data` is None of a frame that was too long to be taken: it was passed over."""

    stream: int
    type: int
    data: bytes | None


class Request(Record):
    service: str
    method: str
    payload: bytes


class Decoder:
    """Bytes in, as they come; frames out. Never holds more than one frame."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._passing_over = 0

    def feed(self, data: bytes) -> Iterator[Frame]:
        """The frames that are whole now."""
        if self._passing_over:
            passed = min(self._passing_over, len(data))
            self._passing_over -= passed
            data = data[passed:]
        self._buffer += data
        while len(self._buffer) >= HEADER_BYTES:
            length = int.from_bytes(self._buffer[:4], "big")
            stream, kind = int.from_bytes(self._buffer[4:8], "big"), self._buffer[8]
            end = HEADER_BYTES + length
            if length > LONGEST_BYTES:
                self._passing_over = max(0, end - len(self._buffer))
                del self._buffer[:end]
                yield Frame(stream=stream, type=kind, data=None)
                continue
            if len(self._buffer) < end:
                return
            frame = Frame(stream=stream, type=kind, data=bytes(self._buffer[HEADER_BYTES:end]))
            del self._buffer[:end]
            yield frame


def decode_request(frame: Frame) -> Request:
    """Raises Failure for a frame that may not be asked with."""
    if frame.stream % 2 == 0:
        raise Failure(INVALID_ARGUMENT, "a client's streams have odd numbers")
    if frame.type != REQUEST:
        raise Failure(INVALID_ARGUMENT, f"a frame of type {frame.type} is no request")
    if frame.data is None:
        raise Failure(RESOURCE_EXHAUSTED, f"a message of more than {LONGEST_BYTES} bytes")
    try:
        message = decode(_REQUEST, frame.data, with_zeros=True)
    except Malformed:
        raise Failure(INVALID_ARGUMENT, "what the frame holds is no request") from None
    return Request(service=message["service"], method=message["method"], payload=message["payload"])


def encode_request(stream: int, request: Request, timeout_seconds: float) -> bytes:
    message = {
        "service": request.service,
        "method": request.method,
        "payload": request.payload,
        "timeout_nanoseconds": int(timeout_seconds * 1e9),
    }
    return _frame(stream, REQUEST, encode(_REQUEST, message))


def decode_answer(frame: Frame) -> bytes:
    """The payload. Raises Failure, also with what the other side failed of."""
    if frame.data is None or frame.type != RESPONSE:
        raise Failure(UNKNOWN, "what came is no answer")
    try:
        message = decode(_RESPONSE, frame.data, with_zeros=True)
    except Malformed:
        raise Failure(UNKNOWN, "what came is no answer") from None
    status = message["status"]
    if status is not None and status["code"] != OK:
        raise Failure(status["code"], status["message"])
    payload: bytes = message["payload"]
    return payload


def encode_answer(stream: int, payload: bytes) -> bytes:
    data = encode(_RESPONSE, {"payload": payload})
    if len(data) > LONGEST_BYTES:
        return encode_failure(stream, Failure(RESOURCE_EXHAUSTED, f"an answer of {len(data)} bytes"))
    return _frame(stream, RESPONSE, data)


def encode_failure(stream: int, failure: Failure) -> bytes:
    status: dict[str, Any] = {"code": failure.code, "message": failure.message}
    return _frame(stream, RESPONSE, encode(_RESPONSE, {"status": status}))


def _frame(stream: int, kind: int, data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + stream.to_bytes(4, "big") + bytes((kind, 0)) + data
