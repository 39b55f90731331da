"""Compressed streams: told by their first bytes, whatever a label says, and unpacked within bounds.

A chunk that is read never becomes more than a mebibyte at a time, so that a bomb is noticed by whoever
counts. gzip is ISA-L's where the `isal` package is there (two and a half times zlib's speed), zstd needs
`zstandard`.
"""

from __future__ import annotations

import bz2
import lzma
import zlib

from pyrunc.errors import INVALID, PyruncError
from pyrunc.thirdparty import load

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    _Errors = tuple[type[Exception], ...]
    _Factory = tuple[Callable[[], Any], _Errors]

CHUNK = 1 << 20
_XZ_MEMORY = 256 << 20
_ZSTD_WINDOW = 128 << 20

_MAGICS = (
    (b"\x1f\x8b", "gzip"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"\xfd7zXZ\x00", "xz"),
    (b"BZh", "bzip2"),
)
_SKIPPABLE = frozenset(bytes((0x50 + n, 0x2A, 0x4D, 0x18)) for n in range(16))  # a zstd frame without content
MAGIC_BYTES = 6


def kind_of(head: bytes) -> str:
    """gzip, zstd, xz, bzip2, or "" for none of them."""
    if head[:4] in _SKIPPABLE:
        return "zstd"
    return next((kind for magic, kind in _MAGICS if head.startswith(magic)), "")


def decompressed(read: Callable[[int], bytes]) -> Iterator[bytes]:
    """The chunks of a stream that is compressed or not. `read(n)` gives at most n bytes, none at the end.
    Raises INVALID for a damaged stream, UNSUPPORTED for one that a package is missing for."""
    head = b""
    while len(head) < MAGIC_BYTES and (more := read(CHUNK)):
        head += more
    kind = kind_of(head)
    source = _Source(head, read)
    if kind == "zstd":
        return _zstd(source)
    if not kind:
        return iter(lambda: source.read(CHUNK), b"")
    make, errors = _FACTORIES[kind]()
    return _members(make, errors, source, kind)


class _Source:
    """`read` with what has been looked at put back."""

    def __init__(self, head: bytes, read: Callable[[int], bytes]) -> None:
        self._head, self._read = head, read

    def read(self, size: int = CHUNK) -> bytes:
        if self._head:
            found, self._head = self._head[:size], self._head[size:]
            return found
        return self._read(size)


class _Inflater:
    """zlib's object with the manners of bz2's and lzma's."""

    def __init__(self) -> None:
        self._object = zlib.decompressobj(31)
        self.needs_input = True

    def decompress(self, data: bytes, maximum: int) -> bytes:
        found = self._object.decompress(self._object.unconsumed_tail + data, maximum)
        self.needs_input = not self._object.unconsumed_tail and len(found) < maximum
        return found

    @property
    def eof(self) -> bool:
        return self._object.eof

    @property
    def unused_data(self) -> bytes:
        return self._object.unused_data


def _gzip() -> _Factory:
    try:
        library = load("isal.igzip_lib", "gzip")
    except PyruncError:
        return _Inflater, (zlib.error,)
    return (lambda: library.IgzipDecompressor(flag=library.DECOMP_GZIP)), (library.IsalError, EOFError)


def _xz() -> _Factory:
    return (lambda: lzma.LZMADecompressor(memlimit=_XZ_MEMORY)), (lzma.LZMAError, EOFError)


_FACTORIES: dict[str, Callable[[], _Factory]] = {
    "gzip": _gzip,
    "bzip2": lambda: (bz2.BZ2Decompressor, (OSError, EOFError)),
    "xz": _xz,
}


def _members(make: Callable[[], Any], errors: _Errors, source: _Source, kind: str) -> Iterator[bytes]:
    """A stream may be of several members, one after the other (pigz, eStargz); zeros may follow the last."""
    data = source.read()
    while True:
        inflater = make()
        while not inflater.eof:
            if inflater.needs_input and not data:
                raise PyruncError(INVALID, f"invalid {kind} data", "", "it ends too early")
            try:
                found = inflater.decompress(data, CHUNK)
            except errors as error:
                raise PyruncError(INVALID, f"invalid {kind} data", "", str(error)) from error
            if found:
                yield found
            data = b"" if inflater.eof or not inflater.needs_input else source.read()
        data = inflater.unused_data or source.read()
        while data and not data.strip(b"\0"):
            data = source.read()
        if not data:
            return
        if len(data) < MAGIC_BYTES:
            data += source.read()
        if kind_of(data) != kind:
            raise PyruncError(INVALID, f"invalid {kind} data", "", "something else follows it")


def _zstd(source: _Source) -> Iterator[bytes]:
    library = load("zstandard", "a layer with zstd compression")
    decompressor = library.ZstdDecompressor(max_window_size=_ZSTD_WINDOW)
    reader = decompressor.stream_reader(source, read_across_frames=True)
    while True:
        try:
            found = reader.read(CHUNK)
        except library.ZstdError as error:
            raise PyruncError(INVALID, "invalid zstd data", "", str(error)) from error
        if not found:
            return
        yield found
