"""The process that unpacks: told on stdin what to do, a JSON object per line, it answers on stdout likewise.

    {"do": "unpack", "places": [PATH, …], "available": N, "complete": false, "target": DIRECTORY, …}
    {"available": N, "complete": true}…
        the blob is at one of these places, and may still be growing: so much of it is there
        <- {"read": N} now and then, then {"result": {...}} or {"error": {...}}
    {"do": "amend", "target": DIRECTORY, "lower": [...], "links": [...], "implicit": [...]}

It holds nothing but the blob and the directory, that one locked, ends soon after stdin does, and is killed
when it is not wanted any more. One layer after the other, so that it starts once for several.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import select
import sys

from pyrunc.errors import INTERNAL, INVALID, PyruncError, doing
from pyrunc.image.amend import amend
from pyrunc.image.compression import decompressed
from pyrunc.image.layer import Unpacker
from pyrunc.image.snapshots.base import DIRECTORY
from pyrunc.image.tar import Reader

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

_TELL_EVERY = 4 << 20
_BOMB_FROM = 64 << 20


class Orders:
    """The lines of stdin. Its end is the end of us."""

    def __init__(self) -> None:
        self._data = b""

        self._poll = select.poll()
        self._poll.register(0, 0)  # POLLHUP and POLLERR alone, which are always told

    def require_employer(self) -> None:
        """Raises INTERNAL when whoever gave the order is dead: nobody wants the result."""
        if self._poll.poll(0):
            raise PyruncError(INTERNAL, "unpacking was given up")

    def next(self) -> dict[str, Any] | None:
        while b"\n" not in self._data:
            more = os.read(0, 1 << 16)
            if not more:
                return None
            self._data += more
        line, _, self._data = self._data.partition(b"\n")
        found: dict[str, Any] = json.loads(line)
        return found


def tell(**message: object) -> None:
    data = json.dumps(message).encode() + b"\n"
    while data:
        data = data[os.write(1, data) :]


class Growing:
    """A file that is being written: waits for the word that there is more."""

    def __init__(self, fd: int, orders: Orders, available: int, complete: bool) -> None:
        self._fd, self._orders = fd, orders
        self._available, self._complete = available, complete
        self.offset = self._told = 0

    def read(self, size: int) -> bytes:
        while self.offset >= self._available and not self._complete:
            order = self._orders.next()
            if order is None:
                raise PyruncError(INTERNAL, "unpacking was given up")
            self._available = int(order["available"])
            self._complete = bool(order.get("complete"))
        self._orders.require_employer()
        data = os.pread(self._fd, min(size, self._available - self.offset), self.offset)
        self.offset += len(data)
        if self.offset - self._told >= _TELL_EVERY:
            self._told = self.offset
            tell(read=self.offset)
        return data


def _bounded(chunks: Iterable[bytes], source: Growing, limit: int, ratio: int) -> Iterator[bytes]:
    """The chunks, unless they become more than `limit` bytes, or more than `ratio` times what they came
    from."""
    total = 0
    for chunk in chunks:
        total += len(chunk)
        if total > limit:
            raise PyruncError(INVALID, "layer is too large", "", f"more than {limit} bytes")
        if total > _BOMB_FROM and total > ratio * source.offset:
            why = f"it unpacks to more than {ratio} times its size"
            raise PyruncError(INVALID, "layer is a decompression bomb", "", why)
        yield chunk


def _hashed(chunks: Iterable[bytes], diff: Any) -> Iterator[bytes]:
    for chunk in chunks:
        diff.update(chunk)
        yield chunk


def _open_first(places: list[str]) -> int:
    for place in places[:-1]:
        try:
            return os.open(place, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            pass
    return os.open(places[-1], os.O_RDONLY | os.O_CLOEXEC)


def unpack(order: dict[str, Any], orders: Orders) -> dict[str, Any]:
    """The layer's facts: diff_id, bytes, entries, and what has to be amended."""
    with doing("unpack layer"):
        blob = _open_first(order["places"])
        root = os.open(order["target"], DIRECTORY)
        fcntl.flock(root, fcntl.LOCK_EX)
    try:
        source = Growing(blob, orders, int(order["available"]), bool(order["complete"]))
        diff = hashlib.new(order["algorithm"])
        # headers and padding count for a little more than what is in the files
        limit = int(order["limit_bytes"]) + 4096 * int(order["limit_entries"])
        chunks = _hashed(_bounded(decompressed(source.read), source, limit, int(order["ratio"])), diff)
        reader = Reader(chunks)
        unpacker = Unpacker(
            root,
            whiteouts=order["whiteouts"],
            limit_bytes=int(order["limit_bytes"]),
            limit_entries=int(order["limit_entries"]),
        )
        done = unpacker.unpack(reader)
        reader.drain()
        return {
            "diff_id": f"{order['algorithm']}:{diff.hexdigest()}",
            "bytes": done.bytes,
            "entries": done.entries,
            "links": [(os.fsdecode(old), os.fsdecode(new)) for old, new in done.missing_links],
            "implicit": [os.fsdecode(name) for name in done.implicit],
            "opaque": done.opaque_root,
        }
    finally:
        os.close(blob)
        os.close(root)


def _obey(order: dict[str, Any], orders: Orders) -> dict[str, Any]:
    if order["do"] == "unpack":
        return unpack(order, orders)
    amend(
        order["target"], tuple(order["lower"]), [(old, new) for old, new in order["links"]], order["implicit"]
    )
    return {}


def main() -> None:
    os.umask(0)
    orders = Orders()
    while (order := orders.next()) is not None:
        if "do" not in order:
            continue  # more of a blob that is done with
        try:
            result = _obey(order, orders)
        except PyruncError as error:
            words = {"kind": error.kind, "what": error.what, "where": error.where, "why": error.why}
            tell(error={**words, "hint": error.hint})
            sys.exit(1)  # what it read of stdin, and what is half done, is nobody's any more
        tell(result=result)
