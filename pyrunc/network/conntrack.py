"""Forget flows of UDP that the kernel remembers another way than the filter says now. Translation is decided
when a flow begins, and one of UDP never ends as long as somebody keeps sending: a client that was there
before its port was published, or when the container had another address, would never be led to it.

Spoken straight over the netlink socket: what is deleted is named by the very bytes that it was told with.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
import sys

from pyrunc.errors import doing
from pyrunc.network.rules import EVERYWHERE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from pyrunc.network.model import PortBinding

_NETLINK_NETFILTER = 12
_GET, _DELETE = 0x101, 0x102  # NFNL_SUBSYS_CTNETLINK with IPCTNL_MSG_CT_GET, IPCTNL_MSG_CT_DELETE
_REQUEST, _ACKNOWLEDGE, _DUMP = 0x1, 0x4, 0x300
_ERROR, _DONE = 2, 3
_NESTED = 0x8000
# linux/netfilter/nfnetlink_conntrack.h
_TUPLE_ORIGINAL, _TUPLE_REPLY, _FILTER, _ID = 1, 2, 25, 12
_TUPLE_IP, _TUPLE_PROTOCOL = 1, 2
_SOURCE, _DESTINATION = 1, 2
_PROTOCOL_NUMBER, _DESTINATION_PORT = 1, 3
_FILTER_ORIGINAL = 1
_FILTER_BY_PROTOCOL = 1 << 3  # CTA_FILTER_FLAG of CTA_PROTO_NUM
_UDP = 17
_HEADER, _FAMILY = struct.Struct("=IHHII"), struct.Struct("=BBH")
_BUFFER_BYTES = 1 << 16


def forget_before_publishing(address: str, ports: Iterable[PortBinding]) -> None:
    """Flows to these ports that go elsewhere than to `address`. Raises PyruncError."""
    wanted = {(port.host_address, port.host_port) for port in ports if port.protocol == "udp"}
    if wanted:
        _forget(
            lambda to, number, answerer: (
                answerer != address and ((EVERYWHERE, number) in wanted or (to, number) in wanted)
            )
        )


def forget_after_unpublishing(addresses: Iterable[str]) -> None:
    """Flows that were led to one of `addresses`. Raises PyruncError."""
    gone = set(addresses)
    _forget(lambda to, _, answerer: answerer in gone and to != answerer)


def _forget(is_stale: Callable[[str, int, str], bool]) -> None:
    """`is_stale` is asked about where a flow was sent to (address, port), and the address that answers."""
    with doing("forget flows of UDP", "nf_conntrack"), _open() as connection:
        stale = [
            _attribute(_TUPLE_ORIGINAL | _NESTED, flow[_TUPLE_ORIGINAL]) + _attribute(_ID, flow[_ID])
            for flow in _flows(connection)
            if is_stale(*_describe(flow))
        ]
        for name in stale:
            _send(connection, _DELETE, _ACKNOWLEDGE, name)
            for _ in _replies(connection, {errno.ENOENT}):
                pass


def _open() -> socket.socket:
    connection = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_NETFILTER)
    connection.bind((0, 0))
    return connection


def _flows(connection: socket.socket) -> Iterator[dict[int, bytes]]:
    """Those of UDP over IPv4, the kernel's choice among all."""
    number = _attribute(_TUPLE_PROTOCOL | _NESTED, _attribute(_PROTOCOL_NUMBER, bytes([_UDP])))
    choice = _attribute(_FILTER_ORIGINAL, struct.pack("=I", _FILTER_BY_PROTOCOL))
    _send(
        connection, _GET, _DUMP,
        _attribute(_TUPLE_ORIGINAL | _NESTED, number) + _attribute(_FILTER | _NESTED, choice),
    )  # fmt: skip
    for body in _replies(connection):
        yield _attributes(body[_FAMILY.size :])


def _describe(flow: dict[int, bytes]) -> tuple[str, int, str]:
    original, reply = _attributes(flow[_TUPLE_ORIGINAL]), _attributes(flow[_TUPLE_REPLY])
    return (
        socket.inet_ntoa(_attributes(original[_TUPLE_IP])[_DESTINATION]),
        int.from_bytes(_attributes(original[_TUPLE_PROTOCOL])[_DESTINATION_PORT], "big"),
        socket.inet_ntoa(_attributes(reply[_TUPLE_IP])[_SOURCE]),
    )


def _send(connection: socket.socket, kind: int, flags: int, attributes: bytes) -> None:
    body = _FAMILY.pack(socket.AF_INET, 0, 0) + attributes
    header = _HEADER.pack(_HEADER.size + len(body), kind, _REQUEST | flags, 1, 0)
    connection.send(header + body)


def _replies(connection: socket.socket, ignored: Iterable[int] = ()) -> Iterator[bytes]:
    """Bodies of messages, until the kernel says that it is done. Raises OSError with its reason."""
    while True:
        data = connection.recv(_BUFFER_BYTES)
        while data:
            length, kind, _, _, _ = _HEADER.unpack_from(data)
            body, data = data[_HEADER.size : length], data[(length + 3) & ~3 :]
            if kind == _DONE:
                return
            if kind == _ERROR:
                code = -int.from_bytes(body[:4], sys.byteorder, signed=True)
                if code and code not in ignored:
                    raise OSError(code, os.strerror(code))
                return
            yield body


def _attribute(kind: int, data: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(data), kind) + data + bytes(-len(data) % 4)


def _attributes(data: bytes) -> dict[int, bytes]:
    found = {}
    while len(data) >= 4:
        length, kind = struct.unpack_from("=HH", data)
        if length < 4:
            break
        found[kind & ~_NESTED & ~0x4000] = data[4:length]
        data = data[(length + 3) & ~3 :]
    return found
