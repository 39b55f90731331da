"""DNS (RFC 1035) as far as a container's resolver needs it: what is asked, and what we answer. Pure.

Every byte is hostile: a message is read strictly, once, and never followed by a pointer (a question has no
cause for one). What we know is answered at once, also with nothing: that a container has no IPv6 address must
not take a time-out to find out. A name of one label that nobody has is no matter for the servers outside.
"""

from __future__ import annotations

import struct
from ipaddress import IPv4Address, IPv4Network

from pyrunc.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

A, PTR, AAAA, ANY = 1, 12, 28, 255
_INTERNET = 1
NO_ERROR, FORMAT_ERROR, SERVER_FAILURE, NAME_ERROR, NOT_IMPLEMENTED = range(5)
HOST_NAME = "host.docker.internal"
TTL_SECONDS = 10  # a container that restarts may have another address
_HEADER = struct.Struct("!HHHHHH")
_RECORD = struct.Struct("!HHHIH")  # a pointer to the question's name, type, class, ttl, length
_TO_QUESTION = 0xC000 | _HEADER.size
_RESPONSE, _AUTHORITATIVE, _TRUNCATED, _RECURSION_AVAILABLE = 0x8000, 0x0400, 0x0200, 0x0080
_OPCODE, _RECURSION_DESIRED = 0x7800, 0x0100
_REVERSE = ".in-addr.arpa"
_LONGEST_NAME, _LONGEST_LABEL = 255, 63
UDP_BYTES = 512  # what an answer may take without EDNS


class Question(Record):
    """The one question of a message."""

    id: int
    flags: int
    name: str  # lower case, without the last dot; bytes beyond ASCII as latin-1
    type: int
    section: bytes  # as it was asked: an answer repeats it


class Zone(Record):
    """What a network knows of its own: from the file that the engine's part writes."""

    name: str
    subnet: str
    gateway: str  # "" if the host has no address there
    addresses: Mapping[str, Sequence[str]]  # name in lower case -> addresses
    reverse: Mapping[str, str]  # address -> name


def zone(description: Mapping[str, object]) -> Zone:
    """From the JSON that `resolver` writes."""
    network = str(description["name"])
    addresses: dict[str, list[str]] = {}
    reverse: dict[str, str] = {}
    endpoints: Mapping[str, Mapping[str, object]] = description["endpoints"]  # type: ignore[assignment]
    for endpoint in endpoints.values():
        address, names = str(endpoint["address"]), [str(name) for name in endpoint["names"]]  # type: ignore[attr-defined]
        for name in dict.fromkeys(name.lower().rstrip(".") for name in names):
            addresses.setdefault(name, []).append(address)
            addresses.setdefault(f"{name}.{network.lower()}", []).append(address)
        if names:
            reverse[address] = f"{names[0]}.{network}"
    return Zone(
        name=network, subnet=str(description["subnet"]), gateway=str(description["gateway"]),
        addresses=addresses, reverse=reverse,
    )  # fmt: skip


def parse_question(message: bytes) -> Question:
    """Raises ValueError if it is no query with one question. What follows the question (EDNS) is not looked
    at."""
    if len(message) < _HEADER.size:
        raise ValueError("shorter than a header")
    identity, flags, questions, answers, authorities, _ = _HEADER.unpack_from(message)
    if flags & _RESPONSE:
        raise ValueError("an answer")
    if questions != 1 or answers or authorities:
        raise ValueError("not one question")
    labels, at = [], _HEADER.size
    while True:
        if at >= len(message):
            raise ValueError("a name without an end")
        length = message[at]
        at += 1
        if not length:
            break
        if (
            length > _LONGEST_LABEL
            or at + length > len(message)
            or at + length - _HEADER.size > _LONGEST_NAME
        ):
            raise ValueError("a label that is too long")
        labels.append(message[at : at + length])
        at += length
    if at + 4 > len(message):
        raise ValueError("a question without a type")
    kind, class_ = struct.unpack_from("!HH", message, at)
    if class_ not in (_INTERNET, ANY):
        raise ValueError("not of the Internet")
    return Question(
        id=identity, flags=flags, type=kind, section=message[_HEADER.size : at + 4],
        name=b".".join(labels).lower().decode("latin-1"),
    )  # fmt: skip


def failure(message: bytes, code: int) -> bytes:
    """An answer that says no more than `code`; empty to what is no query at all, which nobody answers."""
    if len(message) < _HEADER.size:
        return b""
    identity, flags, *_ = _HEADER.unpack_from(message)
    if flags & _RESPONSE:
        return b""
    kept = flags & (_OPCODE | _RECURSION_DESIRED)
    return _HEADER.pack(identity, _RESPONSE | _RECURSION_AVAILABLE | kept | code, 0, 0, 0, 0)


def answer(
    question: Question, code: int, records: Sequence[tuple[int, bytes]] = (), limit: int = 65535
) -> bytes:
    """With (type, data) of each record. More than `limit` bytes become a request to ask by TCP."""
    flags = _RESPONSE | _AUTHORITATIVE | _RECURSION_AVAILABLE | question.flags & _RECURSION_DESIRED | code
    body = b"".join(
        _RECORD.pack(_TO_QUESTION, kind, _INTERNET, TTL_SECONDS, len(data)) + data for kind, data in records
    )
    count = len(records)
    if _HEADER.size + len(question.section) + len(body) > limit:
        flags, body, count = flags | _TRUNCATED, b"", 0
    return _HEADER.pack(question.id, flags, 1, count, 0, 0) + question.section + body


def resolve(
    question: Question, zones: Sequence[Zone], extra: Mapping[str, str], limit: int = 65535, turn: int = 0
) -> bytes | None:
    """The answer to a container on these networks, which alone knows the names of `extra` as well; None if it
    is a matter for the servers outside. Of several addresses another one comes first at each `turn`: that
    shares the load of a name which several containers have."""
    if question.flags & _OPCODE:
        return answer(question, NOT_IMPLEMENTED)
    if question.name.endswith(_REVERSE):
        return _resolve_address(question, zones, limit)
    addresses = _addresses(question.name, zones, extra)
    if addresses:
        first = turn % len(addresses)
        wanted = [*addresses[first:], *addresses[:first]] if question.type in (A, ANY) else []
        return answer(question, NO_ERROR, [(A, IPv4Address(item).packed) for item in wanted], limit)
    if "." not in question.name and question.name:
        return answer(question, NAME_ERROR)
    return None


def _addresses(name: str, zones: Sequence[Zone], extra: Mapping[str, str]) -> list[str]:
    """Of the first network that has the name."""
    if name in extra:
        return [extra[name]]
    for item in zones:
        if name in item.addresses:
            return list(item.addresses[name])
    if name == HOST_NAME:
        return [item.gateway for item in zones if item.gateway][:1]
    return []


def _resolve_address(question: Question, zones: Sequence[Zone], limit: int) -> bytes | None:
    try:
        address = IPv4Address(".".join(reversed(question.name.removesuffix(_REVERSE).split("."))))
    except ValueError:
        return None
    for item in zones:
        if str(address) in item.reverse:
            wanted = question.type in (PTR, ANY)
            name = _encode(item.reverse[str(address)])
            return answer(question, NO_ERROR, [(PTR, name)] if wanted and name else [], limit)
        if address in IPv4Network(item.subnet):
            return answer(question, NAME_ERROR)
    return None


def _encode(name: str) -> bytes:
    """Empty if it cannot be a name of the DNS."""
    labels = [label.encode() for label in name.split(".")]
    if not all(0 < len(label) <= _LONGEST_LABEL for label in labels):
        return b""
    encoded = b"".join(bytes([len(label)]) + label for label in labels) + b"\0"
    return encoded if len(encoded) <= _LONGEST_NAME else b""


def is_answer_to(reply: bytes, identity: bytes, section: bytes) -> bool:
    """Has it the id and, in any case of letters, the question of what was asked? A forged one has not."""
    if len(reply) < _HEADER.size or reply[:2] != identity or not reply[2] & 0x80:
        return False
    return reply[_HEADER.size : _HEADER.size + len(section)].lower() == section.lower()


def parse_resolv_conf(text: str) -> tuple[str, ...]:
    """The IPv4 name servers of resolv.conf(5), the first three of them, without ours."""
    found = []
    for line in text.splitlines():
        words = line.split()
        if len(words) >= 2 and words[0] == "nameserver":
            try:
                found.append(str(IPv4Address(words[1])))
            except ValueError:
                continue
    return tuple(dict.fromkeys(found))[:3]
