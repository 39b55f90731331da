"""The messages of criu's RPC that we need, as tables, and protobuf's wire format for them. No I/O.

The names and numbers are those of criu's rpc.proto. A message is a dict of those of its fields that are set:
to criu, a number that is 0 and one that is missing are not the same.
"""

from __future__ import annotations

from pyrunc.errors import INTERNAL, PyruncError
from pyrunc.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

BOOL, INT, TEXT = "bool", "int", "text"
_VARINT, _EIGHT_BYTES, _DELIMITED, _FOUR_BYTES = 0, 1, 2, 5
_WORD = (1 << 64) - 1

# What is asked for, and answered (criu_req_type)
DUMP, RESTORE, PRE_DUMP, NOTIFY, FEATURE_CHECK, VERSION = 1, 2, 4, 6, 9, 10
NAMES = {
    DUMP: "DUMP",
    RESTORE: "RESTORE",
    PRE_DUMP: "PRE_DUMP",
    NOTIFY: "NOTIFY",
    FEATURE_CHECK: "FEATURE_CHECK",
    VERSION: "VERSION",
}


class Field(Record):
    """`kind`: BOOL, INT, TEXT, or the table of a message; a field that is `many` is a tuple."""

    number: int
    kind: Any
    many: bool = False


def _table(**fields: tuple[int, Any] | tuple[int, Any, bool]) -> dict[str, Field]:
    return {
        name: Field(number=entry[0], kind=entry[1], many=len(entry) == 3) for name, entry in fields.items()
    }


_PAGE_SERVER = _table(address=(1, TEXT), port=(2, INT), pid=(3, INT), fd=(4, INT))
_EXTERNAL_MOUNT = _table(key=(1, TEXT), val=(2, TEXT))
_INHERITED_FD = _table(key=(1, TEXT), fd=(2, INT))
_CGROUP_ROOT = _table(ctrl=(1, TEXT), path=(2, TEXT))
OPTIONS = _table(
    images_dir_fd=(1, INT),
    pid=(2, INT),
    leave_running=(3, BOOL),
    ext_unix_sk=(4, BOOL),
    tcp_established=(5, BOOL),
    evasive_devices=(6, BOOL),
    shell_job=(7, BOOL),
    file_locks=(8, BOOL),
    log_level=(9, INT),
    log_file=(10, TEXT),
    ps=(11, _PAGE_SERVER),
    notify_scripts=(12, BOOL),
    root=(13, TEXT),
    parent_img=(14, TEXT),
    track_mem=(15, BOOL),
    auto_dedup=(16, BOOL),
    work_dir_fd=(17, INT),
    link_remap=(18, BOOL),
    ext_mnt=(23, _EXTERNAL_MOUNT, True),
    manage_cgroups=(24, BOOL),
    cg_root=(25, _CGROUP_ROOT, True),
    rst_sibling=(26, BOOL),
    inherit_fd=(27, _INHERITED_FD, True),
    ext_masters=(30, BOOL),
    manage_cgroups_mode=(34, INT),
    external=(37, TEXT, True),
    empty_ns=(38, INT),
    freeze_cgroup=(44, TEXT),
    tcp_skip_in_flight=(46, BOOL),
    lazy_pages=(48, BOOL),
    orphan_pts_master=(50, BOOL),
    config_file=(51, TEXT),
    tcp_close=(52, BOOL),
    lsm_profile=(53, TEXT),
    lsm_mount_context=(63, TEXT),
)
FEATURES = _table(mem_track=(1, BOOL), lazy_pages=(2, BOOL))
REQUEST = _table(
    type=(1, INT),
    opts=(2, OPTIONS),
    notify_success=(3, BOOL),
    features=(5, FEATURES),
)
RESPONSE = _table(
    type=(1, INT),
    success=(2, BOOL),
    dump=(3, _table(restored=(1, BOOL))),
    restore=(4, _table(pid=(1, INT))),
    notify=(5, _table(script=(1, TEXT), pid=(2, INT))),
    cr_errno=(7, INT),
    features=(8, FEATURES),
    cr_errmsg=(9, TEXT),
    version=(10, _table(major_number=(1, INT), minor_number=(2, INT), sublevel=(4, INT))),
)


def encode(table: Mapping[str, Field], message: Mapping[str, Any]) -> bytes:
    """Raises KeyError for a name that `table` doesn't have."""
    parts = []
    for name, value in message.items():
        field = table[name]
        parts += [_encode_field(field, item) for item in (value if field.many else (value,))]
    return b"".join(parts)


def _encode_field(field: Field, value: Any) -> bytes:
    if field.kind in (BOOL, INT):  # a number below zero is written as one of 64 bits
        return _encode_varint(field.number << 3 | _VARINT) + _encode_varint(int(value) & _WORD)
    data: bytes = (
        value.encode("utf-8", "surrogateescape") if field.kind == TEXT else encode(field.kind, value)
    )
    return _encode_varint(field.number << 3 | _DELIMITED) + _encode_varint(len(data)) + data


def _encode_varint(value: int) -> bytes:
    """Seven bits a byte, the lowest first; all but the last have the eighth bit set."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def decode(table: Mapping[str, Field], data: bytes) -> dict[str, Any]:
    """The fields that are set and that `table` knows; a newer criu's other ones are left out.

    Raises PyruncError INTERNAL for what is no message."""
    by_number = {field.number: (name, field) for name, field in table.items()}
    found: dict[str, Any] = {}
    for number, raw in _walk(data):
        if number not in by_number:
            continue
        name, field = by_number[number]
        value = _decode_value(field, raw)
        found[name] = (*found.get(name, ()), value) if field.many else value
    return found


def _decode_value(field: Field, raw: int | bytes) -> Any:
    is_number = field.kind in (BOOL, INT)
    if is_number is not isinstance(raw, int):
        raise _malformed()
    if isinstance(raw, int):
        if field.kind == BOOL:
            return bool(raw)
        return raw - (1 << 64) if raw >> 63 else raw
    return raw.decode("utf-8", "surrogateescape") if field.kind == TEXT else decode(field.kind, raw)


def _walk(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """(number, varint or bytes) of each field."""
    at = 0
    while at < len(data):
        key, at = _decode_varint(data, at)
        kind = key & 7
        if kind == _VARINT:
            value, at = _decode_varint(data, at)
            yield key >> 3, value
            continue
        if kind == _DELIMITED:
            length, at = _decode_varint(data, at)
        elif kind in (_EIGHT_BYTES, _FOUR_BYTES):
            length = 8 if kind == _EIGHT_BYTES else 4
        else:
            raise _malformed()
        if at + length > len(data):
            raise _malformed()
        yield key >> 3, data[at : at + length]
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
    raise _malformed()


def _malformed() -> PyruncError:
    return PyruncError(INTERNAL, "criu sent what is no message of its protocol")
