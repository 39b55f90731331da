"""The wire format of Protocol Buffers, for the few messages that we exchange with others: criu, containerd.

A message is a dict; a table of Fields says how its names are written. The library `protobuf` would be 30 ms
of imports and several MiB in every process; it judges us in the tests. See its documentation, "Encoding".
"""

from __future__ import annotations

from pyrunc.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

# What a field holds: BOOL; INT of up to 64 bits with a sign, UINT without; TEXT; BYTES
BOOL, INT, UINT, TEXT, BYTES = "bool", "int", "uint", "text", "bytes"
_ZERO = {BOOL: False, INT: 0, UINT: 0, TEXT: "", BYTES: b""}
_VARINTS = (BOOL, INT, UINT)
_VARINT, _EIGHT_BYTES, _DELIMITED, _FOUR_BYTES = 0, 1, 2, 5
_WORD = (1 << 64) - 1


class Malformed(ValueError):
    """These bytes are no message."""


class Field(Record):
    """`kind`: one of the above, or the table of a message; a field that is `many` is a tuple."""

    number: int
    kind: Any
    many: bool = False


def table(**fields: tuple[int, Any] | tuple[int, Any, bool]) -> dict[str, Field]:
    """Of `name=(number, kind)`, with a third member for a field that is `many`."""
    return {
        name: Field(number=entry[0], kind=entry[1], many=len(entry) == 3) for name, entry in fields.items()
    }


def encode(fields: Mapping[str, Field], message: Mapping[str, Any]) -> bytes:
    """What is in `message` is written, also if it is zero; None is as if it weren't there. Raises KeyError
    for a name that isn't in the table."""
    parts = []
    for name, value in message.items():
        field = fields[name]
        if value is None:
            continue
        if not field.many:
            parts.append(_encode_field(field, value))
        elif field.kind in _VARINTS:
            packed = b"".join(_encode_varint(int(item) & _WORD) for item in value)
            parts.append(_delimited(field.number, packed))
        else:
            parts += [_encode_field(field, item) for item in value]
    return b"".join(parts)


def _encode_field(field: Field, value: Any) -> bytes:
    if field.kind in _VARINTS:  # a number below zero is written as one of 64 bits
        return _encode_varint(field.number << 3 | _VARINT) + _encode_varint(int(value) & _WORD)
    if field.kind == TEXT:
        return _delimited(field.number, value.encode("utf-8", "surrogateescape"))
    return _delimited(field.number, value if field.kind == BYTES else encode(field.kind, value))


def _delimited(number: int, data: bytes) -> bytes:
    return _encode_varint(number << 3 | _DELIMITED) + _encode_varint(len(data)) + data


def _encode_varint(value: int) -> bytes:
    """Seven bits a byte, the lowest first; all but the last have the eighth bit set."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def decode(fields: Mapping[str, Field], data: bytes, *, with_zeros: bool = False) -> dict[str, Any]:
    """The fields that are set and that the table knows; those that a newer peer adds are left out. Of one
    that comes twice, the last counts. `with_zeros`: as proto3 has it, what isn't set has the zero of its
    kind, () if it is many, and None if it is a message. Raises Malformed."""
    by_number = {field.number: (name, field) for name, field in fields.items()}
    found: dict[str, Any] = {}
    if with_zeros:
        found = {
            name: () if field.many else _ZERO[field.kind] if isinstance(field.kind, str) else None
            for name, field in fields.items()
        }
    lists: dict[str, list[Any]] = {}
    for number, wire_type, raw in _walk(data):
        if number not in by_number:
            continue
        name, field = by_number[number]
        if not field.many:
            found[name] = _decode_value(field, wire_type, raw, with_zeros)
        elif field.kind in _VARINTS and wire_type == _DELIMITED:
            lists.setdefault(name, []).extend(_unpack(field, raw))
        else:
            lists.setdefault(name, []).append(_decode_value(field, wire_type, raw, with_zeros))
    found.update((name, tuple(items)) for name, items in lists.items())
    return found


def _decode_value(field: Field, wire_type: int, raw: Any, with_zeros: bool) -> Any:
    kind = field.kind
    if wire_type != (_VARINT if kind in _VARINTS else _DELIMITED):
        raise Malformed
    if kind in _VARINTS:
        return _as_number(kind, raw)
    if kind == TEXT:
        return raw.decode("utf-8", "surrogateescape")
    return raw if kind == BYTES else decode(kind, raw, with_zeros=with_zeros)


def _as_number(kind: str, raw: int) -> int | bool:
    if kind == BOOL:
        return bool(raw)
    return raw - (1 << 64) if kind == INT and raw >> 63 else raw


def _unpack(field: Field, data: bytes) -> Iterator[int]:
    at = 0
    while at < len(data):
        value, at = _decode_varint(data, at)
        yield _as_number(field.kind, value)


def _walk(data: bytes) -> Iterator[tuple[int, int, Any]]:
    """(number, wire type, varint or bytes) of each field."""
    at = 0
    while at < len(data):
        key, at = _decode_varint(data, at)
        number, wire_type = key >> 3, key & 7
        if not number or number >= 1 << 29:
            raise Malformed
        if wire_type == _VARINT:
            value, at = _decode_varint(data, at)
            yield number, wire_type, value
            continue
        if wire_type == _DELIMITED:
            length, at = _decode_varint(data, at)
        elif wire_type in (_EIGHT_BYTES, _FOUR_BYTES):
            length = 8 if wire_type == _EIGHT_BYTES else 4
        else:
            raise Malformed
        if at + length > len(data):
            raise Malformed
        yield number, wire_type, data[at : at + length]
        at += length


def _decode_varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(data) and shift < 70:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & _WORD, at
        shift += 7
    raise Malformed
